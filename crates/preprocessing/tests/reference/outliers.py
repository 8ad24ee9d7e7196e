"""What numpy and scikit-learn find far outside, for tests/outliers.rs, src/isolation_forest.rs and src/local_outlier_factor.rs. Writes
tests/fixtures/outliers.json in the shape of preprocessing.py; `scores` are those of rows, and `spread` how far they are apart by the seed.
"""

import json
import math
import pathlib

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor

random = np.random.default_rng(3)
cases = []


def cells(values):
    return [None if math.isnan(value) else value for value in map(float, values)]


def case(name, step, train, other, expected, **more):
    columns = lambda columns: {name: cells(values) for name, values in columns.items()}
    expected = {part: columns(table) for part, table in expected.items()}
    cases.append({"name": name, "step": step, "train": columns(train), "other": columns(other), "expected": expected, **more})


def numbers(n):
    columns = {
        "normal": random.normal(3, 2, n),
        "skewed": np.exp(random.normal(0, 2, n)),
        "counts": random.poisson(1.5, n).astype(float),
        "mostly": np.where(random.random(n) < 0.1, 5.0, 0.0),
        "far": 1e6 + random.standard_t(2, n),
    }
    for values in columns.values():
        values[random.random(n) < 0.1] = np.nan
    return {name: values.round(5) for name, values in columns.items()}


def of_median(x, factor):
    median = np.nanmedian(x)
    deviation = np.nanmedian(np.abs(x - median))
    return median + np.array([-1, 1]) * factor * deviation / 0.6745


rules = {
    "iqr": ({}, lambda x: np.nanpercentile(x, [25, 75]) + np.array([-3, 3]) * np.diff(np.nanpercentile(x, [25, 75]))),
    "iqr, nearer": ({"factor": 1.5}, lambda x: np.nanpercentile(x, [25, 75]) + np.array([-1.5, 1.5]) * np.diff(np.nanpercentile(x, [25, 75]))),
    "z_score": ({"method": "z_score"}, lambda x: np.nanmean(x) + np.array([-3, 3]) * np.nanstd(x)),
    "modified_z_score": ({"method": "modified_z_score"}, lambda x: of_median(x, 3.5)),
    "modified_z_score, nearer": ({"method": "modified_z_score", "factor": 1.2}, lambda x: of_median(x, 1.2)),
    "percentile": ({"method": "percentile", "percentiles": [4, 95]}, lambda x: np.nanpercentile(x, [4, 95])),
}
train, other = numbers(80), numbers(25)
for name, (step, bounds) in rules.items():
    # Where most values are equal the median absolute deviation is 0: such a column is let alone.
    range_of = lambda column: (lambda bounds: bounds if bounds[0] < bounds[1] else np.array([-np.inf, np.inf]))(bounds(train[column]))
    outside = lambda table, column: (table[column] < range_of(column)[0]) | (table[column] > range_of(column)[1])
    both = {"train": train, "other": other}
    clipped = {part: {column: np.clip(values, *range_of(column)) for column, values in table.items()} for part, table in both.items()}
    case(f"outliers {name}, clip", {"outliers": {"action": "clip", **step}}, train, other, clipped)
    if name != "percentile":
        case(f"clip_outliers {name}", {"clip_outliers": step}, train, other, clipped)
    case(f"outliers {name}, null", {"outliers": {"action": "null", **step}}, train, other,
         {part: {column: np.where(outside(table, column), np.nan, values) for column, values in table.items()} for part, table in both.items()})
    flagged = [column for column in train if outside(train, column).any()]
    case(f"outliers {name}, flag", {"outliers": {"action": "flag", **step}}, train, other,
         {part: {f"{column}_outlier": outside(table, column) for column in flagged} for part, table in both.items()})
    kept = ~np.any([outside(train, column) for column in train], axis=0)
    case(f"outliers {name}, drop", {"outliers": {"action": "drop", **step}}, train, other,
         {"train": {column: values[kept] for column, values in train.items()}, "other": other},
         dropped=int((~kept).sum()), flagged=np.any([outside(other, column) for column in train], axis=0).tolist())


def clouds(n, wild):
    rows = np.vstack([random.normal(0, 1, (n // 2, 3)), random.normal(5, 0.3, (n - n // 2, 3)), random.uniform(-6, 10, (wild, 3))])
    return rows.round(6)


table = lambda matrix: {f"x{index}": values for index, values in enumerate(matrix.T)}
train, other = clouds(110, 10), clouds(20, 10)
for name, step, options in [
    ("", {}, {}),
    (" by neighbours", {"neighbours": 7}, {"n_neighbors": 7}),
    (" by share", {"neighbours": 10, "contamination": 0.07}, {"n_neighbors": 10, "contamination": 0.07}),
    (" by all others", {"neighbours": 500, "contamination": 0.2}, {"n_neighbors": 119, "contamination": 0.2}),
]:
    factor = LocalOutlierFactor(novelty=True, **options).fit(train)
    own = LocalOutlierFactor(**options).fit_predict(train) < 0
    case(f"outliers local_outlier_factor{name}", {"outliers": {"method": "local_outlier_factor", "action": "flag", **step}}, table(train), table(other),
         {"train": {"outlier": own, **table(train)}, "other": {"outlier": factor.predict(other) < 0, **table(other)}},
         scores={"train": factor.negative_outlier_factor_.tolist(), "other": factor.score_samples(other).tolist()}, n_flagged=int(own.sum()))

for n in [120, 1000]:
    train, other = clouds(n - 10, 10), clouds(20, 10)
    forests = [IsolationForest(random_state=seed).fit(train) for seed in range(40)]
    scores = np.array([forest.score_samples(other) for forest in forests])
    shares = np.array([(forest.score_samples(train) < -0.5).mean() for forest in forests])
    cases.append({"name": f"isolation_forest of {n}", "train": {name: cells(values) for name, values in table(train).items()},
                  "other": {name: cells(values) for name, values in table(other).items()}, "scores": scores.mean(axis=0).tolist(),
                  "spread": scores.std(axis=0, ddof=1).tolist(), "share": [shares.mean(), shares.std(ddof=1)]})

target = pathlib.Path(__file__).parents[1] / "fixtures" / "outliers.json"
target.write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n", encoding="utf-8")
