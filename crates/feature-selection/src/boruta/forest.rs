//! Random forests that are only asked for the importance of columns (Breiman 2001).
//!
//! LightGBM's take sixty times as long where each split tries few of a thousand columns: it counts all of them. Here rows are counted by the columns that a split
//! tries, in at most [`BINS`] bins, and a shuffled copy of a column is a shuffle of its bins.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use retune_stage::{Seed, Target};

/// Bins of a column's values; missing ones have a bin of their own, the first.
const BINS: usize = 64;

/// Each value's bin: of few distinct values each has its own, others are divided into bins of as many rows.
pub(super) fn binned(values: &[f64]) -> Vec<u8> {
    let mut ends: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    ends.sort_unstable_by(f64::total_cmp);
    let mut distinct = ends.clone();
    distinct.dedup();
    if distinct.len() > BINS {
        distinct = (1..=BINS).map(|bin| ends[bin * ends.len() / BINS - 1]).collect();
        distinct.dedup();
    }
    let bin = |value: &f64| {
        if value.is_nan() { 0 } else { distinct.partition_point(|end| end < value).min(BINS - 1) as u8 + 1 }
    };
    values.iter().map(bin).collect()
}

/// What trees are to tell.
pub(super) enum Told {
    /// Values about their mean; of two labels, 1 for the second. And the mean of their squares.
    Values(Vec<f64>, f64),
    Classes {
        codes: Vec<u32>,
        n_classes: usize,
    },
}

impl Told {
    pub(super) fn of(target: &Target) -> Self {
        match target {
            Target::Classes { codes, n_classes } if *n_classes > 2 => {
                Self::Classes { codes: codes.clone(), n_classes: *n_classes }
            }
            Target::Classes { codes, .. } => Self::values(codes.iter().map(|&code| f64::from(code)).collect()),
            Target::Values(values) => {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                Self::values(values.iter().map(|value| value - mean).collect())
            }
        }
    }

    fn values(values: Vec<f64>) -> Self {
        let square = values.iter().map(|value| value * value).sum::<f64>() / values.len() as f64;
        Self::Values(values, square)
    }

    fn n_rows(&self) -> usize {
        match self {
            Self::Values(values, _) => values.len(),
            Self::Classes { codes, .. } => codes.len(),
        }
    }

    /// How far rows are from telling all the same, at most: more than rounding makes of it.
    fn scale(&self) -> f64 {
        match self {
            Self::Values(_, square) => *square,
            Self::Classes { .. } => 1.0,
        }
    }

    /// The numbers that are summed in a bin: the rows, and the values or the rows of each label.
    fn width(&self) -> usize {
        match self {
            Self::Values(..) => 2,
            Self::Classes { n_classes, .. } => n_classes + 1,
        }
    }
}

/// A forest to be grown.
pub(super) struct Forest<'a> {
    pub(super) columns: Vec<&'a [u8]>,
    pub(super) told: &'a Told,
    pub(super) trees: usize,
    pub(super) depth: usize,
}

/// A tree that grows.
struct Growing<'a> {
    forest: &'a Forest<'a>,
    rng: ChaCha8Rng,
    /// How often each row was drawn.
    weights: Vec<f64>,
    /// The columns, of which the first are those that a split tries.
    drawn: Vec<u32>,
    bins: Vec<f64>,
    /// The rows of a node, beside each other.
    counted: Vec<(f64, f64)>,
    importances: Vec<f64>,
}

struct Split {
    column: u32,
    /// The last bin that goes left.
    bin: u8,
    gain: f64,
}

impl Forest<'_> {
    /// How much the splits of each column lower the impurity of the target, divided by the sum over all columns; the mean over the trees.
    pub(super) fn importances(&self, seed: Seed) -> Vec<f64> {
        let tree = |tree: usize| Growing::new(self, seed.derive(&format!("tree {tree}"))).grow();
        let trees: Vec<Vec<f64>> = (0..self.trees).into_par_iter().map(tree).collect();
        let mut means = vec![0.0; self.columns.len()];
        for importances in trees {
            let total: f64 = importances.iter().sum();
            let share = if total > 0.0 { 1.0 / (total * self.trees as f64) } else { 0.0 };
            means.iter_mut().zip(importances).for_each(|(mean, importance)| *mean += importance * share);
        }
        means
    }
}

impl<'a> Growing<'a> {
    /// On as many rows as there are, drawn with repetition.
    fn new(forest: &'a Forest<'a>, seed: Seed) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.0);
        let n_rows = forest.told.n_rows();
        let mut weights = vec![0.0; n_rows];
        (0..n_rows).for_each(|_| weights[rng.random_range(0..n_rows)] += 1.0);
        let n_columns = forest.columns.len();
        Self {
            forest,
            rng,
            weights,
            drawn: (0..n_columns as u32).collect(),
            bins: vec![0.0; (BINS + 1) * forest.told.width()],
            counted: Vec::new(),
            importances: vec![0.0; n_columns],
        }
    }

    fn grow(mut self) -> Vec<f64> {
        let mut rows: Vec<u32> =
            (0..self.weights.len() as u32).filter(|&row| self.weights[row as usize] > 0.0).collect();
        let mut nodes = vec![(0..rows.len(), 0)];
        while let Some((node, depth)) = nodes.pop() {
            let rows = &mut rows[node.clone()];
            let Some(split) = self.best_split(rows) else { continue };
            self.importances[split.column as usize] += split.gain;
            if depth + 1 < self.forest.depth {
                let column = self.forest.columns[split.column as usize];
                let middle = node.start + divide(rows, |row| column[row as usize] <= split.bin);
                nodes.extend([(node.start..middle, depth + 1), (middle..node.end, depth + 1)]);
            }
        }
        self.importances
    }

    /// The best split by as many columns as the root of their number; by more only while none has one.
    fn best_split(&mut self, rows: &[u32]) -> Option<Split> {
        let (total, spread) = self.count(rows);
        // Rounding is no gain.
        let least = 1e-10 * spread;
        if rows.len() < 2 || spread <= 1e-10 * total[0] * self.forest.told.scale() {
            return None;
        }
        let n_columns = self.drawn.len();
        let n_tried = ((n_columns as f64).sqrt() as usize).max(1);
        let mut best: Option<Split> = None;
        for at in 0..n_columns {
            if at >= n_tried && best.is_some() {
                break;
            }
            let drawn = self.rng.random_range(at..n_columns);
            self.drawn.swap(at, drawn);
            let column = self.drawn[at];
            self.fill(rows, self.forest.columns[column as usize]);
            let to_beat = best.as_ref().map_or(least, |best| best.gain);
            best = cut(&self.bins, &total, to_beat).map(|(bin, gain)| Split { column, bin, gain }).or(best);
        }
        best
    }

    /// Puts what is summed of the node's rows beside each other. Returns the sums, and how far the rows are from telling all the same.
    fn count(&mut self, rows: &[u32]) -> (Vec<f64>, f64) {
        self.counted.clear();
        let mut total = vec![0.0; self.forest.told.width()];
        let mut squares = 0.0;
        for &row in rows {
            let weight = self.weights[row as usize];
            total[0] += weight;
            match self.forest.told {
                Told::Values(values, _) => {
                    let value = values[row as usize];
                    total[1] += weight * value;
                    squares += weight * value * value;
                    self.counted.push((weight, weight * value));
                }
                Told::Classes { codes, .. } => {
                    let code = codes[row as usize];
                    total[1 + code as usize] += weight;
                    squares += weight;
                    self.counted.push((weight, f64::from(code)));
                }
            }
        }
        let spread = squares - score(&total);
        (total, spread)
    }

    fn fill(&mut self, rows: &[u32], column: &[u8]) {
        self.bins.fill(0.0);
        let rows = rows.iter().map(|&row| usize::from(column[row as usize])).zip(&self.counted);
        match self.forest.told {
            Told::Values(..) => rows.for_each(|(bin, &(weight, value))| {
                self.bins[2 * bin] += weight;
                self.bins[2 * bin + 1] += value;
            }),
            Told::Classes { n_classes, .. } => rows.for_each(|(bin, &(weight, code))| {
                self.bins[(n_classes + 1) * bin] += weight;
                self.bins[(n_classes + 1) * bin + 1 + code as usize] += weight;
            }),
        }
    }
}

/// What sums of rows leave of the sum of squares: the more, the purer.
fn score(sums: &[f64]) -> f64 {
    sums[1..].iter().map(|sum| sum * sum).sum::<f64>() / sums[0]
}

/// The last bin on the left of the best cut between bins, and how much purer both sides are, where it is more than `to_beat`.
fn cut(bins: &[f64], total: &[f64], to_beat: f64) -> Option<(u8, f64)> {
    let whole = score(total);
    let mut best = None;
    let mut most = whole + to_beat;
    let mut consider = |bin: usize, score: f64| {
        if score > most {
            most = score;
            best = Some((bin as u8, score - whole));
        }
    };
    if let &[rows, sum] = total {
        let (mut left_rows, mut left) = (0.0, 0.0);
        for (bin, sums) in bins.chunks_exact(2).enumerate().filter(|(_, sums)| sums[0] > 0.0) {
            left_rows += sums[0];
            left += sums[1];
            let (right_rows, right) = (rows - left_rows, sum - left);
            if right_rows > 0.5 {
                consider(bin, left * left / left_rows + right * right / right_rows);
            }
        }
        return best;
    }
    let (mut left, mut right) = (vec![0.0; total.len()], total.to_vec());
    for (bin, sums) in bins.chunks_exact(total.len()).enumerate().filter(|(_, sums)| sums[0] > 0.0) {
        left.iter_mut().zip(sums).for_each(|(left, sum)| *left += sum);
        right.iter_mut().zip(sums).for_each(|(right, sum)| *right -= sum);
        if right[0] > 0.5 {
            consider(bin, score(&left) + score(&right));
        }
    }
    best
}

/// Puts the rows that go left first. Returns how many do.
fn divide(rows: &mut [u32], goes_left: impl Fn(u32) -> bool) -> usize {
    let mut right: Vec<u32> = Vec::new();
    let mut n_left = 0;
    for at in 0..rows.len() {
        let row = rows[at];
        if goes_left(row) {
            rows[n_left] = row;
            n_left += 1;
        } else {
            right.push(row);
        }
    }
    rows[n_left..].copy_from_slice(&right);
    n_left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_and_cuts() {
        assert_eq!(binned(&[2.0, f64::NAN, -1.0, 2.0]), [2, 0, 1, 2]);
        let many: Vec<f64> = (0..640).map(f64::from).collect();
        let bins = binned(&many);
        assert!((1..=64).all(|bin| bins.iter().filter(|&&of| of == bin).count() == 10) && bins.is_sorted());
        // Bins of 2, 1 and 1 rows with values 1, 1 | 4 | 6: squares 2 + 50, of all rows 36.
        assert_eq!(cut(&[2.0, 2.0, 1.0, 4.0, 1.0, 6.0], &[4.0, 12.0], 0.0), Some((0, 16.0)));
        assert_eq!(cut(&[2.0, 2.0, 1.0, 4.0, 1.0, 6.0], &[4.0, 12.0], 16.0), None);
        // Labels a, a | b | c: squares 2 + (1 + 1) / 2, of all rows (4 + 1 + 1) / 4.
        let bins = [2.0, 2.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
        assert_eq!(cut(&bins, &[4.0, 2.0, 1.0, 1.0], 0.0), Some((0, 1.5)));
        let mut rows = [5, 1, 4, 2];
        assert_eq!((divide(&mut rows, |row| row < 3), rows), (2, [1, 2, 5, 4]));
    }
}
