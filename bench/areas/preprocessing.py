"""Tables through preprocessing: 30 numeric columns with 5 % missing, 8 categorical ones of 3 to 1000 levels and a label, as CSV.

The steps are median imputation, clipping at three interquartile ranges, standard scaling, and one-hot encoding of at most 20 columns each. retune
keeps what it read and what it made of it in its store (Arrow, checksummed); the others write parquet. Where seconds are given as scores,
they are those of fitting (which gives the turned training rows, too: `fit_transform`) and of applying, in memory, without starting and reading.
"""

import json
import os
import subprocess

from measure import OURS, Case, Command, Failed

PEER = {"LD_LIBRARY_PATH": None}

STEPS = [
    {"impute": {"columns": "numeric", "strategy": "median"}},
    {"clip_outliers": {"columns": "numeric", "method": "iqr", "factor": 3}},
    {"standard_scale": {"columns": "numeric"}},
    {"one_hot": {"columns": "categorical", "max_levels": 20}},
]

WORKS = {
    "table": ("the steps in memory, 1,000,000 x 38", None, STEPS, 3),
    "pca": ("pca, 100,000 x 200 to 20 components", (100_000, 200, 0.0), [{"pca": {"components": 20}}], 5),
    "truncated_svd": ("truncated_svd, 8,000 x 1,000 to 64 components", (8_000, 1_000, 0.0), [{"truncated_svd": {"components": 64}}], 5),
    "knn_impute": ("knn_impute, 20,000 x 20 with 10 % missing", (20_000, 20, 0.1), [{"knn_impute": {}}], 1),
    "iterative_impute": ("iterative_impute, 20,000 x 20 with 10 % missing", (20_000, 20, 0.1), [{"iterative_impute": {}}], 3),
    "quantile_transform": ("quantile_transform, 100,000 x 50 to normal", (100_000, 50, 0.0), [{"quantile_transform": {"output": "normal"}}], 3),
}


def cases(place):
    build = ["cargo", "build", "--release", "--quiet", "-p", "retune-preprocessing", "-p", "retune-table", "--example", "speed"]
    subprocess.run(build, cwd=place.root, check=True)
    million = rows(place, 1_000_000)
    yield flow(place, "1,000,000 rows, from CSV to disk", million, ["flow-sklearn", "flow-sklearn-bool", "flow-polars", "flow-polars-streaming"], 3)
    for work, (name, shape, steps, repeats) in WORKS.items():
        yield in_memory(place, work, name, million if shape is None else matrix(place, work, *shape), steps, repeats)
    million.unlink()
    yield flow(place, "20,000,000 rows, from 6 GB of CSV to disk", rows(place, 20_000_000), ["flow-polars-streaming"], 1)


def flow(place, name, data, peers, repeats):
    """Read, fit, apply, write."""
    folder = place.work / str(data.stem)
    folder.mkdir()
    pipeline = {
        "version": 1, "name": "bench", "seed": 1,
        "data": {"path": str(data), "target": "label", "split": {"validation": 0.0, "test": 0.0}},
        "stages": [{"id": "prepare", "uses": "preprocessing", "with": {"steps": STEPS}}],
    }
    (folder / "pipeline.yaml").write_text(json.dumps(pipeline))
    script = place.peers / "preprocessing.py"
    clean = f"rm -rf {folder}/store {folder}/runs {folder}/*.parquet"

    def ours(repeat):
        argv = [place.retune, "run", "pipeline.yaml", "--progress", "none", "--out", "runs"]
        return Command(argv, folder, {"RETUNE_STORE": folder / "store"}, before=lambda: subprocess.run(clean, shell=True, check=True))

    def peer(words):
        return lambda repeat: Command([place.python, script, words, data, folder / f"{words}.parquet"], folder, PEER)

    programs = {OURS: ours} | {words.removeprefix("flow-"): peer(words) for words in peers}
    return Case(name, programs, lambda repeat, printed: None, repeats, warm_up=False)


def in_memory(place, work, name, data, steps, repeats):
    """Both print the seconds of fitting and of applying."""
    declared = place.work / f"{work}.json"
    declared.write_text(json.dumps({"steps": steps}))
    speed = place.retune.parent / "examples" / "speed"
    programs = {
        OURS: lambda repeat: Command([speed, declared, data, repeats], place.work),
        "scikit-learn": lambda repeat: Command([place.python, place.peers / "preprocessing.py", work, data, repeats], place.work, PEER),
    }

    def check(repeat, printed):
        told = {program: json.loads(text) for program, text in printed.items()}
        seconds = {program: {"fit, s": values["fit"], "apply, s": values["apply"]} for program, values in told.items()}
        ours, theirs = seconds[OURS], seconds["scikit-learn"]
        both = [sum(values.values()) for values in (ours, theirs)]
        ours["scikit-learn's fit + apply / ours"] = both[1] / both[0]
        ours["rows/s applied"] = told[OURS]["rows"] / ours["apply, s"]
        return seconds

    return Case(name, programs, check, 1, warm_up=False)


def rows(place, n_rows):
    data = place.work / f"rows-{n_rows}.csv"
    write = [place.python, place.peers / "preprocessing_data.py", n_rows, data]
    subprocess.run([str(word) for word in write], env=plain(), check=True)
    return data


def matrix(place, work, n_rows, n_columns, missing):
    """Numbers of some common directions and noise, a share of them missing."""
    data = place.work / f"{work}.parquet"
    script = (
        "import sys, numpy as np, polars as pl\n"
        "n, d, missing, path = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]\n"
        "rng = np.random.default_rng(1)\n"
        "x = rng.normal(size=(n, 30)) * np.linspace(5, 1, 30) @ rng.normal(size=(30, d)) + rng.normal(size=(n, d))\n"
        "x[rng.random((n, d)) < missing] = np.nan\n"
        "pl.DataFrame({f'x{i}': x[:, i] for i in range(d)}).fill_nan(None).write_parquet(path)\n"
    )
    subprocess.run([str(place.python), "-c", script, str(n_rows), str(n_columns), str(missing), str(data)], env=plain(), check=True)
    if not data.exists():
        raise Failed(f"{data.name} was not written")
    return data


def plain():
    return {name: value for name, value in os.environ.items() if name not in PEER}
