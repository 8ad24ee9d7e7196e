"""What scikit-learn, pandas and binary notation make of small columns of levels, for tests/encoding.rs. Writes tests/fixtures/encoding.json in the
shape of preprocessing.py's."""

import json
import math
import pathlib

import numpy as np
import pandas as pd
from sklearn.feature_extraction import FeatureHasher
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

random = np.random.default_rng(13)
cases = []


def cells(values):
    """A column as JSON: NaN is missing."""
    whole = lambda value: int(value) if float(value).is_integer() else float(f"{value:.12g}")
    return [value if value is None or isinstance(value, str) else None if math.isnan(value) else whole(value) for value in values]


def case(name, step, train, other, expected, **more):
    columns = {part: {name: cells(values) for name, values in table.items()} for part, table in {"train": train, "other": other}.items()}
    outputs = {part: {name: cells(np.asarray(values, float)) for name, values in table.items()} for part, table in expected.items()}
    cases.append({"name": name, "step": step, **columns, "expected": outputs, **more})


def both(of):
    return {"train": of(train), "other": of(other)}


def objects(table):
    """As rows, with NaN for what is missing: scikit-learn takes None for a level."""
    return np.array([[np.nan if value is None else value for value in values] for values in table.values()], dtype=object).T


train = {
    "city": random.choice(["Lyon", "Oslo", "Rome", "Bonn", "Ürün", "a b"], 50, p=[0.4, 0.2, 0.15, 0.1, 0.1, 0.05]).tolist(),
    "size": random.choice(["small", "medium", "large"], 50).tolist(),
}
train["city"][7] = train["city"][20] = None
other = {"city": ["Oslo", "Nowhere", None, "Ürün", "a b"], "size": ["large", "small", "tiny", "medium", "medium"]}

# ordinal_encode: sorted, in a given order, and what is unseen and missing
order = ["small", "medium", "large"]
for name, step, options in [
    ("ordinal_encode unseen -1", {"unseen": -1}, {"handle_unknown": "use_encoded_value", "unknown_value": -1}),
    ("ordinal_encode unseen missing", {"unseen": "missing", "missing": -2}, {"handle_unknown": "use_encoded_value", "unknown_value": np.nan, "encoded_missing_value": -2}),
]:
    for given in [False, True]:
        categories = {"categories": [sorted(set(train["city"]) - {None}) + [np.nan], order]} if given else {}
        encoder = OrdinalEncoder(**options, **categories).fit(objects(train))
        step = {**step, "order": {"size": order}} if given else step
        case(f"{name}, given {given}", {"ordinal_encode": step}, train, other, both(lambda table: dict(zip(train, encoder.transform(objects(table)).T))))

# frequency_encode: pandas' value_counts, missing values being a level
for measure, normalize in [("share", True), ("count", False)]:
    counts = {name: pd.Series(values, dtype=object).value_counts(normalize=normalize, dropna=False) for name, values in train.items()}
    number = lambda name, value: counts[name][counts[name].index.isna()].sum() if value is None else counts[name].get(value, 0)
    case(
        f"frequency_encode {measure}", {"frequency_encode": {"measure": measure}}, train, other,
        both(lambda table: {name: [number(name, value) for value in values] for name, values in table.items()}),
    )

# hash_encode: a row as a dictionary of its values; few columns, so that levels share some
for n_features, alternate_sign in [(8, True), (8, False), (3, True), (1000, True)]:
    hasher = FeatureHasher(n_features, input_type="dict", alternate_sign=alternate_sign)
    rows = lambda table: [{name: values[row] for name, values in table.items() if values[row] is not None} for row in range(len(table["city"]))]
    hashed = both(lambda table: hasher.transform(rows(table)).toarray().T)
    if n_features == 1000:
        # Nothing else than in these columns.
        used = sorted({place for part in hashed.values() for place in np.flatnonzero(np.abs(part).sum(axis=1))})
    else:
        used = range(n_features)
    case(
        f"hash_encode {n_features} {alternate_sign}", {"hash_encode": {"n_features": n_features, "alternate_sign": alternate_sign, "prefix": "h"}}, train, other,
        {part: {f"h_{place + 1}": values[place] for place in used} for part, values in hashed.items()}, **({"n_features": 1000} if n_features == 1000 else {}),
    )

# binary_encode: the binary notation of numbers from 1, in sorted order, a missing value last
levels = {name: sorted(set(values) - {None}) + [None] * (None in values) for name, values in train.items()}
digits = {name: len(f"{len(of):b}") for name, of in levels.items()}
binary = lambda name, value: f"{levels[name].index(value) + 1 if value in levels[name] else 0:0{digits[name]}b}"
case(
    "binary_encode", {"binary_encode": {}}, train, other,
    both(lambda table: {f"{name}_{place + 1}": [int(binary(name, value)[place]) for value in values] for name, values in table.items() for place in range(digits[name])}),
)

# one_hot: missing values as a level, rare levels, unseen ones
for name, step, options in [
    ("one_hot missing", {"columns": "city"}, {"handle_unknown": "ignore"}),
    ("one_hot missing, rare", {"columns": "city", "min_frequency": 6, "unseen": "other"}, {"handle_unknown": "infrequent_if_exist", "min_frequency": 6}),
]:
    city = lambda table: np.array(table["city"], dtype=object)[:, None]
    encoder = OneHotEncoder(sparse_output=False, **options).fit(city(train))
    names = [name.replace("x0_", "city_").replace("city_infrequent_sklearn", "city_other").replace("city_None", "city_missing") for name in encoder.get_feature_names_out()]
    case(name, {"one_hot": step}, train, other, both(lambda table: dict(zip(names, encoder.transform(city(table)).T))))

target = pathlib.Path(__file__).parents[1] / "fixtures" / "encoding.json"
target.write_text("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases) + "\n]\n", encoding="utf-8")
