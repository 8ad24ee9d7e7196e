//! Logistic regression with an L1 penalty: coordinate descent on the quadratic that the loss is near to, then a step along the way there (Friedman, Hastie and
//! Tibshirani 2010; Lee, Sun and Saunders 2014), on the parameters that are not 0 or soon will be.

use std::ops::Range;

use faer::MatRef;
use ndarray::{Array2, s};
use rayon::prelude::*;
use retune_stage::Result;

use super::{Loss, score, sigmoid};
use crate::lbfgs::{Minimum, Objective};
use crate::products::{add_products, mirror, rows_at_once};

/// Of more parameters of several labels, a bound takes the place of what two labels have in common: their derivatives together would not be worth their while.
const MAX_JOINT: usize = 3000;
/// So many zeros at once may leave 0, or twice as many as have left it.
const FIRST_SET: usize = 512;
/// Rounds of coordinate descent for a step, at most, and the share of the miss that they leave.
const MAX_ROUNDS: usize = 1000;
const WITHIN: f64 = 0.01;
/// Steps that leave more than this share of the miss ask for new second derivatives.
const SLOW: f64 = 0.5;
/// Halvings of a step, and the share of the expected decrease that it must reach.
const HALVINGS: i32 = 30;
const DECREASE: f64 = 1e-2;

/// A point with its gradient, and the objective with the L1 penalty.
struct Place {
    point: Vec<f64>,
    gradient: Vec<f64>,
    value: f64,
}

/// Minimises the loss plus the L1 penalty from `start`.
pub(super) fn minimise(loss: &Loss, start: Vec<f64>, max_iterations: usize) -> Result<Minimum> {
    let penalties = loss.penalties();
    let mut place = Place::of(loss, &penalties, start);
    let mut miss = loss.miss(&place);
    let mut curvature: Option<Curvature> = None;
    let (mut iterations, mut is_at_end) = (0, false);
    while miss > loss.tolerance && !is_at_end && iterations < max_iterations && place.value.is_finite() {
        loss.proceed(iterations)?;
        iterations += 1;
        let asking = asking(&place, &penalties, loss.scale.len());
        let known = curvature.take().filter(|known| known.covers(&asking));
        let is_new = known.is_none();
        let known = known.unwrap_or_else(|| Curvature::of(loss, &place.point, asking));
        let Some((next, share)) = known.step(loss, &penalties, &place) else {
            is_at_end = is_new;
            continue;
        };
        let left = loss.miss(&next);
        // Where not even new second derivatives lead lower, the arithmetic cannot resolve a better point.
        is_at_end = is_new && left > SLOW * miss && place.value - next.value <= rounding(place.value);
        curvature = Some(known).filter(|_| share == 1.0 && left <= SLOW * miss);
        (place, miss) = (next, left);
    }
    Ok(Minimum { point: place.point, value: place.value, iterations, converged: is_at_end || miss <= loss.tolerance })
}

impl Place {
    fn of(loss: &Loss, penalties: &[f64], point: Vec<f64>) -> Self {
        let mut gradient = vec![0.0; point.len()];
        let value = loss.evaluate(&point, &mut gradient) + penalty(&point, penalties);
        Self { point, gradient, value }
    }
}

impl Loss<'_> {
    /// The penalty on each parameter of the search.
    fn penalties(&self) -> Vec<f64> {
        let of_output = self.scale.iter().map(|scale| self.l1 * scale / self.total_weight).chain([0.0]);
        let of_output: Vec<f64> = of_output.collect();
        of_output.repeat(self.outputs)
    }

    /// How far the subgradient by any coefficient or intercept, as the columns are, is from 0.
    fn miss(&self, place: &Place) -> f64 {
        let (n_features, l1) = (self.scale.len(), self.l1 / self.total_weight);
        let miss = |(at, slope): (usize, f64)| match at % (n_features + 1) {
            feature if feature == n_features || self.scale[feature] == 0.0 => slope.abs(),
            _ if place.point[at] == 0.0 => (slope.abs() - l1).max(0.0),
            _ => (slope + l1 * place.point[at].signum()).abs(),
        };
        self.unscaled(&place.gradient).enumerate().map(miss).fold(0.0, f64::max)
    }
}

/// Intercepts, parameters that are not 0, and of the others those whose slopes exceed the penalty most; in ascending order.
fn asking(place: &Place, penalties: &[f64], n_features: usize) -> Vec<usize> {
    let is_free = |&at: &usize| place.point[at] != 0.0 || at % (n_features + 1) == n_features;
    let excess = |at: usize| place.gradient[at].abs() - penalties[at];
    let (mut asking, mut others): (Vec<usize>, Vec<usize>) = (0..place.point.len()).partition(is_free);
    others.retain(|&at| excess(at) > 0.0);
    others.sort_by(|&a, &b| excess(b).total_cmp(&excess(a)));
    others.truncate(FIRST_SET.max(2 * asking.len()));
    asking.extend(others);
    asking.sort_unstable();
    asking
}

/// What rounding may add to a value.
fn rounding(value: f64) -> f64 {
    16.0 * f64::EPSILON * value.abs()
}

fn penalty(point: &[f64], penalties: &[f64]) -> f64 {
    point.iter().zip(penalties).map(|(value, penalty)| penalty * value.abs()).sum()
}

/// Second derivatives of the loss.
struct Curvature {
    /// The parameters, in ascending order, so that those of an output are one after the other.
    places: Vec<usize>,
    /// What no two of have anything in common.
    blocks: Vec<Block>,
}

struct Block {
    places: Range<usize>,
    /// The derivatives by each two places.
    cells: Vec<f64>,
}

impl Curvature {
    fn of(loss: &Loss, point: &[f64], places: Vec<usize>) -> Self {
        let n_columns = loss.scale.len() + 1;
        let outputs: Vec<Range<usize>> = (0..loss.outputs)
            .map(|output| {
                let begin = places.partition_point(|&at| at < output * n_columns);
                begin..places.partition_point(|&at| at < (output + 1) * n_columns)
            })
            .collect();
        let is_joint = loss.outputs > 1 && places.len() <= MAX_JOINT;
        let mut own: Vec<Vec<f64>> = outputs.iter().map(|range| vec![0.0; range.len().pow(2)]).collect();
        let mut common = vec![0.0; if is_joint { places.len().pow(2) } else { 0 }];
        let (coefficients, intercepts) = loss.parameters(point);
        let at_once = rows_at_once(places.len());
        for first in (0..loss.classes.len()).step_by(at_once) {
            let rows = first..loss.classes.len().min(first + at_once);
            let mut shares = Array2::zeros((rows.len(), loss.outputs));
            score(loss.features.slice(s![rows.clone(), ..]), coefficients.view(), intercepts.view(), shares.view_mut());
            shares.rows_mut().into_iter().for_each(|row| probabilities(row.into_slice().unwrap_or_default()));
            for (cells, range) in own.iter_mut().zip(&outputs) {
                // Twice the diagonal exceeds the derivatives by a row's scores, which are those of a graph, and so do the probabilities.
                let bend = |share: f64| match (loss.outputs, is_joint) {
                    (1, _) => share * (1.0 - share),
                    (_, true) => share,
                    (_, false) => share.min(2.0 * share * (1.0 - share)),
                };
                loss.add_bends(cells, &places[range.clone()], rows.clone(), 1.0, |row, output| {
                    bend(shares[[row, output]]).sqrt()
                });
            }
            if is_joint {
                loss.add_bends(&mut common, &places, rows, -1.0, |row, output| shares[[row, output]]);
            }
        }
        let blocks = if is_joint {
            for (cells, range) in own.iter().zip(&outputs) {
                for (column, cells) in cells.chunks_exact(range.len().max(1)).enumerate() {
                    let whole = &mut common[(range.start + column) * places.len() + range.start..][..range.len()];
                    whole.iter_mut().zip(cells).for_each(|(whole, cell)| *whole += cell);
                }
            }
            vec![Block { places: 0..places.len(), cells: common }]
        } else {
            outputs.into_iter().zip(own).map(|(places, cells)| Block { places, cells }).collect()
        };
        let mut curvature = Self { places, blocks };
        curvature.finish(loss);
        curvature
    }

    /// Makes the derivatives whole, those of the mean, and adds those of the L2 penalty.
    fn finish(&mut self, loss: &Loss) {
        let n_features = loss.scale.len();
        for Block { places, cells } in &mut self.blocks {
            let width = places.len();
            mirror(cells, width);
            for (at, place) in places.clone().enumerate() {
                let feature = self.places[place] % (n_features + 1);
                cells[at * width + at] += loss.scale.get(feature).map_or(0.0, |scale| loss.l2 * scale * scale);
            }
            cells.iter_mut().for_each(|cell| *cell /= loss.total_weight);
        }
    }

    fn covers(&self, places: &[usize]) -> bool {
        places.iter().all(|place| self.places.binary_search(place).is_ok())
    }

    /// The greatest share of the way to the minimum of the quadratic - all of it, a half, a quarter ... - that lowers the objective as far as it should. `None` where none does.
    fn step(&self, loss: &Loss, penalties: &[f64], from: &Place) -> Option<(Place, f64)> {
        let steps = self.way(from, penalties, WITHIN * loss.searched_miss(from, penalties));
        let along = |share: f64| {
            let mut point = from.point.clone();
            // A whole step ends on exact zeros, which adding it up might miss.
            self.places.iter().zip(&steps).for_each(|(&place, &end)| {
                point[place] = if share == 1.0 { end } else { (1.0 - share) * point[place] + share * end };
            });
            point
        };
        let end = along(1.0);
        let slope: f64 = self.places.iter().map(|&at| from.gradient[at] * (end[at] - from.point[at])).sum();
        let expected = slope + penalty(&end, penalties) - penalty(&from.point, penalties);
        let shares = (0..HALVINGS).map(|halving| 0.5_f64.powi(halving));
        let mut places = shares.map(|share| (Place::of(loss, penalties, along(share)), share));
        places.find(|(place, share)| {
            place.value <= from.value + DECREASE * share * expected.min(0.0) + rounding(from.value)
        })
    }

    /// Where the quadratic and the penalties together are least, by coordinate descent until no step changes a slope by more than `limit`.
    fn way(&self, from: &Place, penalties: &[f64], limit: f64) -> Vec<f64> {
        let solve = |Block { places, cells }: &Block| {
            let width = places.len();
            let at = |values: &[f64]| self.places[places.clone()].iter().map(|&at| values[at]).collect::<Vec<f64>>();
            let (mut point, mut slopes, penalties) = (at(&from.point), at(&from.gradient), at(penalties));
            for _ in 0..MAX_ROUNDS {
                let mut farthest: f64 = 0.0;
                for (at, row) in cells.chunks_exact(width).enumerate().filter(|(at, row)| row[*at] > 0.0) {
                    let aim = row[at] * point[at] - slopes[at];
                    let step = aim.signum() * (aim.abs() - penalties[at]).max(0.0) / row[at] - point[at];
                    if step != 0.0 {
                        point[at] = if aim.abs() <= penalties[at] { 0.0 } else { point[at] + step };
                        slopes.iter_mut().zip(row).for_each(|(slope, cell)| *slope += step * cell);
                        farthest = farthest.max(step.abs() * row[at]);
                    }
                }
                if farthest <= limit {
                    break;
                }
            }
            point
        };
        self.blocks.par_iter().flat_map_iter(solve).collect()
    }
}

impl Loss<'_> {
    /// [`Loss::miss`] by the parameters of the search.
    fn searched_miss(&self, place: &Place, penalties: &[f64]) -> f64 {
        let miss = |((&value, slope), penalty): ((&f64, &f64), &f64)| {
            if value == 0.0 { (slope.abs() - penalty).max(0.0) } else { (slope + penalty * value.signum()).abs() }
        };
        place.point.iter().zip(&place.gradient).zip(penalties).map(miss).fold(0.0, f64::max)
    }

    /// Adds the sums of products of the columns of some parameters, each row times the root of its weight and a factor that depends on the output.
    fn add_bends(
        &self,
        sums: &mut [f64],
        places: &[usize],
        rows: Range<usize>,
        sign: f64,
        factor: impl Fn(usize, usize) -> f64 + Sync,
    ) {
        let (n_features, n_rows) = (self.scale.len(), rows.len());
        let mut cells = vec![0.0; n_rows * places.len()];
        cells.par_chunks_mut(n_rows).zip(places).for_each(|(cells, place)| {
            let (output, feature) = (place / (n_features + 1), place % (n_features + 1));
            for (at, cell) in cells.iter_mut().enumerate() {
                let row = rows.start + at;
                let value = if feature == n_features {
                    1.0
                } else {
                    (self.features[[row, feature]] - self.center[feature]) * self.scale[feature]
                };
                let weight = self.weights.as_ref().map_or(1.0, |weights| weights[row]);
                *cell = weight.sqrt() * factor(at, output) * value;
            }
        });
        add_products(sums, MatRef::from_column_major_slice(&cells, n_rows, places.len()), 0, sign);
    }
}

/// Scores of a row become probabilities of the outputs.
fn probabilities(scores: &mut [f64]) {
    if let [score] = scores {
        *score = sigmoid(*score);
        return;
    }
    let greatest = scores.iter().fold(f64::NEG_INFINITY, |greatest, &score| greatest.max(score));
    scores.iter_mut().for_each(|score| *score = (*score - greatest).exp());
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}
