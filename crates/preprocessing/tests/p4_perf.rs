#![allow(clippy::unwrap_used)]
use std::time::Instant;
use retune_preprocessing::PreprocessingStage;
use retune_spec::preprocessing::Preprocessing;
use retune_stage::{FitContext, Rows, Stage};
use serde_json::json;
#[test]
#[ignore]
fn speed() {
    for (n, d, steps) in [
        (100_000, 200, json!([{"pca": {"components": 20}}])),
        (2_000, 5_000, json!([{"pca": {"components": 20, "solver": "randomized"}}])),
        (8_000, 1_000, json!([{"truncated_svd": {"components": 64}}])),
        (8_000, 2_000, json!([{"truncated_svd": {"components": 64}}])),
        (20_000, 200, json!([{"incremental_pca": {"components": 20}}])),
        (20_000, 1_000, json!([{"random_projection": {"components": 100}}])),
        (20_000, 1_000, json!([{"random_projection": {"components": 100, "method": "sparse"}}])),
        (20_000, 10, json!([{"diffusion_map": {}}])),
        (1_000_000, 20, json!([{"pca": {"components": 5}}])),
    ] {
        if let Ok(only) = std::env::var("ONLY") { if !steps.to_string().contains(&only) { continue; } }
        let rows = retune_testing::regression(n, d, 1);
        let stage = PreprocessingStage(Preprocessing { steps: serde_json::from_value(steps.clone()).unwrap() });
        for _ in 0..3 {
            let start = Instant::now();
            let fit = stage.fit(Rows::Table(rows.clone()), &FitContext::plain(1)).unwrap();
            let fitted = start.elapsed();
            let start = Instant::now();
            fit.fitted.apply(Rows::Table(rows.clone())).unwrap();
            println!("{n} x {d} {steps}: fit+transform {fitted:?}, apply {:?}; {}", start.elapsed(), fit.report.learned[0].text);
        }
    }
}
