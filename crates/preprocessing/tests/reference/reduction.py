"""What scikit-learn, and for diffusion maps the published equations in numpy, make of small columns, for tests/reduction.rs. Writes
tests/fixtures/reduction.json.

A case is a table of training columns, a table of further rows, the step as it is written in YAML, and for both tables the columns that must come out, by our
names. `signs` marks cases in which scikit-learn leaves the signs of components open.
"""

import json
import pathlib

import numpy as np
from sklearn.datasets import load_iris, load_wine
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

random = np.random.default_rng(11)
cases = []


def columns(matrix, prefix):
    return {f"{prefix}{index}": [float(f"{value:.14g}") for value in values] for index, values in enumerate(np.asarray(matrix).T, 1)}


def case(name, step, train, other, expected, **more):
    word = next(iter(step))
    prefix = {"pca": "pca", "incremental_pca": "pca", "truncated_svd": "svd", "diffusion_map": "diffusion", "lda": "lda"}[word]
    outputs = {part: columns(matrix, f"{prefix}_") for part, matrix in zip(["train", "other"], expected)}
    cases.append({"name": name, "step": step, "train": columns(train, "x"), "other": columns(other, "x"), "expected": outputs, **more})


def decomposition(name, step, estimator, train, other, **more):
    estimator.fit(train)
    state = {key: getattr(estimator, f"{key}_").tolist() for key in ["explained_variance", "explained_variance_ratio", "singular_values"] if hasattr(estimator, f"{key}_")}
    case(name, step, train, other, [estimator.transform(train), estimator.transform(other)], **state, **more)


def mixed(n_rows, n_columns, far=5.0):
    mixing = random.normal(size=(n_columns, n_columns)) * np.geomspace(5, 0.05, n_columns)[:, None]
    return lambda n: (random.normal(size=(n, n_columns)) @ mixing + far).round(4), n_rows


# pca: of numbers far from 0, with fewer rows than columns, and with a constant column
for name, rows, step, options in [
    ("pca", mixed(60, 7), {"components": 4}, {"n_components": 4}),
    # the solver that scikit-learn would take subtracts large squares from each other, which costs it seven digits here
    ("pca far from 0", mixed(50, 5, 1e5), {"components": 3, "whiten": True}, {"n_components": 3, "whiten": True, "svd_solver": "full"}),
    ("pca of few rows", mixed(6, 9), {"components": 4, "whiten": True}, {"n_components": 4, "whiten": True}),
    ("pca share of few rows", mixed(6, 9), {"components": 0.8}, {"n_components": 0.8, "svd_solver": "full"}),
]:
    make, n_rows = rows
    decomposition(name, {"pca": step}, PCA(**options), make(n_rows), make(4))
constant = np.hstack([(random.normal(size=(30, 3)) * [3, 2, 1]).round(4), np.full((30, 1), 0.1)])
decomposition("pca of a constant column", {"pca": {"components": 3}}, PCA(3), constant, constant[:3])

# pca, randomised: of a matrix whose rank is below the number of directions drawn the result is exact, whatever is drawn
low = (random.normal(size=(40, 5)) * [9, 6, 4, 2, 1]) @ random.normal(size=(5, 30)) + 3
decomposition(
    "pca randomised", {"pca": {"components": 5, "solver": "randomized"}}, PCA(5, svd_solver="randomized", random_state=0), low, low[:3] + random.normal(size=(3, 30)).round(4),
)

# incremental_pca on the same batches: the last one takes along what is left over where that is too little
make, _ = mixed(0, 6)
for name, n_rows, step, options in [
    ("incremental_pca", 100, {"components": 3}, {"n_components": 3}),
    ("incremental_pca batches", 50, {"components": 4, "batch_size": 8}, {"n_components": 4, "batch_size": 8}),
    ("incremental_pca whitened", 49, {"components": 2, "batch_size": 12, "whiten": True}, {"n_components": 2, "batch_size": 12, "whiten": True}),
    ("incremental_pca in one batch", 20, {"components": 6}, {"n_components": 6}),
]:
    decomposition(name, {"incremental_pca": step}, IncrementalPCA(**options), make(n_rows), make(4))

# truncated_svd: with more rows than columns and with fewer; ARPACK is exact, its signs are made those of svd_flip by components
for name, n_rows, n_columns in [("truncated_svd", 40, 8), ("truncated_svd of few rows", 12, 20)]:
    rows = random.normal(size=(n_rows, 4)) * [9, 5, 3, 2] @ random.normal(size=(4, n_columns)) + 2
    decomposition(name, {"truncated_svd": {"components": 3}}, TruncatedSVD(3, algorithm="arpack", random_state=0), rows, rows[:3] + random.normal(size=(3, n_columns)), signs=True)
for entry in cases:
    if "truncated_svd" in entry["step"]:
        # scikit-learn's are of the scores, without centring; ours does not say them
        del entry["explained_variance"], entry["explained_variance_ratio"]

# lda
iris, wine = load_iris(), load_wine()
labels = {"iris": iris.target_names[iris.target].tolist(), "wine": wine.target_names[wine.target].tolist()}
for name, data, target, step, options in [
    ("lda iris", iris.data[::3], labels["iris"][::3], {}, {}),
    ("lda wine", wine.data[::3], labels["wine"][::3], {}, {}),
    ("lda one component", wine.data[::3], labels["wine"][::3], {"components": 1}, {"n_components": 1}),
    ("lda two labels", wine.data[:120:2], labels["wine"][:120:2], {}, {}),
    # A column that is the sum of two others leaves a direction without spread.
    ("lda dependent columns", np.hstack([iris.data[::4], iris.data[::4, :1] + iris.data[::4, 1:2]]), labels["iris"][::4], {}, {}),
    ("lda constant column", np.hstack([iris.data[::4], np.full((38, 1), 3.0)]), labels["iris"][::4], {}, {}),
]:
    estimator = LinearDiscriminantAnalysis(solver="svd", **options).fit(data, target)
    other = data[:4] * 1.1
    case(
        name, {"lda": step}, data, other, [estimator.transform(data), estimator.transform(other)], target=target, signs=True,
        explained_variance_ratio=estimator.explained_variance_ratio_.tolist(),
    )


# diffusion_map: Coifman and Lafon (2006), equations in full, with the Nystrom extension for further rows
def diffusion(train, other, n_components, steps=1, width=None, alpha=0.0):
    squares = lambda a, b: ((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2)
    between = squares(train, train)
    below = np.sort(between[np.tril_indices(len(train), -1)])
    width = width or below[len(below) // 2]
    kernel = np.exp(-between / width)
    density = kernel.sum(axis=1)
    kernel = kernel / np.outer(density, density) ** alpha
    degree = kernel.sum(axis=1)
    values, vectors = np.linalg.eig(kernel / degree[:, None])
    order = np.argsort(-values.real)[1 : n_components + 1]
    values, vectors = values.real[order], vectors.real[:, order]
    vectors = vectors / np.sqrt((vectors**2 * (degree / degree.sum())[:, None]).sum(axis=0))
    further = np.exp(-squares(other, train) / width)
    further = further / np.outer(further.sum(axis=1), density) ** alpha
    walk = further / further.sum(axis=1, keepdims=True)
    return vectors * values**steps, walk @ vectors / values * values**steps


angle = np.sort(random.uniform(0, 4.5, 40))
spiral = np.column_stack([angle * np.cos(angle), angle * np.sin(angle), random.normal(0, 0.05, 40)]).round(4)
further = (spiral[::9] + random.normal(0, 0.1, (5, 3))).round(4)
for name, step in [
    ("diffusion_map", {"components": 2, "width": 1.0}),
    ("diffusion_map of typical width", {"components": 3}),
    ("diffusion_map of five steps", {"components": 2, "steps": 5, "width": 0.8}),
    ("diffusion_map without density", {"components": 2, "steps": 2, "width": 1.5, "alpha": 1.0}),
]:
    options = {"n_components": step["components"], **{key: value for key, value in step.items() if key != "components"}}
    case(name, {"diffusion_map": step}, spiral, further, diffusion(spiral, further, **options), signs=True)

target = pathlib.Path(__file__).parents[1] / "fixtures" / "reduction.json"
target.write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n", encoding="utf-8")
