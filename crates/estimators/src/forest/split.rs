//! The best split of a node by one column.

use super::columns::{Binned, Bins};

/// What the sides of a split are judged by: the higher, the purer; of both sides it is the sum.
pub(super) trait Score {
    /// Of sums `[rows, weight, weight * value]`, or `[rows, weight of the first label, weight of the second ...]`.
    fn of(sums: &[f64]) -> f64;
}

/// The sum of squares that the mean explains.
pub(super) struct Squared;

impl Score for Squared {
    #[inline(always)]
    fn of(sums: &[f64]) -> f64 {
        sums[2] * sums[2] / sums[1]
    }
}

pub(super) struct Gini;

impl Score for Gini {
    #[inline(always)]
    fn of(sums: &[f64]) -> f64 {
        let (squares, weight) =
            sums[1..].iter().fold((0.0, 0.0), |(squares, weight), sum| (squares + sum * sum, weight + sum));
        squares / weight
    }
}

pub(super) struct Entropy;

impl Score for Entropy {
    #[inline(always)]
    fn of(sums: &[f64]) -> f64 {
        // What rounding leaves of an absent label is not a label.
        let term = |weight: f64| if weight > 0.0 { weight * weight.ln() } else { 0.0 };
        sums[1..].iter().map(|&weight| term(weight)).sum::<f64>() - term(sums[1..].iter().sum())
    }
}

/// The rows of a node, and what is summed of each: weight and weight times value; or the weights of two labels; or the weight and the label's code.
pub(super) struct Members<'a> {
    pub(super) rows: &'a [u32],
    pub(super) terms: &'a [(f64, f64)],
    pub(super) total: &'a [f64],
    pub(super) min_rows: f64,
}

/// Where a column is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cut {
    pub(super) score: f64,
    pub(super) threshold: f64,
    /// The last bin on the left.
    pub(super) bin: u32,
    pub(super) missing_left: bool,
}

/// Memory that is used again for each node and column.
#[derive(Default)]
pub(super) struct Scratch {
    sums: Vec<f64>,
    keys: Vec<u64>,
    bins: Vec<u32>,
    missing: Vec<f64>,
    left: Vec<f64>,
    right: Vec<f64>,
    group: Vec<f64>,
}

/// Adds a row's terms to sums; `WIDE` where they are more than two.
#[inline(always)]
pub(super) fn add<const WIDE: bool>(sums: &mut [f64], term: (f64, f64)) {
    sums[0] += 1.0;
    if WIDE {
        sums[1 + term.1 as usize] += term.0;
    } else {
        sums[1] += term.0;
        sums[2] += term.1;
    }
}

/// The best of all cuts. Missing values are tried on both sides, and alone on the right. `None` where all rows are in one bin.
pub(super) fn best<S: Score, const WIDE: bool>(
    column: &Binned,
    members: &Members,
    scratch: &mut Scratch,
) -> Option<Cut> {
    match &column.bins {
        Bins::Few(bins) => best_of::<S, WIDE, _>(bins, column, members, scratch),
        Bins::Many(bins) => best_of::<S, WIDE, _>(bins, column, members, scratch),
    }
}

/// A cut at a place drawn uniformly between the node's least and greatest value, `place` being in [0, 1). `None` where all rows are in one bin.
pub(super) fn random<S: Score, const WIDE: bool>(
    column: &Binned,
    members: &Members,
    (place, missing_left): (f64, bool),
    scratch: &mut Scratch,
) -> Option<Cut> {
    match &column.bins {
        Bins::Few(bins) => random_of::<S, WIDE, _>(bins, column, members, (place, missing_left), scratch),
        Bins::Many(bins) => random_of::<S, WIDE, _>(bins, column, members, (place, missing_left), scratch),
    }
}

fn width<const WIDE: bool>(members: &Members) -> usize {
    if WIDE { members.total.len() } else { 3 }
}

/// Bins are counted where they are not many more than the rows; else rows are sorted by them.
const BINS_OF_A_ROW: usize = 8;

fn best_of<S: Score, const WIDE: bool, B: Copy + Into<u32>>(
    bins: &[B],
    column: &Binned,
    members: &Members,
    scratch: &mut Scratch,
) -> Option<Cut> {
    let width = width::<WIDE>(members);
    let missing_bin = column.ranges.len();
    let Scratch { sums, keys, missing, left, right, group, .. } = scratch;
    for buffer in [&mut *missing, &mut *left, &mut *right, &mut *group] {
        buffer.clear();
        buffer.resize(width, 0.0);
    }
    let counted = members.rows.len() * BINS_OF_A_ROW > missing_bin;
    if counted {
        sums.clear();
        sums.resize((missing_bin + 1) * width, 0.0);
        for (&row, &term) in members.rows.iter().zip(members.terms) {
            let bin = bins[row as usize].into() as usize;
            add::<WIDE>(&mut sums[bin * width..][..width], term);
        }
        missing.copy_from_slice(&sums[missing_bin * width..]);
    } else {
        keys.clear();
        for (place, (&row, &term)) in members.rows.iter().zip(members.terms).enumerate() {
            let bin = bins[row as usize].into();
            if bin as usize == missing_bin {
                add::<WIDE>(missing, term);
            } else {
                keys.push(u64::from(bin) << 32 | place as u64);
            }
        }
        keys.sort_unstable();
    }
    let mut scan = Scan { members, column, width, left, right, previous: None, best: None };
    for missing_left in [false, true] {
        if missing_left {
            if missing[0] == 0.0 {
                break;
            }
            scan.left.copy_from_slice(missing);
            scan.previous = None;
        }
        if counted {
            let groups = sums.chunks_exact(width).take(missing_bin).enumerate().filter(|(_, sums)| sums[0] > 0.0);
            groups.for_each(|(bin, sums)| scan.pass::<S, WIDE>(bin as u32, sums, missing_left));
        } else {
            for equal in keys.chunk_by(|a, b| a >> 32 == b >> 32) {
                group.fill(0.0);
                equal.iter().for_each(|&key| add::<WIDE>(group, members.terms[key as u32 as usize]));
                scan.pass::<S, WIDE>((equal[0] >> 32) as u32, group, missing_left);
            }
        }
        if !missing_left && missing[0] > 0.0 {
            scan.consider::<S, WIDE>(None, false);
        }
    }
    scan.best
}

/// Goes through bins that have rows, from the least.
struct Scan<'a> {
    members: &'a Members<'a>,
    column: &'a Binned,
    width: usize,
    left: &'a mut [f64],
    right: &'a mut [f64],
    /// The bin before.
    previous: Option<u32>,
    best: Option<Cut>,
}

impl Scan<'_> {
    #[inline(always)]
    fn pass<S: Score, const WIDE: bool>(&mut self, bin: u32, sums: &[f64], missing_left: bool) {
        self.consider::<S, WIDE>(Some(bin), missing_left);
        let width = if WIDE { self.width } else { 3 };
        self.left[..width].iter_mut().zip(&sums[..width]).for_each(|(left, sum)| *left += sum);
        self.previous = Some(bin);
    }

    /// The cut after the bin before, and before `next`.
    #[inline(always)]
    fn consider<S: Score, const WIDE: bool>(&mut self, next: Option<u32>, missing_left: bool) {
        let Some(bin) = self.previous else { return };
        let width = if WIDE { self.width } else { 3 };
        let (left, right, total) = (&self.left[..width], &mut self.right[..width], &self.members.total[..width]);
        let (n_left, n_right) = (left[0], total[0] - left[0]);
        if n_left < self.members.min_rows || n_right < self.members.min_rows {
            return;
        }
        right.iter_mut().zip(total.iter().zip(left)).for_each(|(right, (total, left))| *right = total - left);
        let score = S::of(left) + S::of(right);
        if self.best.is_none_or(|best| score > best.score) {
            let threshold = next.map_or(f64::INFINITY, |next| self.column.between(bin as usize, next as usize));
            self.best = Some(Cut { score, threshold, bin, missing_left });
        }
    }
}

fn random_of<S: Score, const WIDE: bool, B: Copy + Into<u32>>(
    bins: &[B],
    column: &Binned,
    members: &Members,
    (place, missing_left): (f64, bool),
    scratch: &mut Scratch,
) -> Option<Cut> {
    let width = width::<WIDE>(members);
    let missing_bin = column.ranges.len() as u32;
    let Scratch { bins: of, left, right, .. } = scratch;
    of.clear();
    of.extend(members.rows.iter().map(|&row| bins[row as usize].into()));
    let (first, last, n_missing) = of.iter().fold((u32::MAX, 0, 0_u32), |(first, last, n_missing), &bin| {
        let is_missing = bin == missing_bin;
        (first.min(bin), last.max(if is_missing { 0 } else { bin }), n_missing + u32::from(is_missing))
    });
    if first == missing_bin || (first == last && n_missing == 0) {
        return None;
    }
    let (bin, threshold) =
        if first == last { (first, f64::INFINITY) } else { column.at(place, first as usize, last as usize) };
    let missing_left = missing_left && n_missing > 0 && first < last;
    for buffer in [&mut *left, &mut *right] {
        buffer.clear();
        buffer.resize(width, 0.0);
    }
    let (left, right, total) = (&mut left[..width], &mut right[..width], &members.total[..width]);
    for (&of, &term) in of.iter().zip(members.terms) {
        if of <= bin || (missing_left && of == missing_bin) {
            add::<WIDE>(left, term);
        }
    }
    right.iter_mut().zip(total.iter().zip(&*left)).for_each(|(right, (total, left))| *right = total - left);
    let enough = left[0] >= members.min_rows && right[0] >= members.min_rows;
    enough.then(|| Cut { score: S::of(left) + S::of(right), threshold, bin, missing_left })
}

impl Binned {
    /// The last bin on the left and the threshold at a place in [0, 1) between the least value of a bin and the greatest of a later one. A threshold within a bin
    /// moves to the nearer end.
    fn at(&self, place: f64, first: usize, last: usize) -> (u32, f64) {
        let (low, high) = (self.ranges[first].0, self.ranges[last].1);
        let threshold = low * (1.0 - place) + high * place;
        let reached = self.ranges.partition_point(|&(least, _)| least <= threshold).saturating_sub(1);
        let (least, greatest) = self.ranges[reached];
        let inside = threshold < greatest;
        let bin = if inside && threshold - least < greatest - threshold { reached.saturating_sub(1) } else { reached };
        let kept = bin.clamp(first, last - 1);
        let threshold = if inside || kept != bin { self.between(kept, kept + 1) } else { threshold };
        (kept as u32, threshold)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn members<'a>(rows: &'a [u32], terms: &'a [(f64, f64)], total: &'a [f64]) -> Members<'a> {
        Members { rows, terms, total, min_rows: 1.0 }
    }

    #[test]
    fn sorted_rows_are_cut_as_counted_ones() {
        let values: Vec<f64> = (0..400).map(|row| f64::from(row * 37 % 400)).collect();
        let rows: Vec<u32> = vec![3, 8, 70, 200, 399];
        let terms: Vec<(f64, f64)> = rows.iter().map(|&row| (1.0, f64::from(row % 7))).collect();
        let total = [5.0, 5.0, terms.iter().map(|term| term.1).sum()];
        // Few rows of many bins, and the same values alone, which have a bin each.
        let few: Vec<f64> = rows.iter().map(|&row| values[row as usize]).collect();
        let mut scratch = Scratch::default();
        let sorted = best::<Squared, false>(&Binned::new(&values, 400), &members(&rows, &terms, &total), &mut scratch);
        let alone = [0, 1, 2, 3, 4];
        let counted = best::<Squared, false>(&Binned::new(&few, 400), &members(&alone, &terms, &total), &mut scratch);
        let told = |cut: Option<Cut>| cut.map(|cut| (cut.score, cut.threshold));
        assert!(sorted.is_some());
        assert_eq!(told(sorted), told(counted));
    }

    #[test]
    fn missing_values_go_where_they_fit() {
        let column = Binned::new(&[1.0, 2.0, 3.0, f64::NAN, f64::NAN], 255);
        let rows = [0, 1, 2, 3, 4];
        for (values, expected) in [
            ([0.0, 0.0, 1.0, 0.0, 0.0], (2.5, true)),
            ([0.0, 1.0, 1.0, 1.0, 1.0], (1.5, false)),
            ([0.0, 0.0, 0.0, 1.0, 1.0], (f64::INFINITY, false)),
        ] {
            let terms = values.map(|value| (1.0, value));
            let total = [5.0, 5.0, values.iter().sum()];
            let cut =
                best::<Squared, false>(&column, &members(&rows, &terms, &total), &mut Scratch::default()).unwrap();
            assert_eq!((cut.threshold, cut.missing_left), expected, "{values:?}");
        }
    }

    #[test]
    fn thresholds_are_drawn_between_bins() {
        let column = Binned::new(&[0.0, 1.0, 10.0], 255);
        assert_eq!(
            [0.0, 0.05, 0.5, 0.99].map(|place| column.at(place, 0, 2)),
            [(0, 0.0), (0, 0.5), (1, 5.0), (1, 9.9)]
        );
        let wide = Binned::new(&(0..20).map(f64::from).collect::<Vec<_>>(), 2);
        assert_eq!([0.1, 0.4, 0.9].map(|place| wide.at(place, 0, 1)), [(0, 9.5); 3]);
    }
}
