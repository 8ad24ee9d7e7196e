//! Base, tuned model and remedies side by side, on the same rows.

use std::time::Instant;

use polars::prelude::{DataFrame, df};
use retune_estimators::{Model, truth_of};
use retune_metrics::{Prediction, Truth, interval, mcnemar, paired_difference, score};
use retune_spec::Metric;
use retune_spec::metric::ExpectedCalibrationError;
use retune_stage::{Design, Result, Seed};

/// Bootstrap resamples of an interval.
const RESAMPLES: usize = 1000;

/// The confidence of intervals.
const CONFIDENCE: f64 = 0.95;

/// A model that is compared.
pub struct Compared<'a> {
    /// What it is called: `base`, `tuned`, or a remedy.
    pub name: String,
    /// The model.
    pub model: &'a Model,
}

/// One row for each model and set: its score with an interval, how far it lies above the base with the paired interval (turned so that more is better), the
/// probability of McNemar's test that two equally good models differ so much, its calibration error, its size and how long it takes for a thousand rows.
pub fn compare(models: &[Compared], sets: &[(String, &Design)], metric: Metric, seed: Seed) -> Result<DataFrame> {
    let mut rows: Vec<Row> = Vec::new();
    for (set, design) in sets {
        let Ok(target) = design.target() else { continue };
        let truth = truth_of(target);
        let mut base: Option<Prediction> = None;
        for compared in models {
            let begun = Instant::now();
            let prediction = compared.model.predict(design)?;
            let seconds = begun.elapsed().as_secs_f64();
            rows.push(Row::of(compared, set, design, &truth, &prediction, base.as_ref(), metric, seconds, seed));
            base.get_or_insert(prediction);
        }
    }
    let column = |of: fn(&Row) -> Option<f64>| rows.iter().map(of).collect::<Vec<_>>();
    Ok(df!(
        "model" => rows.iter().map(|row| row.model.as_str()).collect::<Vec<_>>(),
        "set" => rows.iter().map(|row| row.set.as_str()).collect::<Vec<_>>(),
        "rows" => rows.iter().map(|row| row.n_rows as u32).collect::<Vec<_>>(),
        metric.word() => column(|row| row.score[0]),
        "low" => column(|row| row.score[1]),
        "high" => column(|row| row.score[2]),
        "better_by" => column(|row| row.difference[0]),
        "better_by_low" => column(|row| row.difference[1]),
        "better_by_high" => column(|row| row.difference[2]),
        "mcnemar_p" => column(|row| row.mcnemar),
        "calibration_error" => column(|row| row.calibration),
        "numbers" => rows.iter().map(|row| row.size as u64).collect::<Vec<_>>(),
        "ms_per_1000_rows" => column(|row| Some(row.milliseconds)),
    )?)
}

struct Row {
    model: String,
    set: String,
    n_rows: usize,
    score: [Option<f64>; 3],
    difference: [Option<f64>; 3],
    mcnemar: Option<f64>,
    calibration: Option<f64>,
    size: usize,
    milliseconds: f64,
}

impl Row {
    #[expect(clippy::too_many_arguments, reason = "the cells of a row, from as many places")]
    fn of(
        compared: &Compared,
        set: &str,
        design: &Design,
        truth: &Truth,
        prediction: &Prediction,
        base: Option<&Prediction>,
        metric: Metric,
        seconds: f64,
        seed: Seed,
    ) -> Self {
        // A score that these rows do not define (one label only, say) is left out.
        let own = interval(metric, truth, prediction, RESAMPLES, CONFIDENCE, seed.0).ok();
        let against = base
            .and_then(|base| paired_difference(metric, truth, base, prediction, RESAMPLES, CONFIDENCE, seed.0).ok());
        let turned = against.map(|difference| crate::guard::better_is_more(metric, difference));
        let test = match (truth, base) {
            (Truth::Classes { codes, .. }, Some(base)) => mcnemar(codes, &base.labels(), &prediction.labels()).ok(),
            _ => None,
        };
        let calibration = Metric::ExpectedCalibrationError(ExpectedCalibrationError::DEFAULT);
        Self {
            model: compared.name.clone(),
            set: set.to_owned(),
            n_rows: design.n_rows(),
            score: own.map_or([None; 3], |own| [own.value, own.low, own.high].map(Some)),
            difference: turned.map_or([None; 3], |turned| [turned.value, turned.low, turned.high].map(Some)),
            mcnemar: test.map(|test| test.p_value),
            calibration: score(calibration, truth, prediction).ok(),
            size: compared.model.members().iter().map(|member| member.fitted.size()).sum(),
            milliseconds: seconds * 1e6 / design.n_rows().max(1) as f64,
        }
    }
}
