"""What scikit-learn makes of small texts, for tests/text.rs. Writes tests/fixtures/text.json in the shape of preprocessing.py's."""

import json
import pathlib

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer

random = np.random.default_rng(17)
cases = []


def cells(values):
    whole = lambda value: int(value) if float(value).is_integer() else float(f"{value:.12g}")
    return [whole(value) for value in values]


words = "the a of and kernel module driver library python bindings for web server common-files documentation Ünïcode x 3D C++ naïve_bayes".split()
weights = 1 / np.arange(1, len(words) + 1) ** 0.8
texts = [" ".join(random.choice(words, random.integers(0, 9), p=weights / weights.sum())) for _ in range(40)]
texts[3] = None
fresh = ["the Kernel of a python and PYTHON library", "", None, "Web-server, WEB web; ünïcode", "nothing known", "the of and"]

for name, step, estimator in [
    ("tf_idf stop words", {"stop_words": "english", "ngrams": [1, 2]}, TfidfVectorizer(stop_words="english", ngram_range=(1, 2))),
    ("tf_idf own stop words", {"stop_words": ["The", "kernel"], "min_rows": 2}, TfidfVectorizer(stop_words=["the", "kernel"], min_df=2)),
    ("tf_idf max_share", {"max_share": 0.25, "min_rows": 3}, TfidfVectorizer(max_df=0.25, min_df=3)),
    ("tf_idf characters", {"analyzer": "character", "ngrams": [3, 3], "max_share": 0.3, "min_rows": 6}, TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), max_df=0.3, min_df=6)),
    ("tf_idf count", {"weighting": "count"}, CountVectorizer()),
    ("tf_idf binary", {"weighting": "binary", "ngrams": [1, 2], "min_rows": 2}, CountVectorizer(binary=True, ngram_range=(1, 2), min_df=2)),
    ("hash_text", {"n_features": 16}, HashingVectorizer(n_features=16)),
    ("hash_text one sign", {"n_features": 16, "alternate_sign": False, "norm": "l1"}, HashingVectorizer(n_features=16, alternate_sign=False, norm="l1")),
    ("hash_text counts", {"n_features": 5, "norm": "none", "ngrams": [1, 3]}, HashingVectorizer(n_features=5, norm=None, ngram_range=(1, 3))),
    ("hash_text binary", {"n_features": 16, "binary": True, "stop_words": "english"}, HashingVectorizer(n_features=16, binary=True, stop_words="english")),
    ("hash_text characters", {"n_features": 32, "analyzer": "character", "ngrams": [2, 4]}, HashingVectorizer(n_features=32, analyzer="char_wb", ngram_range=(2, 4))),
]:
    matrix = {"train": estimator.fit_transform([text or "" for text in texts]), "other": estimator.transform([text or "" for text in fresh])}
    hashed = isinstance(estimator, HashingVectorizer)
    names = [f"text_{term}" for term in (range(1, estimator.n_features + 1) if hashed else estimator.get_feature_names_out())]
    expected = {part: {name: cells(values) for name, values in zip(names, table.toarray().T, strict=True)} for part, table in matrix.items()}
    cases.append({"name": name, "kind": "text", "step": {"hash_text" if hashed else "tf_idf": step}, "train": {"text": texts}, "other": {"text": fresh}, "expected": expected})

target = pathlib.Path(__file__).parents[1] / "fixtures" / "text.json"
target.write_text("[\n" + ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases) + "\n]\n", encoding="utf-8")
