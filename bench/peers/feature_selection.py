"""The feature selection benches' work by scikit-learn and numpy, on two cores.

    python feature_selection.py WORK ROWS.parquet REPEATS       prints the median seconds, without those of reading
"""

import json
import statistics
import sys
import time

import numpy as np


def work(name):
    """What is timed, given the columns and the target."""
    from lightgbm import LGBMClassifier
    from sklearn.feature_selection import RFECV, chi2, f_classif, f_regression, mutual_info_classif, mutual_info_regression
    from sklearn.inspection import permutation_importance
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    def permuted(x, y):
        train, held_out, y_train, y_held_out = train_test_split(x, y, test_size=0.25, stratify=y, random_state=1)
        model = LGBMClassifier(n_jobs=2, verbose=-1).fit(train, y_train)
        return permutation_importance(model, held_out, y_held_out, n_repeats=5, n_jobs=2, random_state=1)

    return {
        "mutual_info_classif": lambda x, y: mutual_info_classif(x, y, n_jobs=2, random_state=1),
        "mutual_info_regression": lambda x, y: mutual_info_regression(x, y, n_jobs=2, random_state=1),
        "f_classif": f_classif,
        "f_regression": f_regression,
        "chi2": chi2,
        "rfecv": lambda x, y: RFECV(LogisticRegression(max_iter=1000), cv=5, n_jobs=2).fit((x - x.mean(0)) / x.std(0), y),
        "permutation_importance": permuted,
        "correlation": lambda x, y: np.corrcoef(x, rowvar=False),
    }[name]


def main():
    import pandas as pd

    name, rows, repeats = sys.argv[1], sys.argv[2], int(sys.argv[3])
    frame = pd.read_parquet(rows)
    x, y = frame.drop(columns="y").to_numpy(), frame["y"].to_numpy()
    task = work(name)  # Imports are not timed.
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        task(x, y)
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": statistics.median(seconds)}))


if __name__ == "__main__":
    main()
