"""Tables of 20 informative, 20 redundant and 460 noise columns, and what logistic regression makes of what scikit-learn's methods select.

    python feature_quality.py write SEED ROWS.csv       1,500 rows to train, 1,500 to test (column `split`)
    python feature_quality.py score SEED ROWS.csv       prints the accuracy on test rows for each method, as JSON
"""

import json
import sys

import pandas as pd


def write(seed, path):
    from sklearn.datasets import make_classification

    x, y = make_classification(3_000, 500, n_informative=20, n_redundant=20, class_sep=0.8, flip_y=0.02, random_state=seed)
    frame = pd.DataFrame(x, columns=[f"x{index}" for index in range(500)])
    frame["y"] = ["high" if label else "low" for label in y]
    frame["split"] = ["train"] * 1_500 + ["test"] * 1_500
    frame.to_csv(path, index=False)


def score(path):
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.feature_selection import RFE, SelectFdr, SelectFromModel, SelectKBest, f_classif, mutual_info_classif
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame = pd.read_csv(path)
    train, test = (frame[frame["split"] == part].drop(columns="split") for part in ("train", "test"))

    def model():
        return LogisticRegression(max_iter=1000)

    methods = {
        "all_columns": "passthrough",
        "mutual_information": SelectKBest(mutual_info_classif, k=40),
        "f_test": SelectKBest(f_classif, k=40),
        "f_test_fdr": SelectFdr(f_classif, alpha=0.05),
        "l1": SelectFromModel(LogisticRegression(penalty="l1", solver="liblinear", C=0.1), threshold=1e-6),
        "linear_coefficients": SelectFromModel(model(), max_features=40, threshold=-float("inf")),
        "tree_importance": SelectFromModel(RandomForestClassifier(200, n_jobs=2, random_state=1), max_features=40, threshold=-float("inf")),
        "recursive_elimination": RFE(model(), n_features_to_select=40, step=0.1),
    }
    x, y = train.drop(columns="y"), train["y"]
    fitted = {name: make_pipeline(StandardScaler(), method, model()).fit(x, y) for name, method in methods.items()}
    print(json.dumps({name: chain.score(test.drop(columns="y"), test["y"]) for name, chain in fitted.items()}))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(int(sys.argv[2]), sys.argv[3])
    else:
        score(sys.argv[3])
