#![allow(clippy::unwrap_used, clippy::print_stdout)]
use retune_preprocessing::PreprocessingStage;
use retune_spec::preprocessing::{Preprocessing, Step};
use retune_stage::{FitContext, Rows, Stage};
use serde_json::json;
use std::time::Instant;
#[test]
fn time() {
    for (n, d, k) in [(50_000, 50, 20), (8_000, 1000, 64), (500, 2000, 20)] {
        let table = retune_testing::regression(n, d, 1);
        for steps in [json!([{"pca": {"components": k}}]), json!([{"truncated_svd": {"components": k}}]), json!([{"standard_scale": {}}])] {
            let steps: Vec<Step> = serde_json::from_value(steps).unwrap();
            let stage = PreprocessingStage(Preprocessing { steps });
            let mut best = [f64::MAX; 2];
            for _ in 0..3 {
                let start = Instant::now();
                let fit = stage.fit(Rows::Table(table.clone()), &FitContext::plain(1)).unwrap();
                best[0] = best[0].min(start.elapsed().as_secs_f64());
                let start = Instant::now();
                fit.fitted.apply(Rows::Table(table.clone())).unwrap();
                best[1] = best[1].min(start.elapsed().as_secs_f64());
            }
            println!("{n} x {d} {:14} fit {:.3} s apply {:.3} s", stage.0.steps[0].word(), best[0], best[1]);
        }
    }
}
