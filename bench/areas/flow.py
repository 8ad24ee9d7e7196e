"""The whole debian_packages flow (8,000 packages, 12 sections), and what `retune` costs when nothing is to be done.

The flow runs on five splits, one for each repeat: 70 % train, 15 % validation, 15 % test, stratified. Scores are of the test rows, the mean and each
split's, computed by one scikit-learn script from both sides' predictions. retune searches with five folds in which every step is fitted
anew, fine-tunes the winner, and uses validation rows for the guard and early stopping; peers marked *train+validation* fit on those too.
"""

import json
import os
import re
import shutil

from measure import OURS, Case, Command, Failed, run

FLOWS = {
    f"scikit-learn, {model}, {rows}": ["--model", model, "--fit-on", rows]
    for model, rows in [("logistic", "train"), ("hgb", "train"), ("lightgbm", "train+validation")]
}
SEEDS = 5


def cases(place):
    splits = [split(place, seed) for seed in range(1, SEEDS + 1)]
    whole = (place.root / "pipelines" / "debian_packages.yaml").read_text()
    logistic = (place.root / "bench" / "areas" / "flow_logistic.yaml").read_text()
    same_work = {"scikit-learn": ["--model", "logistic", "--select", "mutual_information"]}
    return [
        flow(place, "the whole flow, from nothing", whole, FLOWS, splits),
        flow(place, "the same work: these steps, five strengths of logistic regression", logistic, same_work, splits),
        validate(place, whole, splits[0]),
        cached(place, whole, splits[0]),
    ]


def flow(place, name, pipeline, peers, splits):
    """Ours and the peers' script; repeat i takes split i."""
    folder = place.work / re.sub(r"\W+", "-", name)
    folder.mkdir()

    def ours(repeat):
        write_pipeline(folder / "pipeline.yaml", pipeline, splits[repeat % SEEDS])
        return Command(
            [place.retune, "run", "pipeline.yaml", "--progress", "none", "--out", "runs"], folder,
            {"RETUNE_STORE": folder / "store"}, before=lambda: remove(folder / "store", folder / "runs"),
        )

    def peer(words):
        predictions = folder / f"{'-'.join(words)}.csv"
        script = [place.python, place.peers / "debian_packages.py", *words, "--threads", len(os.sched_getaffinity(0))]

        def command(repeat):
            argv = [*script, splits[repeat % SEEDS], "--predictions", predictions]
            return Command(argv, folder, PEER, before=lambda: remove(predictions))

        return command, predictions

    scripts = {label: peer(words) for label, words in peers.items()}

    def check(repeat, printed):
        rows = splits[repeat % SEEDS]
        predictions, reported = our_results(folder / "runs")
        scores = {OURS: score(place, predictions, rows)}
        if abs(scores[OURS]["f1_macro"] - reported) > 1e-9:
            raise Failed(f"metrics.json says {reported}, the predictions score {scores[OURS]['f1_macro']}")
        return scores | {label: score(place, file, rows) for label, (_, file) in scripts.items()}

    programs = {OURS: ours} | {label: command for label, (command, _) in scripts.items()}
    return Case(name, programs, check, repeats=SEEDS, warm_up=False)


def validate(place, pipeline, rows):
    folder = place.work / "validate"
    folder.mkdir()
    write_pipeline(folder / "pipeline.yaml", pipeline, rows)
    programs = {
        OURS: lambda repeat: Command([place.retune, "validate", "pipeline.yaml"], folder),
        'python -c "import sklearn"': lambda repeat: Command([place.python, "-c", "import sklearn"], folder, PEER),
    }
    return Case("validate", programs, lambda repeat, printed: None, repeats=20)


def cached(place, pipeline, rows):
    """A run with everything in the store, a `dvc repro` with nothing changed."""
    folder = place.work / "cached"
    write_dvc(place, folder / "dvc", rows)
    write_pipeline(folder / "pipeline.yaml", pipeline, rows)
    ours = Command([place.retune, "run", "pipeline.yaml", "--out", "runs"], folder, {"RETUNE_STORE": folder / "store"})
    dvc = Command([place.python, "-m", "dvc", "repro"], folder / "dvc", {**PEER, "PYTHON": place.python})
    for command in ours, dvc:  # the run that fills the store
        run(command, dense=False)
    first, _ = our_results(folder / "runs")
    expected = first.read_bytes()

    def check(repeat, printed):
        latest, _ = our_results(folder / "runs")
        if latest.read_bytes() != expected:
            raise Failed("the cached run left other predictions than the first")
        dvcs = next(text for label, text in printed.items() if "dvc" in label)
        if dvcs.count("didn't change, skipping") != 4:
            raise Failed(f"dvc did not skip its four stages:\n{dvcs}")

    programs = {
        OURS: lambda repeat: ours,
        "dvc repro": lambda repeat: dvc,
        'python -c "import sklearn"': lambda repeat: Command([place.python, "-c", "import sklearn"], folder, PEER),
    }
    return Case("a cached run", programs, check, repeats=10)


# What `just` sets for our programs must not reach the peers. DVC is spared the process that reports its use.
PEER = {"LD_LIBRARY_PATH": None, "DVC_NO_ANALYTICS": "1"}


def split(place, seed):
    """The rows with a column `split`."""
    output = place.work / f"rows-{seed}.csv"
    data = place.root / "data" / "debian_packages.csv"
    output_of([place.python, place.peers / "split.py", data, "section", seed, output], place.work, PEER)
    return output


def write_pipeline(path, text, rows):
    """A pipeline with its `data` in favour of rows that say of themselves where they belong."""
    data = f"""data:
  path: {json.dumps(str(rows))}
  target: section
  id: [package, version]
  columns: {{ summary: text }}
  split: {{ column: split }}
"""
    text, n = re.subn(r"(?m)^data:.*\n(?:(?:[ #].*)?\n)*", lambda _: data + "\n", text)
    if n != 1:
        raise Failed(f"{path.name}: expected one `data:` at the start of a line, found {n}")
    path.write_text(text)


def our_results(runs):
    """The predictions of the newest run, and the macro F1 that it reports for them."""
    latest = next(runs.glob("*/latest"))
    result = json.loads((latest / "metrics.json").read_text())["results"][-1]
    return latest / "predictions.parquet", result["models"][-1]["scores"]["f1_macro"]["value"]


def score(place, predictions, rows):
    scores = json.loads(output_of([place.python, place.peers / "score.py", predictions, rows], place.work, PEER))
    return {metric: scores[metric] for metric in ["f1_macro", "accuracy"]}


def write_dvc(place, folder, rows):
    folder.mkdir(parents=True)
    for script in ["dvc.yaml", "dvc_stages.py", "debian_packages.py"]:
        shutil.copy(place.peers / script, folder)
    shutil.copy(rows, folder / "rows.csv")
    output_of([place.python, "-m", "dvc", "init", "--no-scm", "--quiet"], folder, PEER)


def output_of(argv, folder, changes):
    """What a command prints."""
    return run(Command(argv, folder, changes), dense=False)[2]


def remove(*paths):
    for path in paths:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
