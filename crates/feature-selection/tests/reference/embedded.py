"""Lasso, L1 and L2 logistic regression, ridge (scikit-learn), importances and SHAP values of trees (LightGBM), for the unit tests. Writes tests/fixtures/embedded.json."""

import json
import pathlib
import warnings

import lightgbm
import numpy as np
import sklearn
from sklearn.linear_model import Lasso, LogisticRegression, Ridge, lars_path
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

warnings.simplefilter("ignore")
random = np.random.default_rng(11)
N_ROWS, N_COLUMNS, N_TRAIN = 240, 12, 160
PATH = [10.0 ** (-3 * at / 99) for at in range(100)]


def told(values):
    """As many digits as the fixture holds."""
    return np.array([[float(f"{value:.6g}") for value in row] for row in values])


hidden = random.normal(size=(N_ROWS, 4))
matrix = random.normal(size=(N_ROWS, N_COLUMNS)) + np.repeat(hidden, 3, axis=1)
matrix = told(matrix * np.array([1, 10, 100] * 4) + np.arange(N_COLUMNS))
scaled = StandardScaler().fit_transform(matrix)
signal = 2 * scaled[:, 0] - scaled[:, 4] + 0.5 * scaled[:, 8] * scaled[:, 1]
values = told([signal + random.normal(size=N_ROWS)])[0]
binary = (signal + random.normal(size=N_ROWS) > 0).astype(int)
classes = np.digitize(signal + random.normal(size=N_ROWS), [-1.5, 1.0])
targets = {"values": values, "binary": binary, "classes": classes}


def lasso(x, y, alpha):
    return Lasso(alpha=alpha, tol=1e-14, max_iter=1_000_000).fit(x, y)


def l1(x, y, alpha):
    return LogisticRegression(l1_ratio=1, solver="saga", C=1 / (alpha * len(x)), tol=1e-11, max_iter=200_000).fit(x, y)


def strongest(x, y):
    if y is values or y.dtype == float:
        return np.abs(x.T @ (y - y.mean()) / len(y)).max()
    return max(np.abs(x.T @ ((y == c) - np.mean(y == c)) / len(y)).max() for c in np.unique(y))


def penalised(y):
    """Solutions at shares of the strongest penalty."""
    solutions = []
    for share in [0.5, 0.1, 0.02]:
        alpha = share * strongest(scaled, y)
        if y is values:
            model = lasso(scaled, y, alpha)
            loss = np.mean((y - model.predict(scaled)) ** 2) / 2
        else:
            model = l1(scaled, y, alpha)
            loss = log_loss(y, model.predict_proba(scaled))
        coefficients = np.atleast_2d(model.coef_)
        objective = loss + alpha * np.abs(coefficients).sum()
        magnitudes = np.sqrt((coefficients**2).sum(0))
        solutions.append({"alpha": alpha, "objective": objective, "magnitudes": magnitudes.tolist()})
    return solutions


def many_labels():
    """Objectives of five labels, in columns of which each third goes along with each other, at shares of the strongest penalty."""
    others = np.random.default_rng(12)
    scores = scaled[:, :5] @ others.normal(size=(5, 5)) + others.gumbel(size=(N_ROWS, 5))
    labels = scores.argmax(1)
    objectives = []
    for share in [0.3, 0.03, 0.003]:
        alpha = share * strongest(scaled, labels)
        model = l1(scaled, labels, alpha)
        objective = log_loss(labels, model.predict_proba(scaled)) + alpha * np.abs(model.coef_).sum()
        objectives.append({"alpha": alpha, "objective": objective})
    return {"labels": labels.tolist(), "objectives": objectives}


def held_out(y):
    """Losses on the last rows of models of the first ones, at some places of the path of all rows."""
    scaler = StandardScaler().fit(matrix[:N_TRAIN])
    learned, judging = scaler.transform(matrix[:N_TRAIN]), scaler.transform(matrix[N_TRAIN:])
    losses = []
    for at in [0, 10, 20, 30]:
        alpha = strongest(scaled, y) * PATH[at]
        if y is values:
            losses.append([at, np.mean((lasso(learned, y[:N_TRAIN], alpha).predict(judging) - y[N_TRAIN:]) ** 2)])
        else:
            losses.append([at, log_loss(y[N_TRAIN:], l1(learned, y[:N_TRAIN], alpha).predict_proba(judging))])
    return losses


def entering():
    """The columns in the order in which the penalty lets them in."""
    _, order, path = lars_path(scaled, values - values.mean(), method="lasso")
    first = [int(np.argmax(path[column] != 0)) if (path[column] != 0).any() else 10**9 for column in range(N_COLUMNS)]
    left = [at for at in range(1, path.shape[1]) if ((path[:, at] == 0) & (path[:, at - 1] != 0)).any()]
    order = np.argsort(first, kind="stable").tolist()
    return order[: (left[0] - 1 if left else N_COLUMNS)]


def linear(y):
    model = Ridge(alpha=0.5) if y is values else LogisticRegression(C=2.0, tol=1e-12, max_iter=100_000)
    return np.atleast_2d(model.fit(scaled, y).coef_).tolist()


def parameters(y, **others):
    objective = {"objective": "regression"}
    if y is binary:
        objective = {"objective": "binary"}
    if y is classes:
        objective = {"objective": "multiclass", "num_class": 3}
    return objective | {
        "num_leaves": 31, "learning_rate": 0.1, "min_data_in_leaf": 20, "deterministic": True, "force_col_wise": True,
        "feature_pre_filter": False, "num_threads": 1, "verbosity": -1,
    } | others


def trained(x, y, rounds, **others):
    settings = parameters(y, **others)
    return lightgbm.train(settings, lightgbm.Dataset(x, y, params=settings), rounds)


def trees(y):
    model = trained(matrix, y, 30)
    contributions = np.abs(model.predict(matrix, pred_contrib=True)).mean(0).reshape(-1, N_COLUMNS + 1)
    share = lambda kind: (lambda used: (used / used.sum()).tolist())(model.feature_importance(kind))
    return {"gain": share("gain"), "split": share("split"), "shap": contributions[:, :N_COLUMNS].sum(0).tolist()}


def explained(y, **others):
    """Trees, rows with missing values and zeros, and LightGBM's contributions."""
    holes = matrix[:, :6].copy()
    holes[random.random(holes.shape) < 0.2] = np.nan
    holes[random.random(holes.shape) < 0.2] = 0.0
    model = trained(holes, y, 4, num_leaves=12, min_data_in_leaf=3, learning_rate=0.5, **others)
    rows = holes[:30]
    return {
        "model": model.model_to_string(),
        "rows": [[None if np.isnan(value) else value for value in row] for row in rows],
        "contributions": model.predict(rows, pred_contrib=True).tolist(),
        "raw": np.atleast_2d(model.predict(rows, raw_score=True).T).T.reshape(len(rows), -1).tolist(),
    }


fixture = {
    "versions": {"scikit-learn": sklearn.__version__, "lightgbm": lightgbm.__version__, "numpy": np.__version__},
    "columns": matrix.T.tolist(),
    "values": values.tolist(),
    "binary": binary.tolist(),
    "classes": classes.tolist(),
    "train": N_TRAIN,
    "penalised": {name: penalised(y) for name, y in targets.items()},
    "many": many_labels(),
    "held_out": {name: held_out(y) for name, y in targets.items()},
    "entering": entering(),
    "linear": {name: linear(y) for name, y in targets.items()},
    "trees": {name: trees(y) for name, y in targets.items()},
    "explained": {
        "missing": explained(values),
        "zeros are missing": explained(binary, zero_as_missing=True),
        "missing are zeros": explained(values, use_missing=False),
        "labels": explained(classes),
    },
}
path = pathlib.Path(__file__).parent.parent / "fixtures" / "embedded.json"
path.write_text(json.dumps(fixture, indent=None, separators=(",", ":")) + "\n")
