//! `f_test`: keeps the columns whose means differ between labels, or that go along with the target.

use rayon::prelude::*;
use retune_spec::feature_selection::{Choice, FTest};
use retune_stage::{Result, Target};
use retune_table::numbers::sum;
use statrs::function::gamma::ln_gamma;

use crate::features::Feature;
use crate::judge::{Judge, Judgement, Question, Verdict, shown};

/// From here on the series of the quotient of gammas is exact to a rounding.
const LARGE: f64 = 100.0;

/// Steps of the continued fraction: it takes about the root of the number of rows.
const MOST_STEPS: u32 = 100_000;

/// With labels an analysis of variance (Fisher 1925), with values the regression of the target on the column. A constant column has the score 0 and the
/// p-value 1; one that tells the target exactly has the greatest number there is, as in scikit-learn's `f_regression`.
impl Judge for FTest {
    fn score_word(&self) -> &'static str {
        "F statistic"
    }

    fn choice(&self) -> Option<Choice> {
        Some(FTest::choice(self))
    }

    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement> {
        let against = Against::new(question.target);
        let test = |feature: &Feature| {
            let f = against.f(&feature.numbers()?);
            Ok((f, against.p_value(f)))
        };
        tested("F", features, question, test)
    }
}

/// The verdicts of a test that gives each column a score and a p-value.
pub(crate) fn tested(
    statistic: &str,
    features: &[Feature],
    question: &Question,
    test: impl Fn(&Feature) -> Result<(f64, f64)> + Sync,
) -> Result<Judgement> {
    let verdict = |feature: &Feature| {
        question.context.progress.check_cancelled()?;
        let (score, p_value) = test(feature)?;
        let reason = format!("{statistic} is {} with the p-value {}", shown(score), shown(p_value));
        Ok(Verdict { p_value: Some(p_value), ..Verdict::scored(score, reason) })
    };
    Ok(features.par_iter().map(verdict).collect::<Result<Vec<_>>>()?.into())
}

/// A target that columns are tested against.
pub(crate) enum Against<'a> {
    Classes {
        codes: &'a [u32],
        counts: Vec<f64>,
    },
    /// Less their mean, and the sum of their squares.
    Values {
        centred: Vec<f64>,
        scatter: f64,
    },
}

impl<'a> Against<'a> {
    pub(crate) fn new(target: &'a Target) -> Self {
        match target {
            Target::Classes { codes, n_classes } => Self::Classes { codes, counts: counts(codes, *n_classes) },
            Target::Values(values) => {
                let mean = sum(values, |value| value) / values.len() as f64;
                let centred: Vec<f64> = values.iter().map(|value| value - mean).collect();
                let scatter = sum(&centred, |value| value * value);
                Self::Values { centred, scatter }
            }
        }
    }

    /// The F statistic of a column: a finite number.
    pub(crate) fn f(&self, values: &[f64]) -> f64 {
        let [above, below] = self.degrees();
        if below <= 0.0 || is_constant(values) {
            return 0.0;
        }
        let (told, left) = match self {
            Self::Classes { codes, counts } => scatters(values, codes, counts),
            Self::Values { centred, scatter } => {
                let mean = sum(values, |value| value) / values.len() as f64;
                let [product, own] = products(values, mean, centred);
                let share = (product / own.sqrt() / scatter.sqrt()).powi(2).min(1.0);
                (share, 1.0 - share)
            }
        };
        let f = told / above / (left / below);
        // No number comes of values whose squares are beyond all numbers.
        if f.is_nan() { 0.0 } else { f.min(f64::MAX) }
    }

    /// How probable such a statistic is where a column tells nothing.
    pub(crate) fn p_value(&self, f: f64) -> f64 {
        let [above, below] = self.degrees();
        match f {
            f64::MAX => 0.0,
            f if f > 0.0 => f_tail(f, above, below),
            _ => 1.0,
        }
    }

    /// The degrees of freedom above and below the line.
    fn degrees(&self) -> [f64; 2] {
        match self {
            Self::Classes { codes, counts } => {
                let present = counts.iter().filter(|count| **count > 0.0).count() as f64;
                [present - 1.0, codes.len() as f64 - present]
            }
            Self::Values { centred, .. } => [1.0, centred.len() as f64 - 2.0],
        }
    }
}

/// The number of rows of each class.
pub(crate) fn counts(codes: &[u32], n_classes: usize) -> Vec<f64> {
    let mut counts = vec![0.0; n_classes];
    codes.iter().for_each(|&code| counts[code as usize] += 1.0);
    counts
}

/// Whether a column never changes.
pub(crate) fn is_constant(values: &[f64]) -> bool {
    values.first().is_none_or(|first| values.iter().all(|value| value == first))
}

/// The sums of the values of each class, in four lanes each so that the processor need not wait for each addition.
pub(crate) fn class_sums(values: &[f64], codes: &[u32], n_classes: usize) -> Vec<f64> {
    let mut lanes = vec![[0.0; 4]; n_classes];
    for (values, codes) in values.chunks(4).zip(codes.chunks(4)) {
        for (lane, (value, &code)) in values.iter().zip(codes).enumerate() {
            lanes[code as usize][lane] += value;
        }
    }
    lanes.iter().map(|lanes| lanes.iter().sum()).collect()
}

/// The sums of squared deviations of the classes' means from the whole one, and of values from their class's mean.
fn scatters(values: &[f64], codes: &[u32], counts: &[f64]) -> (f64, f64) {
    let sums = class_sums(values, codes, counts.len());
    let mean = sums.iter().sum::<f64>() / values.len() as f64;
    let means: Vec<f64> = sums.iter().zip(counts).map(|(sum, count)| sum / count).collect();
    let present = means.iter().zip(counts).filter(|(_, count)| **count > 0.0);
    let between = present.map(|(class, count)| count * (class - mean).powi(2)).sum();
    let mut lanes = [0.0; 8];
    for (values, codes) in values.chunks(8).zip(codes.chunks(8)) {
        for ((lane, value), &code) in lanes.iter_mut().zip(values).zip(codes) {
            let deviation = value - means[code as usize];
            *lane += deviation * deviation;
        }
    }
    (between, lanes.iter().sum())
}

/// The sums of products of values, less their mean, with others and with themselves.
pub(crate) fn products(values: &[f64], mean: f64, others: &[f64]) -> [f64; 2] {
    let (mut with_others, mut with_themselves) = ([0.0; 8], [0.0; 8]);
    for (values, others) in values.chunks(8).zip(others.chunks(8)) {
        let lanes = with_others.iter_mut().zip(with_themselves.iter_mut());
        for (((product, square), value), other) in lanes.zip(values).zip(others) {
            let deviation = value - mean;
            *product += deviation * other;
            *square += deviation * deviation;
        }
    }
    [with_others, with_themselves].map(|lanes| lanes.iter().sum())
}

/// The probability of a greater value of the F distribution. `statrs` stops its continued fraction after 140 steps and subtracts logarithms of gammas of
/// the number of rows, which with a million rows leaves few digits.
pub(crate) fn f_tail(f: f64, above: f64, below: f64) -> f64 {
    let (a, b) = (above / 2.0, below / 2.0);
    let ratio = above / below * f;
    // x + y = 1, and each is exact where it is small.
    let (x, y) = (1.0 / (1.0 + ratio.recip()), 1.0 / (1.0 + ratio));
    let weight = (a * x.ln() - b * ratio.ln_1p() - ln_gamma(a) + ln_gamma_quotient(b, a)).exp();
    if y < (b + 1.0) / (a + b + 2.0) {
        weight / b * continued_fraction(b, a, y)
    } else {
        1.0 - weight / a * continued_fraction(a, b, x)
    }
    .clamp(0.0, 1.0)
}

/// The logarithm of gamma(b + a) / gamma(b), where 2 a is a whole number.
fn ln_gamma_quotient(b: f64, a: f64) -> f64 {
    let whole = a.floor();
    let half = if a > whole { ln_gamma_half_step(b) } else { 0.0 };
    let start = b + (a - whole);
    half + (0..whole as u32).map(|step| (start + f64::from(step)).ln()).sum::<f64>()
}

/// The logarithm of gamma(b + 1/2) / gamma(b): for large `b` by its asymptotic series (Tricomi and Erdelyi 1951).
fn ln_gamma_half_step(b: f64) -> f64 {
    if b < LARGE {
        return ln_gamma(b + 0.5) - ln_gamma(b);
    }
    let z = b.recip();
    let series = z * (-1.0 / 8.0 + z * (1.0 / 128.0 + z * (5.0 / 1024.0 - z * (21.0 / 32768.0))));
    0.5 * b.ln() + series.ln_1p()
}

/// That of the incomplete beta function (DLMF 8.17.22), by the method of Lentz.
fn continued_fraction(a: f64, b: f64, x: f64) -> f64 {
    let away_from_zero = |value: f64| if value.abs() < f64::MIN_POSITIVE { f64::MIN_POSITIVE } else { value };
    let mut d = away_from_zero(1.0 - (a + b) * x / (a + 1.0)).recip();
    let (mut c, mut fraction) = (1.0, d);
    for step in 1..MOST_STEPS {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for numerator in [even, odd] {
            d = away_from_zero(1.0 + numerator * d).recip();
            c = away_from_zero(1.0 + numerator / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    fraction
}
