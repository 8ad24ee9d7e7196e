"""Recursive elimination and sequential selection by scikit-learn, for the unit tests. Writes tests/fixtures/wrappers.json."""

import json
import pathlib

import numpy as np
import sklearn
from sklearn.feature_selection import RFE, RFECV, SequentialFeatureSelector
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler

random = np.random.default_rng(11)
N_ROWS, N_COLUMNS, L2 = 240, 12, 0.5

# Columns that go along with each other, of different spreads and strengths.
mixing = np.eye(N_COLUMNS) + 0.3 * random.normal(size=(N_COLUMNS, N_COLUMNS))
matrix = random.normal(size=(N_ROWS, N_COLUMNS)) @ mixing * np.exp(random.normal(size=N_COLUMNS)) + random.normal(size=N_COLUMNS)
X = StandardScaler().fit_transform(matrix)
told = X @ (random.normal(size=(N_COLUMNS, 3)) * (np.arange(N_COLUMNS) < 6)[:, None])
targets = {
    "two": (told[:, 0] + 1.5 * random.normal(size=N_ROWS) > 0.5).astype(int),
    "three": (told + 1.5 * random.normal(size=told.shape)).argmax(1),
    "values": told[:, 0] + 2.0 * random.normal(size=N_ROWS) + 50.0,
}


def model(name):
    if name == "values":
        return Ridge(alpha=L2)
    return LogisticRegression(C=1 / L2, tol=1e-8, max_iter=10_000)


def folds_of(name):
    division = KFold if name == "values" else StratifiedKFold
    return list(division(5, shuffle=True, random_state=1).split(X, targets[name]))


def eliminated(name, **kwargs):
    return RFE(model(name), **kwargs).fit(X, targets[name]).ranking_.tolist()


def cross_validated(name, folds, **kwargs):
    found = RFECV(model(name), cv=folds, **kwargs).fit(X, targets[name])
    return {
        "n_features": found.cv_results_["n_features"].tolist(),
        "scores": found.cv_results_["mean_test_score"].tolist(),
        "ranking": found.ranking_.tolist(),
    }


def sequential(name, folds, **kwargs):
    chosen = SequentialFeatureSelector(model(name), cv=folds, **kwargs).fit(X, targets[name])
    return chosen.get_support(indices=True).tolist()


fixture = {
    "made_by": f"scikit-learn {sklearn.__version__}, NumPy {np.__version__}",
    "l2": L2,
    "columns": matrix.T.tolist(),
    "targets": {},
}
for name, target in targets.items():
    folds = folds_of(name)
    probabilistic = "neg_root_mean_squared_error" if name == "values" else "neg_log_loss"
    fixture["targets"][name] = {
        "target": target.tolist(),
        "folds": [[train.tolist(), test.tolist()] for train, test in folds],
        "rfe": {str(step): eliminated(name, n_features_to_select=3, step=step) for step in (1, 4, 0.25)},
        "rfecv": {str(step): cross_validated(name, folds, step=step) for step in (1, 3)},
        "rfecv_by_loss": cross_validated(name, folds, scoring=probabilistic),
        "sequential": {
            f"{direction} {keep}": sequential(name, folds, direction=direction, n_features_to_select=keep)
            for direction in ("forward", "backward")
            for keep in (1, 4, 9)
        },
        "by_loss": {
            direction: sequential(name, folds, direction=direction, n_features_to_select=5, scoring=probabilistic)
            for direction in ("forward", "backward")
        },
        "while_it_helps": sequential(name, folds, tol=0.01, scoring=probabilistic),
        # By 0.02 and more of the loss the first column is not dropped by either, so that it does not matter that scikit-learn compares it with nothing.
        "while_it_does_not_hurt": sequential(name, folds, direction="backward", tol=-0.01, scoring=probabilistic),
    }

path = pathlib.Path(__file__).parents[1] / "fixtures" / "wrappers.json"
path.write_text(json.dumps(fixture) + "\n")
