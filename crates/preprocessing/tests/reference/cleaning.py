"""What pandas, polars and scikit-learn make of small columns, for tests/cleaning.rs. Writes tests/fixtures/cleaning.json.

A case is a table of training columns, a table of further rows, the step as it is written in YAML, and for both tables the columns that must
come out (numbers, true and false, text; `None` is a missing value), or the numbers of the training rows that must stay (`kept`).
"""

import io
import json
import math
import pathlib
import unicodedata

import numpy as np
import pandas as pd
import polars as pl
from sklearn.feature_selection import VarianceThreshold

random = np.random.default_rng(11)
cases = []


def cells(values):
    cell = lambda value: None if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)) else value
    return [cell(value.item() if isinstance(value, np.generic) else value) for value in values]


def case(name, step, train, other, expected, **more):
    tables = {"train": train, "other": other}
    columns = {part: {name: cells(values) for name, values in table.items()} for part, table in tables.items()}
    outputs = {part: {name: cells(values) for name, values in table.items()} for part, table in expected.items()}
    cases.append({"name": name, "step": step, **columns, "expected": outputs, **more})


def of(function, *tables, columns=None):
    """The same function of a column, for both tables."""
    return {part: {name: function(values) for name, values in table.items()} for part, table in zip(["train", "other"], tables)}


# drop_missing against pandas' dropna
table = {name: np.where(random.random(30) < share, np.nan, random.normal(size=30).round(3)).tolist() for name, share in [("a", 0.1), ("b", 0.3), ("c", 0.5), ("d", 0.95)]}
frame = pd.DataFrame(table)
few = {name: table[name] for name in "ab"}
case("drop_missing any", {"drop_missing": {"rows": 0}}, few, few, {}, kept=pd.DataFrame(few).dropna().index.tolist(), columns=list(few))
for name, step, dropped in [
    ("half", {"rows": 0.5}, frame.dropna(thresh=2)),
    ("columns", {"columns": 0.4}, frame.dropna(axis=1, thresh=18)),
    ("both", {"rows": 0, "columns": 0.4}, frame.dropna(axis=1, thresh=18).dropna()),
]:
    case(f"drop_missing {name}", {"drop_missing": step}, table, table, {}, kept=dropped.index.tolist(), columns=dropped.columns.tolist())

# drop_constant against pandas' nunique and scikit-learn's VarianceThreshold
table = {"one": [1.5] * 6, "gap": [2.0, None, 2.0, None, 2.0, 2.0], "none": [None] * 6, "two": [0.0, 1.0] * 3, "word": ["x"] * 6, "words": list("xyxxyy")}
frame = pd.DataFrame(table)
for name, step, few in [("with missing", {"ignore_missing": True}, frame.nunique() <= 1), ("without", {}, frame.nunique(dropna=False) <= 1)]:
    case(f"drop_constant {name}", {"drop_constant": step}, table, table, {}, columns=[column for column in table if not few[column]])
numbers = {"a": [0.1] * 5, "b": [1.0, 2.0, 3.0, 4.0, 5.0], "c": [0.0] * 5}
selected = VarianceThreshold().set_output(transform="pandas").fit_transform(pd.DataFrame(numbers))
case("drop_constant of numbers", {"drop_constant": {}}, numbers, numbers, {}, columns=selected.columns.tolist())

# cast against pandas' to_numeric and to_datetime
words = ["1", "2.5", " -3 ", "1e3", "abc", None, "0x1", "1_000", "+7"]
parsed = lambda values: pd.to_numeric(pd.Series(values, dtype=object).str.strip().replace({"0x1": "x", "1_000": "x"}), errors="coerce").tolist()
case("cast to numeric", {"cast": {"columns": "x", "to": "numeric", "unparsed": "null"}}, {"x": words}, {"x": words[::-1]}, of(parsed, {"x": words}, {"x": words[::-1]}))
dates = ["2024-02-29", "1969-12-31T23:59:59", "2024-02-29 12:30:15.25", "2024-02-29T12:30:15+02:00", "2024-02-30", None, "2000-01-01T00:00:00Z"]
seconds = lambda values: [None if value is pd.NaT else value.timestamp() for value in (pd.to_datetime(value, errors="coerce", utc=True, format="ISO8601") for value in values)]
case("cast to datetime", {"cast": {"columns": "x", "to": "datetime", "unparsed": "null"}}, {"x": dates}, {"x": dates[::-1]}, of(seconds, {"x": dates}, {"x": dates[::-1]}))
case("parse_dates of ISO 8601", {"parse_dates": {"columns": "x", "unparsed": "null"}}, {"x": dates}, {"x": dates[::-1]}, of(seconds, {"x": dates}, {"x": dates[::-1]}))

# parse_dates by formats against pandas
for name, format in [("day first", "%d/%m/%Y %H:%M"), ("month first", "%m/%d/%y"), ("names", "%A, %d %B %Y %I:%M:%S %p"), ("offset", "%Y%m%d%H%M%S%z"), ("day of year", "%Y %j")]:
    times = pd.to_datetime(random.integers(0, 2_000_000_000, 12), unit="s", utc=True)
    written = [time.strftime(format) for time in times] + ["none"]
    read = lambda values: [None if value is pd.NaT else value.timestamp() for value in (pd.to_datetime(value, errors="coerce", utc=True, format=format) for value in values)]
    case(f"parse_dates {name}", {"parse_dates": {"columns": "x", "formats": [format], "unparsed": "null"}}, {"x": written}, {"x": written[::-1]}, of(read, {"x": written}, {"x": written[::-1]}))

# parse_numbers against pandas' read_csv with its marks
values = (random.normal(size=15) * 10.0 ** random.integers(0, 8, 15)).round(2)
for decimal, thousands, word in [(".", ",", "point"), (",", ".", "comma"), (",", " ", "comma")]:
    written = [f"{value:,.2f}".replace(",", "t").replace(".", decimal).replace("t", thousands) for value in values]
    read = pd.read_csv(io.StringIO("x\n" + "\n".join(f'"{text}"' for text in written)), decimal=decimal, thousands=thousands)["x"]
    for mark in [word, "auto"]:
        units = [["{} EUR", "€{}", "{}"][row % 3].format(text) for row, text in enumerate(written)]
        case(f"parse_numbers {decimal}{thousands} {mark}", {"parse_numbers": {"columns": "x", "decimal": mark}}, {"x": units}, {"x": units[:4]}, {"train": {"x": read}, "other": {"x": read[:4]}})

# clean_text against pandas' str methods and Python's unicodedata
texts = ["  Ärger  im\tBüro ", "ﬁne", "A\u0308 ", "", "   ", None, "ＦＵＬＬ　width", "plain", "x²\n\ny"]
for name, step, function in [
    ("default", {}, lambda text: unicodedata.normalize("NFC", text)),
    ("lower nfkc", {"case": "lower", "unicode": "nfkc"}, lambda text: unicodedata.normalize("NFKC", text).lower()),
    ("upper", {"case": "upper", "unicode": "none"}, lambda text: text.upper()),
]:
    clean = lambda values: pd.Series(values, dtype=object).map(function, na_action="ignore").str.replace(r"\s+", " ", regex=True).str.strip().replace({"": None}).tolist()
    case(f"clean_text {name}", {"clean_text": step}, {"x": texts}, {"x": texts[::-1]}, of(clean, {"x": texts}, {"x": texts[::-1]}))

# replace_values against polars' replace
words = ["St.", "Street", None, "Rd", "x"]
replaced = lambda values: pl.Series(values).replace({"St.": "Street", "x": None}).to_list()
case("replace_values of text", {"replace_values": {"columns": "x", "values": {"St.": "Street", "x": None}}}, {"x": words}, {"x": words[::-1]}, of(replaced, {"x": words}, {"x": words[::-1]}))
numbers = [1.0, -999.0, None, 2.5, 0.0]
replaced = lambda values: pl.Series(values).replace({-999.0: None, 0.0: 0.5}).to_list()
case("replace_values of numbers", {"replace_values": {"columns": "x", "values": {"-999": None, "0": 0.5}}}, {"x": numbers}, {"x": numbers[::-1]}, of(replaced, {"x": numbers}, {"x": numbers[::-1]}))

# null_tokens against pandas' read_csv, which has most of the words among its own
words = ["1", "NA", "2.5", "n/a", "?", "null", "-", "NaN", "<NA>", "#N/A", "7"]
read = lambda values: pd.read_csv(io.StringIO("x\n" + "\n".join(values)), na_values=["?", "-"])["x"].tolist()
case("null_tokens", {"null_tokens": {"parse": True}}, {"x": words}, {"x": words[::-1]}, of(read, {"x": words}, {"x": words[::-1]}))

# filter_rows against polars' SQL
table = {
    "age": [17.0, 18.0, 45.0, None, 99.0, 100.0, 30.0, 64.0],
    "city": ["Lyon", None, "Oslo", "Rome", "Lyon", "Oslo", "Bonn", "lyon"],
    "score": [0.5, 2.0, -1.0, 3.0, None, 8.0, 0.25, 4.0],
}
frame = pl.DataFrame(table).with_row_index("row")
for number, where in enumerate([
    "age BETWEEN 18 AND 99 AND city IS NOT NULL",
    "city IN ('Lyon', 'Oslo') OR score > 2",
    "NOT (age < 50)",
    "city LIKE 'L%' AND age NOT BETWEEN 20 AND 60",
    "city ILIKE 'l_on'",
    "score * 2 + 1 >= age / 10 OR age IS NULL",
    "CASE WHEN score < 0 THEN age > 40 WHEN score > 1 THEN age < 20 ELSE TRUE END",
    "COALESCE(age, 0) = 0 OR ABS(score) <= 1",
    "age <> 45 AND (city = 'Oslo' OR city = 'Bonn')",
    "city NOT IN ('Lyon', 'Rome')",
]):
    kept = pl.SQLContext(frame=frame).execute(f"SELECT row FROM frame WHERE {where}").collect()["row"].to_list()
    case(f"filter_rows {number}: {where}", {"filter_rows": {"where": where}}, table, table, {}, kept=kept, columns=list(table))

target = pathlib.Path(__file__).parents[1] / "fixtures" / "cleaning.json"
target.write_text("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases) + "\n]\n", encoding="utf-8")
