//! Steps against scikit-learn's, from `tests/reference/preprocessing.py`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{assert_case, cases};
use retune_stage::Fitted;
use retune_testing::round_trip;
use serde_json::Value;

#[test]
fn columns_are_those_of_scikit_learn() {
    for case in cases(include_str!("fixtures/preprocessing.json")) {
        let fitted = assert_case(&case);
        assert_state(case["name"].as_str().unwrap(), &*fitted, &case);
    }
}

/// What a decomposition says of itself.
fn assert_state(name: &str, fitted: &dyn Fitted, case: &Value) {
    let mut saved = Value::Null;
    round_trip(fitted, |dir| {
        saved = dir.json("stage.json")?;
        Ok(())
    })
    .unwrap();
    for (key, tolerance) in
        [("explained_variance", 1e-8), ("explained_variance_ratio", 1e-8), ("singular_values", 1e-6)]
    {
        let Some(expected) = case[key].as_array() else { continue };
        let step = saved["steps"][0].as_object().unwrap().values().next().unwrap();
        for (ours, theirs) in step[key].as_array().unwrap().iter().zip(expected) {
            let (ours, theirs) = (ours.as_f64().unwrap(), theirs.as_f64().unwrap());
            assert!((ours - theirs).abs() <= tolerance * theirs, "{name}: {key} {ours} against {theirs}");
        }
    }
}
