//! The mean of repeated measurements and how far it can be trusted.

/// Of a normal distribution, 95 % lie within so many deviations of the mean.
pub const NORMAL_95: f64 = 1.959_963_984_540_054;

/// A mean and its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean.
    pub value: f64,
    /// `None` of a single value, which does not tell how far values differ.
    pub error: Option<f64>,
}

impl Mean {
    /// That of some values, one or more.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let value = values.iter().sum::<f64>() / n;
        let scatter: f64 = values.iter().map(|other| (other - value).powi(2)).sum();
        Self { value, error: (values.len() > 1).then(|| (scatter / (n - 1.0) / n).sqrt()) }
    }

    /// Where it lies with 95 % probability.
    pub fn interval(&self) -> Option<[f64; 2]> {
        self.error.map(|error| [self.value - NORMAL_95 * error, self.value + NORMAL_95 * error])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_no_error() {
        assert_eq!(Mean::of(&[2.0]), Mean { value: 2.0, error: None });
        let mean = Mean::of(&[1.0, 2.0, 3.0, 6.0]);
        // The deviation is the root of 14 / 3.
        assert_eq!(mean.value, 3.0);
        assert!(mean.error.is_some_and(|error| (error - (14.0_f64 / 12.0).sqrt()).abs() < 1e-15));
    }
}
