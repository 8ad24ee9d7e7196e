//! What lies behind the scores, for the report: curves, calibration, residuals, the worst errors, and what the model depends on.

use std::cmp::Reverse;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ndarray::Array2;
use polars::prelude::AnyValue;
use retune_estimators::Model;
use retune_images::Limits;
use retune_metrics::{Bins, Prediction, Truth, calibration_curve, precision_recall_curve, roc_curve, score};
use retune_spec::Metric;
use retune_spec::metric::ExpectedCalibrationError;
use retune_stage::{FittedChain, ImageFile, Images, Kind, Progress, Result, Role, Rows, Seed, Table, Task};
use retune_table::{Histogram, cell_json};
use serde_json::{Map, Value, json};

use crate::importance::{Shuffles, falls};

/// How far the points of a curve are apart.
const APART: f64 = 0.01;

/// Labels that have a curve of their own, the most frequent ones.
const LABELS: usize = 12;

/// Bins of a calibration curve.
const CALIBRATION_BINS: usize = 10;

/// Bars of the residuals' histogram.
const RESIDUAL_BARS: usize = 24;

/// Rows of the plot of predictions against truth.
const SCATTERED: usize = 400;

/// The worst errors that are told, how many columns of each, and how much of a cell.
const WORST: usize = 20;
const WORST_COLUMNS: usize = 6;
const CELL: usize = 80;

/// The longest side of a picture of an error.
const THUMBNAIL: usize = 48;

/// An image that is larger is not shown.
const IMAGE: Limits = Limits { max_pixels: 100_000_000, max_bytes: 64 << 20 };

/// Shuffles of a column.
const REPEATS: usize = 5;

/// Rows that are shuffled: as many that all shuffles together take [`SHUFFLED`] rows through the chain, within these bounds.
const SHUFFLED: usize = 25_000;
const FEWEST_ROWS: usize = 100;
const MOST_ROWS: usize = 1000;

/// Of more columns none is shuffled.
const MOST_COLUMNS: usize = 100;

/// What was scored.
pub struct Scored<'a> {
    /// The rows as they came from the data.
    pub raw: &'a Rows,
    /// The stages before the models.
    pub chain: &'a FittedChain,
    /// The models by their names, and what they predict; the last one is the one kept.
    pub models: &'a [(String, Model, Prediction)],
    /// The truth.
    pub truth: Truth<'a>,
    /// What the last model was chosen by.
    pub metric: Metric,
    /// What is drawn by.
    pub seed: Seed,
}

/// All of it as JSON.
pub fn insight(scored: &Scored, progress: &dyn Progress) -> Result<Value> {
    let Some((name, model, prediction)) = scored.models.last() else { return Ok(Value::Null) };
    let importance = importance(scored, model, progress)?;
    let order: Vec<&str> = importance["features"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|feature| feature["name"].as_str())
        .collect();
    let mut all = Map::new();
    match scored.truth {
        Truth::Classes { codes, n_classes } => {
            let labels = match &model.task {
                Task::Classification { labels } => labels.as_slice(),
                Task::Regression => &[],
            };
            let (curves, left_out) = curves(scored, codes, n_classes, labels);
            all.insert("curves".to_owned(), curves);
            all.insert("labels_left_out".to_owned(), json!(left_out));
            all.insert("calibration".to_owned(), calibration(scored, codes, labels));
            all.insert("worst".to_owned(), worst_labels(scored.raw, codes, labels, prediction, &order)?);
        }
        Truth::Values(truth) => {
            if let Prediction::Values(predicted) = prediction {
                all.insert("residuals".to_owned(), residuals(truth, predicted));
                all.insert("worst".to_owned(), worst_values(scored.raw, truth, predicted, &order)?);
            }
        }
    }
    all.insert("model".to_owned(), json!(name));
    if !importance.is_null() {
        all.insert("importance".to_owned(), importance);
    }
    Ok(Value::Object(all))
}

/// ROC and precision-recall: of two labels the second one for each model, of more each of the most frequent labels for the last model.
fn curves(scored: &Scored, codes: &[u32], n_classes: usize, labels: &[String]) -> (Value, usize) {
    let mut wanted: Vec<usize> = if n_classes == 2 { vec![1] } else { (0..n_classes).collect() };
    let count = |label: usize| codes.iter().filter(|&&code| code as usize == label).count();
    wanted.sort_by_key(|&label| (Reverse(count(label)), label));
    let left_out = wanted.len().saturating_sub(LABELS);
    wanted.truncate(LABELS);
    wanted.sort_unstable();
    let models = if n_classes == 2 { scored.models } else { &scored.models[scored.models.len().saturating_sub(1)..] };
    let mut curves = Vec::new();
    for (name, _, prediction) in models {
        let Some(by_label) = prediction.by_label() else { continue };
        for &label in wanted.iter().filter(|&&label| label < by_label.ncols()) {
            let positive: Vec<bool> = codes.iter().map(|&code| code as usize == label).collect();
            let scores = by_label.column(label).to_vec();
            // Labels that no row has, or all have, have no curve.
            let (Ok(roc), Ok(recall)) = (roc_curve(&positive, &scores), precision_recall_curve(&positive, &scores))
            else {
                continue;
            };
            let area = |metric| area(metric, &positive, &scores);
            curves.push(json!({
                "model": name,
                "label": labels.get(label),
                "positive": positive.iter().filter(|positive| **positive).count(),
                "auc": area(Metric::RocAuc),
                "average_precision": area(Metric::AveragePrecision),
                "roc": thinned(&roc.false_positive_rate, &roc.true_positive_rate),
                "precision_recall": thinned(&recall.recall, &recall.precision),
            }));
        }
    }
    (json!(curves), left_out)
}

/// A score of one label against all others.
fn area(metric: Metric, positive: &[bool], scores: &[f64]) -> Option<f64> {
    let codes: Vec<u32> = positive.iter().map(|&positive| u32::from(positive)).collect();
    let by_label =
        Array2::from_shape_fn((scores.len(), 2), |(row, label)| if label == 1 { scores[row] } else { -scores[row] });
    score(metric, &Truth::Classes { codes: &codes, n_classes: 2 }, &Prediction::Scores(by_label)).ok()
}

/// Those points of a curve within the unit square that lie [`APART`] of its width or height from the one before, the first and the last.
fn thinned(x: &[f64], y: &[f64]) -> Vec<[f64; 2]> {
    let mut kept: Vec<[f64; 2]> = Vec::new();
    for (place, point) in x.iter().zip(y).map(|(x, y)| [*x, *y]).enumerate() {
        let is_far = kept.last().is_none_or(|last| (last[0] - point[0]).abs().max((last[1] - point[1]).abs()) >= APART);
        if is_far || place + 1 == x.len() {
            kept.push(point);
        }
    }
    kept
}

/// How often it was so that was said with a probability: of two labels the second one, of more the one that was predicted.
fn calibration(scored: &Scored, codes: &[u32], labels: &[String]) -> Value {
    let metric = Metric::ExpectedCalibrationError(ExpectedCalibrationError::DEFAULT);
    let of = |(name, _, prediction): &(String, Model, Prediction)| {
        let probabilities = prediction.probabilities()?;
        let (positive, said): (Vec<bool>, Vec<f64>) = if labels.len() == 2 {
            (codes.iter().map(|&code| code == 1).collect(), probabilities.column(1).to_vec())
        } else {
            let predicted = prediction.labels();
            let said = predicted.iter().enumerate().map(|(row, &label)| probabilities[[row, label as usize]]);
            (codes.iter().zip(&predicted).map(|(code, label)| code == label).collect(), said.collect())
        };
        let curve = calibration_curve(&positive, &said, CALIBRATION_BINS, Bins::Uniform).ok()?;
        Some(json!({
            "model": name,
            "of": if labels.len() == 2 { format!("of `{}`", labels[1]) } else { "of the predicted label".to_owned() },
            "predicted": curve.predicted,
            "observed": curve.observed,
            "rows": curve.n_rows,
            "error": score(metric, &scored.truth, prediction).ok(),
        }))
    };
    let mut ends = vec![scored.models.first()];
    ends.extend((scored.models.len() > 1).then(|| scored.models.last()));
    json!(ends.into_iter().flatten().filter_map(of).collect::<Vec<_>>())
}

fn residuals(truth: &[f64], predicted: &[f64]) -> Value {
    let residuals: Vec<f64> = truth.iter().zip(predicted).map(|(truth, predicted)| truth - predicted).collect();
    let shown = truth.len().min(SCATTERED);
    let points: Vec<[f64; 2]> =
        (0..shown).map(|place| place * truth.len() / shown).map(|row| [truth[row], predicted[row]]).collect();
    let spread = Histogram::of(&residuals, RESIDUAL_BARS);
    let (edges, counts) = spread.map_or_else(Default::default, |spread| (spread.edges, spread.counts));
    json!({ "edges": edges, "counts": counts, "points": points, "rows": truth.len() })
}

/// Wrong labels, those first that were said with the greatest probability or score.
fn worst_labels(
    raw: &Rows,
    codes: &[u32],
    labels: &[String],
    prediction: &Prediction,
    order: &[&str],
) -> Result<Value> {
    let predicted = prediction.labels();
    let Some(by_label) = prediction.by_label() else { return Ok(Value::Null) };
    let said = |row: usize, code: u32| by_label.get([row, code as usize]).copied().unwrap_or(f64::NAN);
    let mut wrong: Vec<usize> = (0..codes.len()).filter(|&row| codes[row] != predicted[row]).collect();
    wrong.sort_by(|&a, &b| said(b, predicted[b]).total_cmp(&said(a, predicted[a])).then(a.cmp(&b)));
    let n_wrong = wrong.len();
    wrong.truncate(WORST);
    let are_probabilities = prediction.probabilities().is_some();
    let label = |code: u32| labels.get(code as usize);
    let share = |row: usize, code: u32| are_probabilities.then(|| said(row, code));
    let of = |row: usize| {
        json!({
            "truth": label(codes[row]),
            "predicted": label(predicted[row]),
            "probability": share(row, predicted[row]),
            "of_truth": share(row, codes[row]),
        })
    };
    let mut told = told(raw, &wrong, order, of)?;
    told["wrong"] = json!(n_wrong);
    Ok(told)
}

/// Values that are farthest off.
fn worst_values(raw: &Rows, truth: &[f64], predicted: &[f64], order: &[&str]) -> Result<Value> {
    let error = |row: usize| truth[row] - predicted[row];
    let mut rows: Vec<usize> = (0..truth.len()).collect();
    rows.sort_by(|&a, &b| error(b).abs().total_cmp(&error(a).abs()).then(a.cmp(&b)));
    rows.truncate(WORST);
    told(raw, &rows, order, |row| json!({ "truth": truth[row], "predicted": predicted[row], "error": error(row) }))
}

/// Rows with what is said of them, some of their columns - those that identify them, then those that matter most - and their picture.
fn told(raw: &Rows, rows: &[usize], order: &[&str], of: impl Fn(usize) -> Value) -> Result<Value> {
    let worst = taken(raw, rows)?;
    let fields = &worst.schema().fields;
    let is_shown = |kind: Kind| !matches!(kind, Kind::Image | Kind::Audio);
    let of_role = |role: Role| fields.iter().filter(move |field| field.role == role && is_shown(field.kind));
    let mut columns: Vec<&str> = of_role(Role::Id).take(2).map(|field| field.name.as_str()).collect();
    let known = order.iter().copied().filter(|name| of_role(Role::Feature).any(|field| field.name == *name));
    let further = of_role(Role::Feature).map(|field| field.name.as_str()).filter(|name| !order.contains(name));
    columns.extend(known.chain(further));
    columns.truncate(WORST_COLUMNS);
    let images = worst.images()?;
    let is_numbered = worst.schema().of_role(Role::RowNumber).is_some();
    let mut told = Vec::new();
    for (place, &row) in rows.iter().enumerate() {
        let mut said = of(row);
        said["row"] = json!(if is_numbered { worst.row_number(place) } else { row as u64 + 1 });
        let cells = columns.iter().map(|name| Ok(text(&worst.column(name)?.get(place)?)));
        said["cells"] = json!(cells.collect::<Result<Vec<_>>>()?);
        if let Some(picture) = images.as_ref().and_then(|images| picture(images, place)) {
            said["image"] = json!(picture);
        }
        told.push(said);
    }
    Ok(json!({ "columns": columns, "rows": told }))
}

/// A cell in few characters.
fn text(cell: &AnyValue) -> Option<String> {
    let text = match cell_json(cell) {
        Value::Null => return None,
        Value::String(text) => text,
        value => value.to_string(),
    };
    let mut short: String = text.chars().take(CELL).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    Some(short)
}

/// A small PNG as a data address; nothing where the image cannot be read.
fn picture(images: &Images, row: usize) -> Option<String> {
    let png = match images.get(row)? {
        ImageFile::Bytes(bytes) => retune_images::thumbnail(bytes, THUMBNAIL, &IMAGE),
        ImageFile::Path(path) => retune_images::read(path, None, &IMAGE)
            .and_then(|bytes| retune_images::thumbnail(&bytes, THUMBNAIL, &IMAGE)),
    };
    Some(format!("data:image/png;base64,{}", STANDARD.encode(png.ok()?)))
}

/// What the score loses where a column of the data is shuffled; null for images; of very many columns it says why not. How much is done depends on rows and columns
/// alone, so that it repeats.
fn importance(scored: &Scored, model: &Model, progress: &dyn Progress) -> Result<Value> {
    let left_out = |reason: String| Ok(json!({ "left_out": reason }));
    let schema = scored.raw.schema();
    let columns: Vec<String> = schema.features().map(|field| field.name.clone()).collect();
    // An image is one column that holds all that there is.
    if schema.features().any(|field| field.kind == Kind::Image) {
        return Ok(Value::Null);
    }
    if columns.len() > MOST_COLUMNS {
        return left_out(format!(
            "Not computed for more than {MOST_COLUMNS} columns: these are {}. `retune importance` does it.",
            columns.len()
        ));
    }
    let n_rows = (SHUFFLED / (REPEATS * columns.len().max(1))).clamp(FEWEST_ROWS, MOST_ROWS);
    let n = scored.raw.n_rows();
    let shown = n.min(n_rows);
    let table = taken(scored.raw, &(0..shown).map(|place| place * n / shown).collect::<Vec<_>>())?;
    let groups: Vec<(String, Vec<String>)> = columns.into_iter().map(|name| (name.clone(), vec![name])).collect();
    let shuffles = Shuffles {
        chain: scored.chain,
        model,
        metric: scored.metric,
        repeats: REPEATS,
        seed: scored.seed.derive("importance"),
    };
    match falls(&shuffles, &table, &groups, progress) {
        Ok((base, falls)) => Ok(shuffles.told(base, &falls, table.n_rows())),
        // A score that few rows do not define (one label only, say) is no reason to lose all others.
        Err(error) => {
            progress.check_cancelled()?;
            left_out(format!("Not computed: {}", error.message))
        }
    }
}

/// The rows at `indices`, in that order. Of rows that are read by pieces only those pieces are, which hold one of them.
fn taken(rows: &Rows, indices: &[usize]) -> Result<Table> {
    let Rows::Pieces(pieces) = rows else { return Ok(rows.take(indices)?.table()?.clone()) };
    let mut sorted: Vec<usize> = indices.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let (mut tables, mut next) = (Vec::new(), 0);
    for piece in 0..pieces.n_pieces() {
        let (first, end) = (pieces.first_row(piece), pieces.first_row(piece + 1));
        let within: Vec<usize> = sorted[next..].iter().take_while(|row| **row < end).map(|row| row - first).collect();
        if !within.is_empty() {
            next += within.len();
            tables.push(pieces.piece(piece, None)?.take(&within)?);
        }
    }
    let places: Vec<usize> = indices.iter().map(|row| sorted.partition_point(|other| other < row)).collect();
    Ok(Table::concat(&tables, pieces.schema())?.take(&places)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn curves_keep_their_ends_and_areas_are_those_of_one_label() {
        let x: Vec<f64> = (0..=1000).map(|i| f64::from(i) / 1000.0).collect();
        let points = thinned(&x, &x);
        assert_eq!((points[0], points[points.len() - 1]), ([0.0, 0.0], [1.0, 1.0]));
        assert!((90..=110).contains(&points.len()), "{}", points.len());
        assert_eq!(thinned(&[0.5], &[0.1]), [[0.5, 0.1]]);
        // scikit-learn's roc_auc_score of the documentation's example.
        assert_eq!(area(Metric::RocAuc, &[false, false, true, true], &[0.1, 0.4, 0.35, 0.8]), Some(0.75));
    }

    #[test]
    fn cells_are_short() {
        assert_eq!(text(&AnyValue::String(&"é".repeat(100))).unwrap().chars().count(), CELL + 1);
        assert_eq!(text(&AnyValue::Null), None);
        assert_eq!(text(&AnyValue::Int64(3)).unwrap(), "3");
    }
}
