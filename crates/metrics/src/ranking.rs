//! Scores that only the order of the rows decides.

use ndarray::Array2;

use crate::scorer::Counted;

const NOT_DIVIDED: &str = "a label has no row, or all of them";

/// Rows in the order of a score, from the least.
pub(crate) struct Order {
    rows: Vec<u32>,
    /// Behind the last place of each run of equal scores.
    ends: Vec<u32>,
}

impl Order {
    pub(crate) fn new(n_rows: usize, score: impl Fn(usize) -> f64) -> Self {
        let mut rows: Vec<u32> = (0..n_rows as u32).collect();
        rows.sort_by(|&a, &b| score(a as usize).total_cmp(&score(b as usize)));
        let differs = |place: &u32| {
            let place = *place as usize;
            place == n_rows || score(rows[place - 1] as usize) != score(rows[place] as usize)
        };
        let ends = (1..=n_rows as u32).filter(differs).collect();
        Self { rows, ends }
    }

    /// The rows of each distinct score.
    pub(crate) fn ties(&self) -> impl DoubleEndedIterator<Item = &[u32]> {
        let range = |place: usize| {
            let start = if place == 0 { 0 } else { self.ends[place - 1] };
            &self.rows[start as usize..self.ends[place] as usize]
        };
        (0..self.ends.len()).map(range)
    }
}

/// How the areas of more than two labels are averaged; of two there is only one.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Average {
    /// Each label against the rest.
    Rest,
    /// Weighted by the label's rows.
    RestByRows,
    /// Each label against each other (Hand & Till 2001).
    Pairs,
    /// Weighted by the pair's rows.
    PairsByRows,
}

/// Areas under ROC curves.
pub(crate) struct Areas {
    labels: Labels,
    average: Average,
}

impl Areas {
    pub(crate) fn new(codes: &[u32], probabilities: &Array2<f64>, average: Average) -> Self {
        Self { labels: Labels::new(codes, probabilities), average }
    }

    /// The mean of each label against the rest; as many labels as are ranked.
    fn against_rest(&self, counts: &[u32], n_of: &[u64], weight: impl Fn(u64) -> f64) -> Result<f64, &'static str> {
        let n_rows: u64 = n_of.iter().sum();
        let area = |(label, order): &(usize, Order)| {
            let n_label = n_of[*label];
            let pairs = n_label * (n_rows - n_label);
            let half_pairs = self.labels.half_pairs_with_rest(*label, order, counts);
            (pairs > 0).then(|| (half_pairs as f64 / (2.0 * pairs as f64), weight(n_label)))
        };
        let areas: Option<Vec<_>> = self.labels.orders.iter().map(area).collect();
        Ok(weighted(areas.ok_or(NOT_DIVIDED)?))
    }

    /// The mean over the pairs of labels that occur, each label of a pair being looked for in turn.
    fn against_each(&self, counts: &[u32], n_of: &[u64], weight: impl Fn(u64) -> f64) -> Result<f64, &'static str> {
        let half_pairs: Vec<Vec<u64>> =
            self.labels.orders.iter().map(|(label, order)| self.labels.half_pairs(*label, order, counts)).collect();
        let pair = |a: usize, b: usize| {
            let pairs = n_of[a] * n_of[b];
            let half_pairs = half_pairs[a][b] + half_pairs[b][a];
            (pairs > 0).then(|| (half_pairs as f64 / (4.0 * pairs as f64), weight(n_of[a] + n_of[b])))
        };
        let pairs = (0..n_of.len()).flat_map(|a| (a + 1..n_of.len()).filter_map(move |b| pair(a, b)));
        let pairs: Vec<_> = pairs.collect();
        if pairs.is_empty() { Err(NOT_DIVIDED) } else { Ok(weighted(pairs)) }
    }
}

impl Counted for Areas {
    fn score(&self, counts: &[u32]) -> Result<f64, &'static str> {
        let n_of = self.labels.rows(counts);
        let (equal, by_rows) = (|_: u64| 1.0, |n_rows: u64| n_rows as f64);
        match self.average {
            Average::Pairs if n_of.len() > 2 => self.against_each(counts, &n_of, equal),
            Average::PairsByRows if n_of.len() > 2 => self.against_each(counts, &n_of, by_rows),
            Average::RestByRows => self.against_rest(counts, &n_of, by_rows),
            _ => self.against_rest(counts, &n_of, equal),
        }
    }
}

fn weighted(values: Vec<(f64, f64)>) -> f64 {
    let weights: f64 = values.iter().map(|(_, weight)| weight).sum();
    values.iter().map(|(value, weight)| value * weight).sum::<f64>() / weights
}

/// Areas under precision-recall curves, as steps: `sum((R_n - R_n-1) P_n)`.
pub(crate) struct PrecisionAreas(Labels);

impl PrecisionAreas {
    pub(crate) fn new(codes: &[u32], probabilities: &Array2<f64>) -> Self {
        Self(Labels::new(codes, probabilities))
    }

    fn area(&self, label: usize, order: &Order, counts: &[u32]) -> Option<f64> {
        let (mut found, mut others, mut area) = (0_u64, 0_u64, 0.0);
        for tie in order.ties().rev() {
            let (of_label, rest) = self.0.divide(label, tie, counts);
            found += of_label;
            others += rest;
            if of_label > 0 {
                area += of_label as f64 * found as f64 / (found + others) as f64;
            }
        }
        (found > 0).then(|| area / found as f64)
    }
}

impl Counted for PrecisionAreas {
    fn score(&self, counts: &[u32]) -> Result<f64, &'static str> {
        let areas: Option<f64> = self.0.orders.iter().map(|(label, order)| self.area(*label, order, counts)).sum();
        Ok(areas.ok_or("a label has no row")? / self.0.orders.len() as f64)
    }
}

/// Each row's label, and the rows in the order of each label's probability.
struct Labels {
    codes: Vec<u32>,
    n_labels: usize,
    orders: Vec<(usize, Order)>,
}

impl Labels {
    fn new(codes: &[u32], probabilities: &Array2<f64>) -> Self {
        let n_labels = probabilities.ncols();
        // For two labels one order says all.
        let first = usize::from(n_labels == 2);
        let order = |label| (label, Order::new(codes.len(), |row| probabilities[[row, label]]));
        Self { codes: codes.to_vec(), n_labels, orders: (first..n_labels).map(order).collect() }
    }

    /// How many rows each label has.
    fn rows(&self, counts: &[u32]) -> Vec<u64> {
        let mut rows = vec![0; self.n_labels];
        for (&code, &count) in self.codes.iter().zip(counts) {
            rows[code as usize] += u64::from(count);
        }
        rows
    }

    /// Rows of the label and rows of others.
    fn divide(&self, label: usize, tie: &[u32], counts: &[u32]) -> (u64, u64) {
        // Without a branch, which no processor could foresee.
        let of_label = tie.iter().map(|&row| {
            let is_label = u64::from(self.codes[row as usize] as usize == label);
            u64::from(counts[row as usize]) * is_label
        });
        let of_label = of_label.sum();
        (of_label, counted(tie, counts) - of_label)
    }

    /// The pairs - a row of the label and one of another - in which the row of the label is the more probable, times two, and those that are tied.
    fn half_pairs_with_rest(&self, label: usize, order: &Order, counts: &[u32]) -> u64 {
        let (mut below, mut half_pairs) = (0, 0);
        for tie in order.ties() {
            let (of_label, rest) = self.divide(label, tie, counts);
            half_pairs += of_label * (2 * below + rest);
            below += rest;
        }
        half_pairs
    }

    /// The same against each other label alone.
    fn half_pairs(&self, label: usize, order: &Order, counts: &[u32]) -> Vec<u64> {
        let mut below = vec![0; self.n_labels];
        let mut half_pairs = vec![0; self.n_labels];
        for tie in order.ties() {
            let (of_label, _) = self.divide(label, tie, counts);
            if of_label > 0 {
                half_pairs.iter_mut().zip(&below).for_each(|(pairs, below)| *pairs += 2 * of_label * below);
            }
            for &row in tie {
                let (code, count) = (self.codes[row as usize] as usize, u64::from(counts[row as usize]));
                if code != label {
                    half_pairs[code] += of_label * count;
                    below[code] += count;
                }
            }
        }
        half_pairs
    }
}

fn counted(rows: &[u32], counts: &[u32]) -> u64 {
    rows.iter().map(|&row| u64::from(counts[row as usize])).sum()
}

/// Spearman's correlation: that of the ranks, of which tied values share the mean.
pub(crate) struct RankCorrelation {
    truth: Order,
    predicted: Order,
}

impl RankCorrelation {
    pub(crate) fn new(truth: &[f64], predicted: &[f64]) -> Self {
        let order = |values: &[f64]| Order::new(values.len(), |row| values[row]);
        Self { truth: order(truth), predicted: order(predicted) }
    }
}

impl Counted for RankCorrelation {
    fn score(&self, counts: &[u32]) -> Result<f64, &'static str> {
        let (truth, predicted) = (centered_ranks(&self.truth, counts), centered_ranks(&self.predicted, counts));
        let product = |a: &[f64], b: &[f64]| -> f64 {
            a.iter().zip(b).zip(counts).map(|((a, b), &count)| a * b * f64::from(count)).sum()
        };
        let scale = (product(&truth, &truth) * product(&predicted, &predicted)).sqrt();
        if scale == 0.0 {
            return Err("the true values or the predictions are all equal");
        }
        Ok(product(&truth, &predicted) / scale)
    }
}

/// Each row's rank minus the mean rank.
fn centered_ranks(order: &Order, counts: &[u32]) -> Vec<f64> {
    let n_rows: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    let mut ranks = vec![0.0; counts.len()];
    let mut below = 0;
    for tie in order.ties() {
        let tied = counted(tie, counts);
        let rank = (2 * below + tied) as f64 / 2.0 - n_rows as f64 / 2.0;
        tie.iter().for_each(|&row| ranks[row as usize] = rank);
        below += tied;
    }
    ranks
}
