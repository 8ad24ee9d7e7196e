"""Model families on random tables, training steps of a network, and samplers on test functions.

Families are timed without starting and reading, on all cores, at the same hyperparameters; the score is of rows that they were not trained on. The grid of strengths of
logistic regression over the debian_packages chain is in the area `flow` ("the same work"), searches under a budget of seconds are in `search-budget`.
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
    cores = len(os.sched_getaffinity(0))
    script = place.peers / "mlp_steps.py"
    programs = {OURS: lambda repeat: Command([ours, cores], place.work)}
    programs |= {
        label: lambda repeat, word=word: Command([place.python, script, word, cores], place.work, PEER)
        for label, word in {"PyTorch eager, fused AdamW": "pytorch", "scikit-learn": "scikit-learn"}.items()
    }

    def check(repeat, printed):
        seconds = {program: float(json.loads(text.strip().splitlines()[-1])["seconds"]) for program, text in printed.items()}
        return {program: {"s": own} | ({} if program == OURS else {"times ours": own / seconds[OURS]}) for program, own in seconds.items()}

    return Case("1,000 training steps of a perceptron", programs, check, 3)


def samplers(place):
    """The median best value over seeds."""
    ours = place.retune.parent / "examples" / "sampler_quality"
    programs = {
        OURS: lambda repeat: Command([ours, SEEDS, TRIALS], place.work),
        "Optuna": lambda repeat: Command([place.python, place.peers / "sampler_quality.py", SEEDS, TRIALS], place.work, PEER),
    }

    def check(repeat, printed):
        results = {}
        for program, text in printed.items():
            functions = json.loads(text)["medians"]
            # The mixed one comes last and is not of the ten.
            ten = list(functions.values())[:10]
            words = [word for word in ten[0] if word != "random"]
            results[program] = {f"{word} beats random of 10": sum(values[word] < values["random"] for values in ten) for word in words}
            results[program] |= {f"{word}, {name}": functions[name][word] for word in words for name in ("hartmann 6", "rosenbrock 5d") if name in functions}
        return results

    return Case(f"samplers on test functions, {TRIALS} trials, {SEEDS} seeds", programs, check, 1, warm_up=False)


def plain():
    return {name: value for name, value in os.environ.items() if name not in PEER}
