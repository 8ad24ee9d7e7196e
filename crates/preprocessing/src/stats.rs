//! Statistics of one column. A missing value (NaN) is left out.

/// The values that are there.
pub(crate) fn present(values: &[f64]) -> impl Iterator<Item = f64> + '_ {
    values.iter().copied().filter(|value| !value.is_nan())
}

/// The values that are there, in ascending order.
pub(crate) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = present(values).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// The number, the mean and the variance (of the population) of the values that are there; `None` where there is none.
pub(crate) fn moments(values: &[f64]) -> Option<(usize, f64, f64)> {
    let n = present(values).count();
    if n == 0 {
        return None;
    }
    let mean = present(values).sum::<f64>() / n as f64;
    // The second sum takes back what rounding the mean did.
    let (squares, rest) = present(values).fold((0.0, 0.0), |(squares, rest), value| {
        let difference = value - mean;
        (squares + difference * difference, rest + difference)
    });
    let variance = (squares - rest * rest / n as f64) / n as f64;
    Some((n, mean, variance.max(0.0)))
}

/// The quantile at a share between 0 and 1 of ascending values, interpolated linearly as `numpy.percentile`; `None` where there is no value.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let position = share * (sorted.len().checked_sub(1)? as f64);
    let below = position.floor();
    let (low, high) = (sorted[below as usize], sorted[position.ceil() as usize]);
    let weight = position - below;
    // As numpy, from the nearer end, so that the result never leaves the interval.
    Some(if weight < 0.5 { low + (high - low) * weight } else { high - (high - low) * (1.0 - weight) })
}

/// The most frequent of ascending values, the smallest of equally frequent ones.
pub(crate) fn most_frequent(sorted: &[f64]) -> Option<f64> {
    let runs = sorted.chunk_by(|a, b| a == b);
    let best = runs.fold(&[][..], |best: &[f64], run| if run.len() > best.len() { run } else { best });
    best.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;

    #[test]
    fn moments_leave_out_what_is_missing() {
        assert_eq!(moments(&[1.0, NAN, 3.0]), Some((2, 2.0, 1.0)));
        assert_eq!(moments(&[0.1; 1000]).map(|(_, _, variance)| variance < 1e-30), Some(true));
        assert_eq!(moments(&[NAN]), None);
    }

    #[test]
    fn quantiles_interpolate() {
        let values = sorted(&[4.0, 1.0, NAN, 2.0, 3.0]);
        for (share, expected) in [(0.0, 1.0), (0.25, 1.75), (0.5, 2.5), (0.9, 3.7), (1.0, 4.0)] {
            assert_eq!(quantile(&values, share), Some(expected));
        }
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[7.0], 0.3), Some(7.0));
    }

    #[test]
    fn the_smallest_of_the_most_frequent() {
        assert_eq!(most_frequent(&[1.0, 2.0, 2.0, 3.0, 3.0]), Some(2.0));
        assert_eq!(most_frequent(&[]), None);
    }
}
