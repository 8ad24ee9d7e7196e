"""What scikit-learn makes of small columns, for tests/scikit_learn.rs and src/target_encode.rs. Writes tests/fixtures/preprocessing.json.

A case is a table of training columns, a table of further rows, the step as it is written in YAML, and for both tables the columns that must
come out, by our names. `None` is a missing value.
"""

import json
import math
import pathlib

import numpy as np
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler, TargetEncoder

random = np.random.default_rng(7)
cases = []


def cells(values):
    """A column as JSON: NaN is missing."""
    whole = lambda value: int(value) if isinstance(value, float) and value.is_integer() else value
    return [None if value is None or (isinstance(value, float) and math.isnan(value)) else whole(value) for value in values]


def case(name, step, train, other, expected, **more):
    tables = {"train": train, "other": other}
    columns = {part: {name: cells(values) for name, values in table.items()} for part, table in tables.items()}
    outputs = {part: {name: cells([float(f"{value:.12g}") for value in np.asarray(values, float)]) for name, values in table.items()} for part, table in expected.items()}
    cases.append({"name": name, "step": step, **columns, "expected": outputs, **more})


def numbers(n, missing=0.1):
    """Columns of several shapes: normal, skewed, integers, constant but for rounding, large with a small spread."""
    columns = {
        "normal": random.normal(3, 2, n),
        "skewed": np.exp(random.normal(0, 3, n)),
        "counts": random.poisson(1.5, n).astype(float),
        "constant": np.full(n, 0.1),
        "far": 1e6 + random.normal(0, 1, n),
    }
    for name in columns if missing else []:
        columns[name][random.random(n) < missing] = np.nan
    return {name: values.round(5).tolist() for name, values in columns.items()}


def by_estimator(name, step, estimator, train, other, rename=None):
    """A case of an estimator that keeps the number of columns."""
    matrix = lambda table: np.array(list(table.values()), float).T
    estimator.fit(matrix(train))
    expected = {part: dict(zip(train, estimator.transform(matrix(table)).T)) for part, table in {"train": train, "other": other}.items()}
    case(name, step, train, other, expected)


train, other = numbers(60), numbers(9, missing=0.0)
by_estimator("standard_scale", {"standard_scale": {}}, StandardScaler(), train, other)
by_estimator("standard_scale without mean", {"standard_scale": {"center": False}}, StandardScaler(with_mean=False), train, other)
by_estimator("standard_scale without deviation", {"standard_scale": {"scale": False}}, StandardScaler(with_std=False), train, other)
by_estimator("min_max_scale", {"min_max_scale": {}}, MinMaxScaler(), train, other)
by_estimator("min_max_scale to a range, clipped", {"min_max_scale": {"range": [-2, 3], "clip": True}}, MinMaxScaler((-2, 3), clip=True), train, other)
other = numbers(20)
for strategy in ["mean", "median", "most_frequent"]:
    by_estimator(f"impute {strategy}", {"impute": {"strategy": strategy}}, SimpleImputer(strategy=strategy), train, other)
by_estimator("impute constant", {"impute": {"strategy": "constant", "value": -1}}, SimpleImputer(strategy="constant", fill_value=-1), train, other)

# impute with an indicator
matrix = lambda table: np.array(list(table.values()), float).T
indicator = MissingIndicator(features="missing-only").fit(matrix(train))
case(
    "impute indicator", {"impute": {"strategy": "mean", "indicator": True}}, train, other,
    {part: {f"{list(train)[index]}_missing": values for index, values in zip(indicator.features_, indicator.transform(matrix(table)).T)}
     for part, table in {"train": train, "other": other}.items()},
)

# clip_outliers between percentiles and by quartiles, as numpy.percentile
for name, step, bounds in [
    ("clip_outliers percentile", {"method": "percentile", "percentiles": [5, 90]}, lambda x: np.nanpercentile(x, [5, 90])),
    ("clip_outliers iqr", {"factor": 0.5}, lambda x: np.nanpercentile(x, [25, 75]) + np.array([-0.5, 0.5]) * np.diff(np.nanpercentile(x, [25, 75]))),
    ("clip_outliers z_score", {"method": "z_score", "factor": 1.5}, lambda x: np.nanmean(x) + np.array([-1.5, 1.5]) * np.nanstd(x)),
]:
    used = {column: train[column] for column in ["normal", "skewed", "counts", "far"]}
    fresh = {column: other[column] for column in used}
    case(name, {"clip_outliers": step}, used, fresh, {
        part: {column: np.clip(values, *bounds(used[column])) for column, values in table.items()} for part, table in {"train": used, "other": fresh}.items()
    })
positive = {"skewed": train["skewed"], "counts": train["counts"]}
case("log1p", {"log1p": {}}, positive, positive, {part: {name: np.log1p(np.array(values, float)) for name, values in positive.items()} for part in ["train", "other"]})

# one_hot: the levels by their names; no two equally frequent levels at the border
levels = random.choice(list("abcdefgh"), 200, p=[0.3, 0.2, 0.15, 0.12, 0.1, 0.08, 0.03, 0.02]).tolist()
fresh = ["a", "h", "b", "g", "unseen", "c"]
for name, step, options in [
    ("one_hot", {}, {"handle_unknown": "ignore"}),
    ("one_hot max_levels", {"max_levels": 4}, {"handle_unknown": "ignore", "max_categories": 4}),
    ("one_hot min_frequency", {"min_frequency": 15, "unseen": "other"}, {"handle_unknown": "infrequent_if_exist", "min_frequency": 15}),
    ("one_hot both", {"min_frequency": 10, "max_levels": 3, "unseen": "other"}, {"handle_unknown": "infrequent_if_exist", "min_frequency": 10, "max_categories": 3}),
    ("one_hot one level", {"max_levels": 1}, {"handle_unknown": "ignore", "max_categories": 1}),
]:
    encoder = OneHotEncoder(sparse_output=False, **options).fit([[level] for level in levels])
    names = [name.replace("x0_", "level_").replace("level_infrequent_sklearn", "level_other") for name in encoder.get_feature_names_out()]
    case(name, {"one_hot": step}, {"level": levels}, {"level": fresh}, {
        part: dict(zip(names, encoder.transform([[level] for level in table]).T)) for part, table in {"train": levels, "other": fresh}.items()
    })

# target_encode: the training rows with given folds, further rows with all of them
cities = random.choice(["Lyon", "Oslo", "Rome", "Bonn", "Cork"], 80, p=[0.4, 0.3, 0.2, 0.08, 0.02]).tolist()
colours = random.choice(["red", "green", "blue"], 80).tolist()
cities[5] = None
fresh = {"city": ["Oslo", "Nowhere", None, "Cork"], "colour": ["red", "blue", "green", "pink"]}
noise = random.normal(size=80) + np.array([len(city or "") for city in cities])
targets = {
    "regression": noise.tolist(),
    "two labels": ["yes" if value > 4 else "no" for value in noise],
    "three labels": ["low" if value < 3.5 else "mid" if value < 4.5 else "high" for value in noise],
}
for kind, target in targets.items():
    for smooth in ["auto", 3.5, 0.0]:
        table = np.array([cities, colours], dtype=object).T
        folds = (KFold if kind == "regression" else StratifiedKFold)(4, shuffle=True, random_state=1)
        fold_of = np.zeros(80, int)
        for number, (_, held_out) in enumerate(folds.split(table, target)):
            fold_of[held_out] = number
        encoder = TargetEncoder(smooth=smooth, cv=folds, target_type={"regression": "continuous", "two labels": "binary"}.get(kind, "multiclass"))
        encoded = encoder.fit_transform(table, target)
        labels = sorted(set(target)) if kind == "three labels" else ["target"]
        names = [f"{column}_{label}" for column in ["city", "colour"] for label in labels]
        further = encoder.transform(np.array(list(fresh.values()), dtype=object).T)
        case(
            f"target_encode {kind} {smooth}", {"target_encode": {"smooth": smooth, "folds": 4}}, {"city": cities, "colour": colours}, fresh,
            {"train": dict(zip(names, encoded.T)), "other": dict(zip(names, further.T))}, target=target, folds=fold_of.tolist(),
        )

# tf_idf: no two equally frequent terms at the border of max_features
words = "kernel module driver library python bindings for the web server common-files documentation Ünïcode x 3D C++ naïve_bayes".split()
weights = 1 / np.arange(1, len(words) + 1)
texts = [" ".join(random.choice(words, random.integers(0, 9), p=weights / weights.sum())) for _ in range(40)]
texts[3] = None
totals = CountVectorizer().fit_transform([text or "" for text in texts]).sum(axis=0).A1
descending = np.sort(totals)[::-1]
n_clear = next(n for n in range(5, 12) if descending[n - 1] > descending[n])
fresh = ["the kernel of a python", "", None, "Web-server, WEB web; ünïcode", "nothing known"]
for name, step, options in [
    ("tf_idf", {}, {}),
    ("tf_idf bigrams", {"ngrams": [1, 2], "min_rows": 2, "sublinear": True}, {"ngram_range": (1, 2), "min_df": 2, "sublinear_tf": True}),
    ("tf_idf max_features", {"max_features": n_clear}, {"max_features": n_clear}),
    ("tf_idf characters", {"analyzer": "character", "ngrams": [2, 4], "min_rows": 11}, {"analyzer": "char_wb", "ngram_range": (2, 4), "min_df": 11}),
]:
    vectorizer = TfidfVectorizer(**options)
    matrix = {"train": vectorizer.fit_transform([text or "" for text in texts]), "other": vectorizer.transform([text or "" for text in fresh])}
    names = [f"text_{term}" for term in vectorizer.get_feature_names_out()]
    case(name, {"tf_idf": step}, {"text": texts}, {"text": fresh}, {part: dict(zip(names, table.toarray().T)) for part, table in matrix.items()}, kind="text")

# pca, with more rows than columns and with fewer
for name, n_rows, step, options in [
    ("pca", 40, {"components": 3}, {"n_components": 3}),
    ("pca all", 40, {"components": 6}, {"n_components": 6}),
    ("pca whitened", 40, {"components": 4, "whiten": True}, {"n_components": 4, "whiten": True}),
    ("pca share", 40, {"components": 0.9}, {"n_components": 0.9, "svd_solver": "full"}),
    ("pca few rows", 5, {"components": 3}, {"n_components": 3}),
]:
    mixing = random.normal(size=(6, 6)) * np.array([4, 2.5, 1.6, 1, 0.5, 0.1])[:, None]
    rows, further = (random.normal(size=(n_rows, 6)) @ mixing + 5).round(5), (random.normal(size=(4, 6)) @ mixing + 5).round(5)
    pca = PCA(**options).fit(rows)
    columns = lambda matrix, prefix: {f"{prefix}{index}": values.tolist() for index, values in enumerate(matrix.T, 1)}
    case(
        name, {"pca": step}, columns(rows, "x"), columns(further, "x"), {"train": columns(pca.transform(rows), "pca_"), "other": columns(pca.transform(further), "pca_")},
        explained_variance=pca.explained_variance_.tolist(), explained_variance_ratio=pca.explained_variance_ratio_.tolist(),
    )

# truncated_svd: exact, of a matrix of rank 4, and the singular values of one of full rank
low_rank = random.normal(size=(30, 4)) @ random.normal(size=(4, 12)) * 2
further = random.normal(size=(3, 12))
vectors = np.linalg.svd(low_rank, full_matrices=False)[2][:4]
vectors *= np.sign(vectors[np.arange(4), np.abs(vectors).argmax(axis=1)])[:, None]
full_rank = (random.normal(size=(50, 30)) * np.linspace(3, 1, 30)).round(5)
case(
    "truncated_svd", {"truncated_svd": {"components": 4}}, columns(low_rank, "x"), columns(further, "x"),
    {"train": columns(low_rank @ vectors.T, "svd_"), "other": columns(further @ vectors.T, "svd_")},
    singular_values=np.linalg.svd(low_rank)[1][:4].tolist(),
)
case(
    "truncated_svd of full rank", {"truncated_svd": {"components": 5, "iterations": 10}}, columns(full_rank, "x"), columns(full_rank[:2], "x"), {},
    singular_values=np.linalg.svd(full_rank)[1][:5].tolist(),
)

target = pathlib.Path(__file__).parents[1] / "fixtures" / "preprocessing.json"
target.write_text("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases) + "\n]\n", encoding="utf-8")
