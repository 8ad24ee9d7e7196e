//! Statistics of columns over all training rows, in memory or by pieces. A missing value (NaN) is left out.
//!
//! Order statistics are exact and the same either way; sums are taken by piece (see `PIECE_ROWS`) and put together in the order of the rows.

use polars::prelude::{BooleanChunked, ChunkFull};
use rayon::prelude::*;
use retune_stage::Result;

use crate::frame::Frame;
use crate::source::Source;

/// Bytes of columns that are held at once while their quantiles are taken.
const HELD: usize = 256 << 20;

/// Buckets of one digit of a number's bits: see [`Ranks`].
const DIGIT: usize = 16;

/// Count, mean and spread of a column's values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moments {
    /// How many values there are.
    pub(crate) n: usize,
    /// The sum of their weights; `n` where rows have no weights.
    pub(crate) weight: f64,
    pub(crate) mean: f64,
    /// The weighted sum of squared distances from the mean.
    pub(crate) squares: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

impl Moments {
    /// Those of some values; `None` where there is none (or none with a weight above 0).
    pub(crate) fn of(values: &[f64], weights: Option<&[f64]>) -> Option<Self> {
        let weight_of = |row: usize| weights.map_or(1.0, |weights| weights[row]);
        let present = || values.iter().enumerate().filter(|(row, value)| !value.is_nan() && weight_of(*row) > 0.0);
        let (mut n, mut weight, mut sum) = (0, 0.0, 0.0);
        let (mut least, mut greatest) = (f64::INFINITY, f64::NEG_INFINITY);
        for (row, value) in present() {
            n += 1;
            weight += weight_of(row);
            sum += weight_of(row) * value;
            least = least.min(*value);
            greatest = greatest.max(*value);
        }
        if n == 0 {
            return None;
        }
        let mean = sum / weight;
        // The second sum takes back what rounding the mean did.
        let (squares, rest) = present().fold((0.0, 0.0), |(squares, rest), (row, value)| {
            let difference = value - mean;
            let weighted = weight_of(row) * difference;
            (squares + weighted * difference, rest + weighted)
        });
        let squares: f64 = squares - rest * rest / weight;
        Some(Self { n, weight, mean, squares: squares.max(0.0), least, greatest })
    }

    /// Those of both (Chan, Golub and LeVeque 1983).
    pub(crate) fn with(self, other: Self) -> Self {
        let weight = self.weight + other.weight;
        let apart = other.mean - self.mean;
        Self {
            n: self.n + other.n,
            weight,
            mean: self.mean + apart * (other.weight / weight),
            squares: self.squares + other.squares + apart * apart * (self.weight * other.weight / weight),
            least: self.least.min(other.least),
            greatest: self.greatest.max(other.greatest),
        }
    }

    /// The variance of the population, as in scikit-learn's `StandardScaler`.
    pub(crate) fn variance(&self) -> f64 {
        self.squares / self.weight
    }

    /// Whether the values differ by no more than rounding errors (the bound is scikit-learn's), which must not be scaled up to values.
    pub(crate) fn is_constant(&self) -> bool {
        let (n, variance) = (self.n as f64, self.variance());
        variance <= n * f64::EPSILON * variance + (n * self.mean * f64::EPSILON).powi(2)
    }
}

/// The moments of each column; `None` for one without values. `weighted`: with the rows' weights, where there are any.
pub(crate) fn moments(source: &Source, columns: &[String], weighted: bool) -> Result<Vec<Option<Moments>>> {
    let mut sums: Vec<Option<Moments>> = vec![None; columns.len()];
    let map = |frame: &Frame| {
        let weights = if weighted { frame.table.weights()? } else { None };
        let of = |name: &String| Ok(Moments::of(&frame.numeric(name)?, weights.as_deref()));
        columns.par_iter().map(of).collect::<Result<Vec<_>>>()
    };
    source.fold(columns, map, |piece| {
        for (sum, piece) in sums.iter_mut().zip(piece) {
            *sum = match (*sum, piece) {
                (Some(sum), Some(piece)) => Some(sum.with(piece)),
                (sum, piece) => sum.or(piece),
            };
        }
        Ok(())
    })?;
    Ok(sums)
}

/// How many values of each column are missing, and in how many rows any is.
pub(crate) fn n_missing(source: &Source, columns: &[String]) -> Result<(Vec<usize>, usize)> {
    let (mut sums, mut rows) = (vec![0; columns.len()], 0);
    let map = |frame: &Frame| {
        let mut any = BooleanChunked::full("".into(), false, frame.n_rows());
        let of = |name: &String| {
            let column = frame.table.column(name)?;
            if column.null_count() > 0 {
                any = &any | &column.is_null();
            }
            Ok(column.null_count())
        };
        let sums = columns.iter().map(of).collect::<Result<Vec<usize>>>()?;
        Ok((sums, any.sum().unwrap_or(0) as usize))
    };
    source.fold(columns, map, |(piece, n_rows)| {
        sums.iter_mut().zip(piece).for_each(|(sum, n)| *sum += n);
        rows += n_rows;
        Ok(())
    })?;
    Ok((sums, rows))
}

/// The quantiles of each column at shares between 0 and 1, interpolated linearly as `numpy.percentile`; `None` for a column without values.
pub(crate) fn quantiles(source: &Source, columns: &[String], shares: &[f64]) -> Result<Vec<Option<Vec<f64>>>> {
    match source {
        Source::Frame(frame) => {
            let of = |name: &String| {
                let mut values = frame.densify(std::slice::from_ref(name))?.numeric(name)?;
                values.retain(|value| !value.is_nan());
                Ok(quantiles_of(&mut values, shares))
            };
            columns.par_iter().map(of).collect()
        }
        Source::Pieces(_) => {
            let at_once = (HELD / (size_of::<f64>() * source.n_rows().max(1))).max(1);
            // Ranks take five passes, however many columns there are.
            if columns.len().div_ceil(at_once) > 4 {
                return by_ranks(source, columns, shares);
            }
            let some = |columns: &[String]| held_quantiles(source, columns, shares);
            Ok(columns.chunks(at_once).map(some).collect::<Result<Vec<_>>>()?.concat())
        }
    }
}

/// Quantiles of columns that are short enough to be held at once.
fn held_quantiles(source: &Source, columns: &[String], shares: &[f64]) -> Result<Vec<Option<Vec<f64>>>> {
    let mut held = vec![Vec::with_capacity(source.n_rows()); columns.len()];
    let map = |frame: &Frame| columns.iter().map(|name| frame.numeric(name)).collect::<Result<Vec<Vec<f64>>>>();
    source.fold(columns, map, |piece| {
        let present = |values: Vec<f64>| values.into_iter().filter(|value| !value.is_nan());
        held.iter_mut().zip(piece).for_each(|(held, values)| held.extend(present(values)));
        Ok(())
    })?;
    Ok(held.par_iter_mut().map(|values| quantiles_of(values, shares)).collect())
}

/// What becomes of the numbers of each column, a missing value being NaN. Columns of rows in memory are taken side by side, those of rows that are read
/// by pieces one after the other, so that no more than one of them is held.
pub(crate) fn by_column<T: Send>(
    source: &Source,
    columns: &[String],
    of: impl Fn(&str, Vec<f64>) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let column = |name: &String| of(name, source.numeric(name)?);
    match source {
        Source::Frame(_) => columns.par_iter().map(column).collect(),
        Source::Pieces(_) => columns.iter().map(column).collect(),
    }
}

/// What to divide by where a column's width is to become 1: a width that is none (below scikit-learn's bound) counts as 1.
pub(crate) fn divisor(width: f64) -> f64 {
    if width < 10.0 * f64::EPSILON { 1.0 } else { width }
}

/// `n` numbers at equal distances from `first` to `last`, rounded as by `numpy.linspace`.
pub(crate) fn linspace(first: f64, last: f64, n: usize) -> impl Iterator<Item = f64> {
    let step = (last - first) / (n.max(2) - 1) as f64;
    (0..n).map(move |at| if at > 0 && at + 1 == n { last } else { at as f64 * step + first })
}

/// The quantiles of values that are there; they end up in another order.
pub(crate) fn quantiles_of(values: &mut [f64], shares: &[f64]) -> Option<Vec<f64>> {
    let last = values.len().checked_sub(1)?;
    if shares.len() > 8 {
        values.par_sort_unstable_by(f64::total_cmp);
        return shares.iter().map(|&share| quantile(values, share)).collect();
    }
    let mut value_at = |rank: usize| *values.select_nth_unstable_by(rank, f64::total_cmp).1;
    let of = |&share: &f64| {
        let (below, above, weight) = neighbours(share, last);
        interpolated(value_at(below), value_at(above), weight)
    };
    Some(shares.iter().map(of).collect())
}

/// The quantile at a share between 0 and 1 of ascending values; `None` where there is no value.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let (below, above, weight) = neighbours(share, sorted.len().checked_sub(1)?);
    Some(interpolated(sorted[below], sorted[above], weight))
}

/// The ranks on both sides of a quantile, and how far it lies from the lower one.
fn neighbours(share: f64, last: usize) -> (usize, usize, f64) {
    let position = share * last as f64;
    let below = position.floor();
    (below as usize, position.ceil() as usize, position - below)
}

/// As numpy, from the nearer end, so that the result never leaves the interval.
fn interpolated(low: f64, high: f64, weight: f64) -> f64 {
    if weight < 0.5 { low + (high - low) * weight } else { high - (high - low) * (1.0 - weight) }
}

/// The values that are there, in ascending order.
pub(crate) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.par_sort_unstable_by(f64::total_cmp);
    sorted
}

/// The most frequent of ascending values, the smallest of equally frequent ones.
pub(crate) fn most_frequent(sorted: &[f64]) -> Option<f64> {
    let runs = sorted.chunk_by(|a, b| a == b);
    let best = runs.fold(&[][..], |best: &[f64], run| if run.len() > best.len() { run } else { best });
    best.first().copied()
}

/// Bits that are in the order of the numbers (`f64::total_cmp`).
fn key(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn value_of(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key })
}

/// One rank that is looked for in a column: the leading bits of the value at that rank are known, more with every pass.
#[derive(Clone, Copy)]
struct Rank {
    column: usize,
    /// The rank among the values that have the known leading bits.
    rank: usize,
    /// The known leading bits.
    prefix: u64,
}

/// Exact quantiles of columns that are too many and too long to be held: the values at the ranks on both sides are found digit by digit of their
/// bits, in four passes that only count.
fn by_ranks(source: &Source, columns: &[String], shares: &[f64]) -> Result<Vec<Option<Vec<f64>>>> {
    let counted = moments(source, columns, false)?;
    let mut ranks = Vec::new();
    let wanted: Vec<Option<Vec<(usize, usize, f64)>>> = counted
        .iter()
        .enumerate()
        .map(|(column, moments)| {
            let last = moments.as_ref()?.n - 1;
            let of = |&share: &f64| {
                let (below, above, weight) = neighbours(share, last);
                ranks.push(Rank { column, rank: below, prefix: 0 });
                ranks.push(Rank { column, rank: above, prefix: 0 });
                (ranks.len() - 2, ranks.len() - 1, weight)
            };
            Some(shares.iter().map(of).collect())
        })
        .collect();
    for known in (0..64).step_by(DIGIT) {
        let ranks_before = ranks.clone();
        let mut counts = vec![0_u64; ranks.len() << DIGIT];
        let map = |frame: &Frame| digits(frame, columns, &ranks_before, known);
        source.fold(columns, map, |piece: Vec<(u32, u32)>| {
            piece.into_iter().for_each(|(cell, n)| counts[cell as usize] += u64::from(n));
            Ok(())
        })?;
        for (rank, counts) in ranks.iter_mut().zip(counts.chunks_exact(1 << DIGIT)) {
            let mut before = 0;
            let digit = counts.iter().position(|&n| {
                before += n as usize;
                before > rank.rank
            });
            let digit = digit.unwrap_or((1 << DIGIT) - 1);
            rank.rank -= before.saturating_sub(counts[digit] as usize).min(rank.rank);
            rank.prefix = rank.prefix << DIGIT | digit as u64;
        }
    }
    let values: Vec<f64> = ranks.iter().map(|rank| value_of(rank.prefix)).collect();
    let quantile = |&(below, above, weight): &(usize, usize, f64)| interpolated(values[below], values[above], weight);
    Ok(wanted.iter().map(|wanted| wanted.as_ref().map(|wanted| wanted.iter().map(quantile).collect())).collect())
}

/// How often each next digit follows the known bits of each rank in a piece: cells `rank << DIGIT | digit` with their counts.
fn digits(frame: &Frame, columns: &[String], ranks: &[Rank], known: usize) -> Result<Vec<(u32, u32)>> {
    let of_column = |(column, name): (usize, &String)| {
        let keys: Vec<u64> = frame.numeric(name)?.into_iter().filter(|value| !value.is_nan()).map(key).collect();
        let mut cells = Vec::new();
        for (place, rank) in ranks.iter().enumerate().filter(|(_, rank)| rank.column == column) {
            let fits = |key: &&u64| known == 0 || **key >> (64 - known) == rank.prefix;
            let digit = |key: &u64| (key >> (64 - known - DIGIT)) as u32 & ((1 << DIGIT) - 1);
            let mut found: Vec<u32> = keys.iter().filter(fits).map(digit).collect();
            found.sort_unstable();
            let runs = found.chunk_by(|one, other| one == other);
            cells.extend(runs.map(|run| ((place as u32) << DIGIT | run[0], run.len() as u32)));
        }
        Ok(cells)
    };
    Ok(columns.par_iter().enumerate().map(of_column).collect::<Result<Vec<_>>>()?.concat())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NAN: f64 = f64::NAN;

    #[test]
    fn moments_leave_out_what_is_missing() {
        let of =
            |values: &[f64]| Moments::of(values, None).map(|moments| (moments.n, moments.mean, moments.variance()));
        assert_eq!(of(&[1.0, NAN, 3.0]), Some((2, 2.0, 1.0)));
        assert_eq!(of(&[0.1; 1000]).map(|(_, _, variance)| variance < 1e-30), Some(true));
        assert_eq!(of(&[NAN]), None);
    }

    #[test]
    fn weights_equal_repetition() {
        let weighted = Moments::of(&[1.0, 5.0, NAN, 7.0], Some(&[2.0, 1.0, 1.0, 0.0])).unwrap();
        let repeated = Moments::of(&[1.0, 1.0, 5.0], None).unwrap();
        assert_eq!((weighted.mean, weighted.variance()), (repeated.mean, repeated.variance()));
    }

    #[test]
    fn moments_of_parts_give_those_of_the_whole() {
        let values: Vec<f64> = (0..1000).map(|at| (at as f64).sin() * 1e3).collect();
        let of = |values: &[f64]| Moments::of(values, None).unwrap();
        let (whole, parts) = (of(&values), of(&values[..300]).with(of(&values[300..])));
        assert!((whole.mean - parts.mean).abs() < 1e-10 && (whole.squares / parts.squares - 1.0).abs() < 1e-13);
        assert_eq!((whole.least, whole.greatest, whole.n), (parts.least, parts.greatest, parts.n));
    }

    #[test]
    fn quantiles_interpolate() {
        let values = sorted(&[4.0, 1.0, NAN, 2.0, 3.0]);
        for (share, expected) in [(0.0, 1.0), (0.25, 1.75), (0.5, 2.5), (0.9, 3.7), (1.0, 4.0)] {
            assert_eq!(quantile(&values, share), Some(expected));
            assert_eq!(quantiles_of(&mut [4.0, 1.0, 2.0, 3.0], &[share]), Some(vec![expected]));
        }
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[7.0], 0.3), Some(7.0));
    }

    #[test]
    fn keys_are_in_the_order_of_the_numbers() {
        let values = [f64::NEG_INFINITY, -2.5, -1e-300, -0.0, 0.0, 1e-300, 0.1, 2.5, f64::INFINITY];
        assert!(values.map(key).is_sorted());
        assert!(values.iter().all(|&value| value_of(key(value)).to_bits() == value.to_bits()));
    }

    #[test]
    fn the_smallest_of_the_most_frequent() {
        assert_eq!(most_frequent(&[1.0, 2.0, 2.0, 3.0, 3.0]), Some(2.0));
        assert_eq!(most_frequent(&[]), None);
    }
}
