//! `power_transform`.

use rayon::prelude::*;
use retune_spec::preprocessing::{PowerMethod, PowerTransform};
use retune_stage::{FitContext, Kind, Result, Schema, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::minimum::minimum;
use crate::outline::Outline;
use crate::source::Source;
use crate::stats::{Moments, by_column};
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// Values per unit of parallel work; sums are taken by block, so that they do not depend on the number of threads.
const BLOCK: usize = 16_384;

/// How many rows an error names.
const NAMED_ROWS: usize = 5;

/// The power of each column, and what is subtracted from and divided by then.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedPowerTransform {
    columns: Vec<String>,
    method: PowerMethod,
    powers: Vec<ColumnPower>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct ColumnPower {
    lambda: f64,
    mean: f64,
    deviation: f64,
}

impl FitStep for PowerTransform {
    type Fitted = FittedPowerTransform;
    const KINDS: &'static [Kind] = &[Kind::Numeric];

    fn check(&self, _columns: &[String], _outline: &mut Outline) -> Result<()> {
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedPowerTransform>> {
        if self.method == PowerMethod::BoxCox {
            let needed: Vec<String> = columns.iter().cloned().chain([Schema::ROW.to_owned()]).collect();
            source.fold(
                &needed,
                |frame| columns.par_iter().try_for_each(|name| all_positive(frame, name)),
                |()| Ok(()),
            )?;
        }
        let powers = by_column(source, columns, |name, values| learn(self, name, values))?;
        let text = format!("raised {} to powers that make them more normal", counted(columns.len(), "column"));
        Ok(Learnt::applied(FittedPowerTransform { columns: columns.to_vec(), method: self.method, powers }, text))
    }
}

impl ApplyStep for FittedPowerTransform {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn in_place(&self) -> Option<&[String]> {
        Some(&self.columns)
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        frame.map(&self.columns, |index, values| {
            let ColumnPower { lambda, mean, deviation } = self.powers[index];
            if self.method == PowerMethod::BoxCox {
                refuse_not_positive(frame, &self.columns[index], values)?;
            }
            values.iter_mut().for_each(|value| *value = (raised(self.method, *value, lambda) - mean) / deviation);
            Ok(())
        })
    }
}

/// The power of a column.
fn learn(step: &PowerTransform, name: &str, mut values: Vec<f64>) -> Result<ColumnPower> {
    values.retain(|value| !value.is_nan());
    let unchanged = ColumnPower { lambda: 1.0, mean: 0.0, deviation: 1.0 };
    // A column without values stays as it is.
    let Some(moments) = Moments::of(&values, None) else { return Ok(unchanged) };
    if !(moments.mean.is_finite() && moments.variance().is_finite()) {
        return Err(StageError::data(format!("the values of column `{name}` are too large to be raised to a power"))
            .help("put `log1p` or `clip_outliers` before"));
    }
    let lambda = if moments.is_constant() { 1.0 } else { most_likely(step.method, &values, moments) };
    values.par_iter_mut().for_each(|value| *value = raised(step.method, *value, lambda));
    let raised = Moments::of(&values, None).filter(|_| step.standardize);
    let Some(raised) = raised else { return Ok(ColumnPower { lambda, ..unchanged }) };
    let deviation = if raised.is_constant() { 1.0 } else { raised.variance().sqrt() };
    Ok(ColumnPower { lambda, mean: raised.mean, deviation })
}

/// A value raised to a power.
fn raised(method: PowerMethod, value: f64, lambda: f64) -> f64 {
    match method {
        // The power 1 changes nothing, not even the last digit.
        PowerMethod::BoxCox if lambda == 1.0 => value - 1.0,
        PowerMethod::YeoJohnson if lambda == 1.0 => value,
        PowerMethod::BoxCox => scaled_power(value.ln(), lambda),
        PowerMethod::YeoJohnson if value >= 0.0 => scaled_power(value.ln_1p(), lambda),
        PowerMethod::YeoJohnson => -scaled_power((-value).ln_1p(), 2.0 - lambda),
    }
}

/// The power under which the values are most likely a sample of a normal distribution.
fn most_likely(method: PowerMethod, values: &[f64], moments: Moments) -> f64 {
    // What a number raised to any power is computed from; the sign says on which side of 0 it is.
    let logarithm = |value: &f64| match method {
        PowerMethod::BoxCox => value.ln(),
        PowerMethod::YeoJohnson => value.signum() * value.abs().ln_1p(),
    };
    let mut logarithms: Vec<f64> = values.par_iter().map(logarithm).collect();
    let n = values.len() as f64;
    let total = sum(&logarithms, |logarithm| logarithm);
    if method == PowerMethod::BoxCox {
        // Powers of x / m, m the geometric mean, differ from those of x by a factor: it is put back below.
        logarithms.iter_mut().for_each(|logarithm| *logarithm -= total / n);
    }
    let unlikelihood = |lambda: f64| {
        let raised = |logarithm: f64| match method {
            PowerMethod::YeoJohnson if logarithm < 0.0 => -scaled_power(-logarithm, 2.0 - lambda),
            _ => scaled_power(logarithm, lambda),
        };
        let factor = if method == PowerMethod::BoxCox { 2.0 * lambda * total / n } else { 0.0 };
        let likelihood = (lambda - 1.0) * total - n / 2.0 * (variance(&logarithms, raised).ln() + factor);
        // Neither what overflows nor what loses all its digits is likely.
        if likelihood.is_finite() { -likelihood } else { f64::INFINITY }
    };
    let [low, high] = bounds(method, &logarithms, moments);
    minimum(unlikelihood, low, high)
}

/// `(exp(lambda * logarithm) - 1) / lambda`, with the digits that the 1 would swallow.
fn scaled_power(logarithm: f64, lambda: f64) -> f64 {
    if lambda.abs() < f64::EPSILON { logarithm } else { (lambda * logarithm).exp_m1() / lambda }
}

/// The powers to look among: those under which no value up to 20 times as large as the largest overflows, with half of the exponents' range to spare
/// for the variance (as scipy's `yeojohnson_normmax`).
fn bounds(method: PowerMethod, logarithms: &[f64], moments: Moments) -> [f64; 2] {
    let least = (f64::MIN_POSITIVE.ln() - f64::EPSILON.ln()) / 2.0;
    let most = (f64::MAX.ln() + f64::EPSILON.ln()) / 2.0;
    match method {
        PowerMethod::BoxCox => {
            let largest = logarithms.iter().fold(0.0_f64, |largest, logarithm| largest.max(logarithm.abs()));
            [least / (largest + 20_f64.ln()), most / (largest + 20_f64.ln())]
        }
        PowerMethod::YeoJohnson => {
            let largest = (20.0 * moments.greatest.abs().max(moments.least.abs())).ln_1p();
            let [low, high] = [least / largest, most / largest];
            match (moments.least < 0.0, moments.greatest < 0.0) {
                (true, true) => [2.0 - high, 2.0 - low],
                (true, false) => [low.max(2.0 - high), high.min(2.0 - low)],
                (false, _) => [low, high],
            }
        }
    }
}

fn sum(values: &[f64], of: impl Fn(f64) -> f64 + Sync) -> f64 {
    let sums: Vec<f64> =
        values.par_chunks(BLOCK).map(|block| block.iter().map(|&value| of(value)).sum::<f64>()).collect();
    sums.iter().sum()
}

/// The variance of what `of` makes of the values.
fn variance(values: &[f64], of: impl Fn(f64) -> f64 + Sync) -> f64 {
    let raised: Vec<f64> = values.par_iter().map(|&value| of(value)).collect();
    let n = values.len() as f64;
    let mean = sum(&raised, |value| value) / n;
    sum(&raised, |value| (value - mean) * (value - mean)) / n
}

fn all_positive(frame: &Frame, name: &str) -> Result<()> {
    refuse_not_positive(frame, name, &frame.numeric(name)?)
}

fn refuse_not_positive(frame: &Frame, name: &str, values: &[f64]) -> Result<()> {
    let mut rows = (0..values.len()).filter(|&row| values[row] <= 0.0);
    let Some(first) = rows.next() else { return Ok(()) };
    let others: Vec<String> =
        rows.by_ref().take(NAMED_ROWS - 1).map(|row| frame.table.row_number(row).to_string()).collect();
    let mut places = format!("row {}", frame.table.row_number(first));
    if !others.is_empty() {
        let more = if rows.next().is_some() { " and more" } else { "" };
        places += &format!(" (also in rows {}{more})", others.join(", "));
    }
    Err(StageError::data(format!(
        "column `{name}` has {} in {places}; `method: box_cox` needs numbers above 0",
        values[first]
    ))
    .help(format!("set `method: yeo_johnson`, which takes any number, or leave `{name}` out of `columns`")))
}
