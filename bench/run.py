"""Compares retune with its peers: python3 bench/run.py [AREA...] [--repeats N]

Makes a virtual environment with the peers in the cache folder, runs ours and theirs alternately, checks that they computed the same thing,
prints a table, and rewrites the area's section of docs/benchmarks.md. An area is a file in bench/areas with a function `cases(place)`.
"""

import argparse
import datetime
import importlib
import os
import platform
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from measure import OURS, Failed, measure, middle

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
sys.path.insert(1, str(ROOT / "scripts"))

from environments import python_with  # noqa: E402

DOCUMENT = ROOT / "docs" / "benchmarks.md"
INTRODUCTION = """# Benchmarks

Written by `just bench [AREA]`; each section is one run of that command on the machine that it names. Ours and theirs run alternately, in
the same minutes, on the same rows. *Time* is wall time from start to exit: the median, and the least and the greatest. *Memory* is the peak of the
proportional set sizes of all processes together. *Against retune* is the ratio of the times of each pair: above 1, retune was faster. The
peers' scripts are in `bench/peers`.
"""


@dataclass
class Place:
    """Where things are."""

    root: Path
    peers: Path
    work: Path  # an empty folder, removed afterwards
    python: Path  # of the environment with the peers
    retune: Path


def main():
    areas = sorted(path.stem.replace("_", "-") for path in (BENCH / "areas").glob("*.py"))
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=f"areas: {', '.join(areas)}")
    arguments.add_argument("areas", nargs="*", metavar="AREA", help="by default all")
    arguments.add_argument("--repeats", type=int, help="in place of each case's own number; docs/benchmarks.md is then left as it is")
    arguments = arguments.parse_args()
    unknown = [area for area in arguments.areas if area not in areas]
    if unknown:
        sys.stderr.write(f"error: no area `{unknown[0]}`; there are: {', '.join(areas)}\n")
        return 2
    if arguments.repeats is not None and arguments.repeats < 1:
        sys.stderr.write("error: --repeats must be at least 1\n")
        return 2
    retune = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute() / "release" / "retune"
    if not retune.exists():
        sys.stderr.write("error: `retune` is not built; run: just build\n")
        return 1
    python = environment()
    failures = 0
    for area in arguments.areas or areas:
        with tempfile.TemporaryDirectory(prefix="retune-bench-") as work:
            place = Place(ROOT, BENCH / "peers", Path(work), python, retune)
            failures += not run_area(area, place, arguments.repeats)
    return 1 if failures else 0


def environment():
    """The virtual environment's Python; what is installed is renewed only when requirements.txt has changed."""
    return python_with("bench-venv", BENCH / "requirements.txt", say)


def run_area(area, place, repeats):
    """Measures an area; returns whether all went well."""
    module = importlib.import_module(f"areas.{area.replace('-', '_')}")
    sections, failed = [], False
    try:
        for case in module.cases(place):
            try:
                section = describe(case.name, measure(case, repeats or case.repeats, say))
            except Failed as failure:
                failed = True
                section = f"### {case.name}\n\nfailed: {failure}\n"
            print(section, flush=True)
            sections.append(section)
    except Failed as failure:
        failed = True
        sys.stderr.write(f"error: {failure}\n")
    if failed or repeats:
        say(f"{DOCUMENT.relative_to(ROOT)} is left as it is")
    else:
        write(area, module.__doc__.strip(), sections)
    return not failed


def describe(name, measured):
    """A case as Markdown."""
    ours = measured[OURS]
    lines = [f"### {name}", "", "| program | time | peak memory | against retune |", "|---|---|---|---|"]
    for program, theirs in measured.items():
        against = "" if program == OURS else spread([b / a for a, b in zip(ours.seconds, theirs.seconds)], "{:.3g} x".format)
        memory = f"{max(theirs.bytes) / 2**20:.3g} MiB" if any(theirs.bytes) else "too short to see"
        lines.append(f"| {program} | {spread(theirs.seconds, duration)} | {memory} | {against} |")
    if any(program.scores for program in measured.values()):
        metrics = list(dict.fromkeys(metric for program in measured.values() for values in program.scores for metric in values))
        lines += ["", f"| program | {' | '.join(metrics)} |", f"|---|{'---|' * len(metrics)}"]
        for program, values in measured.items():
            cells = []
            for metric in metrics:
                numbers = [scores[metric] for scores in values.scores if metric in scores]
                cells.append(f"{sum(numbers) / len(numbers):.4f} ({', '.join(f'{number:.4f}' for number in numbers)})" if numbers else "")
            lines.append(f"| {program} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def spread(values, show):
    median, least, greatest = middle(values)
    return f"{show(median)} ({show(least)} to {show(greatest)})"


def duration(seconds):
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def machine():
    """Cores, processor and memory; nothing that tells which machine it is."""
    models = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{len(os.sched_getaffinity(0))} cores of {models[0] if models else platform.machine()}, {gibibytes:.0f} GiB, {platform.system()}"


def write(area, introduction, sections):
    """Replaces the area's section of the document."""
    versions = [line.split("#")[0].strip() for line in (BENCH / "requirements.txt").read_text().splitlines()]
    versions = ", ".join(version.replace("==", " ") for version in versions if "==" in version)
    about = f"{datetime.date.today()}, {machine()}. Python {platform.python_version()}, {versions}."
    begin, end = f"<!-- {area} -->", f"<!-- end of {area} -->"
    section = "\n".join([begin, f"## {area}", "", introduction, "", about, "", "\n".join(sections) + end])
    text = DOCUMENT.read_text() if DOCUMENT.exists() else INTRODUCTION
    if begin in text:
        before, rest = text.split(begin, 1)
        text = before + section + rest.split(end, 1)[1]
    else:
        text = text.rstrip() + "\n\n" + section + "\n"
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(text)
    say(f"wrote {DOCUMENT.relative_to(ROOT)}")


def say(text):
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
