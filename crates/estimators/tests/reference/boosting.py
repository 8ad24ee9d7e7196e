"""Boosted trees by LightGBM's Python package, for tests/boosting.rs. Writes tests/fixtures/boosting.json.

The seed is the one that the crate derives; it matters only where rows or columns are drawn, which no case here does.
"""

import json
import pathlib

import lightgbm
import numpy as np

random = np.random.default_rng(5)
N_ROWS = 400
features = np.round(random.normal(size=(N_ROWS, 6)), 4)
signal = features[:, 0] * 2 + np.sin(3 * features[:, 1]) + features[:, 2] * features[:, 3]


def case(name, objective, target, weights=None, **parameters):
    parameters = {"learning_rate": 0.1, "num_leaves": 7, "min_data_in_leaf": 10, **parameters}
    data = lightgbm.Dataset(features, target, weight=weights, params={"feature_pre_filter": False, "max_bin": 63})
    every = {"objective": objective, "verbosity": -1, "deterministic": True, "force_col_wise": True, "num_threads": 1, "max_bin": 63}
    if objective == "multiclass":
        every["num_class"] = int(target.max()) + 1
    booster = lightgbm.train({**parameters, **every}, data, num_boost_round=20)
    return {
        "name": name,
        "learning_rate": parameters["learning_rate"],
        "leaves": parameters["num_leaves"],
        "min_rows": parameters["min_data_in_leaf"],
        "max_depth": parameters.get("max_depth", 0),
        "l2": parameters.get("lambda_l2", 0.0),
        "target": target.tolist(),
        "n_classes": None if objective == "regression" else int(target.max()) + 1,
        "weights": None if weights is None else weights.tolist(),
        "predictions": booster.predict(features).reshape(N_ROWS, -1)[:50].tolist(),
    }


def numbers(matrix):
    """NaN is null."""
    return [[None if np.isnan(value) else value for value in row] for row in matrix.tolist()]


def train(rows, target, parameters, **data):
    every = {"learning_rate": 0.1, "num_leaves": 7, "min_data_in_leaf": 10, "verbosity": -1, "deterministic": True, "force_col_wise": True, "num_threads": 1, "max_bin": 63}
    every = {**every, "feature_pre_filter": False, **parameters}
    return lightgbm.train(every, lightgbm.Dataset(rows, target, **data, params=every), num_boost_round=20)


def raw(name, hyperparameters, target, parameters, rows="features"):
    """Raw scores of the first 50 rows. `hyperparameters` are in our names, `parameters` in LightGBM's."""
    booster = train(tables[rows], np.array(target), {"objective": "regression", **parameters})
    scores = booster.predict(tables[rows][:50], raw_score=True).reshape(50, -1)
    return {"name": name, "hyperparameters": hyperparameters, "rows": rows, "target": target, "raw": scores.tolist()}


codes = np.digitize(signal + 0.3 * random.normal(size=N_ROWS), [-1.0, 1.0])
weights = np.round(random.uniform(0.5, 2.0, N_ROWS), 2)
gaps = np.where(random.uniform(size=features.shape) < 0.15 + 0.3 * (signal > 1)[:, None], np.nan, features)
tables = {"features": features, "gaps": gaps}
values = np.round(100 + 10 * signal, 3).tolist()
counts = random.poisson(np.exp(signal / 3)).astype(float).tolist()
positive = np.round(np.exp(signal / 3) * random.gamma(2.0, size=N_ROWS) + 0.001, 4).tolist()
huge = [value * (20 if row % 17 == 0 else 1) for row, value in enumerate(values)]
directions = [0, 1, -1, 0, 0, 0]
monotone = {"x1": "increasing", "x2": "decreasing"}
two = (codes > 0).astype(int).tolist()
every_parameter = [
    raw("least second derivatives", {"min_hessian": 8.0}, two, {"objective": "binary", "min_sum_hessian_in_leaf": 8.0}),
    raw("least gain", {"min_gain": 500.0}, values, {"min_gain_to_split": 500.0}),
    raw("l1", {"l1": 30.0}, values, {"lambda_l1": 30.0}),
    raw("absolute", {"loss": "absolute"}, huge, {"objective": "regression_l1"}),
    raw("huber", {"loss": "huber", "alpha": 3.0}, huge, {"objective": "huber", "alpha": 3.0}),
    raw("quantile", {"loss": "quantile", "alpha": 0.8}, values, {"objective": "quantile", "alpha": 0.8}),
    raw("quantile by default", {"loss": "quantile"}, values, {"objective": "quantile", "alpha": 0.9}),
    raw("poisson", {"loss": "poisson"}, counts, {"objective": "poisson"}),
    raw("gamma", {"loss": "gamma"}, positive, {"objective": "gamma"}),
    raw("monotone", {"monotone": monotone}, values, {"monotone_constraints": directions}),
    raw("monotone labels", {"monotone": monotone}, two, {"objective": "binary", "monotone_constraints": directions}),
    raw("missing values", {}, values, {}, "gaps"),
    raw("missing values, three labels", {}, codes.tolist(), {"objective": "multiclass", "num_class": 3}, "gaps"),
    raw("missing values, monotone", {"monotone": monotone}, values, {"monotone_constraints": directions}, "gaps"),
]
words = np.column_stack([random.integers(0, 12, N_ROWS), features[:, 0], gaps[:, 1], random.integers(0, 3, N_ROWS)]).astype(float)
words[random.uniform(size=N_ROWS) < 0.1, 0] = np.nan
effect = np.append(random.normal(size=12), 2.0)[np.nan_to_num(words[:, 0], nan=12).astype(int)]
told = np.round(3 * effect + features[:, 0] + (words[:, 3] == 1) * 2, 3)
booster = train(words, told, {"objective": "regression"}, categorical_feature=[0, 3])
cases = {
    "lightgbm": lightgbm.__version__,
    "features": features.tolist(),
    "gaps": numbers(gaps),
    "raw": every_parameter,
    "words": {"features": numbers(words), "target": told.tolist(), "raw": booster.predict(words, raw_score=True).tolist()},
    "cases": [
        case("two labels", "binary", (codes > 0).astype(int)),
        case("three labels", "multiclass", codes, max_depth=3),
        case("three labels, weights", "multiclass", codes, weights),
        case("values", "regression", np.round(100 + 10 * signal, 3), lambda_l2=1.5),
    ],
}
path = pathlib.Path(__file__).parents[1] / "fixtures" / "boosting.json"
path.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
