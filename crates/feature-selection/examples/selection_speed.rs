//! Fits a feature selection on the rows of a file: `selection_speed STEPS.json ROWS TARGET [REPEATS]`. Prints the median seconds, without those of reading, for
//! `just bench feature-selection`. The target is labels where it is text; every other column is a feature.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use retune_feature_selection::FeatureSelectionStage;
use retune_stage::{FitContext, Rows, Stage};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, steps, rows, target, rest @ ..] = arguments.as_slice() else {
        return Err("selection_speed STEPS.json ROWS TARGET [REPEATS]".into());
    };
    let repeats: usize = rest.first().map_or(Ok(1), |repeats| repeats.parse())?;
    let stage = FeatureSelectionStage(serde_json::from_str(&std::fs::read_to_string(steps)?)?);
    let table = retune_testing::file(rows, Some(target));
    let (mut seconds, mut n_kept) = (Vec::new(), 0);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let context = FitContext { threads, ..FitContext::plain(1) };
    for _ in 0..repeats.max(1) {
        let start = Instant::now();
        let fit = stage.fit(Rows::Table(table.clone()), &context)?;
        seconds.push(start.elapsed().as_secs_f64());
        n_kept = fit.train.schema().features().count();
    }
    seconds.sort_by(f64::total_cmp);
    let (rows, columns) = (table.n_rows(), table.schema().features().count());
    let seconds = seconds[seconds.len() / 2];
    println!("{}", serde_json::json!({ "seconds": seconds, "rows": rows, "columns": columns, "kept": n_kept }));
    Ok(())
}
