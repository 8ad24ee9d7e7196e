use polars::prelude::{Column, NamedFrom, Series};
use retune_spec::{OneOrMany, Selector};
use retune_table::{Dtype, Field, Kind, Role, Table, Target, select};
use retune_testing::{classification, regression, table};

use crate::same;

fn mixed() -> Table {
    table([
        ("size", [1.0, 2.0].into()),
        ("size_log", [0.0, 1.0].into()),
        ("city", ["Lyon", "Oslo"].into()),
        ("ok", [true, false].into()),
        ("summary", ["a b c", "d e f"].into()),
        ("key", ["k", "l"].into()),
    ])
    .text("summary")
    .role("key", Role::Id)
    .build()
}

fn words(words: &[&str]) -> Selector {
    Selector::Words(OneOrMany::Many(words.iter().map(|&word| word.to_owned()).collect()))
}

#[test]
fn selectors_choose_features() {
    let not = |inner: &[&str]| Selector::Not { not: Box::new(words(inner)) };
    let stored = |dtype| Selector::Dtype { dtype: OneOrMany::One(dtype) };
    let cases: [(Selector, &[&str]); 13] = [
        (words(&["all"]), &["size", "size_log", "city", "ok", "summary"]),
        (words(&["numeric"]), &["size", "size_log"]),
        (words(&["datetime"]), &[]),
        (words(&["size*"]), &["size", "size_log"]),
        (words(&["summary", "size"]), &["size", "summary"]),
        (words(&["categorical", "text"]), &["city", "summary"]),
        (not(&["numeric", "ok"]), &["city", "summary"]),
        (not(&["all"]), &[]),
        (Selector::Name { name: "ok".into() }, &["ok"]),
        (stored(Dtype::Float), &["size", "size_log"]),
        (stored(Dtype::Float32), &[]),
        (stored(Dtype::String), &["city", "summary"]),
        (Selector::Not { not: Box::new(stored(Dtype::String)) }, &["size", "size_log", "ok"]),
    ];
    for (selector, expected) in cases {
        assert_eq!(mixed().select(&selector).unwrap(), expected, "{selector:?}");
    }
    let errors = [
        ("sise", "no column `sise`; did you mean `size`?"),
        ("s?ze_x*", "the pattern `s?ze_x*` matches no feature column"),
        ("key", "column `key` is not a feature (its role is Id)"),
    ];
    for (word, message) in errors {
        same(&select(mixed().schema(), &Selector::word(word)).unwrap_err(), message, "");
    }
}

#[test]
fn columns_are_replaced_in_place() {
    let half =
        |name: &str| (Field::derived(name, Kind::Numeric, "city"), Column::from(Series::new("".into(), [0.5, 0.5])));
    let names = |table: &Table| table.schema().fields.iter().map(|field| field.name.clone()).collect::<Vec<_>>();
    let replaced =
        mixed().replace(&["city".into(), "summary".into()], vec![half("city_Lyon"), half("city_Oslo")]).unwrap();
    assert_eq!(names(&replaced), ["#row", "size", "size_log", "city_Lyon", "city_Oslo", "ok", "key"]);
    assert_eq!(replaced.schema().field("city_Oslo").unwrap().origin(), "city");
    let added = mixed().replace(&[], vec![half("more")]).unwrap();
    assert_eq!(names(&added).last().unwrap(), "more");
    let error = mixed().replace(&["city".into()], vec![half("size")]).unwrap_err();
    same(
        &error,
        "two columns would be called `size`",
        "rename one of the source columns, or give the step another `prefix` where it has one",
    );
}

#[test]
fn features_are_numbers_and_places_of_levels() {
    let dense =
        table([("a", [1.0, 2.0].into()), ("b", [true, false].into()), ("y", [1.0, 2.0].into())]).target("y").build();
    let numbers = dense.features().unwrap();
    assert_eq!(numbers, (ndarray::array![[1.0, 1.0], [2.0, 0.0]], vec![None, None]));
    let gaps = table([("a", [Some(1.0), None].into()), ("city", vec![Some("Oslo"), Some("Lyon")].into())]).build();
    let (values, levels) = gaps.features().unwrap();
    assert!(values[[1, 0]].is_nan());
    assert_eq!((values[[0, 1]], values[[1, 1]]), (1.0, 0.0));
    assert_eq!(levels[1].as_deref(), Some(["Lyon".to_owned(), "Oslo".to_owned()].as_slice()));
    let text = mixed().drop(&["city".into()]).unwrap();
    same(
        &text.features().unwrap_err(),
        "column `summary` is text, where numbers are needed",
        "encode it before this stage: `tf_idf`",
    );
}

#[test]
fn targets_become_numbers() {
    assert_eq!(classification(4, 1, 2, 1).target().unwrap(), Target::Classes { codes: vec![0, 1, 0, 1], n_classes: 2 });
    assert_eq!(regression(5, 1, 1).target().unwrap().take(&[4, 0]).len(), 2);
    let cases = [
        (
            table([("y", ["a", "c"].into())]).target("y").labels(["a", "b"]).build(),
            "target `y` has the label `c` in row 2, which no training row has",
        ),
        (table([("y", [Some(1.0), None].into())]).target("y").build(), "target `y` is missing in row 2"),
        (table([("y", [Some("a"), None].into())]).target("y").build(), "target `y` is missing in row 2"),
        (table([("y", [1.0].into())]).build(), "the table has no target column"),
    ];
    for (table, message) in cases {
        same(&table.target().unwrap_err(), message, "");
    }
}
