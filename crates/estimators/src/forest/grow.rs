//! How trees grow.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use retune_spec::estimators::Criterion;
use retune_stage::{Progress, Result, Seed, Target};

use super::columns::{Binned, Bins};
use super::nodes::{Rule, Tree};
use super::split::{self, Cut, Entropy, Gini, Members, Scratch, Squared, add};

/// What trees are to tell.
#[derive(Clone, Debug)]
pub enum Told {
    /// Values, and their mean.
    Values(Vec<f64>, f64),
    /// Label codes, and how many labels there are.
    Classes(Vec<u32>, usize),
}

impl Told {
    /// Of a target.
    pub fn of(target: &Target) -> Self {
        match target {
            Target::Classes { codes, n_classes } => Self::Classes(codes.clone(), *n_classes),
            // Sums of squares are exact only for values that are not far from 0.
            Target::Values(values) => {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                Self::Values(values.iter().map(|value| value - mean).collect(), mean)
            }
        }
    }

    pub(super) fn n_rows(&self) -> usize {
        match self {
            Self::Values(values, _) => values.len(),
            Self::Classes(codes, _) => codes.len(),
        }
    }

    /// The numbers that are summed of rows: how many, and the weight and the weighted value, or the weight of each label.
    fn width(&self) -> usize {
        match self {
            Self::Values(..) => 3,
            Self::Classes(_, n_classes) => n_classes + 1,
        }
    }

    fn is_wide(&self) -> bool {
        self.width() != 3
    }

    fn term(&self, row: usize, weight: f64) -> (f64, f64) {
        match self {
            Self::Values(values, _) => (weight, weight * values[row]),
            Self::Classes(codes, 2) if codes[row] == 0 => (weight, 0.0),
            Self::Classes(_, 2) => (0.0, weight),
            Self::Classes(codes, _) => (weight, f64::from(codes[row])),
        }
    }

    /// Whether all rows tell the same.
    fn is_pure(&self, rows: &[u32]) -> bool {
        match self {
            Self::Values(values, _) => rows.iter().all(|&row| values[row as usize] == values[rows[0] as usize]),
            Self::Classes(codes, _) => rows.iter().all(|&row| codes[row as usize] == codes[rows[0] as usize]),
        }
    }
}

/// How the threshold of a column is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thresholds {
    /// The best one.
    Best,
    /// One that is drawn between the node's least and greatest value.
    Random,
}

/// How trees are grown.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// How many.
    pub trees: usize,
    /// What a split lowers.
    pub criterion: Criterion,
    /// How thresholds are found.
    pub thresholds: Thresholds,
    /// The greatest depth; 0 is unlimited.
    pub max_depth: usize,
    /// The fewest rows of a node that is split.
    pub min_rows_to_split: usize,
    /// The fewest rows of a leaf. A row that was drawn twice is one row.
    pub min_rows: usize,
    /// The columns that are looked at for a split, at least one; by more only while none has a split.
    pub n_tried: usize,
    /// Whether each tree has as many rows as there are, drawn with replacement by their weights, rather than all rows with their weights.
    pub bootstrap: bool,
}

/// A forest to be grown.
pub struct Forest<'a> {
    /// Columns of equal length.
    pub columns: Vec<&'a Binned>,
    /// What the trees are to tell.
    pub told: &'a Told,
    /// The weights of rows; rows without weight are left out.
    pub weights: Option<&'a [f64]>,
    /// How to grow it.
    pub recipe: Recipe,
}

/// A node that is split by few rows is not worth a second thread.
const SHARED_CELLS: usize = 1 << 15;

impl Forest<'_> {
    /// How much the splits of each column lower the impurity of the target, divided by the sum over all columns; the mean over the trees (scikit-learn's
    /// `feature_importances_`).
    pub fn importances(&self, seed: Seed, progress: &dyn Progress) -> Result<Vec<f64>> {
        let mut means = vec![0.0; self.columns.len()];
        for gains in self.each_tree(seed, progress, |growing| growing.gains)? {
            let total: f64 = gains.iter().sum();
            let share = if total > 0.0 { 1.0 / (total * self.recipe.trees as f64) } else { 0.0 };
            means.iter_mut().zip(gains).for_each(|(mean, gain)| *mean += gain * share);
        }
        Ok(means)
    }

    /// The trees.
    pub(super) fn grow(&self, seed: Seed, progress: &dyn Progress) -> Result<Vec<Tree>> {
        self.each_tree(seed, progress, |growing| growing.tree)
    }

    fn each_tree<T: Send>(
        &self,
        seed: Seed,
        progress: &dyn Progress,
        kept: impl Fn(Growing) -> T + Sync,
    ) -> Result<Vec<T>> {
        let draw = Draw::of(self.weights, self.told.n_rows());
        let grown = AtomicU64::new(0);
        let tree = |tree: usize| {
            progress.check_cancelled()?;
            let mut growing = Growing::new(self, &draw, seed.derive(&format!("tree {tree}")));
            growing.grow();
            let grown = grown.fetch_add(1, Ordering::Relaxed) + 1;
            progress.update("trees", grown, Some(self.recipe.trees as u64));
            Ok(kept(growing))
        };
        (0..self.recipe.trees).into_par_iter().map(tree).collect()
    }
}

/// How rows are drawn.
enum Draw {
    Evenly,
    /// The weights of rows up to each.
    ByWeight(Vec<f64>),
}

impl Draw {
    fn of(weights: Option<&[f64]>, n_rows: usize) -> Self {
        let Some(weights) = weights else { return Self::Evenly };
        let mut sums = Vec::with_capacity(n_rows);
        weights.iter().fold(0.0, |sum, weight| {
            sums.push(sum + weight);
            sum + weight
        });
        Self::ByWeight(sums)
    }

    /// How often each of as many rows as there are was drawn.
    fn counts(&self, n_rows: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
        let mut counts = vec![0; n_rows];
        for _ in 0..n_rows {
            let row = match self {
                Self::Evenly => rng.random_range(0..n_rows),
                Self::ByWeight(sums) => {
                    let place = rng.random::<f64>() * sums[n_rows - 1];
                    sums.partition_point(|&sum| sum <= place).min(n_rows - 1)
                }
            };
            counts[row] += 1;
        }
        counts
    }
}

/// A tree that grows.
struct Growing<'a> {
    forest: &'a Forest<'a>,
    rng: ChaCha8Rng,
    /// The rows of the tree; those of a node are beside each other.
    rows: Vec<u32>,
    /// What is summed of each row of the table.
    terms: Vec<(f64, f64)>,
    /// What is summed of the rows of a node.
    members: Vec<(f64, f64)>,
    total: Vec<f64>,
    /// The columns, of which the first are those that a split tries.
    drawn: Vec<u32>,
    scratch: Scratch,
    right: Vec<u32>,
    known_leaves: HashMap<Vec<u64>, u32>,
    tree: Tree,
    gains: Vec<f64>,
}

/// A node to be looked at.
struct Open {
    node: usize,
    rows: Range<usize>,
    depth: usize,
}

impl<'a> Growing<'a> {
    fn new(forest: &'a Forest<'a>, draw: &Draw, seed: Seed) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.0);
        let n_rows = forest.told.n_rows();
        let weights: Vec<f64> = match (forest.recipe.bootstrap, forest.weights) {
            (true, _) => draw.counts(n_rows, &mut rng).into_iter().map(f64::from).collect(),
            (false, Some(weights)) => weights.to_vec(),
            (false, None) => vec![1.0; n_rows],
        };
        let n_columns = forest.columns.len();
        Self {
            forest,
            rng,
            rows: (0..n_rows as u32).filter(|&row| weights[row as usize] > 0.0).collect(),
            terms: weights.iter().enumerate().map(|(row, &weight)| forest.told.term(row, weight)).collect(),
            members: Vec::new(),
            total: vec![0.0; forest.told.width()],
            drawn: (0..n_columns as u32).collect(),
            scratch: Scratch::default(),
            right: Vec::new(),
            known_leaves: HashMap::new(),
            tree: Tree::default(),
            gains: vec![0.0; n_columns],
        }
    }

    fn grow(&mut self) {
        let root = self.tree.open();
        let mut open = vec![Open { node: root, rows: 0..self.rows.len(), depth: 0 }];
        while let Some(Open { node, rows, depth }) = open.pop() {
            self.sum(rows.clone());
            let Some((column, cut)) = self.best_split(rows.clone(), depth) else {
                self.close(node);
                continue;
            };
            let n_left = self.divide(rows.clone(), column, cut);
            // Without missing values to learn from they go where more rows are.
            let has_missing = cut.missing_left || self.has_missing(rows.start + n_left..rows.end, column);
            let missing_left = if has_missing { cut.missing_left } else { 2 * n_left > rows.len() };
            let left = self.tree.split(node, Rule { feature: column, threshold: cut.threshold, missing_left });
            let (middle, depth) = (rows.start + n_left, depth + 1);
            open.push(Open { node: left + 1, rows: middle..rows.end, depth });
            open.push(Open { node: left, rows: rows.start..middle, depth });
        }
    }

    /// Puts what is summed of the node's rows beside each other, and sums it.
    fn sum(&mut self, rows: Range<usize>) {
        let terms = &self.terms;
        self.members.clear();
        self.members.extend(self.rows[rows].iter().map(|&row| terms[row as usize]));
        self.total.fill(0.0);
        let total = &mut self.total;
        if self.forest.told.is_wide() {
            self.members.iter().for_each(|&term| add::<true>(total, term));
        } else {
            self.members.iter().for_each(|&term| add::<false>(total, term));
        }
    }

    fn close(&mut self, node: usize) {
        match (self.forest.told, &self.total[..]) {
            (Told::Values(_, mean), sums) => self.tree.leaf(node, mean + sums[2] / sums[1]),
            (Told::Classes(_, 2), sums) => self.tree.leaf(node, sums[2] / (sums[1] + sums[2])),
            (Told::Classes(..), sums) => {
                let weight: f64 = sums[1..].iter().sum();
                let probabilities = sums[1..].iter().map(|sum| sum / weight).collect();
                self.tree.leaf_of_many(node, probabilities, &mut self.known_leaves);
            }
        }
    }

    fn best_split(&mut self, rows: Range<usize>, depth: usize) -> Option<(u32, Cut)> {
        let Recipe { max_depth, min_rows_to_split, min_rows, n_tried, .. } = self.forest.recipe;
        let n_rows = rows.len();
        if (max_depth > 0 && depth >= max_depth)
            || n_rows < min_rows_to_split.max(2 * min_rows)
            || self.forest.told.is_pure(&self.rows[rows.clone()])
        {
            return None;
        }
        let n_columns = self.drawn.len();
        let n_tried = n_tried.min(n_columns);
        let first: Vec<(u32, f64, bool)> = (0..n_tried).map(|at| self.draw(at)).collect();
        let members = Members {
            rows: &self.rows[rows.clone()],
            terms: &self.members,
            total: &self.total,
            min_rows: min_rows as f64,
        };
        // Trees that wait for parts of themselves would begin others meanwhile.
        let is_shared = self.forest.recipe.trees == 1 && n_tried > 1 && n_rows * n_tried >= SHARED_CELLS;
        let cuts: Vec<Option<Cut>> = if is_shared {
            let each = first.par_iter();
            each.map_init(Scratch::default, |scratch, &drawn| self.forest.cut(drawn, &members, scratch)).collect()
        } else {
            first.iter().map(|&drawn| self.forest.cut(drawn, &members, &mut self.scratch)).collect()
        };
        let found = first.iter().zip(cuts).filter_map(|(&(column, ..), cut)| Some((column, cut?)));
        let mut best = found.reduce(|best, other| if other.1.score > best.1.score { other } else { best });
        for at in n_tried..n_columns {
            if best.is_some() {
                break;
            }
            let drawn = self.draw(at);
            let members = Members {
                rows: &self.rows[rows.clone()],
                terms: &self.members,
                total: &self.total,
                min_rows: min_rows as f64,
            };
            best = self.forest.cut(drawn, &members, &mut self.scratch).map(|cut| (drawn.0, cut));
        }
        let (column, cut) = best?;
        let gain = cut.score - self.forest.score(&self.total);
        if gain > 0.0 && gain.is_finite() {
            self.gains[column as usize] += gain;
        }
        Some((column, cut))
    }

    /// The next column to try, and what a random threshold of it needs. A single tree that tries all of them takes them in their order.
    fn draw(&mut self, at: usize) -> (u32, f64, bool) {
        let Recipe { trees, n_tried, thresholds, .. } = self.forest.recipe;
        let n_columns = self.drawn.len();
        if trees > 1 || n_tried < n_columns {
            let drawn = self.rng.random_range(at..n_columns);
            self.drawn.swap(at, drawn);
        }
        match thresholds {
            Thresholds::Best => (self.drawn[at], 0.0, false),
            Thresholds::Random => (self.drawn[at], self.rng.random(), self.rng.random()),
        }
    }

    /// Puts the rows that go left first, without changing their order. Returns how many they are.
    fn divide(&mut self, rows: Range<usize>, column: u32, cut: Cut) -> usize {
        let rows = &mut self.rows[rows];
        let column = self.forest.columns[column as usize];
        let missing = column.ranges.len() as u32;
        let goes_left = |bin: u32| bin <= cut.bin || (cut.missing_left && bin == missing);
        match &column.bins {
            Bins::Few(bins) => divide(rows, &mut self.right, |row| goes_left(u32::from(bins[row as usize]))),
            Bins::Many(bins) => divide(rows, &mut self.right, |row| goes_left(bins[row as usize])),
        }
    }

    fn has_missing(&self, rows: Range<usize>, column: u32) -> bool {
        let column = self.forest.columns[column as usize];
        let missing = column.ranges.len();
        match &column.bins {
            _ if !column.has_missing => false,
            Bins::Few(bins) => self.rows[rows].iter().any(|&row| usize::from(bins[row as usize]) == missing),
            Bins::Many(bins) => self.rows[rows].iter().any(|&row| bins[row as usize] as usize == missing),
        }
    }
}

impl Forest<'_> {
    fn cut(
        &self,
        (column, place, missing_left): (u32, f64, bool),
        members: &Members,
        scratch: &mut Scratch,
    ) -> Option<Cut> {
        let column = self.columns[column as usize];
        macro_rules! cut {
            ($score:ty, $wide:literal) => {
                match self.recipe.thresholds {
                    Thresholds::Best => split::best::<$score, $wide>(column, members, scratch),
                    Thresholds::Random => {
                        split::random::<$score, $wide>(column, members, (place, missing_left), scratch)
                    }
                }
            };
        }
        match (self.recipe.criterion, self.told.is_wide()) {
            (Criterion::SquaredError, _) => cut!(Squared, false),
            (Criterion::Gini, false) => cut!(Gini, false),
            (Criterion::Gini, true) => cut!(Gini, true),
            (Criterion::Entropy, false) => cut!(Entropy, false),
            (Criterion::Entropy, true) => cut!(Entropy, true),
        }
    }

    fn score(&self, sums: &[f64]) -> f64 {
        use split::Score;
        match self.recipe.criterion {
            Criterion::SquaredError => Squared::of(sums),
            Criterion::Gini => Gini::of(sums),
            Criterion::Entropy => Entropy::of(sums),
        }
    }
}

fn divide(rows: &mut [u32], right: &mut Vec<u32>, goes_left: impl Fn(u32) -> bool) -> usize {
    right.clear();
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
    rows[n_left..].copy_from_slice(right);
    n_left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_order() {
        let (mut rows, mut right) = ([5, 1, 4, 2], Vec::new());
        assert_eq!((divide(&mut rows, &mut right, |row| row < 3), rows), (2, [1, 2, 5, 4]));
    }

    #[test]
    fn rows_are_drawn_by_their_weights() {
        let weights = [1.0, 0.0, 3.0, 0.0];
        let draw = Draw::of(Some(&weights.repeat(2500)), 10_000);
        let counts = draw.counts(10_000, &mut ChaCha8Rng::seed_from_u64(1));
        let of = |place: usize| counts.iter().skip(place).step_by(4).sum::<u32>();
        assert_eq!((of(1), of(3), of(0) + of(2)), (0, 0, 10_000));
        assert!((2300..2700).contains(&of(0)), "{}", of(0));
    }
}
