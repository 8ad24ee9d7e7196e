"""Scores many rows with a fitted scikit-learn pipeline, in two processes: what a careful person would write.

    python inference.py data WHICH ROWS OUTPUT.parquet [DEBIAN_PACKAGES.csv]   WHICH: debian or numbers
    python inference.py fit WHICH ROWS.csv|parquet MODEL.joblib
    python inference.py score MODEL.joblib ROWS.parquet OUTPUT.parquet [PROCESSES]
"""

import sys
from concurrent.futures import ProcessPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import debian_packages

ROWS_AT_ONCE = 50_000


def data(which, rows, output, packages=None):
    rows = int(rows)
    rng = np.random.default_rng(1)
    if which == "debian":
        table = pd.read_csv(packages)
        picked = table.iloc[rng.integers(0, len(table), rows)].reset_index(drop=True)
        picked.drop(columns="section").to_parquet(output, row_group_size=100_000, index=False)
        return
    writer = None
    for begin in range(0, rows, 500_000):
        n = min(500_000, rows - begin)
        x = rng.normal(size=(n, 20))
        label = np.where(x[:, :5].sum(axis=1) + rng.normal(size=n) > 0, "yes", "no")
        x[rng.random(x.shape) < 0.02] = np.nan
        columns = {f"x{i}": pa.array(x[:, i], from_pandas=True) for i in range(20)} | {"label": pa.array(label)}
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(output, table.schema)
        writer.write_table(table, row_group_size=100_000)
    writer.close()


def fit(which, rows, model):
    table = pd.read_csv(rows) if rows.endswith(".csv") else pd.read_parquet(rows)
    if which == "debian":
        train, target = table[table["split"] == "train"], "section"
        flow = debian_packages.features(0, "mutual_information")
        pipeline = make_pipeline(flow, LogisticRegression(C=0.3, max_iter=500))
    else:
        train, target = table, "label"
        pipeline = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression())
        train = train[[f"x{i}" for i in range(20)] + ["label"]]
    joblib.dump((pipeline.fit(train.drop(columns=target), train[target]), list(train.columns.drop(target))), model)


def load(path):
    global pipeline, columns
    pipeline, columns = joblib.load(path)


def score_part(part):
    path, group = part
    frame = pq.ParquetFile(path).read_row_group(group).to_pandas()
    # A column that the training rows had for their division only.
    frame = frame.reindex(columns=columns)
    tables = []
    for begin in range(0, len(frame), ROWS_AT_ONCE):
        rows = frame.iloc[begin:begin + ROWS_AT_ONCE]
        probabilities = pipeline.predict_proba(rows)
        labels = pipeline.classes_[probabilities.argmax(axis=1)]
        scored = {"prediction": labels} | {f"probability_{label}": probabilities[:, i] for i, label in enumerate(pipeline.classes_)}
        tables.append(pa.table(scored))
    return pa.concat_tables(tables)


def score(model, rows, output, processes=2):
    parts = [(rows, group) for group in range(pq.ParquetFile(rows).num_row_groups)]
    writer = None
    with ProcessPoolExecutor(int(processes), initializer=load, initargs=(model,)) as pool:
        for table in pool.map(score_part, parts):
            writer = writer or pq.ParquetWriter(output, table.schema, compression="zstd")
            writer.write_table(table)
    writer.close()


if __name__ == "__main__":
    {"data": data, "fit": fit, "score": score}[sys.argv[1]](*sys.argv[2:])
