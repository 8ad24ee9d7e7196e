//! Spaces as coordinates.

use retune_spec::model_selection::Space;
use serde_json::{Value, json};

/// A space as a line, or as a set of places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Axis {
    /// Places 0, 1, ... that have no order.
    Places(usize),
    /// The whole numbers between two, both included.
    Whole(f64, f64),
    /// A range; of logarithms where the space is logarithmic.
    Range(f64, f64),
}

impl Axis {
    pub fn of(space: &Space) -> Self {
        match space {
            Space::Choice(values) => Self::Places(values.len()),
            Space::Int([low, high]) => Self::Whole(*low as f64, *high as f64),
            Space::Uniform([low, high]) => Self::Range(*low, *high),
            Space::LogUniform([low, high]) => Self::Range(low.ln(), high.ln()),
        }
    }

    /// Where the line begins and ends: half a step beyond whole numbers, so that each has the same share of it.
    pub fn ends(self) -> (f64, f64) {
        match self {
            Self::Places(n) => (0.0, n as f64),
            Self::Whole(low, high) => (low - 0.5, high + 0.5),
            Self::Range(low, high) => (low, high),
        }
    }

    /// The coordinate before which a share in [0, 1] of the line lies.
    pub fn at(self, share: f64) -> f64 {
        let (low, high) = self.ends();
        self.settled(low + (high - low) * share)
    }

    /// The nearest coordinate that the space has.
    pub fn settled(self, at: f64) -> f64 {
        match self {
            Self::Places(n) => at.floor().clamp(0.0, n.saturating_sub(1) as f64),
            Self::Whole(low, high) => at.round().clamp(low, high),
            Self::Range(low, high) => at.clamp(low, high),
        }
    }
}

/// The value at a coordinate of a space's axis.
pub fn value(space: &Space, at: f64) -> Value {
    match space {
        Space::Choice(values) => values.get(at as usize).cloned().unwrap_or_default(),
        Space::Int([low, high]) => json!((at.round() as i64).clamp(*low, *high)),
        Space::Uniform([low, high]) => json!(at.clamp(*low, *high)),
        Space::LogUniform([low, high]) => json!(at.exp().clamp(*low, *high)),
    }
}
