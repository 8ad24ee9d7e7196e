#!/usr/bin/env python3
"""Kills a run at random moments, starts it again each time, and checks that it ends with the same bits as a run that was left alone.

usage: kill_test.py RETUNE PIPELINE [KILLS]

Kills `retune` and its child `retune-stage` in turn with SIGKILL. Runs in a folder of its own; data paths start at the current folder.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def start(retune, pipeline, folder):
    environment = {**os.environ, "RETUNE_STORE": str(folder / "store")}
    command = [retune, "run", pipeline, "--out", str(folder / "runs"), "--progress", "none"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def children(pid):
    """The children of a process."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def results(folder):
    """The digest of everything that a run must repeat bit for bit."""
    latest = next((folder / "runs").glob("*/latest"))
    files = [latest / "metrics.json", latest / "predictions.parquet", *sorted((latest / "model").rglob("*"))]
    return {str(file.relative_to(latest)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}


def finish(process):
    _, errors = process.communicate()
    if process.returncode:
        sys.exit(f"the run ended with code {process.returncode}:\n{errors.decode()}")


def main():
    retune, pipeline = sys.argv[1:3]
    kills = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    draw = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder, "whole"), Path(folder, "killed")
        begun = time.monotonic()
        finish(start(retune, pipeline, whole))
        seconds = time.monotonic() - begun
        print(f"left alone: {seconds:.1f} s")
        begun = time.monotonic()
        for kill in range(kills):
            process = start(retune, pipeline, killed)
            time.sleep(draw.uniform(0.05, 1.5 * seconds / kills))
            target = process.pid if kill % 2 == 0 else next(iter(children(process.pid)), process.pid)
            who = "retune" if target == process.pid else "retune-stage"
            over = process.poll() is not None
            if not over:
                os.kill(target, signal.SIGKILL)
            _, errors = process.communicate()
            what = "was over" if over else f"{who} killed, exit {process.returncode}"
            print(f"kill {kill + 1:2}: {what}")
        finish(start(retune, pipeline, killed))
        print(f"killed {kills} times: {time.monotonic() - begun:.1f} s in all")
        expected, found = results(whole), results(killed)
        different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        if different:
            sys.exit(f"different after the kills: {', '.join(different)}")
        print(f"the same bits in {len(expected)} files")


if __name__ == "__main__":
    main()
