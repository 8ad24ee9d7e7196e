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


codes = np.digitize(signal + 0.3 * random.normal(size=N_ROWS), [-1.0, 1.0])
weights = np.round(random.uniform(0.5, 2.0, N_ROWS), 2)
cases = {
    "lightgbm": lightgbm.__version__,
    "features": features.tolist(),
    "cases": [
        case("two labels", "binary", (codes > 0).astype(int)),
        case("three labels", "multiclass", codes, max_depth=3),
        case("three labels, weights", "multiclass", codes, weights),
        case("values", "regression", np.round(100 + 10 * signal, 3), lambda_l2=1.5),
    ],
}
path = pathlib.Path(__file__).parents[1] / "fixtures" / "boosting.json"
path.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
