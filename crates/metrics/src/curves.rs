//! What a score does at every threshold.

use retune_spec::Metric;

use crate::MetricError;
use crate::prediction::check_finite;
use crate::ranking::Order;

/// False against true positives, as the threshold falls.
#[derive(Clone, Debug, PartialEq)]
pub struct RocCurve {
    /// The share of negative rows taken for positive.
    pub false_positive_rate: Vec<f64>,
    /// The share of positive rows found.
    pub true_positive_rate: Vec<f64>,
    /// Rows of this score or more are taken for positive; infinite at first, where none is.
    pub thresholds: Vec<f64>,
}

/// The ROC curve of scores, the greater the more likely positive: scikit-learn's `roc_curve`, points on a straight line left out. Fails for rows of one kind,
/// for no rows and for lengths that differ.
pub fn roc_curve(positive: &[bool], scores: &[f64]) -> Result<RocCurve, MetricError> {
    let points = at_thresholds(positive, scores)?;
    let last = points.last().copied().filter(|last| last.found > 0 && last.others > 0);
    let undefined = MetricError::Undefined { metric: Metric::RocAuc, reason: "all rows are of one kind" };
    let last = last.ok_or(undefined)?;
    let corner = |place: usize| {
        let (Some(before), Some(after)) = (place.checked_sub(1), points.get(place + 1)) else {
            return true;
        };
        let (before, here) = (points[before], points[place]);
        after.found + before.found != 2 * here.found || after.others + before.others != 2 * here.others
    };
    let start = Point { threshold: f64::INFINITY, found: 0, others: 0 };
    let kept: Vec<Point> = std::iter::once(start)
        .chain((0..points.len()).filter(|&place| corner(place)).map(|place| points[place]))
        .collect();
    Ok(RocCurve {
        false_positive_rate: kept.iter().map(|point| point.others as f64 / last.others as f64).collect(),
        true_positive_rate: kept.iter().map(|point| point.found as f64 / last.found as f64).collect(),
        thresholds: kept.iter().map(|point| point.threshold).collect(),
    })
}

/// Precision against recall, as the threshold rises.
#[derive(Clone, Debug, PartialEq)]
pub struct PrecisionRecallCurve {
    /// The share of positive rows among those taken for positive; 1 at last, where none is.
    pub precision: Vec<f64>,
    /// The share of positive rows found; 0 at last.
    pub recall: Vec<f64>,
    /// Rows of this score or more are taken for positive; one less than there are points.
    pub thresholds: Vec<f64>,
}

/// The precision-recall curve of scores, the greater the more likely positive: scikit-learn's `precision_recall_curve`. Fails where no row is positive, for no
/// rows and for lengths that differ.
pub fn precision_recall_curve(positive: &[bool], scores: &[f64]) -> Result<PrecisionRecallCurve, MetricError> {
    let points = at_thresholds(positive, scores)?;
    let n_positive = points.last().map_or(0, |last| last.found);
    if n_positive == 0 {
        return Err(MetricError::Undefined { metric: Metric::AveragePrecision, reason: "no row is positive" });
    }
    let rising = || points.iter().rev();
    let precision = rising().map(|point| point.found as f64 / (point.found + point.others) as f64);
    let recall = rising().map(|point| point.found as f64 / n_positive as f64);
    Ok(PrecisionRecallCurve {
        precision: precision.chain([1.0]).collect(),
        recall: recall.chain([0.0]).collect(),
        thresholds: rising().map(|point| point.threshold).collect(),
    })
}

/// Positive rows and others with the score or more.
#[derive(Clone, Copy)]
struct Point {
    threshold: f64,
    found: u64,
    others: u64,
}

/// One point a distinct score, from the greatest.
fn at_thresholds(positive: &[bool], scores: &[f64]) -> Result<Vec<Point>, MetricError> {
    check_rows(positive, scores)?;
    let (mut found, mut others) = (0, 0);
    let point = |tie: &[u32]| {
        let of_tie = tie.iter().filter(|&&row| positive[row as usize]).count() as u64;
        found += of_tie;
        others += tie.len() as u64 - of_tie;
        Point { threshold: scores[tie[0] as usize], found, others }
    };
    Ok(Order::new(scores.len(), |row| scores[row]).ties().rev().map(point).collect())
}

pub(crate) fn check_rows(positive: &[bool], scores: &[f64]) -> Result<(), MetricError> {
    if positive.len() != scores.len() {
        return Err(MetricError::Mismatch { what: "rows", truth: positive.len(), prediction: scores.len() });
    }
    if scores.is_empty() {
        return Err(MetricError::Empty);
    }
    check_finite("predictions", scores.iter().map(|score| score.is_finite()))
}
