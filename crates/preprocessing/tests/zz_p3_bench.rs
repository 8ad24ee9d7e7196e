#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::time::Instant;
use polars::prelude::*;
use rand::{RngExt, SeedableRng};
use retune_preprocessing::PreprocessingStage;
use retune_spec::preprocessing::Preprocessing;
use retune_stage::{Field, FitContext, Kind, Rows, Stage, Table};
use serde_json::json;

#[test]
#[ignore]
fn bench() {
    let n = 1_000_000;
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut columns = Vec::new();
    let mut fields = Vec::new();
    for at in 0..30 {
        let values: Vec<Option<f64>> = (0..n).map(|_| { let x: f64 = random.random(); let y: f64 = random.random(); (x > 0.05).then_some(y.ln() * -3.0 + 0.5) }).collect();
        columns.push(Column::new(format!("n{at}").as_str().into(), values));
        fields.push(Field::feature(format!("n{at}"), Kind::Numeric));
    }
    for (at, levels) in [3, 5, 10, 20, 50, 100, 300, 1000].into_iter().enumerate() {
        let values: Vec<String> = (0..n).map(|_| format!("level_{}", random.random_range(0..levels))).collect();
        columns.push(Column::new(format!("c{at}").as_str().into(), values));
        fields.push(Field::feature(format!("c{at}"), Kind::Categorical));
    }
    let table = Table::new(DataFrame::new(n, columns).unwrap(), retune_stage::Schema { fields, task: None }).unwrap();
    let mut chains = vec![
        ("empty-ish", json!([{"log1p": {"columns": "n0"}}])),
        ("impute", json!([{"impute": {"columns": "numeric", "strategy": "median"}}])),
        ("standard_scale", json!([{"standard_scale": {}}])),
        ("one_hot", json!([{"one_hot": {"max_levels": 20}}])),
        ("all three", json!([{"impute": {"columns": "numeric", "strategy": "median"}}, {"standard_scale": {"columns": "numeric"}}, {"one_hot": {"max_levels": 20}}])),
        ("max_abs", json!([{"max_abs_scale": {}}])),
        ("robust", json!([{"robust_scale": {}}])),
        ("quantile uniform", json!([{"quantile_transform": {}}])),
        ("quantile normal", json!([{"quantile_transform": {"output": "normal"}}])),
        ("power 4 cols", json!([{"power_transform": {"columns": ["n0", "n1", "n2", "n3"]}}])),
        ("bin", json!([{"bin": {}}])),
        ("bin k_means", json!([{"bin": {"strategy": "k_means"}}])),
        ("normalize", json!([{"impute": {"columns": "numeric"}}, {"normalize": {}}])),
        ("polynomial 6", json!([{"polynomial": {"columns": ["n0", "n1", "n2", "n3", "n4", "n5"]}}])),
        ("ordinal", json!([{"ordinal_encode": {}}])),
        ("frequency", json!([{"frequency_encode": {}}])),
        ("hash 32", json!([{"hash_encode": {}}])),
        ("binary", json!([{"binary_encode": {}}])),
        ("tf_idf c7", json!([{"tf_idf": {"columns": "c7", "max_features": 50}}])),
        ("hash_text c7", json!([{"hash_text": {"columns": "c7", "n_features": 32}}])),
    ];
    if let Ok(only) = std::env::var("ONLY") { chains.retain(|(name, _)| name.contains(&only)); }
    for (name, steps) in chains {
        let stage = PreprocessingStage(Preprocessing { steps: serde_json::from_value(steps).unwrap() });
        let start = Instant::now();
        let fit = stage.fit(Rows::Table(table.clone()), &FitContext::plain(1)).unwrap();
        let fitting = start.elapsed();
        drop(fit.train);
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            let start = Instant::now();
            let rows = fit.fitted.apply(Rows::Table(table.clone())).unwrap();
            best = best.min(start.elapsed().as_secs_f64());
            drop(rows);
        }
        println!("{name:20} fit {:8.3} s   apply {best:8.3} s", fitting.as_secs_f64());
    }
}
