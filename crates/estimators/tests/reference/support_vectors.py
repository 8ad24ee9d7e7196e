"""Support vector machines by scikit-learn, for tests/support_vectors.rs. Writes tests/fixtures/support_vectors.json."""

import json
import pathlib
import warnings

import numpy as np
import sklearn
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR

warnings.simplefilter("ignore")
random = np.random.default_rng(13)


def data(n_rows, n_features, n_classes, weighted):
    features = np.round(random.normal(size=(n_rows, n_features)), 4)
    if n_classes:
        scores = features @ random.normal(size=(n_features, n_classes)) + 0.7 * random.gumbel(size=(n_rows, n_classes))
        target = (scores + 0.4 * features[:, :1] ** 2 * np.arange(n_classes)).argmax(axis=1)
    else:
        target = np.round(features @ random.normal(size=n_features) + np.sin(2 * features[:, 0]) + 0.3 * random.normal(size=n_rows) + 1.0, 5)
    weight = np.round(random.uniform(0.0, 3.0, n_rows), 3) if weighted else None
    return features, target, weight


def case(name, spec, features, target, weight, n_classes, results):
    return {
        "name": name,
        "spec": spec,
        "features": features.tolist(),
        "target": target.tolist(),
        "n_classes": n_classes or None,
        "weights": None if weight is None else weight.tolist(),
        **results,
    }


def linear(name, spec, n_rows, n_features, n_classes, weighted=False):
    features, target, weight = data(n_rows, n_features, n_classes, weighted)
    each = np.ones(n_rows) if weight is None else weight
    hinge = spec.get("loss") == "hinge"
    c = spec.get("c", 1.0)
    common = {"C": c, "tol": 1e-12, "max_iter": 1_000_000, "random_state": 0, "dual": hinge}
    if n_classes:
        model = LinearSVC(loss="hinge" if hinge else "squared_hinge", class_weight=spec.get("class_weight"), **common)
    else:
        epsilon = spec.get("epsilon", 0.0)
        model = LinearSVR(loss="epsilon_insensitive" if hinge else "squared_epsilon_insensitive", epsilon=epsilon, **common)
    model.fit(features, target, sample_weight=weight)
    coefficients, intercepts = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    power = 1 if hinge else 2
    objectives = []
    for output, (coefficient, intercept) in enumerate(zip(coefficients, intercepts)):
        scores = features @ coefficient + intercept
        if n_classes:
            positive = target == (1 if n_classes == 2 else output)
            losses = np.maximum(0, 1 - np.where(positive, scores, -scores))
        else:
            losses = np.maximum(0, np.abs(scores - target) - epsilon)
        label = np.ones(n_rows)
        if spec.get("class_weight"):
            balanced = n_rows / (n_classes * np.bincount(target))
            label = balanced[target] if n_classes == 2 else np.where(positive, balanced[output], 1.0)
        objectives.append(float(0.5 * (coefficient @ coefficient + intercept**2) + c * (each * label) @ losses**power))
    results = {"coefficients": coefficients.tolist(), "intercepts": intercepts.tolist(), "objectives": objectives}
    return case(name, spec, features, target, weight, n_classes, results)


def kernel(name, spec, n_rows, n_features, n_classes, weighted=False):
    features, target, weight = data(n_rows, n_features, n_classes, weighted)
    words = {"polynomial": "poly"}
    common = {
        "C": spec.get("c", 1.0),
        "kernel": words.get(spec.get("kernel", "rbf"), spec.get("kernel", "rbf")),
        "gamma": spec.get("gamma", "scale"),
        "degree": spec.get("degree", 3),
        "coef0": spec.get("coef0", 0.0),
        "tol": 1e-7,
    }
    if n_classes:
        model = SVC(class_weight=spec.get("class_weight"), **common).fit(features, target, sample_weight=weight)
        decisions = model.decision_function(features)
        decisions = np.column_stack([-decisions, decisions]) if n_classes == 2 else decisions
    else:
        model = SVR(epsilon=spec.get("epsilon", 0.1), **common).fit(features, target, sample_weight=weight)
        decisions = model.predict(features)
    results = {"decisions": decisions.tolist(), "n_vectors": len(model.support_)}
    if n_classes in (0, 2):
        # The dual objective from the shares: decisions less the intercept are the kernel times them.
        shares = model.dual_coef_[0]
        raw = model.decision_function(features) if n_classes else model.predict(features)
        form = shares @ (raw[model.support_] - model.intercept_[0])
        gain = np.abs(shares).sum() if n_classes else shares @ target[model.support_] - spec.get("epsilon", 0.1) * np.abs(shares).sum()
        results["objective"] = float(0.5 * form - gain)
    return case(name, spec, features, target, weight, n_classes, results)


cases = {
    "scikit-learn": sklearn.__version__,
    "linear": [
        linear("squared hinge", {}, 100, 4, 2),
        linear("squared hinge, weights", {"c": 0.3}, 100, 4, 2, weighted=True),
        linear("squared hinge, three labels", {}, 120, 4, 3),
        linear("squared hinge, three labels, balanced", {"class_weight": "balanced"}, 120, 4, 3),
        linear("squared hinge, more columns than rows", {"c": 0.1}, 20, 30, 2),
        linear("hinge", {"loss": "hinge", "c": 0.2}, 100, 4, 2),
        linear("hinge, balanced", {"loss": "hinge", "c": 0.2, "class_weight": "balanced"}, 100, 4, 2),
        linear("hinge, three labels, weights", {"loss": "hinge", "c": 0.2}, 100, 4, 3, weighted=True),
        linear("values, squared", {"epsilon": 0.1}, 100, 4, 0),
        linear("values, squared, more columns than rows", {"epsilon": 0.1, "c": 0.1}, 20, 30, 0),
        linear("values, weights", {"loss": "hinge", "epsilon": 0.2, "c": 0.3}, 100, 4, 0, weighted=True),
        linear("values, without a free error", {"loss": "hinge", "c": 0.3}, 100, 4, 0),
    ],
    "kernel": [
        kernel("two labels", {}, 120, 4, 2),
        kernel("two labels, weights", {"c": 3.0}, 120, 4, 2, weighted=True),
        kernel("two labels, balanced, linear", {"kernel": "linear", "class_weight": "balanced"}, 100, 4, 2),
        kernel("two labels, polynomial", {"kernel": "polynomial", "coef0": 1.0, "degree": 2, "gamma": 0.5}, 100, 4, 2),
        kernel("two labels, sigmoid", {"kernel": "sigmoid", "gamma": 0.05, "coef0": 0.1}, 100, 4, 2),
        kernel("four labels", {"gamma": "auto"}, 160, 4, 4),
        kernel("three labels, weights", {"c": 2.0}, 120, 4, 3, weighted=True),
        kernel("values", {}, 120, 4, 0),
        kernel("values, weights", {"c": 5.0, "epsilon": 0.3, "gamma": 0.3}, 120, 4, 0, weighted=True),
    ],
}
path = pathlib.Path(__file__).parents[1] / "fixtures" / "support_vectors.json"
path.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
