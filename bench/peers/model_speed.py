"""The families' work by scikit-learn (and LightGBM's own package), on two cores.

    python model_speed.py write FOLDER ROWS COLUMNS TARGET     writes train.parquet and test.parquet (a fourth as many rows)
    python model_speed.py fit FAMILY REPEATS                   prints the median seconds of training and predicting, and the score
"""

import json
import statistics
import sys
import time


def write(folder, n_rows, n_columns, target):
    import pandas as pd
    from sklearn.datasets import make_classification, make_regression

    total = n_rows + n_rows // 4
    if target == "values":
        x, y = make_regression(total, n_columns, n_informative=n_columns // 3, noise=10.0, random_state=1)
    else:
        n_labels = 5 if target == "five" else 2
        x, codes = make_classification(
            total, n_columns, n_informative=n_columns // 2, n_redundant=n_columns // 10, n_classes=n_labels, flip_y=0.05, class_sep=0.8, random_state=1
        )
        y = [f"label{code}" for code in codes]
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(n_columns)])
    frame["y"] = y
    frame[:n_rows].to_parquet(f"{folder}/train.parquet")
    frame[n_rows:].to_parquet(f"{folder}/test.parquet")


def family(name):
    from lightgbm import LGBMClassifier
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
    from sklearn.linear_model import Lasso, LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    return {
        "logistic": lambda: LogisticRegression(max_iter=1000),
        "forest": lambda: RandomForestClassifier(100, n_jobs=2, random_state=1),
        "extra": lambda: ExtraTreesClassifier(100, n_jobs=2, random_state=1),
        "neighbors": lambda: KNeighborsClassifier(5, n_jobs=2),
        "lightgbm": lambda: LGBMClassifier(n_jobs=2, verbose=-1, max_bin=255),
        "svm": lambda: SVC(),
        "discriminant": lambda: LinearDiscriminantAnalysis(),
        "bayes": lambda: GaussianNB(),
        "lasso": lambda: Lasso(alpha=0.05),
    }[name]


def fit(name, repeats):
    import pandas as pd

    train, test = pd.read_parquet("train.parquet"), pd.read_parquet("test.parquet")
    x, y = train.drop(columns="y").to_numpy(), train["y"].to_numpy()
    x_test, y_test = test.drop(columns="y").to_numpy(), test["y"].to_numpy()
    make = family(name)  # Imports are not timed.
    learning, predicting, score = [], [], None
    for _ in range(repeats):
        model = make()
        start = time.perf_counter()
        model.fit(x, y)
        learning.append(time.perf_counter() - start)
        start = time.perf_counter()
        predicted = model.predict(x_test) if name in ("svm", "lasso") else model.predict_proba(x_test)
        predicting.append(time.perf_counter() - start)
        if name == "lasso":
            score = 1 - ((predicted - y_test) ** 2).sum() / ((y_test - y_test.mean()) ** 2).sum()
        else:
            labels = predicted if name == "svm" else model.classes_[predicted.argmax(1)]
            score = float((labels == y_test).mean())
    print(json.dumps({"fit": statistics.median(learning), "predict": statistics.median(predicting), "score": score}))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
    else:
        fit(sys.argv[2], int(sys.argv[3]))
