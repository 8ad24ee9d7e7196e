"""Methods of feature selection on random tables: the seconds of the method alone, without starting and reading, on all cores.

Informative columns are drawn together with the target; the others are noise. retune goes through its stage, which also checks the columns and writes the account of each.
The case of quality asks for the accuracy of a logistic regression on 1,500 other rows, for each of three tables of 20 informative, 20 redundant and 460 noise columns
(scikit-learn's `make_classification`); times there are those of all methods together, retune's with the two folds of its search.
"""

import json
import os
import subprocess

from measure import OURS, Case, Command, Failed

PEER = {"LD_LIBRARY_PATH": None}

# The work, rows, columns, kind of target, our method, repeats.
WORKS = {
    "mutual_info_classif": (50_000, 50, "classes", {"mutual_information": {"keep": 10}}, 3),
    "mutual_info_regression": (50_000, 50, "values", {"mutual_information": {"keep": 10}}, 3),
    "f_classif": (1_000_000, 100, "classes", {"f_test": {}}, 3),
    "f_regression": (1_000_000, 100, "values", {"f_test": {}}, 3),
    "chi2": (1_000_000, 100, "counts", {"chi2": {}}, 3),
    "rfecv": (5_000, 100, "classes", {"recursive_elimination": {}}, 1),
    "permutation_importance": (20_000, 50, "classes", {"permutation_importance": {}}, 1),
    "correlation": (100_000, 1_000, "values", {"correlation": {}}, 1),
}


def cases(place):
    build = ["cargo", "build", "--release", "--quiet", "-p", "retune-feature-selection", "-p", "retune-table", "--example", "selection_speed"]
    subprocess.run(build, cwd=place.root, check=True)
    for work, (n_rows, n_columns, target, method, repeats) in WORKS.items():
        data = table(place, work, n_rows, n_columns, target)
        yield case(place, work, f"{work}, {n_rows:,} x {n_columns}", data, method, repeats)
        data.unlink()
    yield quality(place)
    yield memory(place)


def case(place, work, name, data, method, repeats):
    """Both print their seconds."""
    declared = place.work / f"{work}.json"
    declared.write_text(json.dumps({"steps": [method]}))
    speed = place.retune.parent / "examples" / "selection_speed"
    programs = {
        OURS: lambda repeat: Command([speed, declared, data, "y", repeats], place.work),
        "scikit-learn": lambda repeat: Command([place.python, place.peers / "feature_selection.py", work, data, repeats], place.work, PEER),
    }

    def check(repeat, printed):
        seconds = {program: {"s": json.loads(text)["seconds"]} for program, text in printed.items()}
        ours, theirs = (seconds[program]["s"] for program in programs)
        seconds[OURS]["scikit-learn's / ours"] = theirs / ours
        return seconds

    return Case(name, programs, check, 1, warm_up=False)


TABLES = 3

# Those that suit many columns of which few tell something. `sequential` tries too many choices for so many columns.
METHODS = {
    "all_columns": {"variance_threshold": {}},
    "mutual_information": {"mutual_information": {"keep": 40}},
    "f_test": {"f_test": {"keep": 40}},
    "f_test_fdr": {"f_test": {"alpha": 0.05}},
    "kruskal_wallis": {"kruskal_wallis": {"keep": 40}},
    "information_value": {"information_value": {"keep": 40}},
    "relief_f": {"relief_f": {"keep": 40}},
    "mrmr": {"mrmr": {"keep": 40}},
    "l1": {"l1": {}},
    "linear_coefficients": {"linear_coefficients": {"keep": 40}},
    "tree_importance": {"tree_importance": {"keep": 40}},
    "shap_importance": {"shap_importance": {"keep": 40}},
    "permutation_importance": {"permutation_importance": {"keep": 40}},
    "recursive_elimination": {"recursive_elimination": {"keep": 40, "step": 0.1}},
    "boruta": {"boruta": {}},
    "stability": {"stability": {"method": {"f_test": {"keep": 40}}}},
}


def quality(place):
    """One run with a branch for each method."""
    folder = place.work / "quality"
    folder.mkdir()
    stages = [{"id": "prepare", "uses": "preprocessing", "with": {"steps": [{"standard_scale": {}}]}}]
    for name, method in METHODS.items():
        stages.append({"id": name, "uses": "feature-selection", "inputs": "prepare", "with": {"steps": [method]}})
        search = {"metric": "accuracy", "folds": 2, "search": {"trials": 1}, "candidates": [{"logistic_regression": {"l2": 1.0}}]}
        stages.append({"id": f"model-{name}", "uses": "model-selection", "inputs": name, "with": search})
    script = place.peers / "feature_quality.py"
    for repeat in range(TABLES):
        write = [place.python, script, "write", repeat, folder / f"{repeat}.csv"]
        subprocess.run([str(word) for word in write], env=plain(), check=True)

    def ours(repeat):
        pipeline = {
            "version": 1, "name": "quality", "seed": 1, "stages": stages,
            "data": {"path": str(folder / f"{repeat}.csv"), "target": "y", "split": {"column": "split"}},
        }
        (folder / "pipeline.yaml").write_text(json.dumps(pipeline))
        argv = [place.retune, "run", "pipeline.yaml", "--progress", "none", "--out", "runs"]
        return Command(argv, folder, {"RETUNE_STORE": folder / "store"})

    def check(repeat, printed):
        results = json.loads((folder / "runs" / "quality" / "latest" / "metrics.json").read_text())["results"]
        scores = {result["stage"].removeprefix("model-"): result["models"][-1]["scores"]["accuracy"]["value"] for result in results}
        return {OURS: scores, "scikit-learn": json.loads(printed["scikit-learn"])}

    programs = {OURS: ours, "scikit-learn": lambda repeat: Command([place.python, script, "score", repeat, folder / f"{repeat}.csv"], folder, PEER)}
    return Case("quality: accuracy after selection", programs, check, TABLES, warm_up=False)


def memory(place):
    """Peak memory on a table of 2 GB, which is read whole."""
    data = table(place, "large", 5_000_000, 100, "classes", "float32")
    declared = place.work / "large.json"
    declared.write_text(json.dumps({"steps": [{"variance_threshold": {}}, {"correlation": {}}, {"f_test": {}}, {"mutual_information": {"keep": 20}}]}))
    speed = place.retune.parent / "examples" / "selection_speed"
    programs = {OURS: lambda repeat: Command([speed, declared, data, "y", 1], place.work)}

    def check(repeat, printed):
        return {OURS: {"s": json.loads(printed[OURS])["seconds"]}}

    return Case("variance, correlation, F test, mutual information, 5,000,000 x 100 of 32 bits", programs, check, 1, warm_up=False)


def table(place, name, n_rows, n_columns, target, dtype="float64"):
    """A fifth of the columns are informative."""
    data = place.work / f"{name}.parquet"
    script = (
        "import sys, numpy as np, polars as pl\n"
        "n, d, target, dtype, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]\n"
        "rng = np.random.default_rng(1)\n"
        "told = rng.normal(size=n)\n"
        "columns = {}\n"
        "for i in range(d):\n"
        "    x = rng.normal(size=n) + (told * (1 + i) / d if i % 5 == 0 else 0)\n"
        "    columns[f'x{i}'] = (np.floor(np.exp(x)) if target == 'counts' else x).astype(dtype)\n"
        "y = told + rng.normal(size=n)\n"
        "columns['y'] = y if target == 'values' else np.where(y > 0, 'high', 'low')\n"
        "pl.DataFrame(columns).write_parquet(path, compression='uncompressed')\n"
    )
    subprocess.run([str(place.python), "-c", script, str(n_rows), str(n_columns), target, dtype, str(data)], env=plain(), check=True)
    if not data.exists():
        raise Failed(f"{data.name} was not written")
    return data


def plain():
    return {name: value for name, value in os.environ.items() if name not in PEER}
