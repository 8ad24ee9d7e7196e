"""What scikit-learn makes of small columns, for tests/scaling.rs. Writes tests/fixtures/scaling.json in the shape of preprocessing.py's."""

import json
import math
import pathlib
import warnings

import numpy as np
from sklearn.preprocessing import KBinsDiscretizer, MaxAbsScaler, Normalizer, PolynomialFeatures, PowerTransformer, QuantileTransformer, RobustScaler

warnings.filterwarnings("ignore")
random = np.random.default_rng(11)
cases = []


def cells(values):
    """A column as JSON: NaN is missing."""
    whole = lambda value: int(value) if float(value).is_integer() else float(value)
    return [None if math.isnan(value) else whole(value) for value in np.asarray(values, float)]


def case(name, step, train, other, expected, **more):
    columns = {part: {name: cells(values) for name, values in table.items()} for part, table in {"train": train, "other": other}.items()}
    outputs = {part: {name: cells([float(f"{value:.13g}") for value in values]) for name, values in table.items()} for part, table in expected.items()}
    cases.append({"name": name, "step": step, **columns, "expected": outputs, **more})


def matrix(table):
    return np.array(list(table.values()), float).T


def by_estimator(name, step, estimator, train, other, names=None, **more):
    """A case of an estimator; `names` are those of its columns, where they are not those of the input."""
    estimator.fit(matrix(train))
    names = names or list(train)
    expected = {part: dict(zip(names, estimator.transform(matrix(table)).T, strict=True)) for part, table in {"train": train, "other": other}.items()}
    case(name, step, train, other, expected, **more)


def numbers(n, missing=0.1):
    """Columns of several shapes; `halves` has many equal values, `zeros` only one."""
    columns = {
        "normal": random.normal(3, 2, n),
        "skewed": np.exp(random.normal(0, 2, n)),
        "counts": random.poisson(1.5, n).astype(float),
        "halves": np.round(random.normal(0, 2, n)) / 2,
        "far": 1e6 + random.normal(0, 1, n),
        "negative": -np.exp(random.normal(0, 1, n)),
        "zeros": np.zeros(n),
    }
    for values in columns.values() if missing else []:
        values[random.random(n) < missing] = np.nan
    return {name: values.round(5) for name, values in columns.items()}


train, other = numbers(61), numbers(20)
by_estimator("max_abs_scale", {"max_abs_scale": {}}, MaxAbsScaler(), train, other)
for name, step, options in [
    ("robust_scale", {}, {}),
    ("robust_scale percentiles", {"percentiles": [10, 80], "unit_variance": True}, {"quantile_range": (10, 80), "unit_variance": True}),
    ("robust_scale without centre", {"center": False}, {"with_centering": False}),
    ("robust_scale without spread", {"scale": False}, {"with_scaling": False}),
]:
    by_estimator(name, {"robust_scale": step}, RobustScaler(**options), train, other)
# Tables below scikit-learn's subsample, with more, fewer and as many quantiles as rows.
for output in ["uniform", "normal"]:
    for n_quantiles in [1000, 61, 20]:
        by_estimator(
            f"quantile_transform {output} {n_quantiles}", {"quantile_transform": {"output": output, "n_quantiles": n_quantiles}},
            QuantileTransformer(n_quantiles=n_quantiles, output_distribution=output), train, other,
        )

# Powers: the likelihood is flat at its top, so that its place is known to about the root of the precision of numbers.
usable = [name for name in train if name != "zeros"]
for standardize in [True, False]:
    some = lambda table, names: {name: table[name] for name in names}
    by_estimator(
        f"power_transform yeo_johnson, standardize {standardize}", {"power_transform": {"standardize": standardize}}, PowerTransformer(standardize=standardize),
        some(train, train if standardize else ["normal", "skewed", "counts", "halves", "negative"]),
        some(other, train if standardize else ["normal", "skewed", "counts", "halves", "negative"]), tolerance=1e-6,
    )
    positive = {"skewed": train["skewed"], "shifted": train["normal"] + 20, "far": train["far"], "large": train["skewed"] * 1e9}
    further = {"skewed": other["skewed"], "shifted": other["normal"] + 20, "far": other["far"], "large": other["skewed"] * 1e9}
    if not standardize:
        # A power of 1e6 is too large a number to compare without dividing by its deviation.
        positive, further = ({name: values for name, values in table.items() if name != "far"} for table in [positive, further])
    by_estimator(
        f"power_transform box_cox, standardize {standardize}", {"power_transform": {"method": "box_cox", "standardize": standardize}},
        PowerTransformer("box-cox", standardize=standardize), positive, further, tolerance=1e-6,
    )

full, fresh = numbers(40, missing=0.0), numbers(9, missing=0.0)
full["normal"][3] = full["skewed"][3] = full["counts"][3] = full["halves"][3] = full["far"][3] = full["negative"][3] = 0.0
for norm in ["l1", "l2", "max"]:
    by_estimator(f"normalize {norm}", {"normalize": {"norm": norm}}, Normalizer(norm), full, fresh)

# bin: also columns with fewer distinct values than bins, and k-means with clusters that lose all values ("skewed"). Where one cluster is empty at first,
# the least and the greatest value lie equally far from their centres but for rounding, and it is chance which of them scikit-learn moves there: such
# columns are left out.
def settled(values, bins):
    return len(np.unique(values)) > 30 and (np.histogram(values, bins)[0] == 0).sum() != 1


many, further = numbers(150, missing=0.0), numbers(20, missing=0.0)
for strategy, theirs in [("uniform", "uniform"), ("quantile", "quantile"), ("k_means", "kmeans")]:
    for bins in [2, 7, 12]:
        used = {name: values for name, values in many.items() if strategy != "k_means" or settled(values, bins)}
        by_estimator(
            f"bin {strategy} {bins}", {"bin": {"strategy": strategy, "bins": bins}}, KBinsDiscretizer(bins, encode="ordinal", strategy=theirs, subsample=None),
            used, {name: further[name] for name in used},
        )
used = {name: many[name] for name in ["normal", "counts", "zeros"]}
encoder = KBinsDiscretizer(4, encode="onehot-dense", strategy="quantile", subsample=None).fit(matrix(used))
by_estimator(
    "bin one_hot", {"bin": {"encode": "one_hot", "bins": 4}}, encoder, used, {name: further[name] for name in used},
    [name.removesuffix(".0") for name in encoder.get_feature_names_out(list(used))],
)

# polynomial: the names with `*` and without spaces.
used = {name: full[name] for name in ["normal", "counts", "halves"]}
for name, step, options in [
    ("polynomial", {}, {}),
    ("polynomial degree 3", {"degree": 3}, {"degree": 3}),
    ("polynomial interactions", {"degree": 3, "interaction_only": True}, {"degree": 3, "interaction_only": True}),
]:
    features = PolynomialFeatures(include_bias=False, **options).fit(matrix(used))
    names = [name.replace(" ", "*") for name in features.get_feature_names_out(list(used))]
    by_estimator(name, {"polynomial": step}, features, used, {name: fresh[name] for name in used}, names, order=names)

target = pathlib.Path(__file__).parents[1] / "fixtures" / "scaling.json"
target.write_text("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases) + "\n]\n", encoding="utf-8")
