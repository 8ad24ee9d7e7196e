//! Every combination.

use retune_spec::model_selection::Space;
use serde_json::{Map, Value, json};

/// How many values the grid takes of a range.
const GRID_VALUES: i64 = 5;

/// The combinations of the spaces' values, made one by one; the last space changes fastest.
pub struct Grid(Vec<(String, Vec<Value>)>);

impl Grid {
    pub fn of(spaces: &[(String, Space)]) -> Self {
        Self(spaces.iter().map(|(name, space)| (name.clone(), grid_of(space))).collect())
    }

    pub fn combinations(&self) -> u64 {
        self.0.iter().fold(1, |product, (_, values)| product.saturating_mul(values.len() as u64))
    }

    /// The number of a combination, with one digit for each space; `None` after the last one.
    pub fn digits(&self, number: u64) -> Option<Vec<f64>> {
        let mut left = number;
        let digit = |(_, values): &(String, Vec<Value>)| {
            let n = (values.len() as u64).max(1);
            let digit = left % n;
            left /= n;
            digit as f64
        };
        let mut digits: Vec<f64> = self.0.iter().rev().map(digit).collect();
        digits.reverse();
        (left == 0 && number < self.combinations()).then_some(digits)
    }

    pub fn values(&self, digits: &[f64]) -> Map<String, Value> {
        let value = |values: &[Value], digit: f64| values.get(digit as usize).cloned().unwrap_or_default();
        self.0.iter().zip(digits).map(|((name, values), &digit)| (name.clone(), value(values, digit))).collect()
    }
}

/// The values that the grid takes of a space.
pub fn grid_of(space: &Space) -> Vec<Value> {
    let steps = |n: i64| (0..n).map(move |step| step as f64 / (n - 1).max(1) as f64);
    match space {
        Space::Choice(values) => values.clone(),
        Space::Int([low, high]) => {
            let n = high.saturating_sub(*low).saturating_add(1).min(GRID_VALUES);
            steps(n).map(|share| json!(low + ((high - low) as f64 * share).round() as i64)).collect()
        }
        Space::Uniform([low, high]) => steps(GRID_VALUES).map(|share| json!(low + (high - low) * share)).collect(),
        // Powers of both ends, so that they are met exactly.
        Space::LogUniform([low, high]) => {
            steps(GRID_VALUES).map(|share| json!(low.powf(1.0 - share) * high.powf(share))).collect()
        }
    }
}
