"""The preprocessing benches' work by scikit-learn or polars.

    python preprocessing.py flow-sklearn ROWS.csv OUTPUT.parquet      read, impute, clip, scale, one-hot, write
    python preprocessing.py flow-sklearn-bool ROWS.csv OUTPUT.parquet the same with one-hot columns of one byte, not scikit-learn's default
    python preprocessing.py flow-polars ROWS.csv OUTPUT.parquet       the same by a script that somebody wrote for these columns
    python preprocessing.py flow-polars-streaming ROWS.csv OUTPUT.parquet
    python preprocessing.py WORK ROWS.parquet REPEATS                 prints the median seconds of fit and apply, without those of reading

WORK is `table` (the steps of the flow), `pca`, `truncated_svd`, `knn_impute`, `quantile_transform` or `iterative_impute`.
"""

import json
import statistics
import sys
import time

NUMERIC = [f"n{index}" for index in range(30)]
CATEGORICAL = [f"c{index}" for index in range(8)]


def clipped_scaled(dtype="float64"):
    """Median, clip at three interquartile ranges, standard scale; 20 columns of each category."""
    import numpy as np
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    class Clip(TransformerMixin, BaseEstimator):
        def fit(self, x, y=None):
            low, high = np.percentile(np.asarray(x), [25, 75], axis=0)
            self.low_, self.high_ = low - 3 * (high - low), high + 3 * (high - low)
            return self

        def transform(self, x):
            return np.clip(np.asarray(x), self.low_, self.high_)

        def get_feature_names_out(self, names=None):
            return names

    numbers = make_pipeline(SimpleImputer(strategy="median"), Clip(), StandardScaler())
    levels = OneHotEncoder(max_categories=20, handle_unknown="ignore", sparse_output=False, dtype=dtype)
    steps = [("numbers", numbers, NUMERIC), ("levels", levels, CATEGORICAL)]
    return ColumnTransformer(steps, verbose_feature_names_out=False).set_output(transform="pandas")


def flow_sklearn(rows, output, dtype="float64"):
    import pandas as pd

    frame = pd.read_csv(rows)
    turned = clipped_scaled(dtype).fit_transform(frame)
    turned["label"] = frame["label"]
    turned.to_parquet(output)


def flow_polars(rows, output, streaming=False):
    import polars as pl

    frame = pl.scan_csv(rows) if streaming else pl.read_csv(rows).lazy()
    engine = "streaming" if streaming else "auto"
    n = [pl.col(name) for name in NUMERIC]
    medians = frame.select(column.median() for column in n).collect(engine=engine).row(0)
    filled = [column.fill_null(median) for column, median in zip(n, medians)]
    quartiles = [frame.select(column.quantile(share, "linear") for column in filled).collect(engine=engine).row(0) for share in (0.25, 0.75)]
    clipped = [column.clip(low - 3 * (high - low), high + 3 * (high - low)) for column, low, high in zip(filled, *quartiles)]
    moments = [frame.select(moment(column) for column in clipped).collect(engine=engine).row(0) for moment in (lambda c: c.mean(), lambda c: c.std(ddof=0))]
    scaled = [((column - mean) / deviation).alias(name) for column, name, mean, deviation in zip(clipped, NUMERIC, *moments)]
    encoded = []
    for name in CATEGORICAL:
        counts = frame.select(pl.col(name).value_counts(sort=True)).unnest(name).collect(engine=engine)
        levels = counts[name].to_list()
        kept = levels if len(levels) <= 20 else levels[:19]
        encoded += [(pl.col(name) == level).alias(f"{name}_{level}") for level in kept]
        if len(levels) > len(kept):
            encoded.append((~pl.col(name).is_in(kept)).alias(f"{name}_other"))
    result = frame.select(*scaled, *encoded, "label")
    if streaming:
        result.sink_parquet(output)
    else:
        result.collect().write_parquet(output)


def transformer(work):
    from sklearn.decomposition import PCA, TruncatedSVD
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer, KNNImputer
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import QuantileTransformer

    return {
        "table": clipped_scaled,
        "pca": lambda: PCA(20),
        "truncated_svd": lambda: TruncatedSVD(64),
        "knn_impute": KNNImputer,
        "iterative_impute": lambda: IterativeImputer(Ridge(1e-3)),
        "quantile_transform": lambda: QuantileTransformer(output_distribution="normal", subsample=None),
    }[work]()


def work(name, rows, repeats):
    import pandas as pd

    frame = pd.read_csv(rows) if rows.endswith(".csv") else pd.read_parquet(rows)
    # Tables of numbers as the matrices that the estimators work on.
    data = frame if name == "table" else frame.to_numpy()
    seconds = []
    for _ in range(repeats):
        unfitted = transformer(name)  # Imports are not timed.
        start = time.perf_counter()
        unfitted.fit_transform(data)  # retune's fit hands on the training rows, too.
        middle = time.perf_counter()
        unfitted.transform(data)
        seconds.append((middle - start, time.perf_counter() - middle))
    fit, apply = (statistics.median(column) for column in zip(*seconds))
    print(json.dumps({"fit": fit, "apply": apply}))


def main():
    what, rows, rest = sys.argv[1], sys.argv[2], sys.argv[3]
    if what.startswith("flow-sklearn"):
        flow_sklearn(rows, rest, "bool" if what.endswith("bool") else "float64")
    elif what.startswith("flow-polars"):
        flow_polars(rows, rest, streaming=what.endswith("streaming"))
    else:
        work(what, rows, int(rest))


if __name__ == "__main__":
    main()
