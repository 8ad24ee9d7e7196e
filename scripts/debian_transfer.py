#!/usr/bin/env python3
"""Divides data/debian_packages.csv for pipelines/debian_transfer.yaml: `python3 scripts/debian_transfer.py`.

Packages for every architecture (`all`) are what a network is trained on first, but for some that show what it forgets; of those for `amd64`, which are mostly of other sections, 400 are what it is adapted to,
1,000 are what the guard sees, and the rest are tested on. Sections of less than 60 packages for every architecture are left out.
"""

import csv
import random
from collections import Counter
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / "data"


def main():
    with open(DATA / "debian_packages.csv", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    place, section = header.index("architecture"), header.index("section")
    # What hardly a package for every architecture is of cannot be learned from them.
    counts = Counter(row[section] for row in rows if row[place] == "all")
    rows = [row for row in rows if counts[row[section]] >= 60]
    of_all = [row for row in rows if row[place] == "all"]
    of_amd64 = [row for row in rows if row[place] == "amd64"]
    random.Random(7).shuffle(of_all)
    random.Random(7).shuffle(of_amd64)
    parts = {"all": of_all[:3000], "all_held_out": of_all[3000:], "amd64": of_amd64[:400], "amd64_validation": of_amd64[400:1400], "amd64_test": of_amd64[1400:]}
    for name, part in parts.items():
        with open(DATA / f"debian_{name}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *part])


if __name__ == "__main__":
    main()
