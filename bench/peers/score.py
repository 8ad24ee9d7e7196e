"""Scores predictions of test rows, whoever made them: python score.py PREDICTIONS ROWS

PREDICTIONS (csv or parquet) has the columns `package` and `prediction`; it must hold exactly the test rows of ROWS, each once.
"""

import json
import sys

import polars
from sklearn.metrics import accuracy_score, f1_score


def main(predictions, rows):
    read = polars.read_parquet if predictions.endswith(".parquet") else polars.read_csv
    predicted = read(predictions).select("package", "prediction")
    test = polars.read_csv(rows, infer_schema=False).filter(polars.col("split") == "test").select("package", "section")
    if sorted(predicted["package"]) != sorted(test["package"]):
        sys.exit(f"{predictions} holds {len(predicted)} rows that are not the {len(test)} test rows of {rows}")
    both = test.join(predicted, on="package")
    truth, prediction = both["section"].to_list(), both["prediction"].cast(str).to_list()
    print(json.dumps({
        "rows": len(both),
        "f1_macro": f1_score(truth, prediction, average="macro"),
        "accuracy": accuracy_score(truth, prediction),
    }))


if __name__ == "__main__":
    main(*sys.argv[1:])
