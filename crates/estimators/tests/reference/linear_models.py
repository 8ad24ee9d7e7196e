"""Linear models by scikit-learn, for tests/linear_models.rs. Writes tests/fixtures/linear_models.json."""

import json
import pathlib
import warnings

import numpy as np
import sklearn
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

warnings.simplefilter("ignore")
random = np.random.default_rng(11)


def data(n_rows, n_features):
    """Columns of different scale and location, some correlated."""
    features = random.normal(size=(n_rows, n_features)) @ (np.eye(n_features) + 0.3 * random.normal(size=(n_features, n_features)))
    features = features * 10.0 ** np.linspace(-1, 1, n_features) + np.linspace(-3, 5, n_features)
    return np.round(features, 6)


def labels(features, n_classes):
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    scores = scaled @ random.normal(size=(features.shape[1], n_classes)) + 1.5 * random.gumbel(size=(len(features), n_classes))
    return scores.argmax(axis=1)


def values(features):
    return np.round(features @ random.normal(size=features.shape[1]) + random.normal(size=len(features)) + 40.0, 6)


def weights(n_rows):
    return np.round(random.uniform(0.0, 3.0, n_rows), 3)


def logistic(name, n_rows, n_features, n_classes, l2, class_weight=None, weighted=False):
    features = data(n_rows, n_features)
    target = labels(features, n_classes)
    weight = weights(n_rows) if weighted else None
    model = LogisticRegression(C=1 / l2, class_weight=class_weight, tol=1e-12, max_iter=1000, solver="newton-cholesky")
    model.fit(features, target, sample_weight=weight)
    return {
        "name": name,
        "l2": l2,
        "class_weight": "balanced" if class_weight else "none",
        "features": features.tolist(),
        "target": target.tolist(),
        "n_classes": n_classes,
        "weights": None if weight is None else weight.tolist(),
        "coefficients": model.coef_.tolist(),
        "intercepts": model.intercept_.tolist(),
        "probabilities": model.predict_proba(features[:10]).tolist(),
    }


def regression(name, model, features, weighted=False):
    target = values(features)
    weight = weights(len(features)) if weighted else None
    model.fit(features, target, sample_weight=weight)
    return {
        "name": name,
        "l2": getattr(model, "alpha", None),
        "features": features.tolist(),
        "target": target.tolist(),
        "weights": None if weight is None else weight.tolist(),
        "coefficients": model.coef_.tolist(),
        "intercept": float(model.intercept_),
    }


full = data(60, 5)
collinear = np.column_stack([full[:, :3], full[:, 0] + full[:, 1], full[:, 2], np.full(60, 4.0)])
cases = {
    "scikit-learn": sklearn.__version__,
    "logistic": [
        logistic("two labels", 120, 4, 2, 1.0),
        logistic("two labels, weights", 120, 4, 2, 0.1, weighted=True),
        logistic("three labels", 150, 5, 3, 1.0),
        logistic("three labels, balanced", 150, 5, 3, 10.0, class_weight="balanced"),
        logistic("three labels, balanced, weights", 150, 5, 3, 0.5, class_weight="balanced", weighted=True),
    ],
    "regression": [
        regression("least squares", LinearRegression(), full),
        regression("least squares, weights", LinearRegression(), full, weighted=True),
        regression("least squares, collinear columns", LinearRegression(), collinear),
        regression("least squares, more columns than rows", LinearRegression(), data(6, 9)),
        regression("ridge", Ridge(alpha=3.0), full),
        regression("ridge, weights", Ridge(alpha=0.5), full, weighted=True),
        regression("ridge, collinear columns", Ridge(alpha=1.0), collinear),
        regression("ridge, more columns than rows", Ridge(alpha=2.0), data(6, 9)),
    ],
}
path = pathlib.Path(__file__).parents[1] / "fixtures" / "linear_models.json"
path.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
