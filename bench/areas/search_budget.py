"""Searches under a budget of seconds, by retune, FLAML, and Optuna over LightGBM.

Each program gets the same training rows of five outer folds and the same seconds on the same cores, and is scored on the other rows by the score that FLAML takes by
default. RETUNE_BENCH_SECONDS names other seconds than 120.
"""

import json
import os
import subprocess

from measure import OURS, Case, Command

PEER = {"LD_LIBRARY_PATH": None}

# Data and the score that FLAML takes by default.
BUDGETED = {"breast_cancer": "roc_auc", "wine": "log_loss", "diabetes": "r2", "handwritten_digits": "log_loss", "debian_packages": "log_loss"}
FOLDS = 5
LABEL_CANDIDATES = [
    {"logistic_regression": {"l2": {"log_uniform": [1e-4, 100]}}},
    {"gradient_boosting": {
        "trees": 500, "early_stopping": 20, "learning_rate": {"log_uniform": [0.02, 0.3]}, "leaves": {"int": [4, 63]},
        "column_share": {"uniform": [0.3, 1]}, "min_rows": {"int": [2, 40]}, "l2": {"log_uniform": [1e-3, 10]},
    }},
    {"extra_trees": {"trees": 200, "max_features": {"choice": ["sqrt", 0.3, 0.6]}, "min_rows": {"int": [1, 8]}}},
    {"random_forest": {"trees": 200, "max_features": {"choice": ["sqrt", 0.3, 0.6]}, "min_rows": {"int": [1, 8]}}},
    {"mlp": {"hidden": {"choice": [[64], [128], [128, 64]]}, "dropout": {"uniform": [0, 0.4]}, "learning_rate": {"log_uniform": [3e-4, 1e-2]}, "weight_decay": {"log_uniform": [1e-4, 0.3]}}},
    {"k_nearest_neighbors": {"neighbors": {"int": [1, 30]}, "weights": "distance"}},
]
VALUE_CANDIDATES = [
    {"ridge": {"l2": {"log_uniform": [1e-3, 1000]}}},
    {"elastic_net": {"alpha": {"log_uniform": [1e-3, 10]}, "l1_ratio": {"uniform": [0, 1]}}},
    *LABEL_CANDIDATES[1:],
]


def cases(place):
    for data in BUDGETED:
        yield budget(place, data)


def budget(place, data):
    """The same seconds for each program on the training rows of each outer fold."""
    seconds = float(os.environ.get("RETUNE_BENCH_SECONDS", "120"))
    folder = place.work / f"budget-{data}"
    folder.mkdir()
    script = place.peers / "budget.py"
    subprocess.run([place.python, script, "write", data, str(place.root / "data"), str(folder), str(FOLDS)], env=plain(), check=True)
    metric = BUDGETED[data]

    def ours(repeat):
        (folder / "pipeline.yaml").write_text(json.dumps(pipeline(data, metric, seconds, folder / f"{repeat}.csv")))
        argv = [place.retune, "run", "pipeline.yaml", "--progress", "none", "--out", "runs"]
        return Command(argv, folder, {"RETUNE_STORE": folder / f"store-{repeat}"})

    def peer(program):
        return lambda repeat: Command([place.python, script, program, data, folder / f"{repeat}.csv", metric, seconds], folder, PEER)

    def check(repeat, printed):
        results = json.loads((folder / "runs" / data / "latest" / "metrics.json").read_text())["results"]
        scores = {OURS: {metric: results[0]["models"][-1]["scores"][metric]["value"]}}
        return scores | {program: {metric: json.loads(text)[metric]} for program, text in printed.items() if program != OURS}

    programs = {OURS: ours, "FLAML": peer("flaml"), "LightGBM, tuned by Optuna": peer("lightgbm")}
    return Case(f"{seconds:.0f} s of search: {data}", programs, check, FOLDS, warm_up=False)


def pipeline(data, metric, seconds, rows):
    text = [{"tf_idf": {"columns": ["summary"], "max_features": 4000, "ngrams": [1, 2]}}, {"truncated_svd": {"columns": "summary_*", "components": 64}}]
    steps = [
        {"target_encode": {"columns": ["maintainer_domain", "homepage_host"]}} if data == "debian_packages" else None,
        *(text if data == "debian_packages" else []),
        {"standard_scale": {"columns": "numeric"}},
    ]
    source = {"path": str(rows), "target": "y", "split": {"column": "split"}}
    if data == "debian_packages":
        source["columns"] = {"summary": "text"}
    search = {
        "metric": metric, "search": {"sampler": "multivariate_tpe", "pruner": "median", "seconds": 0.9 * seconds}, "encode": {}, "ensemble": "greedy",
        "candidates": VALUE_CANDIDATES if metric == "r2" else LABEL_CANDIDATES,
    }
    stages = [
        {"id": "prepare", "uses": "preprocessing", "with": {"steps": [step for step in steps if step]}},
        {"id": "model", "uses": "model-selection", "with": search},
    ]
    return {"version": 1, "name": data, "seed": 1, "data": source, "stages": stages}


def plain():
    return {name: value for name, value in os.environ.items() if name not in PEER}
