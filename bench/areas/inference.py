"""Many rows through what was fitted, Parquet to Parquet, from the start of the process to its end.

The peer is a scikit-learn script with two processes that reads, scores and writes by row groups. "debian_packages" has the steps of the flow area's logistic
regression (numbers, levels, text; 12 probabilities come out); "numbers" is 20 columns with 2 % missing: impute, scale, logistic regression.
"""

import json
import os
import subprocess

from areas.flow import split, write_pipeline
from measure import OURS, Case, Command, Failed

PEER = {"LD_LIBRARY_PATH": None}


def cases(place):
    yield debian(place)
    yield numbers(place)
    yield memory(place)


def script(place, *words):
    argv = [place.python, place.peers / "inference.py", *map(str, words)]
    environment = {name: value for name, value in os.environ.items() if name not in PEER}
    subprocess.run(argv, env=environment, check=True)


def fitted(folder, place):
    argv = [place.retune, "run", "pipeline.yaml", "--progress", "none", "--out", "runs"]
    subprocess.run(argv, cwd=folder, env=os.environ | {"RETUNE_STORE": str(folder / "store")}, check=True, stdout=subprocess.DEVNULL)
    return next((folder / "runs").glob("*/latest")).resolve()


def scored(place, name, folder, run, rows, n_rows):
    def ours(repeat):
        output = folder / "ours.parquet"
        return Command([place.retune, "apply", run, "--input", rows, "--output", output], folder, before=lambda: output.unlink(missing_ok=True))

    def theirs(repeat):
        return Command([place.python, place.peers / "inference.py", "score", folder / "model.joblib", rows, folder / "theirs.parquet"], folder, PEER)

    def check(repeat, printed):
        if f"{n_rows} rows in, {n_rows} rows out" not in printed[OURS]:
            raise Failed(printed[OURS])

    return Case(f"{name}, {n_rows:,} rows", {OURS: ours, "scikit-learn, two processes": theirs}, check, 3)


def debian(place):
    folder = place.work / "inference-debian"
    folder.mkdir()
    divided = split(place, 1)
    pipeline = (place.root / "bench" / "areas" / "flow_logistic.yaml").read_text()
    write_pipeline(folder / "pipeline.yaml", pipeline, divided)
    run = fitted(folder, place)
    script(place, "fit", "debian", divided, folder / "model.joblib")
    rows = folder / "many.parquet"
    script(place, "data", "debian", 1_000_000, rows, divided)
    return scored(place, "debian_packages", folder, run, rows, 1_000_000)


def numbers_of(place, folder):
    folder.mkdir()
    script(place, "data", "numbers", 20_000, folder / "rows.parquet")
    pipeline = {
        "version": 1, "name": "numbers", "seed": 1,
        "data": {"path": str(folder / "rows.parquet"), "target": "label", "split": {"validation": 0.1, "test": 0.1}},
        "stages": [
            {"id": "prepare", "uses": "preprocessing", "with": {"steps": [{"impute": {"strategy": "median"}}, {"standard_scale": {}}]}},
            {"id": "model", "uses": "model-selection", "with": {"candidates": [{"logistic_regression": {}}]}},
        ],
    }
    (folder / "pipeline.yaml").write_text(json.dumps(pipeline))
    return fitted(folder, place)


def numbers(place):
    folder = place.work / "inference-numbers"
    run = numbers_of(place, folder)
    script(place, "fit", "numbers", folder / "rows.parquet", folder / "model.joblib")
    rows = folder / "many.parquet"
    script(place, "data", "numbers", 4_000_000, rows)
    return scored(place, "numbers", folder, run, rows, 4_000_000)


def memory(place):
    """Peak memory must not grow with the rows."""
    folder = place.work / "inference-memory"
    run = numbers_of(place, folder)
    sizes = {"64 MB": 400_000, "6.4 GB": 40_000_000}
    for rows in sizes.values():
        script(place, "data", "numbers", rows, folder / f"{rows}.parquet")

    def apply(n_rows):
        return lambda repeat: Command([place.retune, "apply", run, "--input", folder / f"{n_rows}.parquet", "--output", folder / "ours.parquet"], folder)

    programs = {OURS if size == "64 MB" else f"retune, {size}": apply(n_rows) for size, n_rows in sizes.items()}
    return Case("memory: 64 MB of rows and 6.4 GB", programs, lambda repeat, printed: None, 1, warm_up=False)
