"""Scores of features by scikit-learn and NumPy, for the unit tests. Writes tests/fixtures/feature_selection.json."""

import functools
import json
import pathlib
import warnings

import numpy as np
import scipy.stats
import sklearn
from sklearn.feature_selection import (
    VarianceThreshold,
    mutual_info_classif,
    mutual_info_regression,
)
from sklearn.feature_selection import _mutual_info
from sklearn.feature_selection._mutual_info import _compute_mi_cc, _compute_mi_cd
from sklearn.metrics import mutual_info_score

warnings.simplefilter("ignore")
# For classes of few rows it would take distances from products, which are off by 1e-8.
_mutual_info.NearestNeighbors = functools.partial(_mutual_info.NearestNeighbors, algorithm="kd_tree")
random = np.random.default_rng(7)
N_ROWS, N_CLASSES, N_SEEDS = 400, 3, 40

classes = random.choice(N_CLASSES, N_ROWS, p=[0.5, 0.3, 0.2])
values = classes + 0.5 * random.normal(size=N_ROWS)
noise = random.normal(size=N_ROWS)
columns = {
    "shifted": classes + random.normal(size=N_ROWS),
    "skewed": np.exp(values + random.normal(size=N_ROWS)),
    "noise": noise,
    "echo": 3.0 - 2.0 * noise + 0.02 * random.normal(size=N_ROWS),
    "curve": noise**2 + values,
    "large_mean": 1e6 + 1e-2 * random.normal(size=N_ROWS),
    "mostly_zero": np.where(random.random(N_ROWS) < 0.6, 0.0, values * random.random(N_ROWS)),
    "levels": np.minimum(random.poisson(1.0 + classes), 5).astype(float),
    "binary": (values + 0.5 * random.normal(size=N_ROWS) > 1.0).astype(float),
    "constant": np.full(N_ROWS, 0.5),
}
names = list(columns)
matrix = np.column_stack([columns[name] for name in names])
counted = [name in ("levels", "binary", "constant") for name in names]
unique = [name for name in names if len(np.unique(columns[name])) == N_ROWS]


def spread(estimate):
    """Least, greatest and mean over the seeds of the noise that parts equal values."""
    scores = np.array([estimate(seed) for seed in range(N_SEEDS)])
    return {"least": scores.min(0).tolist(), "greatest": scores.max(0).tolist()}


def known(correlations):
    """A constant column correlates with nothing."""
    return np.nan_to_num(correlations).tolist()


def eta(column):
    """The correlation ratio by the F of an analysis of variance."""
    between = scipy.stats.f_oneway(*(column[classes == c] for c in range(N_CLASSES))).statistic * (N_CLASSES - 1)
    return np.sqrt(between / (between + N_ROWS - N_CLASSES))


# A class of one row, which the estimator leaves out, and one with fewer rows than neighbours.
rare = classes.copy()
rare[0], rare[1:4] = 3, 4

fixture = {
    "made_by": f"scikit-learn {sklearn.__version__}, NumPy {np.__version__}, SciPy {scipy.__version__}",
    "columns": {name: columns[name].tolist() for name in names},
    "classes": classes.tolist(),
    "rare": rare.tolist(),
    "values": values.tolist(),
    "variances": VarianceThreshold().fit(matrix).variances_.tolist(),
    "above": {
        str(t): [names[i] for i in VarianceThreshold(t).fit(matrix).get_support(indices=True)] for t in (0.0, 0.25, 1.0)
    },
    "pearson": known(np.corrcoef(matrix, rowvar=False)),
    "spearman": known(scipy.stats.spearmanr(matrix).statistic),
    "told_of_values": known([abs(np.corrcoef(column, values)[0, 1]) for column in matrix.T]),
    "told_of_value_ranks": known([abs(scipy.stats.spearmanr(column, values).statistic) for column in matrix.T]),
    "told_of_classes": known([eta(column) for column in matrix.T]),
    "told_of_classes_by_ranks": known([eta(scipy.stats.rankdata(column)) for column in matrix.T]),
    "ross": {
        name: {str(k): [_compute_mi_cd(columns[name], labels, k) for labels in (classes, rare)] for k in (1, 3, 10)}
        for name in unique
    },
    "kraskov": {name: {str(k): _compute_mi_cc(columns[name], values, k) for k in (1, 3, 10)} for name in unique},
    "counted": {name: mutual_info_score(columns[name], classes) for name in ("levels", "binary", "constant")},
    "classif": spread(lambda s: mutual_info_classif(matrix, classes, discrete_features=counted, random_state=s)),
    "regression": spread(lambda s: mutual_info_regression(matrix, values, discrete_features=counted, random_state=s)),
}

target = pathlib.Path(__file__).parents[1] / "fixtures" / "feature_selection.json"
target.parent.mkdir(exist_ok=True)
target.write_text(json.dumps(fixture) + "\n")
