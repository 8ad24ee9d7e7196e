"""Decision trees and forests by scikit-learn, for tests/forest.rs. Writes tests/fixtures/forest.json, with features in 1024ths.

Features are multiples of 1/1024, so that scikit-learn's 32-bit floats hold them and the midpoints between them. Decision trees are compared at their thresholds:
for each split a row of its node, with the threshold in place of its own value, and with the next greater number. They are trees whose splits have no ties, which
is checked by the seeds of scikit-learn: these decide between ties.
"""

import json
import pathlib

import numpy as np
import sklearn
from sklearn import ensemble, tree

random = np.random.default_rng(3)
N_ROWS, N_FEATURES = 800, 6
features = np.round(random.normal(size=(N_ROWS, N_FEATURES)) * 1024) / 1024
signal = features[:, 0] * 2 + np.sin(3 * features[:, 1]) + features[:, 2] * features[:, 3]
values = np.round(100 + 10 * signal + 5 * random.normal(size=N_ROWS), 3)
three = np.digitize(signal + 0.5 * random.normal(size=N_ROWS), [-1.0, 1.0])
two = (three > 0).astype(int)
weights = np.round(random.uniform(0.0, 2.0, N_ROWS), 2)
weights[::7] = 0.0
gaps = np.where(random.uniform(size=features.shape) < 0.15 + 0.3 * (signal > 1)[:, None], np.nan, features)
TRAIN, TEST = slice(0, 400), slice(400, 800)


def numbers(matrix):
    """NaN is null."""
    return [[None if np.isnan(value) else value for value in row] for row in matrix.tolist()]


def told(model, rows):
    return model.predict_proba(rows) if hasattr(model, "predict_proba") else model.predict(rows)[:, None]


def at_thresholds(model, rows):
    """For each split a row that comes to it, at the threshold and above; and for splits that know missing values, without the value."""
    structure, reached = model.tree_, model.decision_path(rows.astype(np.float32)).tocsc()
    asked = []
    for node in np.flatnonzero(structure.children_left >= 0)[:25]:
        column, threshold = structure.feature[node], structure.threshold[node]
        # Beyond infinity there is nothing.
        above = np.nextafter(np.float32(threshold), np.float32(np.inf)) if np.isfinite(threshold) else 1e6
        for value in [threshold if np.isfinite(threshold) else -1e6, above, np.nan]:
            row = rows[reached[:, [node]].indices[0]].copy()
            row[column] = value
            asked.append(row)
    return np.array(asked)


def decision_tree(name, target, rows=features, weight=None, class_weight=None, unlimited=False, **parameters):
    """`parameters` are in our names. An unlimited tree ends in nodes of two rows, which every column splits as well: it is asked for its own rows as well."""
    kind = tree.DecisionTreeRegressor if target is values else tree.DecisionTreeClassifier
    theirs = {"max_depth": "max_depth", "criterion": "criterion", "min_rows": "min_samples_leaf", "min_rows_to_split": "min_samples_split"}
    every = {theirs[key]: value for key, value in parameters.items()}
    if class_weight:
        every["class_weight"] = parameters["class_weight"] = class_weight
    weight = None if weight is None else weight[TRAIN]
    models = [kind(random_state=seed, **every).fit(rows[TRAIN], target[TRAIN], sample_weight=weight) for seed in range(10)]
    asked = rows[TRAIN][:100] if unlimited else np.vstack([at_thresholds(models[0], rows[TRAIN]), rows[TEST][:50]])
    answers = [told(model, asked) for model in models]
    agree = [np.allclose(answers[0], answer, atol=1e-12) for answer in answers]
    assert all(agree), (name, agree)
    return {
        "name": name,
        "parameters": parameters,
        "features": "gaps" if rows is gaps else "one" if rows is one else "all",
        "weighted": weight is not None,
        "target": "values" if target is values else "three" if target is three else "two",
        "asked": numbers(asked),
        "predictions": answers[0].tolist(),
        "leaves": int(models[0].get_n_leaves()),
        "depth": int(models[0].get_depth()),
    }


def forest(name, word, kind, target, rows=features, weight=None, **parameters):
    """The scores of test rows over seeds: accuracy, or R2."""
    theirs = {"min_rows": "min_samples_leaf", "max_features": "max_features", "bootstrap": "bootstrap", "max_depth": "max_depth"}
    every = {theirs[key]: value for key, value in parameters.items()}
    weight = None if weight is None else weight[TRAIN]
    models = [kind(n_estimators=100, random_state=seed, n_jobs=2, **every).fit(rows[TRAIN], target[TRAIN], sample_weight=weight) for seed in range(10)]
    scores = [model.score(rows[TEST], target[TEST]) for model in models]
    importances = np.mean([model.feature_importances_ for model in models], axis=0)
    return {
        "name": name,
        "estimator": {word: parameters},
        "features": "gaps" if rows is gaps else "all",
        "weighted": weight is not None,
        "target": "values" if target is values else "three" if target is three else "two",
        "mean": float(np.mean(scores)),
        "spread": float(np.std(scores, ddof=1)),
        "importances": importances.tolist(),
    }


one = features[:, :1]
trees = [
    decision_tree("two labels", two, max_depth=4),
    decision_tree("three labels", three, max_depth=4, min_rows_to_split=40),
    decision_tree("three labels, missing values", three, gaps, weights, max_depth=4, min_rows=5, min_rows_to_split=40),
    decision_tree("two labels, missing values, entropy", two, gaps, max_depth=4, criterion="entropy", min_rows=5, min_rows_to_split=40),
    decision_tree("three labels, entropy, weights", three, weight=weights, max_depth=4, criterion="entropy", min_rows_to_split=40),
    decision_tree("three labels, balanced", three, class_weight="balanced", max_depth=4, min_rows_to_split=40),
    decision_tree("values", values, max_depth=4, min_rows_to_split=15),
    decision_tree("values, weights", values, weight=weights, max_depth=4, min_rows=3, min_rows_to_split=15),
    decision_tree("values, missing values", values, gaps, max_depth=4, min_rows_to_split=15),
    decision_tree("values, unlimited, one column", values, one),
    decision_tree("values, large nodes", values, min_rows_to_split=40),
    decision_tree("values, unlimited", values, unlimited=True),
    decision_tree("values, unlimited, missing values", values, gaps, unlimited=True),
    decision_tree("three labels, unlimited", three, unlimited=True),
    decision_tree("three labels, unlimited, one column", three, one, unlimited=True),
]
forests = [
    forest("labels", "random_forest", ensemble.RandomForestClassifier, three),
    forest("two labels, weights, missing values", "random_forest", ensemble.RandomForestClassifier, two, gaps, weights, min_rows=3),
    forest("values", "random_forest", ensemble.RandomForestRegressor, values),
    forest("values, a third of the columns", "random_forest", ensemble.RandomForestRegressor, values, max_features=0.34, bootstrap=False),
    forest("labels, random thresholds", "extra_trees", ensemble.ExtraTreesClassifier, three),
    forest("two labels, random thresholds, missing values", "extra_trees", ensemble.ExtraTreesClassifier, two, gaps, min_rows=3),
    forest("values, random thresholds", "extra_trees", ensemble.ExtraTreesRegressor, values),
    forest("values, random thresholds, depth", "extra_trees", ensemble.ExtraTreesRegressor, values, weight=weights, max_depth=6, bootstrap=True),
]
cases = {
    "scikit-learn": sklearn.__version__,
    "features": [[round(value) for value in row] for row in (features * 1024).tolist()],
    "missing": np.argwhere(np.isnan(gaps)).tolist(),
    "targets": {"values": values.tolist(), "three": three.tolist(), "two": two.tolist()},
    "weights": weights.tolist(),
    "trees": trees,
    "forests": forests,
}
path = pathlib.Path(__file__).parents[1] / "fixtures" / "forest.json"
path.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
for case in forests:
    print(case["name"], round(case["mean"], 4), round(case["spread"], 4))
