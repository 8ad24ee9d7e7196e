"""Methods of feature selection on random tables: the seconds of the method alone, without starting and reading, on all cores.

Informative columns are drawn together with the target; the others are noise. retune goes through its stage, which also checks the columns and writes the account of each.
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
