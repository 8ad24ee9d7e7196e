//! Encoding of levels against scikit-learn's and pandas' (`tests/reference/encoding.py`), and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{assert_case, cases, fit};
use retune_stage::Rows;
use retune_testing::table;
use serde_json::json;

#[test]
fn columns_are_those_of_the_references() {
    for case in cases(include_str!("fixtures/encoding.json")) {
        let fitted = assert_case(&case);
        // A case may tell only those of many columns that are not zero.
        if let Some(n_features) = case["n_features"].as_u64() {
            assert_eq!(fitted.output().features().count() as u64, n_features);
        }
    }
}

#[test]
fn booleans_and_columns_without_values_are_encoded_too() {
    let rows =
        table([("free", [Some(true), None, Some(false)].into()), ("void", [None::<&str>, None, None].into())]).build();
    for (steps, name, expected) in [
        (json!([{"ordinal_encode": {"columns": "all", "missing": -1}}]), "free", [1.0, -1.0, 0.0]),
        (json!([{"ordinal_encode": {"columns": "all", "missing": -1}}]), "void", [-1.0, -1.0, -1.0]),
        (json!([{"frequency_encode": {"columns": "all", "measure": "count"}}]), "free", [1.0, 1.0, 1.0]),
        (json!([{"frequency_encode": {"columns": "all", "measure": "count"}}]), "void", [3.0, 3.0, 3.0]),
        (json!([{"binary_encode": {"columns": "all"}}]), "free_2", [0.0, 1.0, 1.0]),
        (json!([{"binary_encode": {"columns": "all"}}]), "void_1", [1.0, 1.0, 1.0]),
        (json!([{"hash_encode": {"columns": "void", "n_features": 1}}]), "hash_1", [0.0, 0.0, 0.0]),
    ] {
        let fit = fit(&steps, &rows).unwrap_or_else(|error| panic!("{steps}: {error}"));
        assert_eq!(fit.train.table().unwrap().numeric(name).unwrap(), expected, "{steps}: {name}");
    }
}

#[test]
fn fits_say_what_is_wrong_and_the_way_out() {
    let rows = table([
        ("city", ["Lyon", "Oslo", "Rome", "Lyon"].into()),
        ("size", ["small", "large", "small", "small"].into()),
    ])
    .build();
    for (steps, message, help) in [
        (
            json!([{"ordinal_encode": {"order": {"size": ["small", "medium"]}}}]),
            "step 1 (ordinal_encode): column `size` has `large` in row 2, which is not among its levels",
            "set `unseen: missing`, or `unseen` to a number such as -1, to take such rows; or give the level a place in `order`",
        ),
        (
            json!([{"ordinal_encode": {"order": {"sizes": ["small"]}}}]),
            "step 1 (ordinal_encode): `order` has `sizes`, which is none of the columns encoded",
            "did you mean `size`?",
        ),
        (
            json!([{"ordinal_encode": {"order": {"size": ["small", "large", "small"]}}}]),
            "step 1 (ordinal_encode): `order` has the level `small` of column `size` twice",
            "give every level once",
        ),
        (
            json!([{"ordinal_encode": {"columns": "city", "unseen": 1}}]),
            "step 1 (ordinal_encode): `unseen: 1` is the number of the level `Oslo` of column `city`",
            "give `unseen` a number that no level has, such as -1",
        ),
        (
            json!([{"one_hot": {"max_columns": 4}}]),
            "step 1 (one_hot): 5 columns would be made, more than `max_columns: 4`; as numbers of 4 rows they take 0 MB",
            "lower `max_levels`, raise `min_frequency`, use `hash_encode` or `target_encode`, or raise `max_columns`",
        ),
    ] {
        let error = fit(&steps, &rows).err().unwrap_or_else(|| panic!("{steps}"));
        assert_eq!((error.message.as_str(), error.help.as_deref()), (message, Some(help)), "{steps}");
    }
    let fit = fit(&json!([{"ordinal_encode": {}}]), &rows).unwrap();
    let other = table([("city", ["Oslo", "Paris"].into()), ("size", ["small", "small"].into())]).build();
    assert_eq!(
        fit.fitted.apply(Rows::Table(other)).err().unwrap().message,
        "step 1 (ordinal_encode): column `city` has `Paris` in row 2, which is not among its levels"
    );
}

#[test]
fn very_many_levels_are_refused_with_their_cost_unless_allowed() {
    let levels: Vec<String> = (0..12_000).map(|row| format!("level {row}")).collect();
    let rows = table([("x", levels.into())]).build();
    let error = fit(&json!([{"one_hot": {"max_levels": 100_000}}]), &rows).err().unwrap();
    assert_eq!(
        error.message,
        "step 1 (one_hot): 12000 columns would be made, more than `max_columns: 10000`; as numbers of 12000 rows they take 1152 MB"
    );
    let allowed = fit(&json!([{"one_hot": {"max_levels": 100_000, "max_columns": 12_000}}]), &rows).unwrap();
    assert_eq!(allowed.fitted.output().features().count(), 12_000);
}
