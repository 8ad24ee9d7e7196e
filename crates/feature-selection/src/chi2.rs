//! `chi2`: keeps the counts that depend on the label.

use retune_spec::feature_selection::{Chi2, Choice};
use retune_stage::{Result, StageError, Target};
use statrs::function::gamma::gamma_ur;

use crate::f_test::{class_sums, counts, is_constant, tested};
use crate::features::Feature;
use crate::judge::{Judge, Judgement, Question, shown};

/// The statistic of the sums over the rows of each label (Pearson 1900) against those expected by the labels' shares of the rows.
/// A constant column has the score 0 and the p-value 1.
impl Judge for Chi2 {
    fn score_word(&self) -> &'static str {
        "chi-squared statistic"
    }

    fn choice(&self) -> Option<Choice> {
        Some(Chi2::choice(self))
    }

    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement> {
        let classes = Classes::of(question.target)?;
        let test = |feature: &Feature| {
            let values = feature.numbers()?;
            refuse_negative(feature, &values)?;
            let score = if is_constant(&values) { 0.0 } else { statistic(&values, &classes) };
            Ok((score, classes.p_value(score)))
        };
        tested("chi-squared", features, question, test)
    }
}

/// The labels of the rows, and how many rows each has.
pub(crate) struct Classes<'a> {
    pub(crate) codes: &'a [u32],
    pub(crate) counts: Vec<f64>,
}

impl<'a> Classes<'a> {
    /// Fails where the target is no label.
    pub(crate) fn of(target: &'a Target) -> Result<Self> {
        match target {
            Target::Classes { codes, n_classes } => Ok(Self { codes, counts: counts(codes, *n_classes) }),
            Target::Values(_) => Err(StageError::data("this method compares labels, and the task is regression")
                .help("use `f_test` or `mutual_information`")),
        }
    }

    /// How many labels there are that a row has.
    pub(crate) fn n_present(&self) -> usize {
        self.counts.iter().filter(|count| **count > 0.0).count()
    }

    /// How probable a greater value of the chi-squared distribution is, with one degree of freedom less than there are labels.
    pub(crate) fn p_value(&self, score: f64) -> f64 {
        chi2_tail(score, self.n_present() as f64 - 1.0)
    }
}

/// The probability of a greater value of the chi-squared distribution.
pub(crate) fn chi2_tail(score: f64, freedom: f64) -> f64 {
    if score > 0.0 && freedom > 0.0 { gamma_ur(freedom / 2.0, score / 2.0) } else { 1.0 }
}

fn refuse_negative(feature: &Feature, values: &[f64]) -> Result<()> {
    // Looking at every value is faster than stopping at the first, and there hardly ever is one.
    if !values.iter().fold(false, |negative, value| negative | (*value < 0.0)) {
        return Ok(());
    }
    let at = values.iter().position(|value| *value < 0.0).unwrap_or_default();
    let (name, row, value) = (feature.name, feature.row_number(at), shown(values[at]));
    Err(StageError::data(format!(
        "column `{name}` is {value} in row {row}; `chi2` takes counts, which are not negative"
    ))
    .help("use `f_test`, or add the step `min_max_scale` to a preprocessing stage before"))
}

fn statistic(values: &[f64], Classes { codes, counts }: &Classes) -> f64 {
    let sums = class_sums(values, codes, counts.len());
    let (total, n_rows) = (sums.iter().sum::<f64>(), counts.iter().sum::<f64>());
    let present = sums.iter().zip(counts).filter(|(_, count)| **count > 0.0);
    let term = |(sum, count): (&f64, &f64)| {
        let expected = count / n_rows * total;
        (sum - expected).powi(2) / expected
    };
    let statistic: f64 = present.map(term).sum();
    // No number comes of sums that are beyond all numbers, or whose expectation is below all.
    if statistic.is_nan() { 0.0 } else { statistic.min(f64::MAX) }
}
