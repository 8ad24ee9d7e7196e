"""Model families on random tables, samplers on test functions, and searches under a budget of seconds.

Families are timed without starting and reading, on all cores, at the same hyperparameters; the score is of rows that they were not trained on. The grid of six strengths
of logistic regression over the debian_packages chain is in the area `flow` ("the same work"). Under a budget each program gets the same training rows of five outer
folds and the same seconds on the same cores, and is scored on the other rows; RETUNE_BENCH_SECONDS names other seconds than 120.
"""

import json
import os
import subprocess

from measure import OURS, Case, Command

PEER = {"LD_LIBRARY_PATH": None}

# The table: rows, columns, kind of target. Our family; scikit-learn's, by its name in the peer's script.
WORKS = {
    "multinomial logistic regression": (40_000, 50, "five", {"logistic_regression": {}}, "logistic"),
    "random forest of 100": (40_000, 50, "two", {"random_forest": {"trees": 100}}, "forest"),
    "extra trees of 100": (40_000, 50, "two", {"extra_trees": {"trees": 100}}, "extra"),
    "5 nearest neighbours": (20_000, 20, "two", {"k_nearest_neighbors": {}}, "neighbors"),
    "gradient boosting, LightGBM from Python": (40_000, 50, "two", {"gradient_boosting": {}}, "lightgbm"),
    "support vectors, radial": (8_000, 20, "two", {"svm": {}}, "svm"),
    "linear discriminant": (100_000, 50, "five", {"linear_discriminant": {}}, "discriminant"),
    "Gaussian naive Bayes": (100_000, 50, "five", {"gaussian_naive_bayes": {}}, "bayes"),
    "lasso": (100_000, 100, "values", {"lasso": {"l1": 0.05}}, "lasso"),
}
REPEATS = 3
SEEDS = 20
TRIALS = 50


def cases(place):
    build = ["cargo", "build", "--release", "--quiet", "-p", "retune-table", "-p", "retune-estimators", "-p", "retune-model-selection", "-p", "retune-tensor", "--examples"]
    subprocess.run(build, cwd=place.root, check=True)
    for name, (n_rows, n_columns, target, family, peer) in WORKS.items():
        yield family_case(place, name, n_rows, n_columns, target, family, peer)
    yield steps(place)
    yield samplers(place)
    for data in BUDGETED:
        yield budget(place, data)


def family_case(place, name, n_rows, n_columns, target, family, peer):
    folder = place.work / peer
    folder.mkdir()
    script = place.peers / "model_speed.py"
    subprocess.run([place.python, script, "write", str(folder), str(n_rows), str(n_columns), target], env=plain(), check=True)
    (folder / "family.json").write_text(json.dumps(family))
    speed = place.retune.parent / "examples" / "model_speed"
    programs = {
        OURS: lambda repeat: Command([speed, "family.json", "train.parquet", "test.parquet", "y", REPEATS], folder),
        "scikit-learn": lambda repeat: Command([place.python, script, "fit", peer, REPEATS], folder, PEER),
    }

    def check(repeat, printed):
        results = {program: json.loads(text) for program, text in printed.items()}
        seconds = {program: result["fit"] + result["predict"] for program, result in results.items()}
        for program, result in results.items():
            result["s"] = seconds[program]
        results[OURS]["scikit-learn's / ours"] = seconds["scikit-learn"] / seconds[OURS]
        return results

    return Case(f"{name}, {n_rows:,} x {n_columns}", programs, check, 1, warm_up=False)


def steps(place):
    """1,000 steps of a 64-128-10 perceptron on batches of 256 rows."""
    ours = place.retune.parent / "examples" / "mlp_steps"
    programs = {
        OURS: lambda repeat: Command([ours], place.work),
        "PyTorch and scikit-learn": lambda repeat: Command([place.python, place.peers / "mlp_steps.py"], place.work, PEER),
    }
    return Case("1,000 training steps of a perceptron", programs, lambda repeat, printed: {name: numbers(text) for name, text in printed.items()}, 3)


def samplers(place):
    """The median best value over seeds."""
    ours = place.retune.parent / "examples" / "sampler_quality"
    programs = {
        OURS: lambda repeat: Command([ours, SEEDS, TRIALS], place.work),
        "Optuna": lambda repeat: Command([place.python, place.peers / "sampler_quality.py", SEEDS, TRIALS], place.work, PEER),
    }

    def check(repeat, printed):
        results = {name: json.loads(text) for name, text in printed.items()}
        for functions in results.values():
            beats = {sampler: 0 for values in functions.values() for sampler in values if sampler != "random"}
            for values in list(functions.values())[:10]:
                for sampler in beats:
                    beats[sampler] += values[sampler] < values["random"]
            functions.clear()
            functions.update({f"{sampler} beats random of 10": count for sampler, count in beats.items()})
        return results

    return Case(f"samplers on test functions, {TRIALS} trials, {SEEDS} seeds", programs, check, 1, warm_up=False)


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
        {"impute": {"columns": "numeric", "strategy": "median"}},
        {"target_encode": {"columns": ["maintainer_domain", "homepage_host"]}} if data == "debian_packages" else None,
        {"one_hot": {"columns": "categorical", "max_levels": 20}},
        *(text if data == "debian_packages" else []),
        {"standard_scale": {"columns": "numeric"}},
    ]
    source = {"path": str(rows), "target": "y", "split": {"column": "split"}}
    if data == "debian_packages":
        source["columns"] = {"summary": "text"}
    search = {
        "metric": metric, "search": {"sampler": "multivariate_tpe", "seconds": 0.85 * seconds}, "ensemble": "greedy",
        "candidates": VALUE_CANDIDATES if metric == "r2" else LABEL_CANDIDATES,
    }
    stages = [
        {"id": "prepare", "uses": "preprocessing", "with": {"steps": [step for step in steps if step]}},
        {"id": "model", "uses": "model-selection", "with": search},
    ]
    return {"version": 1, "name": data, "seed": 1, "data": source, "stages": stages}


def numbers(text):
    """The last line as JSON."""
    return json.loads(text.strip().splitlines()[-1])


def plain():
    return {name: value for name, value in os.environ.items() if name not in PEER}
