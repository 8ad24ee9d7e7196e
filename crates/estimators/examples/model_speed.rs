//! Trains a family on the rows of a file and predicts those of another: `model_speed ESTIMATOR.json TRAIN TEST TARGET [REPEATS]`. Prints the median seconds of both,
//! without those of reading, and the score, for `just bench model-selection`. The target is labels where it is text; every other column is a feature.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::time::Instant;

use retune_estimators::{FitOptions, fit, truth_of};
use retune_metrics::score;
use retune_spec::{Estimator, Metric};
use retune_stage::{FitContext, Rows};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, estimator, train, test, target, rest @ ..] = arguments.as_slice() else {
        return Err("model_speed ESTIMATOR.json TRAIN TEST TARGET [REPEATS]".into());
    };
    let repeats: usize = rest.first().map_or(Ok(1), |repeats| repeats.parse())?;
    let estimator: Estimator = serde_json::from_str(&std::fs::read_to_string(estimator)?)?;
    let rows = |path: &String| Rows::Table(retune_testing::file(path, Some(target)));
    let (train, test) = (rows(train), rows(test));
    let task = train.schema().task.clone().ok_or("no target")?;
    let (train, test) = (train.design()?, test.design()?);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let context = FitContext { threads, ..FitContext::plain(1) };
    let options = FitOptions::of(&context);
    let (mut learning, mut predicting, mut value) = (Vec::new(), Vec::new(), 0.0);
    for _ in 0..repeats.max(1) {
        let start = Instant::now();
        let (model, info) = fit(&estimator, &train, &task, &options)?;
        learning.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let prediction = model.predict(test.features.view())?;
        predicting.push(start.elapsed().as_secs_f64());
        value = score(Metric::plain_for(task.kind()), &truth_of(test.target()?), &prediction)?;
        info.notes.iter().for_each(|note| eprintln!("{note}"));
    }
    let median = |mut seconds: Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    };
    println!("{}", serde_json::json!({ "fit": median(learning), "predict": median(predicting), "score": value }));
    Ok(())
}
