"""Writes a table with a further column `split`: 70 % train, 15 % validation, 15 % test, stratified by the target.

    python split.py data.csv TARGET SEED output.csv
"""

import sys

import pandas as pd
from sklearn.model_selection import train_test_split


def main(source, target, seed, output):
    table = pd.read_csv(source, dtype=str, keep_default_na=False)  # as text, so that every field is written as it was read
    rest, test = train_test_split(table, test_size=0.15, stratify=table[target], random_state=int(seed))
    train, validation = train_test_split(rest, test_size=0.15 / 0.85, stratify=rest[target], random_state=int(seed))
    table.loc[train.index, "split"] = "train"
    table.loc[validation.index, "split"] = "validation"
    table.loc[test.index, "split"] = "test"
    table.to_csv(output, index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
