"""Linear models with an L1 penalty by scikit-learn, for tests/sparse_models.rs. Writes tests/fixtures/sparse_models.json."""

import json
import pathlib
import warnings

import numpy as np
import sklearn
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression

warnings.simplefilter("ignore")
random = np.random.default_rng(12)


def data(n_rows, n_features):
    """Correlated columns of different location."""
    features = random.normal(size=(n_rows, n_features)) @ (np.eye(n_features) + 0.3 * random.normal(size=(n_features, n_features)))
    return np.round(features + np.linspace(-3, 5, n_features), 4)


def weights(n_rows):
    return np.round(random.uniform(0.0, 3.0, n_rows), 3)


def squares(name, model, n_rows, n_features, weighted=False):
    features = data(n_rows, n_features)
    true = random.normal(size=n_features) * (random.uniform(size=n_features) < 0.4)
    target = np.round(features @ true + random.normal(size=n_rows) + 40.0, 6)
    weight = weights(n_rows) if weighted else None
    model.set_params(tol=1e-15, max_iter=1_000_000).fit(features, target, sample_weight=weight)
    return {
        "name": name,
        "alpha": model.alpha,
        "l1_ratio": model.l1_ratio,
        "features": features.tolist(),
        "target": target.tolist(),
        "weights": None if weight is None else weight.tolist(),
        "coefficients": model.coef_.tolist(),
        "intercept": float(model.intercept_),
    }


def logistic(name, n_rows, n_features, n_classes, l1, l2, class_weight=None, weighted=False):
    features = np.round(random.normal(size=(n_rows, n_features)) + 0.5 * random.normal(size=(n_rows, 1)), 4)
    scores = features @ random.normal(size=(n_features, n_classes)) + 1.5 * random.gumbel(size=(n_rows, n_classes))
    target = scores.argmax(axis=1)
    weight = weights(n_rows) if weighted else None
    model = LogisticRegression(
        C=1 / (l1 + l2), l1_ratio=l1 / (l1 + l2), class_weight=class_weight, solver="saga", tol=1e-14, max_iter=200_000, random_state=0
    ).fit(features, target, sample_weight=weight)
    scores = model.decision_function(features)
    if n_classes == 2:
        losses = np.logaddexp(0, np.where(target == 1, -scores, scores))
    else:
        losses = np.logaddexp.reduce(scores, axis=1) - scores[np.arange(n_rows), target]
    each = np.ones(n_rows) if weight is None else weight
    if class_weight:
        sums = np.bincount(target, each)
        each = each * (each.sum() / (n_classes * sums))[target]
    objective = each @ losses + l1 * np.abs(model.coef_).sum() + l2 / 2 * (model.coef_**2).sum()
    return {
        "name": name,
        "l1": l1,
        "l2": l2,
        "class_weight": "balanced" if class_weight else "none",
        "features": features.tolist(),
        "target": target.tolist(),
        "n_classes": n_classes,
        "weights": None if weight is None else weight.tolist(),
        "coefficients": model.coef_.tolist(),
        "intercepts": model.intercept_.tolist(),
        "objective": float(objective),
    }


cases = {
    "scikit-learn": sklearn.__version__,
    "squares": [
        squares("lasso", Lasso(alpha=0.1), 80, 8),
        squares("lasso, weights", Lasso(alpha=0.05), 80, 8, weighted=True),
        squares("lasso, a weak penalty", Lasso(alpha=1e-3), 80, 8),
        squares("lasso, more columns than rows", Lasso(alpha=0.3), 30, 60),
        squares("elastic net", ElasticNet(alpha=0.3, l1_ratio=0.5), 80, 8),
        squares("elastic net, weights", ElasticNet(alpha=0.3, l1_ratio=0.2), 80, 8, weighted=True),
        squares("elastic net, more columns than rows", ElasticNet(alpha=0.3, l1_ratio=0.7), 30, 60),
        squares("elastic net, ridge only", ElasticNet(alpha=0.5, l1_ratio=0.0), 80, 8, weighted=True),
    ],
    "logistic": [
        logistic("two labels", 120, 8, 2, 3.0, 0.0),
        logistic("two labels, both penalties, weights", 120, 8, 2, 2.0, 1.0, weighted=True),
        logistic("three labels", 150, 8, 3, 4.0, 0.0),
        logistic("three labels, both penalties", 150, 8, 3, 2.0, 2.0),
        logistic("three labels, balanced", 150, 6, 3, 3.0, 1.0, class_weight="balanced"),
        logistic("four labels, weights", 150, 6, 4, 3.0, 0.5, weighted=True),
        logistic("two labels, more columns than rows", 30, 50, 2, 1.0, 0.0),
    ],
}
path = pathlib.Path(__file__).parents[1] / "fixtures" / "sparse_models.json"
path.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
