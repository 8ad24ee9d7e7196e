"""What scikit-learn's imputers and pandas make of small columns, for tests/missing.rs. Writes tests/fixtures/missing.json in the shape of preprocessing.py."""

import json
import math
import pathlib
import warnings

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator
from sklearn.linear_model import Ridge

random = np.random.default_rng(11)
cases = []


def cells(values):
    return [None if value is None or (isinstance(value, float) and math.isnan(value)) else value for value in values]


def case(name, step, train, other, expected):
    columns = lambda table: {name: cells(list(values)) for name, values in table.items()}
    exact = lambda table: {name: cells([float(f"{value:.14g}") for value in np.asarray(values, float)]) for name, values in table.items()}
    cases.append({"name": name, "step": step, "train": columns(train), "other": columns(other), "expected": {part: exact(table) for part, table in expected.items()}})


def rows(n, missing, scale):
    """Six columns that depend on each other, some values missing at random; `scale` makes them of different sizes."""
    mixing = np.random.default_rng(5).normal(size=(3, 6))
    values = random.normal(size=(n, 3)) @ mixing + 0.3 * random.normal(size=(n, 6))
    values = values * (np.array([1, 10, 0.1, 3, 100, 1]) if scale else 1) + (np.array([0, 5, 1, -20, 1000, 2]) if scale else 0)
    values = values.round(6)
    values[random.random(values.shape) < missing] = np.nan
    return values


table = lambda matrix: {f"x{index}": values.tolist() for index, values in enumerate(matrix.T)}


def by_estimator(name, step, estimator, train, other):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        expected = {"train": estimator.fit_transform(train), "other": estimator.transform(other)}
    case(name, step, table(train), table(other), {part: table(matrix) for part, matrix in expected.items()})


train, other = rows(60, 0.15, False), rows(15, 0.3, False)
# A row without any value, one with a single one, and one that shares no column with most.
other[0], other[1, 1:], train[3] = np.nan, np.nan, np.nan
for name, step, options in [
    ("uniform", {}, {}),
    ("distance", {"weights": "distance"}, {"weights": "distance"}),
    ("one", {"neighbours": 1}, {"n_neighbors": 1}),
    ("more than rows", {"neighbours": 100, "weights": "distance"}, {"n_neighbors": 100, "weights": "distance"}),
]:
    by_estimator(f"knn_impute {name}", {"knn_impute": step}, KNNImputer(**options), train, other)
dense, sparse = rows(80, 0.6, True), rows(20, 0.6, True)
by_estimator("knn_impute where most is missing", {"knn_impute": {"neighbours": 3}}, KNNImputer(n_neighbors=3), dense, sparse)
exact = np.vstack([other, train[10:14]])
exact[-4:, 0] = np.nan


def exactly(one, other, missing_values):
    """nan_euclidean_distances, but that a row is at no distance from itself: there it is off by a rounding, which the inverse shows."""
    both = ~(np.isnan(one) | np.isnan(other))
    return math.sqrt(((one - other)[both] ** 2).sum() / both.sum() * len(one)) if both.any() else math.nan


by_estimator("knn_impute of training rows", {"knn_impute": {"weights": "distance"}}, KNNImputer(weights="distance", metric=exactly), np.where(np.isnan(train), 0.5, train), exact)

for name, step, options, data in [
    ("settles", {}, {"alpha": 1e-3}, (rows(80, 0.1, False), rows(10, 0.2, False))),
    ("strong penalty", {"alpha": 5.0, "rounds": 3}, {"alpha": 5.0, "max_iter": 3}, (rows(80, 0.2, False), rows(10, 0.4, False))),
    ("columns of all sizes", {"rounds": 6, "tolerance": 1e-6}, {"alpha": 1e-3, "max_iter": 6, "tol": 1e-6}, (rows(80, 0.2, True), rows(10, 0.4, True))),
]:
    train, other = data
    # Complete in training rows, missing in others; equally many missing values in two columns.
    train[:, 4] = np.where(np.isnan(train[:, 4]), 1.25, train[:, 4])
    other[2, 4] = np.nan
    more = {key: value for key, value in options.items() if key != "alpha"}
    imputer = IterativeImputer(estimator=Ridge(alpha=options["alpha"]), **more)
    by_estimator(f"iterative_impute {name}", {"iterative_impute": step}, imputer, train, other)
one = rows(20, 0.3, False)[:, :1]
by_estimator("iterative_impute of one column", {"iterative_impute": {}}, IterativeImputer(estimator=Ridge()), one, one[:5])

train, other = rows(30, 0.1, False), rows(10, 0.5, False)
train[:, 2] = 1.0
indicator = MissingIndicator(features="missing-only").fit(train)
indicated = lambda matrix: dict(zip([f"x{index}_missing" for index in indicator.features_], indicator.transform(matrix).T)) | table(matrix)
indicator.error_on_new = False
case("missing_indicator", {"missing_indicator": {}}, table(train), table(other), {"train": indicated(train), "other": indicated(other)})

# fill_missing, as pandas fills; the columns that rows are grouped and ordered by stay as they are
n = 40
frame = pd.DataFrame({
    "x": np.where(random.random(n) < 0.5, np.nan, random.normal(size=n).round(3)),
    "y": np.where(random.random(n) < 0.8, np.nan, random.normal(size=n).round(3)),
    "group": random.choice(["a", "b", None], n).astype(object),
    "half": random.choice(["u", "v"], n).astype(object),
    "when": random.permutation(np.arange(n) // 2).astype(float),
})
frame.loc[[4, 9], "when"] = np.nan


def filled(frame, direction, by, order_by, limit):
    ordered = frame.sort_values(order_by, kind="stable", na_position="last") if order_by else frame
    values = ordered[["x", "y"]]
    values = values.groupby([ordered[name] for name in by], dropna=False) if by else values
    values = values.ffill(limit=limit) if direction == "forward" else values.bfill(limit=limit)
    return values.loc[frame.index]


for direction in ["forward", "backward"]:
    for by, order_by, limit in [([], None, None), (["group"], None, None), (["group", "half"], "when", None), ([], "when", 2), (["half"], None, 1)]:
        step = {"direction": direction, "by": by, "order_by": order_by, "limit": limit, "columns": ["x", "y"]}
        step = {key: value for key, value in step.items() if value}
        half = frame.iloc[:17].reset_index(drop=True)
        expected = {part: filled(table, direction, by, order_by, limit).to_dict("list") for part, table in {"train": frame, "other": half}.items()}
        columns = lambda table: {name: [None if pd.isna(value) else value for value in table[name]] for name in table}
        case(f"fill_missing {direction} {by} {order_by} {limit}", {"fill_missing": step}, columns(frame), columns(half), expected)

target = pathlib.Path(__file__).parents[1] / "fixtures" / "missing.json"
target.write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n", encoding="utf-8")
