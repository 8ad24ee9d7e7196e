"""What pandas and polars make of small columns, for tests/features.rs. Writes tests/fixtures/features.json.

A case is a table of training columns, a table of further rows, the step as it is written in YAML, and for both tables the columns that must
come out. `None` is a missing value.
"""

import json
import math
import pathlib

import numpy as np
import pandas as pd
import polars as pl

random = np.random.default_rng(12)
cases = []


def cells(values):
    cell = lambda value: None if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)) else value
    return [cell(value.item() if isinstance(value, np.generic) else value) for value in values]


def case(name, step, table, expected, **more):
    other = {name: values[::-1] for name, values in table.items()}
    columns = {part: {name: cells(values) for name, values in of.items()} for part, of in [("train", table), ("other", other)]}
    values = {name: cells(values) for name, values in expected.items()}
    outputs = {"train": values, "other": {name: of[::-1] for name, of in values.items()}}
    cases.append({"name": name, "step": step, **columns, "expected": outputs, **more})


# derive against polars' SQL, whose numbers are made floats
table = {
    "price": [10.0, 2.5, None, 7.0, 0.0, 1e3],
    "weight": [4.0, 0.0, 1.0, None, 3.0, 1e-3],
    "city": ["Lyon", None, " Oslo ", "Rome", "Bonn", "Lyon"],
}
frame = pl.DataFrame(table)
for number, expression in enumerate([
    "price / weight",
    "price * 2 - weight + 1",
    "-price",
    "price % 3",
    "sqrt(price) + ln(weight)",
    "round(price / 3, 2)",
    "floor(price / 3) + ceil(weight)",
    "exp(-weight) + abs(-price) + sign(price)",
    "power(weight, 2)",
    "log10(price)",
    "least(price, weight) + greatest(price, weight, 5)",
    "coalesce(price, weight, 0)",
    "nullif(price, 7)",
    "price > weight",
    "price > 5 AND weight < 5",
    "price > 5 OR weight < 5",
    "city = 'Lyon'",
    "city IS NULL",
    "length(city)",
    "upper(trim(city))",
    "lower(city) || '-' || city",
    "CASE WHEN price > 5 THEN 1 WHEN price > 1 THEN 2 ELSE 3 END",
    "CASE WHEN city LIKE 'L%' THEN 'l' END",
    "CAST(price > 5 AS DOUBLE)",
]):
    made = pl.SQLContext(frame=frame).execute(f"SELECT {expression} AS made FROM frame").collect()["made"].to_list()
    case(f"derive {number}: {expression}", {"derive": {"columns": {"made": expression}}}, table, {"made": made})

# datetime_parts against pandas
times = pd.Series(pd.to_datetime(random.integers(-2_000_000_000, 4_000_000_000, 60), unit="s"))
times = pd.concat([times, pd.Series(pd.to_datetime(["2024-02-29T23:59:59.5", "2021-01-03", "2020-12-31", "2026-12-31", "1970-01-01", "1969-12-31T23:59:59"], format="ISO8601"))], ignore_index=True)
when = times.dt
parts = {
    "year": when.year, "quarter": when.quarter, "month": when.month, "week": when.isocalendar().week, "day": when.day, "day_of_year": when.day_of_year,
    "weekday": when.day_of_week, "is_weekend": when.day_of_week >= 5, "hour": when.hour, "minute": when.minute, "second": when.second,
    "unix": (times - pd.Timestamp(0)) / pd.Timedelta(seconds=1),
}
micros = ((times - pd.Timestamp(0)) // pd.Timedelta(microseconds=1)).astype(float).tolist() + [None]
expected = {f"x_{name}": values.astype(float).tolist() + [None] for name, values in parts.items()}
case("datetime_parts", {"datetime_parts": {"parts": list(parts)}}, {"x": micros}, expected, kind="datetime")
periods = {"quarter": 4, "month": 12, "week": 53, "day": 31, "day_of_year": 366, "weekday": 7, "hour": 24, "minute": 60, "second": 60}
for name, period in periods.items():
    for word, function in [("sin", np.sin), ("cos", np.cos)]:
        expected[f"x_{name}_{word}"] = function(2 * np.pi * parts[name].to_numpy(float) / period).tolist() + [None]
case("datetime_parts, cyclic", {"datetime_parts": {"parts": list(parts), "cyclic": True}}, {"x": micros}, expected, kind="datetime")

# text_statistics against pandas' str methods
texts = ["Hello, World!", "", None, "ÄÖ ü 12 ½!", "What?  Really?!\nYes.", "ONE", " ", "日本語 テキスト", "a,b;c."]
text = pd.Series(texts, dtype=object).where(lambda values: values != "", None)
length = text.str.len()
words = text.str.split().str.len()
count = lambda predicate: text.map(lambda value: sum(map(predicate, value)), na_action="ignore")
punctuation = set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
expected = {
    "length": length, "words": words, "word_length": (count(lambda c: not c.isspace()) / words.replace(0, np.nan)).where(words != 0, 0.0).where(text.notna(), None),
    "capitals": count(str.isupper) / length, "digits": count(str.isnumeric) / length, "punctuation": count(punctuation.__contains__) / length,
    "spaces": count(str.isspace) / length, "exclamations": text.str.count("!"), "questions": text.str.count(r"\?"), "lines": text.str.count("\n") + 1,
}
case("text_statistics", {"text_statistics": {}}, {"x": text.tolist()}, {f"x_{name}": pd.to_numeric(values).tolist() for name, values in expected.items()}, kind="text")

target = pathlib.Path(__file__).parents[1] / "fixtures" / "features.json"
target.write_text("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases) + "\n]\n", encoding="utf-8")
