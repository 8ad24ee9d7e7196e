//! Scaling, binning and products against scikit-learn's (`tests/reference/scaling.py`), and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{assert_case, cases, fit};
use retune_stage::Rows;
use retune_testing::table;
use serde_json::{Value, json};

#[test]
fn columns_are_those_of_scikit_learn() {
    for case in cases(include_str!("fixtures/scaling.json")) {
        let fitted = assert_case(&case);
        if let Some(order) = case["order"].as_array() {
            let names = fitted.output().features().map(|field| Value::from(field.name.as_str())).collect::<Vec<_>>();
            let chosen: Vec<Value> = names.into_iter().filter(|name| order.contains(name)).collect();
            assert_eq!(&chosen, order, "{}", case["name"]);
        }
    }
}

#[test]
fn missing_values_stay_missing_and_fall_into_no_bin() {
    let rows = table([("x", [Some(1.0), None, Some(2.0), Some(3.0), Some(4.0)].into())]).build();
    for steps in [
        json!([{"max_abs_scale": {}}]),
        json!([{"robust_scale": {}}]),
        json!([{"quantile_transform": {"output": "normal"}}]),
        json!([{"power_transform": {}}]),
        json!([{"bin": {"bins": 2}}]),
    ] {
        let fit = fit(&steps, &rows).unwrap();
        assert_eq!(fit.train.table().unwrap().column("x").unwrap().null_count(), 1, "{steps}");
    }
    let fit = fit(&json!([{"bin": {"bins": 2, "encode": "one_hot"}}]), &rows).unwrap();
    let binned = fit.train.table().unwrap();
    assert_eq!(binned.numeric("x_0").unwrap(), [1.0, 0.0, 1.0, 0.0, 0.0]);
    assert_eq!(binned.numeric("x_1").unwrap(), [0.0, 0.0, 0.0, 1.0, 1.0]);
}

#[test]
fn columns_without_values_or_spread_stay_finite() {
    let train = table([("void", [None::<f64>, None, None].into()), ("flat", [5.0, 5.0, 5.0].into())]).build();
    let other = table([("void", [4.0].into()), ("flat", [6.0].into())]).build();
    for (steps, void, flat) in [
        (json!([{"max_abs_scale": {}}]), 4.0, 1.2),
        (json!([{"robust_scale": {}}]), 4.0, 1.0),
        (json!([{"quantile_transform": {}}]), 4.0, 1.0),
        (json!([{"power_transform": {"standardize": false}}]), 4.0, 6.0),
        (json!([{"power_transform": {"method": "box_cox"}}]), 3.0, 0.0 + 1.0),
        (json!([{"bin": {}}]), 0.0, 0.0),
    ] {
        let fit = fit(&steps, &train).unwrap_or_else(|error| panic!("{steps}: {error}"));
        let applied = fit.fitted.apply(Rows::Table(other.clone())).unwrap();
        let number = |name: &str| applied.table().unwrap().numeric(name).unwrap()[0];
        assert_eq!((number("void"), number("flat")), (void, flat), "{steps}");
    }
}

#[test]
fn a_product_with_a_missing_factor_is_missing() {
    let rows = table([("a", [Some(2.0), None].into()), ("b", [3.0, 4.0].into()), ("a*b", [0.0, 0.0].into())]).build();
    let fit = fit(&json!([{"polynomial": {"columns": ["a", "b"], "interaction_only": true}}]), &rows).unwrap();
    let names: Vec<&str> = fit.fitted.output().features().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "a*b", "a*b_"]);
    let product = fit.train.table().unwrap().numeric("a*b_").unwrap();
    assert!(product[0] == 6.0 && product[1].is_nan());
}

#[test]
fn fits_say_what_is_wrong_and_the_way_out() {
    let rows = table([
        ("x", [0.0, 1.0, -2.0, 3.0, -1.0, -1.0, -1.0, -1.0, -1.0].into()),
        ("gap", [Some(1.0), None, Some(1.0), None, None, None, None, None, None].into()),
        ("huge", [1e200, -1e300, 1e300, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0].into()),
        ("wide", [1e308, -1e308, 1e308, -1e308, 1e308, -1e308, 1e308, -1e308, 1e308].into()),
    ])
    .build();
    for (steps, message, help) in [
        (
            json!([{"power_transform": {"columns": "x", "method": "box_cox"}}]),
            "step 1 (power_transform): column `x` has 0 in row 1 (also in rows 3, 5, 6, 7 and more); `method: box_cox` needs numbers above 0",
            "set `method: yeo_johnson`, which takes any number, or leave `x` out of `columns`",
        ),
        (
            json!([{"power_transform": {"columns": "huge"}}]),
            "step 1 (power_transform): the values of column `huge` are too large to be raised to a power",
            "put `log1p` or `clip_outliers` before",
        ),
        (
            json!([{"robust_scale": {"columns": "wide"}}]),
            "step 1 (robust_scale): the values of column `wide` are too far apart to scale",
            "put `log1p` or `clip_outliers` before",
        ),
        (
            json!([{"bin": {"columns": "wide"}}]),
            "step 1 (bin): the values of column `wide` are too far apart for bins",
            "put `log1p` or `clip_outliers` before",
        ),
        (
            json!([{"normalize": {"columns": ["x", "gap"]}}]),
            "step 1 (normalize): column `gap` has no value in row 2",
            "fill missing values before: add the step `impute`",
        ),
        (
            json!([{"polynomial": {"columns": "huge"}}]),
            "step 1 (polynomial): the product `huge^2` is too large for a number in row 1",
            "scale the columns before: `standard_scale`",
        ),
        (
            json!([{"polynomial": {"columns": ["x", "gap", "huge"], "degree": 4, "max_columns": 30}}]),
            "step 1 (polynomial): 31 columns would be made, more than `max_columns: 30`; as numbers of 1000000 rows they take 248 MB",
            "choose fewer `columns`, lower `degree`, set `interaction_only: true`, or raise `max_columns`",
        ),
        (
            json!([{"robust_scale": {"percentiles": [75, 25]}}]),
            "step 1 (robust_scale): `percentiles: [75, 25]` is no range",
            "give a lower and a higher number between 0 and 100",
        ),
        (
            json!([{"robust_scale": {"percentiles": [0, 90], "unit_variance": true}}]),
            "step 1 (robust_scale): `unit_variance` compares with the percentiles 0 and 90 of a normal distribution, of which one is infinite",
            "give `percentiles` above 0 and below 100, or leave `unit_variance` out",
        ),
    ] {
        let error = fit(&steps, &rows).err().unwrap_or_else(|| panic!("{steps}"));
        assert_eq!((error.message.as_str(), error.help.as_deref()), (message, Some(help)), "{steps}");
    }
    let positive = table([("x", [1.0, 2.0, 5.0].into())]).build();
    let fit = fit(&json!([{"power_transform": {"method": "box_cox"}}]), &positive).unwrap();
    let error = fit.fitted.apply(Rows::Table(table([("x", [1.0, -2.0].into())]).build())).err().unwrap();
    assert_eq!(
        error.message,
        "step 1 (power_transform): column `x` has -2 in row 2; `method: box_cox` needs numbers above 0"
    );
}
