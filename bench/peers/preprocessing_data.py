"""Writes the CSV file of the preprocessing benches: `python preprocessing_data.py ROWS FILE`.

30 numeric columns with 5 % of the values missing, 8 categorical ones of 3 to 1000 levels, and a label of two that some of the numbers tell; some 310
bytes a row. Rows come from numpy in chunks of 250,000, each from a generator of its own, so that a file of 20 million rows takes no more memory than a
short one and begins with the same rows.
"""

import io
import sys

import numpy as np
import polars as pl

CHUNK = 250_000
LEVELS = [3, 5, 10, 20, 50, 100, 300, 1000]


def chunk(index: int, n_rows: int) -> pl.DataFrame:
    rng = np.random.default_rng([7, index])
    columns = {}
    score = rng.normal(size=n_rows)
    for column in range(30):
        values = rng.normal(loc=column, scale=1 + column, size=n_rows)
        if column < 5:
            score += (values - column) / (1 + column)
        values[rng.random(n_rows) < 0.05] = np.nan
        columns[f"n{column}"] = values
    frame = pl.DataFrame(columns).fill_nan(None)
    # The first levels are the more frequent ones.
    for column, levels in enumerate(LEVELS):
        codes = (levels * rng.random(n_rows) ** 2).astype(np.int64)
        frame = frame.with_columns(("v" + pl.Series(codes).cast(pl.String)).alias(f"c{column}"))
    return frame.with_columns(pl.Series("label", np.where(score > 0, "yes", "no")))


def main() -> None:
    n_rows, path = int(sys.argv[1]), sys.argv[2]
    with open(path, "wb") as file:
        for index, first in enumerate(range(0, n_rows, CHUNK)):
            # Always a whole chunk, so that the rows do not depend on how many there are.
            frame = chunk(index, CHUNK).head(n_rows - first)
            text = io.BytesIO()
            frame.write_csv(text, include_header=index == 0, float_precision=6)
            file.write(text.getvalue())


if __name__ == "__main__":
    main()
