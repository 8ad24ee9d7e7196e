//! Covariance matrix adaptation evolution strategy (Hansen 2016, "The CMA Evolution Strategy: A Tutorial", algorithm of figure 6 and parameters of table 1), with
//! restarts of twice the population (Auger and Hansen 2005).

mod evolution;

use rand_chacha::ChaCha8Rng;

use self::evolution::Evolution;
use super::axis::Axis;
use super::tpe::{Tpe, View};

/// Evolution along the lines, in a cube of which each is an edge; places are drawn by TPE's rule, each axis by itself.
pub struct CmaEs {
    axes: Vec<Axis>,
    choices: Tpe,
    evolution: Option<Evolution>,
    pending: Vec<Offspring>,
    told: Vec<(Vec<f64>, f64)>,
}

/// What was proposed: its point, and where it lies in the cube before whole numbers are rounded.
struct Offspring {
    point: Vec<f64>,
    within: Vec<f64>,
}

impl CmaEs {
    pub fn new(axes: Vec<Axis>) -> Self {
        let (places, lines): (Vec<Axis>, Vec<Axis>) = axes.iter().partition(|axis| is_places(axis));
        let steps = lines.iter().map(|line| step(*line)).collect();
        let evolution = (!lines.is_empty()).then(|| Evolution::new(steps));
        Self { axes, choices: Tpe::new(places, View::Each), evolution, pending: Vec::new(), told: Vec::new() }
    }

    /// A member of the generation, which ends when as many are told of as it has members.
    pub fn propose(&mut self, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let mut within = Vec::new();
        if let Some(evolution) = &mut self.evolution {
            if self.told.len() >= evolution.population() {
                evolution.advance(std::mem::take(&mut self.told), rng);
                // Those that are under way are of an earlier generation.
                self.pending.clear();
            }
            within = evolution.draw(rng);
        }
        let (mut places, mut shares) = (self.choices.propose(rng).into_iter(), within.iter());
        let coordinate =
            |axis: &Axis| if is_places(axis) { places.next() } else { shares.next().map(|&share| axis.at(share)) };
        let point: Vec<f64> = self.axes.iter().filter_map(coordinate).collect();
        self.pending.push(Offspring { point: point.clone(), within });
        point
    }

    /// What came of a proposal. One without a score is the worst of its generation.
    pub fn tell(&mut self, point: &[f64], score: Option<f64>) {
        let places = self.axes.iter().zip(point).filter(|(axis, _)| is_places(axis)).map(|(_, &at)| at);
        self.choices.tell(&places.collect::<Vec<_>>(), score);
        if let Some(at) = self.pending.iter().position(|pending| pending.point == point) {
            self.told.push((self.pending.remove(at).within, score.unwrap_or(f64::NEG_INFINITY)));
        }
    }
}

fn is_places(axis: &Axis) -> bool {
    matches!(axis, Axis::Places(_))
}

/// The share of an axis that a step from one value to the next takes.
fn step(axis: Axis) -> f64 {
    match axis {
        Axis::Whole(low, high) => 1.0 / (high - low + 1.0),
        Axis::Places(_) | Axis::Range(..) => 0.0,
    }
}
