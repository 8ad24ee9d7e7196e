//! What every step promises: rows are turned one by one, saved stages come back bit for bit, mistakes have a name and a way out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{fit, stage};
use retune_preprocessing::load;
use retune_spec::preprocessing::{Reach, Step};
use retune_stage::{Kind, Rows, Schema, Stage, Table};
use retune_testing::conformance::Subject;
use retune_testing::table;
use serde_json::{Value, json};

/// Every step by itself, and chains that hand sparse columns on.
fn chains() -> Vec<Value> {
    vec![
        json!([{"drop_duplicates": {}}]),
        json!([{"drop_missing": {"rows": 0.2, "columns": 0.9}}]),
        json!([{"drop_missing": {"rows": 0}}]),
        json!([{"drop_constant": {}}]),
        json!([{"tf_idf": {}}, {"drop_constant": {"ignore_missing": true}}]),
        json!([{"drop_identifiers": {"columns": ["city", "age", "summary"], "share": 0.5}}]),
        json!([{"filter_rows": {"where": "age > 5 AND (city <> 'Oslo' OR size IS NULL)"}}]),
        json!([{"tf_idf": {}}, {"filter_rows": {"where": "summary_green < 0.5"}}]),
        json!([{"clean_text": {"case": "upper", "unicode": "nfkc"}}]),
        json!([{"null_tokens": {"tokens": ["oslo", "green tea"]}}]),
        json!([{"cast": {"columns": "age", "to": "text"}}, {"null_tokens": {"tokens": ["5"], "parse": true}}]),
        json!([{"replace_values": {"columns": "city", "values": {"Oslo": null, "Rome": "Roma"}}}, {"replace_values": {"columns": ["size", "age"], "values": {"0": null, "5": 6}}}]),
        json!([{"replace_values": {"columns": "free", "values": {"true": false, "false": true}}}]),
        json!([{"merge_categories": {"columns": ["city", "summary"], "similarity": 0.7}}]),
        json!([{"merge_categories": {"similarity": 0.8, "measure": "jaro_winkler"}}]),
        json!([{"cast": {"columns": ["age", "free"], "to": "categorical"}}]),
        json!([{"cast": {"columns": ["size"], "to": "integer", "unparsed": "null"}}]),
        json!([{"cast": {"columns": ["city"], "to": "numeric", "unparsed": "null"}}]),
        json!([{"cast": {"columns": ["age"], "to": "boolean", "unparsed": "null"}}]),
        json!([{"cast": {"columns": ["age", "size"], "to": "text"}}, {"parse_numbers": {"columns": ["age", "size"]}}]),
        json!([{"cast": {"columns": ["age"], "to": "text"}}, {"parse_dates": {"columns": "age", "formats": ["%s"]}}, {"datetime_parts": {"parts": ["second", "unix", "is_weekend"], "cyclic": true}}]),
        json!([{"text_statistics": {}}]),
        json!([{"text_statistics": {"columns": ["summary", "city"], "statistics": ["words", "length"], "keep": false}}]),
        json!([{"derive": {"columns": {"ratio": "size / age", "double": "2 * ratio", "old": "age >= 10 AND NOT free", "place": "upper(city) || '!'"}}}]),
        json!([{"tf_idf": {}}, {"derive": {"columns": {"sum": "summary_green + summary_red"}}}]),
        json!([{"impute": {"indicator": true}}]),
        json!([{"impute": {"columns": "categorical", "strategy": "constant", "value": "?"}}]),
        json!([{"impute": {"strategy": "most_frequent"}}]),
        json!([{"fill_missing": {"by": ["free"], "limit": 2}}]),
        json!([{"fill_missing": {"direction": "backward", "order_by": "age", "columns": ["city", "size"]}}]),
        json!([{"knn_impute": {"neighbours": 3}}]),
        json!([{"knn_impute": {"weights": "distance"}}]),
        json!([{"iterative_impute": {}}]),
        json!([{"missing_indicator": {}}]),
        json!([{"outliers": {"factor": 0.5}}]),
        json!([{"outliers": {"method": "z_score", "action": "clip", "factor": 1}}]),
        json!([{"outliers": {"method": "modified_z_score", "action": "null", "factor": 1}}]),
        json!([{"outliers": {"method": "percentile", "action": "drop"}}]),
        json!([{"tf_idf": {}}, {"outliers": {"columns": ["summary_*", "age"], "action": "drop", "factor": 0.5}}]),
        json!([{"impute": {}}, {"outliers": {"method": "isolation_forest", "trees": 20}}]),
        json!([{"impute": {}}, {"outliers": {"method": "isolation_forest", "trees": 20, "contamination": 0.1, "action": "drop"}}]),
        json!([{"impute": {}}, {"outliers": {"method": "local_outlier_factor", "neighbours": 5}}]),
        json!([{"impute": {}}, {"outliers": {"method": "local_outlier_factor", "contamination": 0.1, "action": "drop"}}]),
        json!([{"random_over_sample": {}}]),
        json!([{"tf_idf": {}}, {"random_over_sample": {}}]),
        json!([{"random_under_sample": {}}]),
        json!([{"impute": {}}, {"one_hot": {"columns": ["city", "summary"]}}, {"smote": {}}]),
        json!([{"class_weights": {}}]),
        json!([{"class_weights": {"weights": {"a": 2, "b": 0.5}}}]),
        json!([{"clip_outliers": {}}]),
        json!([{"clip_outliers": {"method": "percentile"}}]),
        json!([{"clip_outliers": {"method": "modified_z_score"}}]),
        json!([{"log1p": {"columns": ["size"]}}]),
        json!([{"one_hot": {"max_levels": 3}}]),
        json!([{"one_hot": {"columns": ["city", "free"], "drop_first": true, "min_frequency": 3, "unseen": "other"}}]),
        json!([{"target_encode": {}}]),
        json!([{"ordinal_encode": {"columns": ["city", "free"], "unseen": -1, "missing": -2}}]),
        json!([{"ordinal_encode": {"order": {"city": ["Oslo", "Lyon"]}, "unseen": "missing"}}]),
        json!([{"frequency_encode": {}}]),
        json!([{"hash_encode": {"columns": ["city", "free"], "n_features": 4}}]),
        json!([{"hash_encode": {}}, {"impute": {}}, {"truncated_svd": {"columns": ["hash_*", "size"], "components": 2}}]),
        json!([{"binary_encode": {"columns": ["city", "free", "summary"]}}]),
        json!([{"tf_idf": {"ngrams": [1, 2]}}]),
        json!([{"tf_idf": {"analyzer": "character", "ngrams": [2, 3], "max_features": 30}}]),
        json!([{"tf_idf": {"stop_words": "english", "max_share": 0.9, "weighting": "count"}}]),
        json!([{"tf_idf": {"stop_words": ["red"], "weighting": "binary"}}]),
        json!([{"hash_text": {"n_features": 16}}]),
        json!([{"hash_text": {"analyzer": "character", "ngrams": [2, 3], "n_features": 8, "norm": "none", "binary": true}}]),
        json!([{"standard_scale": {"columns": ["size", "age", "free"]}}]),
        json!([{"min_max_scale": {"clip": true}}]),
        json!([{"max_abs_scale": {"columns": ["size", "free"]}}]),
        json!([{"robust_scale": {"unit_variance": true}}]),
        json!([{"quantile_transform": {"n_quantiles": 10}}]),
        json!([{"quantile_transform": {"output": "normal"}}]),
        json!([{"power_transform": {}}]),
        json!([{"power_transform": {"columns": ["flat"], "method": "box_cox"}}]),
        json!([{"impute": {}}, {"normalize": {"columns": ["size", "age", "flat"]}}]),
        json!([{"bin": {"strategy": "k_means"}}]),
        json!([{"bin": {"bins": 3, "encode": "one_hot"}}]),
        json!([{"polynomial": {"columns": ["size", "age", "free"], "degree": 3}}]),
        json!([{"bin": {"strategy": "uniform"}}, {"polynomial": {"interaction_only": true}}, {"one_hot": {}}]),
        json!([{"impute": {}}, {"pca": {"components": 2, "whiten": true}}]),
        json!([{"impute": {}}, {"pca": {"components": 0.9}}]),
        json!([{"impute": {}}, {"pca": {"components": 2, "solver": "randomized"}}]),
        json!([{"impute": {}}, {"incremental_pca": {"components": 2, "batch_size": 7}}]),
        json!([{"impute": {}}, {"random_projection": {"components": 2}}]),
        json!([{"tf_idf": {}}, {"impute": {}}, {"random_projection": {"columns": "numeric", "components": 3, "method": "sparse"}}]),
        json!([{"tf_idf": {}}, {"random_projection": {"columns": "summary_*", "components": 3}}]),
        json!([{"impute": {}}, {"random_projection": {"components": 3, "method": "sparse", "density": 0.7}}]),
        json!([{"impute": {}}, {"standard_scale": {}}, {"diffusion_map": {"components": 2, "max_rows": 15}}]),
        json!([{"scale_pixels": {"columns": ["age", "size"]}}]),
        json!([{"impute": {}}, {"lda": {"columns": ["size", "age"]}}]),
        json!([{"impute": {}}, {"truncated_svd": {"columns": ["size", "age"], "components": 2}}]),
        json!([{"tf_idf": {}}, {"truncated_svd": {"columns": "summary_*", "components": 3}}]),
        json!([{"tf_idf": {}}, {"impute": {}}, {"truncated_svd": {"columns": ["summary_*", "size"], "components": 3}}, {"one_hot": {}}]),
        json!([{"tf_idf": {}}, {"impute": {}}, {"standard_scale": {"columns": "numeric"}}, {"pca": {"columns": "summary_*", "components": 2}}]),
        json!([{"tf_idf": {}}, {"drop_duplicates": {"columns": "summary_*"}}, {"impute": {}}, {"pca": {"columns": ["size", "age"], "components": 1}}]),
        json!([{"impute": {}}, {"tf_idf": {}}, {"one_hot": {}}, {"to_tensor": {}}]),
    ]
}

fn rows() -> Table {
    let n = 40;
    let cities = ["Lyon", "Oslo", "Rome", "Bonn", "Cork"];
    let words = ["red", "green", "blue", "fast car", "slow car", "green tea"];
    let at = |row: usize, factor: usize, modulus: usize| (row * factor + row / 3) % modulus;
    table([
        (
            "size",
            (0..n)
                .map(|row| if row % 7 == 3 { None } else { Some((at(row, 17, 31) * at(row, 3, 11)) as f64 / 3.0) })
                .collect::<Vec<_>>()
                .into(),
        ),
        ("age", (0..n).map(|row| at(row, 13, 29) as i64).collect::<Vec<_>>().into()),
        ("flat", vec![5.0; n].into()),
        ("free", (0..n).map(|row| row % 3 == 0).collect::<Vec<_>>().into()),
        (
            "city",
            (0..n)
                .map(|row| if row % 11 == 5 { None } else { Some(cities[at(row, 7, 5).min(at(row, 5, 5))]) })
                .collect::<Vec<_>>()
                .into(),
        ),
        (
            "summary",
            (0..n).map(|row| format!("{} {}", words[at(row, 5, 6)], words[at(row, 11, 6)])).collect::<Vec<_>>().into(),
        ),
        ("label", (0..n).map(|row| ["a", "b", "c"][at(row, 19, 3)]).collect::<Vec<_>>().into()),
    ])
    .text("summary")
    .target("label")
    .build()
}

/// The features and the columns' names.
fn numbers(rows: &Rows) -> (Vec<String>, Vec<Vec<u64>>) {
    let design = match rows {
        Rows::Pieces(_) => unreachable!("the rows are in memory"),
        Rows::Tensors(tensors) => tensors.design().unwrap(),
        Rows::Table(table) => return (names(table.schema()), bits(table)),
    };
    let rows = design.features.rows().into_iter().map(|row| row.iter().map(|value| value.to_bits()).collect());
    (design.names, rows.collect())
}

fn names(schema: &Schema) -> Vec<String> {
    schema.features().map(|field| field.name.clone()).collect()
}

/// Every feature of every row as bits; text by its hash-free bytes.
fn bits(table: &Table) -> Vec<Vec<u64>> {
    let columns: Vec<Vec<u64>> = table
        .schema()
        .features()
        .map(|field| match field.kind {
            Kind::Numeric | Kind::Boolean => {
                table.numeric(&field.name).unwrap().into_iter().map(f64::to_bits).collect()
            }
            _ => {
                let text = table.strings(&field.name).unwrap();
                text.iter()
                    .map(|text| {
                        text.map_or(0, |text| text.bytes().fold(1, |sum, byte| sum * 257 % 1_000_003 + u64::from(byte)))
                    })
                    .collect()
            }
        })
        .collect();
    (0..table.n_rows()).map(|row| columns.iter().map(|column| column[row]).collect()).collect()
}

#[test]
fn every_step_conforms() {
    for steps in chains() {
        let stage = stage(&steps);
        let words: Vec<&str> = stage.0.steps.iter().map(Step::word).collect();
        let any = |of: &[&str]| words.iter().any(|word| of.contains(word));
        Subject {
            name: steps.to_string(),
            load: &|dir| Ok(Box::new(load(dir)?)),
            rows: rows(),
            in_order: stage.0.steps.iter().any(|step| step.reach() == Reach::Order),
            own_training_rows: any(TURN_TRAINING_ROWS),
            takes_weights: match words.iter().filter(|word| TAKE_WEIGHTS.contains(word)).count() {
                0 => Some(false),
                n if n == words.len() => Some(true),
                _ => None,
            },
            stage: &stage,
        }
        .conform();
    }
}

/// Steps that hand training rows on in a way of their own: cross-fitted, or resampled.
const TURN_TRAINING_ROWS: &[&str] = &["target_encode", "outliers"];

/// Steps that learn from sample weights.
const TAKE_WEIGHTS: &[&str] = &["standard_scale"];

#[test]
fn no_step_is_left_out() {
    let chains = chains();
    let covered =
        |word: &&&str| chains.iter().flat_map(|steps| steps.as_array().unwrap()).any(|step| step.get(**word).is_some());
    // Steps for images are held to the same in tests/images.rs.
    let elsewhere = ["decode_image", "normalize_channels"];
    let left_out: Vec<_> = Step::WORDS.iter().filter(|word| !covered(word) && !elsewhere.contains(word)).collect();
    assert!(left_out.is_empty(), "no line of `chains` has {left_out:?}");
}

#[test]
fn carried_columns_and_order_do_not_matter() {
    let rows = rows();
    let steps = json!([{"impute": {}}, {"one_hot": {}}, {"tf_idf": {}}, {"truncated_svd": {"columns": "summary_*", "components": 2}}]);
    let fit = fit(&steps, &rows).unwrap();
    let reversed: Vec<&str> =
        rows.schema().fields.iter().rev().map(|field| field.name.as_str()).filter(|name| *name != "label").collect();
    let mut schema = rows.schema().clone();
    schema.fields.retain(|field| field.name != "label");
    let unlabelled = Table::new(rows.frame().select(reversed).unwrap(), schema).unwrap();
    let applied = fit.fitted.apply(Rows::Table(unlabelled)).unwrap();
    assert_eq!(numbers(&applied), numbers(&fit.fitted.apply(Rows::Table(rows.clone())).unwrap()));
    assert_eq!(applied.table().unwrap().numeric(Schema::ROW).unwrap(), rows.numeric(Schema::ROW).unwrap());
    assert!(applied.schema().field("label").is_none());
    assert!(fit.train.schema().field("label").is_some());
}

#[test]
fn levels_never_seen() {
    let train = table([("x", ["a", "a", "a", "b", "b", "c"].into())]).build();
    let other = table([("x", [Some("new"), Some("c"), None, Some("a")].into())]).build();
    for (unseen, expected) in [("ignore", [0.0, 1.0, 0.0, 0.0]), ("other", [1.0, 1.0, 1.0, 0.0])] {
        let fit = fit(&json!([{"one_hot": {"max_levels": 2, "unseen": unseen}}]), &train).unwrap();
        let applied = fit.fitted.apply(Rows::Table(other.clone())).unwrap();
        assert_eq!(names(applied.schema()), ["x_a", "x_other"]);
        assert_eq!(applied.table().unwrap().numeric("x_other").unwrap(), expected, "{unseen}");
    }
}

#[test]
fn duplicates_are_dropped_from_training_rows_only() {
    let rows = table([
        ("x", [Some(1.0), Some(1.0), None, None, Some(1.0)].into()),
        ("y", ["a", "a", "b", "b", "a"].into()),
        ("t", ["u", "v", "u", "u", "u"].into()),
    ])
    .target("t")
    .build();
    for (steps, kept) in [
        (json!([{"drop_duplicates": {}}]), vec![1.0, 2.0, 3.0]),
        (json!([{"drop_duplicates": {"columns": ["y"]}}]), vec![1.0, 3.0]),
    ] {
        let fit = fit(&steps, &rows).unwrap();
        assert_eq!(fit.train.table().unwrap().numeric(Schema::ROW).unwrap(), kept);
        assert_eq!(
            fit.report.rows.iter().map(|change| (change.rows_in, change.dropped, change.added)).collect::<Vec<_>>(),
            [(5, 5 - kept.len(), 0)]
        );
        assert_eq!(fit.fitted.apply(Rows::Table(rows.clone())).unwrap().n_rows(), 5);
    }
}

#[test]
fn names_that_are_taken_get_an_underscore() {
    let rows =
        table([("x", ["a", "other", "c", "a", "other"].into()), ("x_a", [1.0, 2.0, 3.0, 4.0, 5.0].into())]).build();
    let fit = fit(&json!([{"one_hot": {"min_frequency": 2}}]), &rows).unwrap();
    assert_eq!(names(fit.fitted.output()), ["x_a_", "x_other", "x_other_", "x_a"]);
}

#[test]
fn a_column_without_spread_is_not_clipped() {
    let rows = table([
        ("mostly", [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.0].into()),
        ("x", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 99.0].into()),
    ])
    .build();
    let fit = fit(&json!([{"clip_outliers": {}}]), &rows).unwrap();
    assert_eq!(fit.train.table().unwrap().numeric("mostly").unwrap()[8], 9.0);
    assert_eq!(fit.train.table().unwrap().numeric("x").unwrap()[8], 19.0);
    assert_eq!(fit.report.learned[0].text, "clipped 1 value in 1 column; left 1 column without spread alone");
}

#[test]
fn fits_say_what_is_wrong_and_the_way_out() {
    let rows = table([
        ("x", [Some(1.0), None, Some(-5.0)].into()),
        ("empty", [None::<f64>, None, None].into()),
        ("void", [None::<&str>, None, None].into()),
        ("huge", [1e200, -1e200, 1e300].into()),
        ("city", ["a", "b", "c"].into()),
        ("text", ["one two", "one", "x"].into()),
        ("label", ["u", "v", "u"].into()),
    ])
    .text("text")
    .target("label")
    .build();
    for (steps, message, help) in [
        (
            json!([{"drop_duplicates": {}}, {"log1p": {"columns": "x"}}]),
            "step 2 (log1p): column `x` has -5 in row 3; the logarithm of 1 + x needs x above -1",
            "leave `x` out of `columns`, or put `clip_outliers` before",
        ),
        (
            json!([{"impute": {"columns": "numeric"}}]),
            "step 1 (impute): column `empty` has no value in any training row to fill missing ones by",
            "list `empty` under `data.ignore`, or give it a `value` by `strategy: constant`",
        ),
        (
            json!([{"impute": {"columns": "void"}}]),
            "step 1 (impute): column `void` has no value in any training row to fill missing ones by",
            "list `void` under `data.ignore`, or give it a `value` by `strategy: constant`",
        ),
        (
            json!([{"pca": {"columns": "x", "components": 1}}]),
            "step 1 (pca): column `x` has no value in row 2",
            "fill missing values before: add the step `impute`",
        ),
        (
            json!([{"truncated_svd": {"columns": ["x"], "components": 1}}]),
            "step 1 (truncated_svd): column `x` has no value in row 2",
            "fill missing values before: add the step `impute`",
        ),
        (
            json!([{"pca": {"columns": ["huge", "x"], "components": 3}}]),
            "step 1 (pca): `components: 3` is more than the 2 columns",
            "lower `components`",
        ),
        (
            json!([{"standard_scale": {"columns": "huge"}}]),
            "step 1 (standard_scale): the values of column `huge` are too large to scale",
            "put `log1p` or `clip_outliers` before",
        ),
        (
            json!([{"pca": {"columns": "huge", "components": 1}}]),
            "step 1 (pca): the numbers are too large for principal components",
            "scale the columns before: `standard_scale`",
        ),
        (
            json!([{"target_encode": {}}]),
            "step 1 (target_encode): 5 folds need at least 5 training rows; there are 3",
            "lower `folds`",
        ),
        (
            json!([{"tf_idf": {"min_rows": 3}}]),
            "step 1 (tf_idf): no term of column `text` is in 3 training rows or more (it has 2 different terms in all)",
            "lower `min_rows`, or leave `text` out of `columns`",
        ),
        (
            json!([{"one_hot": {}}, {"impute": {"columns": "city"}}]),
            "step 2 (impute): no column `city` at this step",
            "it is no column of the data, or an earlier step replaced it",
        ),
        (
            json!([{"to_tensor": {}}]),
            "step 1 (to_tensor): column `void` is categorical; to_tensor works on numeric and boolean columns",
            "encode it before: `one_hot` or `target_encode`; or leave it out under `data.ignore`",
        ),
    ] {
        let error = fit(&steps, &rows).err().unwrap_or_else(|| panic!("{steps}"));
        assert_eq!((error.message.as_str(), error.help.as_deref()), (message, Some(help)), "{steps}");
    }
}

#[test]
fn applying_says_what_is_wrong() {
    let rows = table([("size", [1.0, 2.0, 3.0].into()), ("city", ["a", "b", "a"].into())]).build();
    let fit = fit(&json!([{"log1p": {}}, {"one_hot": {"unseen": "error"}}]), &rows).unwrap();
    for (other, message) in [
        (table([("sizes", [1.0].into()), ("city", ["a"].into())]).build(), "the rows lack 1 column: `size`"),
        (
            table([("size", [1.0, 0.0].into()), ("city", ["a", "z"].into())]).build(),
            "step 2 (one_hot): column `city` has `z` in row 2, which no training row has",
        ),
        (
            table([("size", [1.0].into()), ("city", [None::<&str>].into())]).build(),
            "step 2 (one_hot): column `city` has no value in row 1, which no training row has",
        ),
        (
            table([("size", [1.0, -1.0].into()), ("city", ["a", "a"].into())]).build(),
            "step 1 (log1p): column `size` has -1 in row 2; the logarithm of 1 + x needs x above -1",
        ),
    ] {
        let error = fit.fitted.apply(Rows::Table(other)).err().unwrap();
        assert_eq!(error.message, message);
    }
}

#[test]
fn checks_tell_every_mistake_at_once() {
    let steps = json!([
        {"impute": {"columns": "numeric", "strategy": "constant"}},
        {"log1p": {"columns": ["sizee", "city"]}},
        {"log1p": {"columns": ["city", "summary"]}},
        {"one_hot": {"columns": "age"}},
        {"clip_outliers": {"method": "percentile", "percentiles": [99, 1]}},
        {"min_max_scale": {"range": [1, 1]}},
        {"tf_idf": {"ngrams": [2, 1]}},
        {"impute": {"columns": ["summary"], "strategy": "median"}},
        {"pca": {"columns": ["size", "age"], "components": 3}},
        {"pca": {"columns": ["size", "age"], "components": 1.5}},
        {"standard_scale": {"columns": "x_*"}},
        {"to_tensor": {}},
        {"standard_scale": {}},
    ]);
    let errors = stage(&steps).check(rows().schema()).unwrap_err();
    let messages: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "step 1 (impute): `strategy: constant` needs a `value`",
            "step 2 (log1p): no column `sizee` at this step",
            "step 3 (log1p): column `city` is categorical; log1p works on numeric columns",
            "step 3 (log1p): column `summary` is text; log1p works on numeric columns",
            "step 4 (one_hot): column `age` is numeric; one_hot works on categorical, boolean and text columns",
            "step 5 (clip_outliers): `percentiles: [99, 1]` is no range",
            "step 6 (min_max_scale): `range: [1, 1]` is empty",
            "step 7 (tf_idf): `ngrams: [2, 1]` is no range",
            "step 8 (impute): means and medians are of numbers, and column `summary` is text",
            "step 9 (pca): `components: 3` is more than the 2 columns",
            "step 10 (pca): `components: 1.5` is neither a number of components nor a share of variance",
            "step 11 (standard_scale): the pattern `x_*` matches no feature column",
            "step 12 (to_tensor): column `city` is categorical; to_tensor works on numeric and boolean columns",
            "step 12 (to_tensor): column `summary` is text; to_tensor works on numeric and boolean columns",
            "step 12 (to_tensor): tensors have no columns for the steps that follow",
        ]
    );
    assert!(errors.iter().all(|error| error.help.is_some() || error.message.contains("pattern")), "{errors:?}");
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let wide = retune_testing::regression(3000, 150, 1);
    let mut cases: Vec<(Value, Table)> = chains().into_iter().map(|steps| (steps, rows())).collect();
    cases.push((json!([{"pca": {"components": 100}}]), wide.clone()));
    cases.push((json!([{"standard_scale": {}}, {"truncated_svd": {"components": 20}}]), wide));
    for (steps, rows) in cases {
        let [one, three] = [1, 3].map(|threads| pool(threads).install(|| numbers(&fit(&steps, &rows).unwrap().train)));
        assert!(one == three, "{steps}");
    }
}

#[test]
fn values_of_every_kind_are_filled() {
    let rows = table([
        ("number", [Some(4.0), None, Some(1.0), Some(2.0), Some(9.0)].into()),
        ("flag", [Some(true), None, Some(false), Some(true), None].into()),
        ("when", [Some(30), Some(20), None, Some(20), Some(30)].into()),
        ("level", [Some("b"), None, Some("a"), Some("a"), Some("b")].into()),
    ])
    .kind("when", Kind::Datetime)
    .build();
    let filled = fit(&json!([{"impute": {"indicator": true}}]), &rows).unwrap();
    let table = filled.train.table().unwrap();
    assert_eq!(
        names(table.schema()),
        ["number", "number_missing", "flag", "flag_missing", "when", "when_missing", "level", "level_missing"]
    );
    assert_eq!(table.numeric("number").unwrap(), [4.0, 3.0, 1.0, 2.0, 9.0]);
    assert_eq!(table.numeric("flag").unwrap(), [1.0, 1.0, 0.0, 1.0, 1.0]);
    assert_eq!(table.numeric("when").unwrap(), [30.0, 20.0, 20.0, 20.0, 30.0]);
    assert_eq!(table.strings("level").unwrap().get(1), Some("a"));
    assert_eq!(table.numeric("level_missing").unwrap(), [0.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(filled.report.learned[0].text, "filled 5 missing values in 4 columns");
}

#[test]
fn of_equally_frequent_terms_the_first_are_kept() {
    let rows = table([("x", ["delta alpha", "beta gamma delta", "gamma"].into())]).text("x").build();
    let fit = fit(&json!([{"tf_idf": {"max_features": 3}}]), &rows).unwrap();
    assert_eq!(names(fit.fitted.output()), ["x_alpha", "x_delta", "x_gamma"]);
}

#[test]
fn a_column_without_values_stays_so() {
    let train = table([("x", [None::<f64>, None, None].into()), ("y", [1.0, 2.0, 3.0].into())]).build();
    let other = table([("x", [Some(4.0), None].into()), ("y", [1.0, 2.0].into())]).build();
    for steps in [
        json!([{"standard_scale": {}}]),
        json!([{"min_max_scale": {}}]),
        json!([{"clip_outliers": {}}]),
        json!([{"clip_outliers": {"method": "z_score"}}]),
    ] {
        let fit = fit(&steps, &train).unwrap();
        assert_eq!(fit.train.table().unwrap().column("x").unwrap().null_count(), 3, "{steps}");
        let x = fit.fitted.apply(Rows::Table(other.clone())).unwrap().table().unwrap().numeric("x").unwrap();
        assert!(x[0] == 4.0 && x[1].is_nan(), "{steps}: {x:?}");
    }
}

#[test]
fn one_training_row_is_enough_where_it_can_be() {
    let one = rows().take(&[0]).unwrap();
    for steps in [
        json!([{"impute": {}}, {"clip_outliers": {}}, {"standard_scale": {}}, {"one_hot": {}}, {"tf_idf": {}}]),
        json!([{"min_max_scale": {}}]),
    ] {
        let fit = fit(&steps, &one).unwrap();
        let design = fit.train.table().unwrap();
        for field in design.schema().features().filter(|field| field.kind == Kind::Numeric) {
            assert!(
                design.numeric(&field.name).unwrap().iter().all(|value| value.is_finite()),
                "{steps}: {}",
                field.name
            );
        }
    }
    assert_eq!(
        fit(&json!([{"log1p": {"columns": "size"}}]), &rows().take(&[]).unwrap()).err().unwrap().message,
        "there are no training rows"
    );
}
