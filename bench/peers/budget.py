"""Searches of some seconds by FLAML and by Optuna over LightGBM.

    python budget.py write DATA DATA_FOLDER FOLDER FOLDS            writes a CSV for each outer fold, with a column `split`
    python budget.py flaml|lightgbm DATA ROWS.csv METRIC SECONDS    prints the score of the test rows
"""

import json
import os
import sys
import time

# As many as the process may use, which `taskset` decides.
CORES = len(os.sched_getaffinity(0))


def write(name, data, folder, n_folds):
    import pandas as pd
    from sklearn.datasets import load_digits
    from sklearn.model_selection import KFold, StratifiedKFold

    targets = {"breast_cancer": "diagnosis", "debian_packages": "section"}
    if name == "handwritten_digits":
        digits = load_digits()
        frame = pd.DataFrame(digits.data, columns=[f"pixel{i}" for i in range(64)])
        frame["y"] = [f"d{label}" for label in digits.target]
    else:
        frame = pd.read_csv(f"{data}/{name}.csv")
        target = targets.get(name, frame.columns[-1])
        frame = frame.rename(columns={target: "y"}).drop(columns=["package", "version"], errors="ignore")
        if name == "wine":
            frame["y"] = "w" + frame["y"].astype(str)
    folds = KFold if name == "diabetes" else StratifiedKFold
    for number, (_, test) in enumerate(folds(n_folds, shuffle=True, random_state=1).split(frame, frame["y"])):
        rows = frame.copy()
        rows["split"] = "train"
        rows.loc[rows.index[test], "split"] = "test"
        rows.to_csv(f"{folder}/{number}.csv", index=False)


def numbers(name, train, test):
    """What each side's programs learn from: words as categories; the text of debian_packages by tf-idf and SVD, fitted on the training rows."""
    import numpy as np
    import pandas as pd
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    x, x_test = train.drop(columns=["y", "split"]), test.drop(columns=["y", "split"])
    if name == "debian_packages":
        texts = TfidfVectorizer(max_features=4000, ngram_range=(1, 2))
        svd = TruncatedSVD(64, random_state=1)
        names = [f"summary_{i}" for i in range(64)]
        dense = svd.fit_transform(texts.fit_transform(x["summary"].fillna("")))
        dense_test = svd.transform(texts.transform(x_test["summary"].fillna("")))
        x = pd.concat([x.drop(columns="summary"), pd.DataFrame(dense, columns=names, index=x.index)], axis=1)
        x_test = pd.concat([x_test.drop(columns="summary"), pd.DataFrame(dense_test, columns=names, index=x_test.index)], axis=1)
    for column in x.columns:
        if not np.issubdtype(x[column].dtype, np.number) if hasattr(x[column].dtype, "type") and isinstance(x[column].dtype, np.dtype) else True:
            kind = pd.CategoricalDtype(sorted(x[column].dropna().astype(str).unique()))
            x[column], x_test[column] = x[column].astype(str).astype(kind), x_test[column].astype(str).astype(kind)
    return x, x_test


def flaml(x, y, metric, seconds):
    from flaml import AutoML

    automl = AutoML()
    task = "regression" if metric == "r2" else "classification"
    automl.fit(x, y, task=task, metric=metric, time_budget=seconds, n_jobs=CORES, eval_method="cv", n_splits=5, seed=1, verbose=0)
    return automl


def lightgbm(x, y, metric, seconds):
    import optuna
    from lightgbm import LGBMClassifier, LGBMRegressor
    from sklearn.model_selection import cross_val_score

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    scoring = {"r2": "r2", "roc_auc": "roc_auc", "log_loss": "neg_log_loss"}[metric]
    model = LGBMRegressor if metric == "r2" else LGBMClassifier

    def make(trial):
        return model(
            n_estimators=trial.suggest_int("n_estimators", 20, 500, log=True), learning_rate=trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
            num_leaves=trial.suggest_int("num_leaves", 4, 63), colsample_bytree=trial.suggest_float("colsample_bytree", 0.3, 1),
            min_child_samples=trial.suggest_int("min_child_samples", 2, 40), reg_lambda=trial.suggest_float("reg_lambda", 1e-3, 10, log=True),
            n_jobs=CORES, verbose=-1, random_state=1,
        )

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=1))
    study.optimize(lambda trial: cross_val_score(make(trial), x, y, cv=5, scoring=scoring).mean(), timeout=seconds)
    return make(study.best_trial).fit(x, y)


def main():
    import pandas as pd
    from sklearn.metrics import log_loss, r2_score, roc_auc_score

    program, name, rows, metric, seconds = sys.argv[1:6]
    frame = pd.read_csv(rows)
    train, test = frame[frame["split"] == "train"], frame[frame["split"] == "test"]
    start = time.perf_counter()
    x, x_test = numbers(name, train, test)
    model = {"flaml": flaml, "lightgbm": lightgbm}[program](x, train["y"], metric, float(seconds) - (time.perf_counter() - start))
    if metric == "r2":
        score = r2_score(test["y"], model.predict(x_test))
    else:
        probabilities = model.predict_proba(x_test)
        labels = sorted(train["y"].unique())
        score = roc_auc_score(test["y"] == labels[1], probabilities[:, 1]) if metric == "roc_auc" else log_loss(test["y"], probabilities, labels=labels)
    print(json.dumps({metric: score}))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
    else:
        main()
