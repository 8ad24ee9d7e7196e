//! `shap_importance`: keeps the columns that move the predictions of boosted trees most.

use rayon::prelude::*;
use retune_estimators::boosting::Columns;
use retune_spec::feature_selection::{Choice, ShapImportance};
use retune_stage::Result;

use crate::features::Feature;
use crate::judge::{Judge, Judgement, Question, Verdict, shown};
use crate::mutual_information::sampled;
use crate::trees::{Child, Numbers, Tree, Trees, boosted, grow};

/// Rows that go through the trees together.
const BLOCK: usize = 512;

/// Points beyond which integrals of more columns on a path are exact to all digits anyway.
const MAX_POINTS: usize = 64;

/// The trees' own values of columns that are left out: rows go both ways in proportion to the training rows (path-dependent TreeSHAP).
impl Judge for ShapImportance {
    fn score_word(&self) -> &'static str {
        "mean |SHAP|"
    }

    fn takes_missing(&self) -> bool {
        true
    }

    fn choice(&self) -> Option<Choice> {
        Some(ShapImportance::choice(self))
    }

    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement> {
        let spec = boosted(self.trees, self.leaves, self.learning_rate)?;
        let columns = Numbers::of(features, None)?;
        let trees = Trees::read(&grow(&spec, &columns, question.target, question)?.text()?)?;
        let rows = sampled(columns.n_rows(), self.max_rows, question.context.seed.derive("rows"));
        let rows = rows.unwrap_or_else(|| (0..columns.n_rows()).collect());
        let explainer = Explainer::new(&trees, features.len());
        let magnitudes = |rows: &[usize]| {
            question.context.progress.check_cancelled()?;
            let values: Vec<Vec<f64>> = (0..features.len()).map(|column| columns.at(column, rows)).collect();
            let mut sums = vec![0.0; features.len()];
            for output in 0..trees.outputs {
                let contributions = explainer.contributions(output, &values, rows.len());
                for (sum, contributions) in sums.iter_mut().zip(contributions.chunks_exact(rows.len())) {
                    *sum += contributions.iter().map(|value| value.abs()).sum::<f64>();
                }
            }
            Ok(sums)
        };
        let blocks: Vec<Vec<f64>> = rows.par_chunks(BLOCK).map(magnitudes).collect::<Result<_>>()?;
        let verdict = |column: usize| {
            let mean = blocks.iter().map(|sums| sums[column]).sum::<f64>() / rows.len() as f64;
            Verdict::scored(mean, format!("moves the raw score by {} on average", shown(mean)))
        };
        Ok((0..features.len()).map(verdict).collect::<Vec<_>>().into())
    }
}

/// Exact SHAP values of trees.
///
/// What a leaf adds to a column's value depends on a row only by which of the columns on its path lead there. So rows are told apart by that pattern on the way down,
/// and the value is computed once for each pattern. The sum over the subsets of the columns is the integral over t in [0, 1] of the product over the other columns of
/// `leads t + share (1 - t)`, a polynomial, which Gauss and Legendre's points give exactly; all terms are positive, so that nothing cancels.
pub(crate) struct Explainer<'a> {
    trees: &'a Trees,
    n_features: usize,
    /// Of 1, 2, ... points: each point and its weight.
    quadratures: Vec<Vec<(f64, f64)>>,
}

/// The way to a node.
struct Path {
    at: Child,
    /// The distinct columns on it.
    features: Vec<usize>,
    /// Of each of them, the share of the training rows that its splits let through.
    shares: Vec<f64>,
    /// For each pattern, whether each of the columns leads here.
    leads: Vec<bool>,
    /// Each row's pattern.
    patterns: Vec<u16>,
}

impl<'a> Explainer<'a> {
    pub(crate) fn new(trees: &'a Trees, n_features: usize) -> Self {
        let longest = trees.trees.iter().map(|tree| tree.nodes.len().min(n_features)).max().unwrap_or(0);
        let quadratures = (1..=longest.div_ceil(2).min(MAX_POINTS)).map(gauss_legendre).collect();
        Self { trees, n_features, quadratures }
    }

    /// Of one output, from the columns' values in some rows: for each column those of all rows.
    pub(crate) fn contributions(&self, output: usize, columns: &[Vec<f64>], n_rows: usize) -> Vec<f64> {
        let mut contributions = vec![0.0; self.n_features * n_rows];
        for tree in self.trees.trees.iter().skip(output).step_by(self.trees.outputs.max(1)) {
            self.explain(tree, columns, n_rows, &mut contributions);
        }
        contributions
    }

    fn explain(&self, tree: &Tree, columns: &[Vec<f64>], n_rows: usize, contributions: &mut [f64]) {
        let mut left = vec![false; n_rows];
        let mut paths = vec![Path::start(tree, n_rows)];
        while let Some(path) = paths.pop() {
            match path.at {
                Child::Leaf(leaf) => self.add(&path, tree.leaves[leaf].value, n_rows, contributions),
                Child::Node(at) => {
                    let node = &tree.nodes[at];
                    left.iter_mut()
                        .zip(&columns[node.feature])
                        .for_each(|(left, &value)| *left = node.goes_left(value));
                    let share = |child| tree.rows(child) / node.rows;
                    paths.push(path.further(node.left, node.feature, share(node.left), left.iter().copied()));
                    paths.push(path.further(
                        node.right,
                        node.feature,
                        share(node.right),
                        left.iter().map(|left| !left),
                    ));
                }
            }
        }
    }

    /// Adds what a leaf contributes.
    fn add(&self, path: &Path, value: f64, n_rows: usize, contributions: &mut [f64]) {
        let width = path.features.len();
        let Some(most) = self.quadratures.len().checked_sub(1).filter(|_| width > 0) else { return };
        let quadrature = &self.quadratures[most.min(width.div_ceil(2) - 1)];
        let n_patterns = path.leads.len() / width;
        let mut values = vec![0.0; width * n_patterns];
        let (mut factors, mut before) = (vec![0.0; width], vec![0.0; width]);
        for (pattern, leads) in path.leads.chunks_exact(width).enumerate() {
            for &(t, weight) in quadrature {
                let mut product = weight;
                for (at, (&share, &leads)) in path.shares.iter().zip(leads).enumerate() {
                    before[at] = product;
                    factors[at] = share * (1.0 - t) + if leads { t } else { 0.0 };
                    product *= factors[at];
                }
                let mut after = 1.0;
                for at in (0..width).rev() {
                    values[at * n_patterns + pattern] += before[at] * after;
                    after *= factors[at];
                }
            }
            for (at, (&share, &leads)) in path.shares.iter().zip(leads).enumerate() {
                values[at * n_patterns + pattern] *= value * (f64::from(u8::from(leads)) - share);
            }
        }
        for (&feature, values) in path.features.iter().zip(values.chunks_exact(n_patterns)) {
            let contributions = &mut contributions[feature * n_rows..(feature + 1) * n_rows];
            for (contribution, &pattern) in contributions.iter_mut().zip(&path.patterns) {
                *contribution += values[usize::from(pattern)];
            }
        }
    }
}

impl Path {
    fn start(tree: &Tree, n_rows: usize) -> Self {
        let (features, shares, leads) = (Vec::new(), Vec::new(), Vec::new());
        Self { at: tree.root(), features, shares, leads, patterns: vec![0; n_rows] }
    }

    /// Beyond a split.
    fn further(&self, at: Child, feature: usize, share: f64, leads_there: impl Iterator<Item = bool>) -> Self {
        const UNSEEN: u16 = u16::MAX;
        let (mut features, mut shares) = (self.features.clone(), self.shares.clone());
        let width = features.len();
        let slot = features.iter().position(|&known| known == feature).unwrap_or_else(|| {
            features.push(feature);
            shares.push(1.0);
            width
        });
        shares[slot] *= share;
        let mut leads = Vec::with_capacity(self.leads.len() * 2);
        // There are no more patterns than rows of a block.
        let mut numbers = vec![UNSEEN; 2 * self.leads.len().checked_div(width).unwrap_or(1)];
        let mut next = 0;
        let renumber = |(&pattern, leads_there): (&u16, bool)| {
            let number = &mut numbers[2 * usize::from(pattern) + usize::from(leads_there)];
            if *number == UNSEEN {
                *number = next;
                next += 1;
                let first = leads.len();
                leads.extend_from_slice(&self.leads[usize::from(pattern) * width..(usize::from(pattern) + 1) * width]);
                leads.resize(first + features.len(), true);
                leads[first + slot] &= leads_there;
            }
            *number
        };
        let patterns = self.patterns.iter().zip(leads_there).map(renumber).collect();
        Self { at, features, shares, leads, patterns }
    }
}

/// Points and weights on [0, 1], exact for polynomials of degree below twice their number (Newton's method on the Legendre polynomial).
fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    let point = |at: usize| {
        let mut x = (std::f64::consts::PI * (at as f64 + 0.75) / (n as f64 + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..20 {
            let (mut last, mut value) = (1.0, x);
            for degree in 2..=n {
                let degree = degree as f64;
                (last, value) = (value, ((2.0 * degree - 1.0) * x * value - (degree - 1.0) * last) / degree);
            }
            slope = n as f64 * (x * value - last) / (x * x - 1.0);
            x -= value / slope;
        }
        ((1.0 - x) / 2.0, 1.0 / ((1.0 - x * x) * slope * slope))
    };
    (0..n).map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_integrated_exactly() {
        for n in [1, 2, 3, 8, 30] {
            for power in 0..2 * n {
                let integral: f64 = gauss_legendre(n).iter().map(|&(t, weight)| weight * t.powi(power as i32)).sum();
                assert!((integral * (power + 1) as f64 - 1.0).abs() < 1e-13, "{n} points, t^{power}: {integral}");
            }
        }
    }
}
