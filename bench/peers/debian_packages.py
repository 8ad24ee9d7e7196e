"""The flow of pipelines/debian_packages.yaml as a Python script: what a careful person would write with scikit-learn.

    python debian_packages.py rows.csv [--model logistic|hgb|lightgbm|best] [--fit-on train|train+validation] [--output metrics.json]

rows.csv is data/debian_packages.csv with a further column `split` (train, validation, test). Everything is fitted on training rows, and anew
in each of five folds; a fold's features are made once and shared by all candidates. Boosted models learn the number of rounds by early
stopping on a tenth of the rows and are fitted again on all of them; alone, they need no folds. Validation rows are left unused, or with
`--fit-on train+validation` are training rows too. Test rows are scored once.
"""

import argparse
import json
import time
import warnings
from functools import partial

import joblib
import lightgbm
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_classif, mutual_info_classif
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, LabelEncoder, OneHotEncoder, StandardScaler, TargetEncoder

NUMBERS = ["installed_size_kib", "download_bytes", "n_depends", "n_recommends", "n_suggests", "n_provides", "debtags"]
LEVELS = ["priority", "architecture", "multi_arch", "source_differs"]
MANY_LEVELS = ["maintainer_domain", "homepage_host"]


def features(seed, select="f_classif"):
    """Raw rows to the 100 columns that a model sees."""
    scores = {"f_classif": f_classif, "mutual_information": partial(mutual_info_classif, random_state=seed)}
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    numbers = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True), FunctionTransformer(np.log1p), StandardScaler()
    )
    text = make_pipeline(
        TfidfVectorizer(max_features=2000, ngram_range=(1, 2)), TruncatedSVD(64, random_state=seed)
    )
    columns = ColumnTransformer([
        ("numbers", numbers, NUMBERS),
        ("levels", OneHotEncoder(max_categories=20, handle_unknown="infrequent_if_exist", sparse_output=False), LEVELS),
        ("many_levels", TargetEncoder(cv=folds), MANY_LEVELS),
        ("text", text, "summary"),
    ])
    return make_pipeline(columns, VarianceThreshold(), SelectKBest(scores[select], k=100), StandardScaler())


def logistic(strength):
    def fit(x, y, seed, threads):
        return LogisticRegression(C=strength, max_iter=500).fit(x, y)

    return fit


def hgb(x, y, seed, threads):
    common = {"learning_rate": 0.1, "max_leaf_nodes": 15, "max_features": 0.2, "random_state": seed}
    stopped = HistGradientBoostingClassifier(
        max_iter=300, early_stopping=True, validation_fraction=0.1, n_iter_no_change=15, **common
    ).fit(x, y)
    return HistGradientBoostingClassifier(max_iter=stopped.n_iter_, early_stopping=False, **common).fit(x, y)


def boosting(x, y, seed, threads):
    common = {
        "learning_rate": 0.1, "num_leaves": 15, "colsample_bytree": 0.2, "max_bin": 63,
        "n_jobs": threads, "random_state": seed, "verbose": -1,
    }
    x_fit, x_stop, y_fit, y_stop = train_test_split(x, y, test_size=0.1, stratify=y, random_state=seed)
    stopped = lightgbm.LGBMClassifier(n_estimators=300, **common).fit(
        x_fit, y_fit, eval_X=x_stop, eval_y=y_stop, callbacks=[lightgbm.early_stopping(15, verbose=False)]
    )
    return lightgbm.LGBMClassifier(n_estimators=stopped.best_iteration_, **common).fit(x, y)


LOGISTIC = {f"logistic C={strength:g}": logistic(strength) for strength in [0.01, 0.03, 0.1, 0.3, 1]}
CANDIDATES = {
    "logistic": LOGISTIC,
    "hgb": {"hgb": hgb},
    "lightgbm": {"lightgbm": boosting},
    "best": {**LOGISTIC, "lightgbm": boosting},
}


def score_fold(candidates, flow, rows, y, train, held_out, seed):
    """The macro F1 of each candidate on one fold."""
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    x = flow.fit_transform(rows.iloc[train], y[train])
    x_held_out = flow.transform(rows.iloc[held_out])
    models = [fit(x, y[train], seed, threads=1) for fit in candidates.values()]
    return [f1_score(y[held_out], model.predict(x_held_out), average="macro") for model in models]


def search(candidates, flow, rows, y, seed, threads):
    """Cross-validates the candidates, a fold on each thread; returns the mean score of each."""
    folds = StratifiedKFold(5, shuffle=True, random_state=seed).split(rows, y)
    scores = joblib.Parallel(n_jobs=threads)(
        joblib.delayed(score_fold)(candidates, clone(flow), rows, y, train, held_out, seed) for train, held_out in folds
    )
    return dict(zip(candidates, np.mean(scores, axis=0).tolist()))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("rows")
    arguments.add_argument("--model", choices=CANDIDATES, default="best")
    arguments.add_argument("--fit-on", choices=["train", "train+validation"], default="train")
    arguments.add_argument("--select", choices=["f_classif", "mutual_information"], default="f_classif")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--output", help="where to write the scores")
    arguments.add_argument("--predictions", help="where to write the predictions of test rows")
    arguments = arguments.parse_args()
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    start = time.perf_counter()

    table = pd.read_csv(arguments.rows)
    train = table[table["split"].isin(arguments.fit_on.split("+"))]
    test = table[table["split"] == "test"]
    labels = LabelEncoder().fit(train["section"])
    y = labels.transform(train["section"])

    flow, candidates = features(arguments.seed, arguments.select), CANDIDATES[arguments.model]
    scores = search(candidates, flow, train, y, arguments.seed, arguments.threads) if len(candidates) > 1 else {}
    chosen = max(scores, key=scores.get) if scores else arguments.model
    model = candidates[chosen](flow.fit_transform(train, y), y, arguments.seed, arguments.threads)

    predicted = labels.inverse_transform(model.predict(flow.transform(test)))
    result = {
        "model": chosen,
        "rows": {"train": len(train), "test": len(test)},
        "f1_macro": f1_score(test["section"], predicted, average="macro"),
        "accuracy": accuracy_score(test["section"], predicted),
        "cross_validated": scores,
        "seconds": time.perf_counter() - start,
    }
    print(json.dumps(result, indent=2))
    if arguments.output:
        with open(arguments.output, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=2)
    if arguments.predictions:
        test[["package"]].assign(prediction=predicted).to_csv(arguments.predictions, index=False)


if __name__ == "__main__":
    main()
