"""Runs programs one after the other and measures their time, and the memory of everything they start."""

import os
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable


class Failed(Exception):
    """A program failed, or two programs did not compute the same thing."""


@dataclass
class Command:
    """A program to run. `before` is called first and is not timed."""

    argv: list
    folder: Path
    environment: dict = field(default_factory=dict)
    before: Callable[[], None] = lambda: None


@dataclass
class Case:
    """The same work by retune and by others; OURS names retune among the programs.

    Each program is a function from the number of the repeat to a command. `check` gets the number of the repeat and what each program printed; it
    raises `Failed` if they did not do the same thing, and may return scores by program, such as {"retune": {"f1_macro": 0.88}}.
    """

    name: str
    programs: dict
    check: Callable[[int, dict], dict]
    repeats: int = 5
    # One run of each before those that count: fills the file cache, and is where the memory of short programs is sampled densely.
    warm_up: bool = True


OURS = "retune"


@dataclass
class Measured:
    """What the repeats of one program took."""

    seconds: list = field(default_factory=list)
    bytes: list = field(default_factory=list)
    scores: list = field(default_factory=list)


def measure(case, repeats, say):
    """Runs the programs in turn, so that whatever else the machine does meets all of them; every other repeat in reverse order."""
    measured = {name: Measured() for name in case.programs}
    first = -1 if case.warm_up else 0
    for repeat in range(first, repeats):
        printed = {}
        order = list(case.programs) if repeat % 2 == 0 else list(reversed(case.programs))
        for name in order:
            say(f"{case.name}: {name}, {'warm-up' if repeat < 0 else f'{repeat + 1} of {repeats}'}")
            seconds, peak, printed[name] = run(case.programs[name](max(repeat, 0)), dense=repeat < 0)
            measured[name].bytes.append(peak)
            if repeat >= 0:
                measured[name].seconds.append(seconds)
        scores = case.check(max(repeat, 0), printed) or {}
        if repeat >= 0:
            for name, values in scores.items():
                measured[name].scores.append(values)
    return measured


def run(command, dense):
    """Runs one command; returns its seconds, the peak memory of its tree of processes, and its standard output."""
    command.before()
    environment = {name: value for name, value in {**os.environ, **command.environment}.items() if value is not None}
    peak, done = [0], threading.Event()
    start = time.perf_counter()
    child = subprocess.Popen(
        [str(word) for word in command.argv], cwd=command.folder, env=environment, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
    )
    watch = threading.Thread(target=watch_memory, args=(child.pid, done, 0.001 if dense else 0.1, peak))
    watch.start()
    try:
        output, errors = child.communicate()
        seconds = time.perf_counter() - start
    except BaseException:
        os.killpg(child.pid, 15)
        raise
    finally:
        done.set()
        watch.join()
    if child.returncode != 0:
        words = " ".join(str(word) for word in command.argv)
        raise Failed(f"`{words}` ended with {child.returncode}:\n{errors[-3000:]}")
    return seconds, peak[0], output


def watch_memory(root, done, pause, peak):
    """Keeps the greatest sum of proportional set sizes over a process and its descendants, until `done`."""
    while not done.wait(pause):
        peak[0] = max(peak[0], sum(memory_of(process) for process in tree(root)))


def tree(process):
    """A process and its descendants."""
    yield process
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            ids = children.read_text().split()
        except OSError:
            continue  # It has ended.
        for child in ids:
            yield from tree(int(child))


def memory_of(process):
    """Bytes of memory; pages that several processes share are divided among them."""
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def middle(values):
    """The median, the least and the greatest."""
    return statistics.median(values), min(values), max(values)
