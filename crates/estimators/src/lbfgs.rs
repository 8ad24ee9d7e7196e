//! Limited-memory BFGS with a line search for the strong Wolfe conditions (Nocedal & Wright, Numerical Optimization, algorithms 7.4, 7.5, 3.5 and 3.6).

use std::collections::VecDeque;

/// Pairs of steps and gradient changes that are kept; SciPy keeps 10.
const MEMORY: usize = 20;
/// Sufficient decrease and curvature, and the evaluations that a line search may take.
const DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.9;
const SEARCH_STEPS: usize = 30;
/// The relative decrease below which a step counts as none, as scikit-learn has it.
const NO_DECREASE: f64 = 64.0 * f64::EPSILON;

/// Where the search ended.
pub(crate) struct Minimum {
    pub(crate) point: Vec<f64>,
    pub(crate) value: f64,
    pub(crate) iterations: usize,
    pub(crate) converged: bool,
}

/// A smooth function to minimise.
pub(crate) trait Objective {
    /// The value at a point; writes the gradient.
    fn evaluate(&self, point: &[f64], gradient: &mut [f64]) -> f64;

    /// Whether a point with this gradient is near enough to the minimum.
    fn converged(&self, gradient: &[f64]) -> bool;

    /// Called before every iteration; an error ends the search.
    fn proceed(&self, iteration: usize) -> retune_stage::Result<()>;
}

/// A point with value and gradient.
#[derive(Clone)]
struct Place {
    point: Vec<f64>,
    gradient: Vec<f64>,
    value: f64,
}

impl Place {
    fn of(objective: &impl Objective, point: Vec<f64>) -> Self {
        let mut gradient = vec![0.0; point.len()];
        let value = objective.evaluate(&point, &mut gradient);
        Self { point, gradient, value }
    }

    /// `length` along `direction` from here.
    fn along(&self, objective: &impl Objective, direction: &[f64], length: f64) -> Self {
        Self::of(objective, self.point.iter().zip(direction).map(|(x, d)| x + length * d).collect())
    }
}

/// Minimises from `start`.
pub(crate) fn minimise(
    objective: &impl Objective,
    start: Vec<f64>,
    max_iterations: usize,
) -> retune_stage::Result<Minimum> {
    let mut place = Place::of(objective, start);
    let mut history = History::default();
    let mut converged = objective.converged(&place.gradient);
    let mut iterations = 0;
    while !converged && iterations < max_iterations && place.value.is_finite() {
        objective.proceed(iterations)?;
        let mut direction = history.direction(&place.gradient);
        if dot(&direction, &place.gradient) >= 0.0 {
            history = History::default();
            direction = history.direction(&place.gradient);
        }
        let first = if history.pairs.is_empty() { (1.0 / norm(&place.gradient)).min(1.0) } else { 1.0 };
        let Some(next) = search(objective, &place, &direction, first) else {
            // Where not even the steepest descent lowers the value, the arithmetic cannot resolve a better point.
            converged = history.pairs.is_empty();
            history = History::default();
            continue;
        };
        iterations += 1;
        let scale = place.value.abs().max(next.value.abs()).max(1.0);
        converged = objective.converged(&next.gradient) || place.value - next.value <= NO_DECREASE * scale;
        history.push(&place, &next);
        place = next;
    }
    Ok(Minimum { point: place.point, value: place.value, iterations, converged })
}

/// The last steps and what they did to the gradient.
#[derive(Default)]
struct History {
    /// Step, gradient change, and one over their product.
    pairs: VecDeque<(Vec<f64>, Vec<f64>, f64)>,
}

impl History {
    fn push(&mut self, from: &Place, to: &Place) {
        let step: Vec<f64> = to.point.iter().zip(&from.point).map(|(b, a)| b - a).collect();
        let change: Vec<f64> = to.gradient.iter().zip(&from.gradient).map(|(b, a)| b - a).collect();
        let product = dot(&step, &change);
        // Without positive curvature the pair would break the approximation.
        if product > f64::EPSILON * dot(&change, &change) {
            if self.pairs.len() == MEMORY {
                self.pairs.pop_front();
            }
            self.pairs.push_back((step, change, 1.0 / product));
        }
    }

    /// Minus the approximate inverse Hessian times the gradient.
    fn direction(&self, gradient: &[f64]) -> Vec<f64> {
        let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut shares = Vec::with_capacity(self.pairs.len());
        for (step, change, inverse) in self.pairs.iter().rev() {
            let share = inverse * dot(step, &direction);
            add(&mut direction, -share, change);
            shares.push(share);
        }
        if let Some((_, change, inverse)) = self.pairs.back() {
            let scale = 1.0 / (inverse * dot(change, change));
            direction.iter_mut().for_each(|d| *d *= scale);
        }
        for ((step, change, inverse), share) in self.pairs.iter().zip(shares.iter().rev()) {
            let correction = share - inverse * dot(change, &direction);
            add(&mut direction, correction, step);
        }
        direction
    }
}

/// The end of a bracket in which an acceptable length lies.
struct End {
    length: f64,
    slope: f64,
    place: Place,
}

/// A place along `direction` that satisfies the strong Wolfe conditions, or at least lowers the value where rounding allows no more.
fn search(objective: &impl Objective, from: &Place, direction: &[f64], first: f64) -> Option<Place> {
    let slope_at_start = dot(&from.gradient, direction);
    let at = |length: f64| {
        let place = from.along(objective, direction, length);
        End { length, slope: dot(&place.gradient, direction), place }
    };
    let allowed = |length: f64| from.value + DECREASE * length * slope_at_start;
    let too_high = |end: &End| end.place.value.is_nan() || end.place.value > allowed(end.length);
    let flat = |end: &End| end.slope.abs() <= CURVATURE * slope_at_start.abs();
    let mut low = End { length: 0.0, slope: slope_at_start, place: from.clone() };
    let mut high: Option<End> = None;
    let mut length = first;
    for _ in 0..SEARCH_STEPS {
        let trial = at(length);
        if too_high(&trial) || (low.length > 0.0 && trial.place.value >= low.place.value) {
            high = Some(trial);
        } else if flat(&trial) {
            return Some(trial.place);
        } else {
            // The minimum lies on the side to which the trial's slope falls.
            let beyond = high.as_ref().map_or(1.0, |high| high.length - low.length);
            if trial.slope * beyond >= 0.0 {
                high = Some(std::mem::replace(&mut low, trial));
            } else {
                low = trial;
            }
        }
        length = match &high {
            None => 2.0 * low.length,
            Some(high) => between(&low, high),
        };
    }
    (low.place.value < from.value).then_some(low.place)
}

/// The minimum of the cubic through both ends, kept away from them.
fn between(low: &End, high: &End) -> f64 {
    let width = high.length - low.length;
    let theta = 3.0 * (low.place.value - high.place.value) / width + low.slope + high.slope;
    let root = (theta * theta - low.slope * high.slope).sqrt() * width.signum();
    let share = (root - low.slope + theta) / (2.0 * root - low.slope + high.slope);
    let share = if share.is_finite() { share.clamp(0.1, 0.9) } else { 0.5 };
    low.length + share * width
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

fn add(to: &mut [f64], factor: f64, values: &[f64]) {
    to.iter_mut().zip(values).for_each(|(to, value)| *to += factor * value);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Rosenbrock's valley with `n` dimensions; the minimum is 0 at (1, ..., 1).
    struct Valley;

    impl Objective for Valley {
        fn evaluate(&self, x: &[f64], gradient: &mut [f64]) -> f64 {
            gradient.fill(0.0);
            let mut value = 0.0;
            for i in 0..x.len() - 1 {
                let (bend, rest) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
                value += 100.0 * bend * bend + rest * rest;
                gradient[i] += -400.0 * x[i] * bend - 2.0 * rest;
                gradient[i + 1] += 200.0 * bend;
            }
            value
        }

        fn converged(&self, gradient: &[f64]) -> bool {
            gradient.iter().all(|g| g.abs() <= 1e-8)
        }

        fn proceed(&self, _iteration: usize) -> retune_stage::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_bottom_of_rosenbrocks_valley_is_found() {
        for n in [2, 10, 50] {
            let start: Vec<f64> = (0..n).map(|i| if i % 2 == 0 { -1.2 } else { 1.0 }).collect();
            let minimum = minimise(&Valley, start, 1000).unwrap();
            assert!(minimum.converged, "{n}: {} iterations, value {}", minimum.iterations, minimum.value);
            // From there another minimum, near -1 in the first dimension, can be reached for more than three dimensions.
            assert!(n > 3 || minimum.point.iter().all(|x| (x - 1.0).abs() < 1e-6), "{n}: {:?}", minimum.point);
            // SciPy's L-BFGS-B with the same memory needs 36 iterations for two dimensions.
            assert!(minimum.iterations < 60 + 10 * n, "{n}: {} iterations", minimum.iterations);
        }
    }

    #[test]
    fn the_limit_of_iterations_holds() {
        let minimum = minimise(&Valley, vec![-1.2, 1.0], 5).unwrap();
        assert_eq!((minimum.iterations, minimum.converged), (5, false));
    }
}
