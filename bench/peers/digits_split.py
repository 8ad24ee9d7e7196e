"""Writes the handwritten digits with a column `split` for each of three choices of 100 labelled rows: `digits_split.py DATA_FOLDER FOLDER`.

The same 797 rows are always `test`; 10 rows of each digit are `train`, drawn anew for each choice; the other 900 are `validation`, of which only the guard sees labels.
"""

import sys

import numpy as np
import pandas as pd

data, folder = sys.argv[1:3]
frame = pd.read_parquet(f"{data}/handwritten_digits.parquet")
order = np.random.default_rng(0).permutation(len(frame))
test, rest = order[:797], order[797:]
for choice in (1, 2, 3):
    drawn = np.random.default_rng(choice).permutation(rest)
    labels = frame["label"].to_numpy()[drawn]
    train = np.concatenate([drawn[labels == digit][:10] for digit in range(10)])
    split = np.full(len(frame), "validation", dtype=object)
    split[test], split[train] = "test", "train"
    frame.assign(split=split).to_parquet(f"{folder}/handwritten_{choice}.parquet", index=False)
    pd.DataFrame({"row": np.arange(len(frame)), "part": split}).to_csv(f"{folder}/rows_{choice}.csv", index=False)
