#!/usr/bin/env python3
"""Runs pipelines that are logged to a real MLflow server and read by TensorBoard's own reader, and checks that both have what the run's folder has.

usage: tracking.py RETUNE

Started by `just integration-tracking`. mlflow and tensorboard lie in an environment in the cache folder; the server listens on this machine only.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ENVIRONMENT = "integration-venv"

PIPELINE = """version: 1
name: wine
threads: 2
params: {{ trials: 4, epochs: 6 }}
tracking: {{ mlflow: "{server}", tensorboard: events }}
data: {{ path: wine.csv, target: cultivar, split: {{ validation: 0.2, test: 0.2, stratify: true }} }}
stages:
  - id: prepare
    uses: preprocessing
    with: {{ steps: [ impute: {{}}, standard_scale: {{}}, {extra} ] }}
  - id: model
    uses: model-selection
    with:
      folds: 3
      search: {{ trials: "${{{{ params.trials }}}}" }}
      candidates:
        - mlp: {{ hidden: {{ choice: [[8], [16]] }}, epochs: "${{{{ params.epochs }}}}", batch_size: 16 }}
  - id: tuned
    uses: fine-tuning
    with: {{ base: model, network: {{ epochs: 4 }} }}
"""


def main():
    sys.path.insert(0, str(HERE.parent))
    from environments import python_with, without_our_libraries

    python = python_with(ENVIRONMENT, HERE / "requirements.txt", lambda text: print(text, flush=True))
    if Path(sys.prefix) != Path(python).parent.parent:
        # The same script again, where mlflow and tensorboard can be imported.
        os.execve(python, [str(python), __file__, *sys.argv[1:]], without_our_libraries())
    retune = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="retune-tracking-") as work:
        with server(Path(work) / "mlflow") as address:
            check_finished(retune, place(work, "finished", address), address)
            check_failed(retune, place(work, "failed", address, extra="pca: { components: 500 }"), address)
            check_killed(retune, place(work, "killed", address), address)
        check_away(retune, place(work, "away", address))
    print("tracking: all checks passed")


@contextmanager
def server(folder):
    """MLflow's own server, on a free port, with an empty database."""
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(lambda: answers(f"{address}/health"), 120, lambda: f"MLflow's server does not answer:\n{(folder / 'log').read_text()}")
            yield address
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def answers(address):
    try:
        return urllib.request.urlopen(address, timeout=2).status == 200
    except OSError:
        return False


def wait_for(holds, seconds, otherwise):
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            sys.exit(f"error: {otherwise()}")
        time.sleep(0.2)


def place(work, name, address, extra="pca: { components: 5 }"):
    folder = Path(work) / name
    folder.mkdir()
    (folder / "wine.csv").write_bytes((ROOT / "data/wine.csv").read_bytes())
    (folder / "p.yaml").write_text(PIPELINE.format(server=address, extra=extra))
    return folder


def start(retune, folder, *arguments):
    environment = {**os.environ, "RETUNE_STORE": str(folder / "store"), "NO_COLOR": "1"}
    command = [str(retune), "run", "p.yaml", "--progress", "json", *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process, code):
    out, err = process.communicate()
    assert process.returncode == code, f"exit code {process.returncode}\n{out}{err}"
    return [json.loads(line) for line in err.splitlines()]


def warnings(events):
    return [event["text"] for event in events if event["event"] == "message" and event["stage"] == "tracking"]


def newest(address):
    """The newest run that the server has, read with MLflow's own client."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(address)
    experiment = client.get_experiment_by_name("wine")
    assert experiment is not None, "no experiment is named after the pipeline"
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    return client, runs[0]


def check_finished(retune, folder, address):
    events = finish(start(retune, folder), 0)
    assert warnings(events) == [], warnings(events)
    run_folder = folder / "runs/wine/latest"
    metrics = json.loads((run_folder / "metrics.json").read_text())
    summary = json.loads((run_folder / "run.json").read_text())
    client, run = newest(address)
    assert run.info.status == "FINISHED" and run.info.run_name == run_folder.resolve().name, run.info
    assert run.info.end_time >= run.info.start_time
    params = run.data.params
    assert params["params.trials"] == "4" and params["model.search.trials"] == "4", params
    assert params["prepare.steps.0.impute.strategy"] == "median" or "prepare.steps.0.impute.columns" in params, params
    expected = {}
    for result in metrics["results"]:
        for model in result["models"]:
            for metric, score in model["scores"].items():
                for end, key in [("", "value"), ("_low", "low"), ("_high", "high")]:
                    if isinstance(score.get(key), float):
                        expected[f"{model['id']}/test_{metric}{end}"] = score[key]
    assert len(expected) > 20, expected
    wrong = {name: (value, run.data.metrics.get(name)) for name, value in expected.items() if run.data.metrics.get(name) != value}
    assert not wrong, f"MLflow has other scores: {wrong}"
    board = json.loads((run_folder / "stages/model.json").read_text())["details"]["leaderboard"]
    trials = {trial["trial"]: trial["mean"] for trial in board if trial["mean"] is not None}
    logged = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, "model/trial_score")}
    assert logged == trials and len(trials) == 4, (logged, trials)
    for stage in summary["stages"]:
        assert run.data.tags[f"retune.key.{stage['name']}"] == stage["key"]
    assert run.data.tags["retune.folder"] == str(run_folder.resolve())
    curves = curves_of(run_folder)
    for name, series in curves.items():
        logged = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, name)}
        assert logged == series, f"{name}: {logged} != {series}"
    events_folder = folder / "events/wine" / run_folder.resolve().name
    check_tensorboard(events_folder, {**{name: {0: value} for name, value in expected.items()}, "model/trial_score": trials, **curves})
    print(f"finished: {len(params)} parameters, {len(run.data.metrics)} metrics, {len(curves)} learning curves, the same in MLflow and TensorBoard")


def curves_of(run_folder):
    """The learning curves in the run's folder by series: step and value."""
    curves = {}
    for file in (run_folder / "stages").glob("*.tables.json"):
        for name, table in json.loads(file.read_text()).items():
            if name.startswith("learning_curve") and table["columns"][0] in ("epoch", "round"):
                for column, title in list(enumerate(table["columns"]))[1:]:
                    series = {row[0]: row[column] for row in table["rows"] if isinstance(row[column], (int, float))}
                    if series:
                        curves[f"{file.name.removesuffix('.tables.json')}/{name}/{title}"] = series
    return curves


def check_tensorboard(folder, expected):
    import struct

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    assert accumulator.file_version == 2.0
    tags = accumulator.Tags()["scalars"]
    for name, series in expected.items():
        assert name in tags, f"{name} is not among {tags}"
        read = {event.step: event.value for event in accumulator.Scalars(name)}
        # Event files have numbers of 32 bits.
        single = {step: struct.unpack("f", struct.pack("f", value))[0] for step, value in series.items()}
        assert read == single, f"{name}: {read} != {single}"


def check_failed(retune, folder, address):
    events = finish(start(retune, folder), 4)
    assert warnings(events) == [], warnings(events)
    _, run = newest(address)
    assert run.info.status == "FAILED", run.info
    print("failed: the run is FAILED in MLflow")


def check_killed(retune, folder, address):
    process = start(retune, folder)
    for line in process.stderr:
        if json.loads(line)["event"] == "stage_started":
            break
    process.send_signal(signal.SIGINT)
    finish(process, 130)
    _, run = newest(address)
    assert run.info.status == "KILLED", run.info
    print("interrupted: the run is KILLED in MLflow")


def check_away(retune, folder):
    begun = time.monotonic()
    events = finish(start(retune, folder), 0)
    assert len(warnings(events)) == 1 and "MLflow" in warnings(events)[0], warnings(events)
    assert (folder / "runs/wine/latest/metrics.json").exists()
    print(f"away: a warning, and the run is whole ({time.monotonic() - begun:.1f} s): {warnings(events)[0]}")


if __name__ == "__main__":
    main()
