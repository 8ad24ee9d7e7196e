"""Scores of filters by scikit-learn and SciPy, and by straightforward NumPy where neither has them. Writes tests/fixtures/filters.json."""

import json
import pathlib
import warnings

import mpmath
import numpy as np
import scipy.stats
import sklearn
from sklearn.feature_selection import SelectFdr, SelectFpr, SelectFwe, chi2, f_classif, f_regression

warnings.simplefilter("ignore")
mpmath.mp.dps = 60
random = np.random.default_rng(11)
N_ROWS, N_CLASSES = 240, 3

classes = random.choice(N_CLASSES, N_ROWS, p=[0.5, 0.3, 0.2])
halves = (classes > 0).astype(int)
values = classes + 0.7 * random.normal(size=N_ROWS)
noise = random.normal(size=N_ROWS)
columns = {
    "shifted": 100.0 + classes + random.normal(size=N_ROWS),
    "skewed": np.exp(values + random.normal(size=N_ROWS)),
    "noise": noise,
    "echo": 3.0 - 2.0 * noise + 0.2 * random.normal(size=N_ROWS),
    "curve": noise**2 + values,
    "mostly_zero": np.where(random.random(N_ROWS) < 0.6, 0.0, np.abs(values) * random.random(N_ROWS)),
    "levels": np.minimum(random.poisson(1.0 + classes), 5).astype(float),
    "binary": (values + 0.5 * random.normal(size=N_ROWS) > 1.0).astype(float),
    "constant": np.full(N_ROWS, 0.1),
    "zero": np.zeros(N_ROWS),
    "telling": values + 1e-3 * random.normal(size=N_ROWS),
    # Weak ones, on which controls of false discoveries differ.
    **{f"weak{i}": 0.04 * i * values + random.normal(size=N_ROWS) for i in range(12)},
}
names = list(columns)
matrix = np.column_stack([columns[name] for name in names])
counted = [i for i, name in enumerate(names) if (columns[name] >= 0.0).all()]


def told(pair):
    """Of a constant column nothing is told."""
    scores, p_values = (np.array(numbers, dtype=float) for numbers in pair)
    unknown = np.ptp(matrix, axis=0)[: len(scores)] == 0.0 if len(scores) == len(names) else np.ptp(matrix[:, counted], axis=0) == 0.0
    return np.where(unknown, 0.0, scores), np.where(unknown, 1.0, p_values)


def tested(function, x, y):
    scores, p_values = told(function(x, y))
    as_told = lambda *_: (scores, p_values)  # noqa: E731
    selectors = {"fdr": SelectFdr, "fwe": SelectFwe, "none": SelectFpr}
    selected = {
        control: {str(alpha): selector(as_told, alpha=alpha).fit(x, y).get_support().tolist() for alpha in (0.2, 0.05, 1e-3)}
        for control, selector in selectors.items()
    }
    dependent = scipy.stats.false_discovery_control(p_values, method="by")
    selected["fdr_dependent"] = {str(alpha): (dependent <= alpha).tolist() for alpha in (0.2, 0.05, 1e-3)}
    return {"scores": scores.tolist(), "p_values": p_values.tolist(), "selected": selected}


def kruskal(x, y):
    pairs = [scipy.stats.kruskal(*(column[y == c] for c in np.unique(y))) if np.ptp(column) > 0 else (0.0, 1.0) for column in x.T]
    return [h for h, _ in pairs], [p for _, p in pairs]


def binned(x, bins):
    """Bins that end at the values of ranks n/bins, 2n/bins ..., rounded up."""
    distinct = np.unique(x)
    if len(distinct) <= bins:
        edges = distinct[:-1]
    else:
        edges = np.unique([np.sort(x)[-(-i * len(x) // bins) - 1] for i in range(1, bins)])
    return np.searchsorted(edges, x, side="left")


def information_value(x, y, bins):
    bin_of, best = binned(x, bins), -np.inf
    for label in np.unique(y):
        value = 0.0
        for b in np.unique(bin_of):
            inside = bin_of == b
            own, rest = np.sum(inside & (y == label)), np.sum(inside & (y != label))
            p, q = max(own, 0.5) / np.sum(y == label), max(rest, 0.5) / np.sum(y != label)
            value += (p - q) * np.log(p / q)
        best = max(best, value)
    return best


def scaled(x):
    spread = np.ptp(x, axis=0)
    return (x - x.min(0)) / np.where(spread > 0.0, spread, 1.0)


def relief_f(x, y, k):
    """Kononenko (1994), figure 2 of Robnik-Sikonja and Kononenko (2003), over all rows."""
    x, n = scaled(x), len(y)
    weights = np.zeros(x.shape[1])
    for i in range(n):
        differences = np.abs(x - x[i])
        distances = differences.sum(1)
        for label in np.unique(y):
            candidates = np.array([j for j in range(n) if y[j] == label and j != i], dtype=int)
            near = candidates[np.argsort(distances[candidates], kind="stable")[:k]]
            if len(near) == 0:
                continue
            share = -1.0 if label == y[i] else np.mean(y == label) / (1.0 - np.mean(y == y[i]))
            weights += share * differences[near].mean(0) / n
    return weights


def r_relief_f(x, y, k):
    """Figure 3 of Robnik-Sikonja and Kononenko (2003), over all rows, with a sigma of 20."""
    x, t, n = scaled(x), scaled(y), len(y)
    n_c, n_a, n_ca = 0.0, np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for i in range(n):
        differences = np.abs(x - x[i])
        distances = differences.sum(1)
        distances[i] = np.inf
        near = np.argsort(distances, kind="stable")[: min(k, n - 1)]
        influence = np.exp(-((np.arange(1, len(near) + 1) / 20.0) ** 2))
        influence /= influence.sum()
        for j, weight in zip(near, influence):
            n_c += weight * abs(t[i] - t[j])
            n_a += weight * differences[j]
            n_ca += weight * abs(t[i] - t[j]) * differences[j]
    return n_ca / n_c - (n_a - n_ca) / (n - n_c)


def mutual_information(a, b):
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1.0 / len(a))
    expected = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    return np.sum(joint[joint > 0] * np.log(joint[joint > 0] / expected[joint > 0]))


def mrmr(x, y, keep, measure, scheme, bins=10):
    """Ding and Peng (2005), the schemes MID, MIQ, FCD and FCQ: the columns in the order of choice, and the score of each in the last choice it stood in."""
    is_values = y.dtype == float
    if measure == "mutual_information":
        codes = [binned(column, bins) for column in x.T]
        target = binned(y, bins) if is_values else y
        relevance = [mutual_information(code, target) for code in codes]
        redundancy = lambda a, b: mutual_information(codes[a], codes[b])  # noqa: E731
    else:
        relevance, _ = told((f_regression if is_values else f_classif)(x, y))
        correlation = np.abs(np.nan_to_num(np.corrcoef(x, rowvar=False)))
        constant = np.ptp(x, axis=0) == 0.0
        correlation[constant] = correlation[:, constant] = 0.0
        redundancy = lambda a, b: correlation[a, b]  # noqa: E731
    chosen, scores = [], np.zeros(x.shape[1])
    while len(chosen) < keep:
        left = [i for i in range(x.shape[1]) if i not in chosen]
        for i in left:
            repeated = np.mean([redundancy(i, j) for j in chosen]) if chosen else 0.0
            if not chosen:
                scores[i] = relevance[i]
            elif scheme == "difference":
                scores[i] = relevance[i] - repeated
            else:
                scores[i] = relevance[i] / max(repeated, 1e-3)
        # What tells nothing comes last, though it repeats nothing.
        chosen.append(max(left, key=lambda i: (relevance[i] > 1e-12, scores[i])))
    return {"chosen": [names[i] for i in chosen], "scores": scores.tolist()}


def f_tails():
    """Statistics with known tails, down to 1e-300."""
    rows = []
    for above in (1, 2, 3, 7, 50):
        for below in (1, 2, 9, 98, 250, 9_997, 999_998):
            for p in (0.97, 0.5, 1e-3, 1e-30, 1e-150, 1e-300):
                f = float(scipy.stats.f.isf(p, above, below))
                if not np.isfinite(f) or f == 0.0 or f > 1e200:
                    continue
                y = mpmath.mpf(below) / (below + mpmath.mpf(above) * mpmath.mpf(f))
                a, b = mpmath.mpf(above) / 2, mpmath.mpf(below) / 2
                # The series of the incomplete beta function that has positive terms only.
                if y < 0.99999:
                    series = mpmath.hyp2f1(1, a + b, b + 1, y)
                    tail = mpmath.exp(b * mpmath.log(y) + a * mpmath.log(1 - y) - mpmath.log(b) - logbeta(a, b)) * series
                else:
                    series = mpmath.hyp2f1(1, a + b, a + 1, 1 - y)
                    tail = 1 - mpmath.exp(b * mpmath.log(y) + a * mpmath.log(1 - y) - mpmath.log(a) - logbeta(a, b)) * series
                rows.append([f, above, below, float(tail), float(scipy.stats.f.sf(f, above, below))])
    return rows


def logbeta(a, b):
    return mpmath.loggamma(a) + mpmath.loggamma(b) - mpmath.loggamma(a + b)


def chi2_tails():
    rows = []
    for freedom in (1, 2, 5, 30, 400):
        for p in (0.97, 0.5, 1e-3, 1e-30, 1e-150, 1e-300):
            x = float(scipy.stats.chi2.isf(p, freedom))
            rows.append([x, freedom, float(mpmath.gammainc(mpmath.mpf(freedom) / 2, mpmath.mpf(x) / 2, mpmath.inf, regularized=True))])
    return rows


counts = matrix[:, counted]
targets = {"classes": classes, "halves": halves, "values": values}
fixture = {
    "made_by": f"scikit-learn {sklearn.__version__}, NumPy {np.__version__}, SciPy {scipy.__version__}, mpmath {mpmath.__version__}",
    "columns": {name: columns[name].tolist() for name in names},
    "counted": [names[i] for i in counted],
    "targets": {name: target.tolist() for name, target in targets.items()},
    "f_classif": tested(f_classif, matrix, classes),
    "f_regression": tested(f_regression, matrix, values),
    "chi2": tested(chi2, counts, classes),
    "kruskal": tested(kruskal, matrix, classes),
    "information_value": {
        name: {str(bins): [information_value(column, targets[name], bins) for column in matrix.T] for bins in (4, 10, 100)}
        for name in ("classes", "halves")
    },
    "relief_f": {str(k): relief_f(matrix, classes, k).tolist() for k in (1, 10, 100)},
    "r_relief_f": {str(k): r_relief_f(matrix, values, k).tolist() for k in (1, 10, 100)},
    "mrmr": {
        f"{target} {measure} {scheme}": mrmr(matrix, targets[target], 8, measure, scheme)
        for target in ("classes", "values")
        for measure in ("mutual_information", "f_test")
        for scheme in ("difference", "quotient")
    },
    "f_tails": f_tails(),
    "chi2_tails": chi2_tails(),
}

target = pathlib.Path(__file__).parents[1] / "fixtures" / "filters.json"
target.write_text(json.dumps(fixture) + "\n")
