//! Fits steps on the rows of a file and applies them to the same rows, in memory: `speed STEPS.json ROWS [REPEATS]`. Prints the median seconds of both,
//! without those of reading, for `just bench preprocessing`. Every column is a feature.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use retune_preprocessing::PreprocessingStage;
use retune_stage::{FitContext, Rows, Stage};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, steps, rows, rest @ ..] = arguments.as_slice() else {
        return Err("speed STEPS.json ROWS [REPEATS]".into());
    };
    let repeats = rest.first().map_or(Ok(1), |repeats| repeats.parse())?;
    let stage = PreprocessingStage(serde_json::from_str(&std::fs::read_to_string(steps)?)?);
    let table = retune_testing::file(rows, None);
    let (mut fits, mut applies) = (Vec::new(), Vec::new());
    let mut n_columns = 0;
    for _ in 0..repeats {
        let start = Instant::now();
        let fit = stage.fit(Rows::Table(table.clone()), &FitContext::plain(1))?;
        fits.push(start.elapsed().as_secs_f64());
        drop(fit.train);
        let start = Instant::now();
        let applied = fit.fitted.apply(Rows::Table(table.clone()))?;
        applies.push(start.elapsed().as_secs_f64());
        n_columns = applied.schema().features().count();
    }
    let [fit, apply] = [fits, applies].map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    });
    let rows = table.n_rows();
    println!("{}", serde_json::json!({ "fit": fit, "apply": apply, "rows": rows, "columns": n_columns }));
    Ok(())
}
