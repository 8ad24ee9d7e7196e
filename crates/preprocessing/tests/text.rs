//! Text steps against scikit-learn's (`tests/reference/text.py`), what is refused, and texts of megabytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::{Duration, Instant};

use common::{assert_case, cases, fit};
use retune_testing::table;
use serde_json::json;

#[test]
fn columns_are_those_of_scikit_learn() {
    cases(include_str!("fixtures/text.json")).iter().for_each(|case| drop(assert_case(case)));
}

#[test]
fn fits_say_what_is_wrong_and_the_way_out() {
    let rows = table([("x", ["one two", "one", "one two three"].into())]).text("x").build();
    for (steps, message, help) in [
        (
            json!([{"tf_idf": {"min_rows": 2, "max_share": 0.5}}]),
            "step 1 (tf_idf): no term of column `x` is in 2 training rows or more and in 1 of them or fewer (it has 3 different terms in all)",
            "lower `min_rows`, raise `max_share`, or leave `x` out of `columns`",
        ),
        (
            json!([{"tf_idf": {"analyzer": "character", "stop_words": "english"}}]),
            "step 1 (tf_idf): `stop_words` leaves out words, and `analyzer: character` makes terms of characters",
            "leave `stop_words` out, or set `analyzer: word`",
        ),
        (
            json!([{"tf_idf": {"weighting": "count", "sublinear": true}}]),
            "step 1 (tf_idf): `sublinear` is for `weighting: tf_idf`",
            "leave `sublinear` out, or set `weighting: tf_idf`",
        ),
        (
            json!([{"hash_text": {"ngrams": [3, 1]}}]),
            "step 1 (hash_text): `ngrams: [3, 1]` is no range",
            "give the shortest length (1 or more) and the longest, as in `[1, 2]`",
        ),
    ] {
        let error = fit(&steps, &rows).err().unwrap_or_else(|| panic!("{steps}"));
        assert_eq!((error.message.as_str(), error.help.as_deref()), (message, Some(help)), "{steps}");
    }
}

/// Texts of ten megabytes are read in a time that grows with their length, not with its square, which would take hours.
#[test]
fn texts_of_megabytes_are_read_in_linear_time() {
    let size = 10 << 20;
    let words: String = (0..size / 6).map(|at| format!("w{:04} ", at * 7919 % 9973)).collect();
    for (name, text) in [("words", words), ("one word", "x".repeat(size)), ("spaces", " ".repeat(size))] {
        let rows = table([("x", ["short text".to_owned(), text].to_vec().into())]).text("x").build();
        for steps in [
            json!([{"tf_idf": {"ngrams": [1, 2], "max_features": 50}}]),
            json!([{"tf_idf": {"analyzer": "character", "ngrams": [2, 4], "max_features": 50}}]),
            json!([{"hash_text": {"ngrams": [1, 2], "n_features": 64}}]),
        ] {
            let start = Instant::now();
            let fit = fit(&steps, &rows).unwrap_or_else(|error| panic!("{name}, {steps}: {error}"));
            assert!(start.elapsed() < Duration::from_secs(60), "{name}, {steps}: {:?}", start.elapsed());
            assert_eq!(fit.train.n_rows(), 2);
        }
    }
}
