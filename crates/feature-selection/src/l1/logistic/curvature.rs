//! The second derivatives of the loss by the coefficients that a search moves, and the way to where the quadratic they make is least.

use std::ops::Range;

use super::{Logistic, Place};
use crate::l1::soft;
use crate::wrapped::products;

/// Of more coefficients of several labels, a bound takes the place of what two labels have in common: their derivatives together would no longer be worth their while.
const MAX_JOINT: usize = 3000;
/// Rounds of coordinate descent for a step, at most.
const MAX_ROUNDS: usize = 1000;

pub(super) struct Curvature {
    /// In ascending order, so that those of an output are one after the other.
    pub(super) places: Vec<Place>,
    /// What no two of have anything in common.
    blocks: Vec<Block>,
}

struct Block {
    places: Range<usize>,
    /// The second derivatives by each two places.
    cells: Vec<f64>,
}

impl Curvature {
    /// At the scores of a model.
    pub(super) fn of(model: &Logistic, places: Vec<Place>) -> Self {
        let outputs = ranges(&places);
        let is_joint = outputs.len() == 1 || places.len() <= MAX_JOINT;
        let groups: Vec<&[Range<usize>]> = outputs.chunks(if is_joint { outputs.len().max(1) } else { 1 }).collect();
        let probabilities: Vec<f64> = (0..model.slopes.len()).map(|at| model.probability(at)).collect();
        let probabilities: Vec<&[f64]> = probabilities.chunks_exact(model.labels.len()).collect();
        let weight = |a: usize, b: usize, row: usize| {
            let diagonal = probabilities[a][row] * (1.0 - probabilities[a][row]);
            let weight = match a == b {
                false => probabilities[a][row] * probabilities[b][row],
                true if is_joint => diagonal,
                // Twice the diagonal exceeds the derivatives by a row's scores, which are those of a graph, and so do the probabilities.
                true => probabilities[a][row].min(2.0 * diagonal),
            };
            weight.max(0.0) / model.labels.len() as f64
        };
        let blocks = groups.into_iter().map(|outputs| Block::of(model, &places, outputs, &weight)).collect();
        Self { places, blocks }
    }

    pub(super) fn covers(&self, places: &[Place]) -> bool {
        places.iter().all(|place| self.places.binary_search(place).is_ok())
    }

    /// The step from some coefficients to where the quadratic and the penalties together are least, until the slopes by all coefficients are within a limit.
    pub(super) fn way(&self, coefficients: &[f64], gradient: &[f64], penalties: &[f64], limit: f64) -> Vec<f64> {
        let (mut slopes, mut steps) = (gradient.to_vec(), vec![0.0; coefficients.len()]);
        for Block { places, cells } in &self.blocks {
            let (first, width) = (places.start, places.len());
            for _ in 0..MAX_ROUNDS {
                let mut farthest: f64 = 0.0;
                for at in places.clone() {
                    let row = &cells[(at - first) * width..(at - first + 1) * width];
                    // What all but vanishes where rows are told apart without doubt must not throw the search far off.
                    let curve = row[at - first].max(1e-9);
                    let now = coefficients[at] + steps[at];
                    let step = soft(now - slopes[at] / curve, penalties[at] / curve) - now;
                    if step != 0.0 {
                        steps[at] += step;
                        slopes[places.clone()].iter_mut().zip(row).for_each(|(slope, cell)| *slope += step * cell);
                        farthest = farthest.max(step.abs() * curve);
                    }
                }
                if farthest <= limit {
                    break;
                }
            }
        }
        // A coefficient that went back to 0 is 0.
        for (step, before) in steps.iter_mut().zip(coefficients) {
            if (before + *step).abs() <= 1e-15 * before.abs() {
                *step = -before;
            }
        }
        steps
    }
}

impl Block {
    /// Of some outputs; `weight` is the magnitude of a row's second derivative by its scores for two outputs.
    fn of(
        model: &Logistic,
        places: &[Place],
        outputs: &[Range<usize>],
        weight: &(impl Fn(usize, usize, usize) -> f64 + Sync),
    ) -> Self {
        let range = outputs.first().map_or(0, |own| own.start)..outputs.last().map_or(0, |own| own.end);
        let (first, width) = (range.start, range.len());
        let mut cells = vec![0.0; width * width];
        for (a, b) in (0..outputs.len()).flat_map(|a| (0..=a).map(move |b| (&outputs[a], &outputs[b]))) {
            let (output_a, output_b) = (places[a.start].output, places[b.start].output);
            let sign = if output_a == output_b { 1.0 } else { -1.0 };
            let (of_a, of_b) = (&places[a.clone()], &places[b.clone()]);
            let sum = sums(model, of_a, of_b, |row| weight(output_a, output_b, row));
            for (i, place) in a.clone().zip(of_a) {
                for (j, other) in b.clone().zip(of_b) {
                    let cell = sign * sum(place, other);
                    cells[(i - first) * width + j - first] = cell;
                    cells[(j - first) * width + i - first] = cell;
                }
            }
        }
        Self { places: range, cells }
    }
}

/// The weighted sums over the rows of the products of two places' columns.
fn sums(
    model: &Logistic,
    a: &[Place],
    b: &[Place],
    weight: impl Fn(usize) -> f64 + Sync,
) -> impl Fn(&Place, &Place) -> f64 {
    let mut columns: Vec<usize> = a.iter().chain(b).map(|place| place.column).collect();
    columns.sort_unstable();
    columns.dedup();
    let slices: Vec<&[f64]> = columns.iter().map(|&column| model.column(column)).collect();
    let sums = products(&slices, &model.rows, weight);
    let at = move |place: &Place| columns.partition_point(|column| *column < place.column);
    move |a, b| sums[(at(a).max(at(b)), at(a).min(at(b)))]
}

/// The places of each output.
fn ranges(places: &[Place]) -> Vec<Range<usize>> {
    let mut end = 0;
    let range = |own: &[Place]| {
        end += own.len();
        end - own.len()..end
    };
    places.chunk_by(|a, b| a.output == b.output).map(range).collect()
}
