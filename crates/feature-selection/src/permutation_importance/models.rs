//! Models that say quickly what a shuffled column makes of their predictions.

use std::collections::BTreeMap;

use ndarray::Array2;
use rayon::prelude::*;
use retune_estimators::boosting::Columns;
use retune_metrics::Prediction;
use retune_stage::{Fold, Result, StageError, Target};

use crate::features::Feature;
use crate::judge::Question;
use crate::linear_coefficients;
use crate::trees::{self, Child, Missing, Numbers, Tree, boosted, grow};

/// LightGBM's defaults.
const ROUNDS: usize = 100;
const LEAVES: usize = 31;
const LEARNING_RATE: f64 = 0.1;

/// Rows that are looked at together.
const TILE: usize = 256;

/// A model, and its raw scores of the held-out rows [rows, outputs].
pub(super) trait Model: Sync {
    fn base(&self) -> &[f64];

    /// What raw scores mean.
    fn prediction(&self, raw: Vec<f64>) -> Prediction;

    /// Whether it looks at a column.
    fn uses(&self, column: usize) -> bool;

    /// The raw scores with a column in other orders of its rows.
    fn shuffled(&self, column: usize, orders: &[Vec<u32>]) -> Result<Vec<Vec<f64>>>;
}

/// What turns raw scores into predictions.
enum Link {
    Values,
    /// The label with score 0 and the one that the score is for.
    Sigmoid([u32; 2], usize),
    /// The labels with a score.
    Softmax(Vec<u32>, usize),
}

impl Link {
    fn of(target: &Target, labels: impl IntoIterator<Item = u32>) -> Self {
        let Target::Classes { n_classes, .. } = target else { return Self::Values };
        match labels.into_iter().collect::<Vec<u32>>().as_slice() {
            &[first, second] => Self::Sigmoid([first, second], *n_classes),
            labels => Self::Softmax(labels.to_vec(), *n_classes),
        }
    }

    fn outputs(&self) -> usize {
        match self {
            Self::Values | Self::Sigmoid(..) => 1,
            Self::Softmax(labels, _) => labels.len(),
        }
    }

    fn prediction(&self, raw: Vec<f64>) -> Prediction {
        match self {
            Self::Values => Prediction::Values(raw),
            Self::Sigmoid([first, second], n_classes) => {
                let mut probabilities = Array2::zeros((raw.len(), *n_classes));
                for (mut row, score) in probabilities.rows_mut().into_iter().zip(raw) {
                    let probability = 1.0 / (1.0 + (-score).exp());
                    row[*first as usize] = 1.0 - probability;
                    row[*second as usize] = probability;
                }
                Prediction::Probabilities(probabilities)
            }
            Self::Softmax(labels, n_classes) => {
                let rows = raw.chunks_exact(labels.len());
                let mut probabilities = Array2::zeros((rows.len(), *n_classes));
                for (mut row, scores) in probabilities.rows_mut().into_iter().zip(rows) {
                    let greatest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let sum: f64 = scores.iter().map(|score| (score - greatest).exp()).sum();
                    for (&label, score) in labels.iter().zip(scores) {
                        row[label as usize] = (score - greatest).exp() / sum;
                    }
                }
                Prediction::Probabilities(probabilities)
            }
        }
    }
}

/// A linear model on standardised columns.
pub(super) struct Linear<'a> {
    model: linear_coefficients::Linear,
    held_out: Numbers<'a>,
    rows: Vec<usize>,
    base: Vec<f64>,
    link: Link,
}

impl<'a> Linear<'a> {
    pub(super) fn fit(features: &[Feature<'a>], fold: &'a Fold, target: &Target, question: &Question) -> Result<Self> {
        let learned = Numbers::of(features, Some(&fold.train))?;
        let model = linear_coefficients::Linear::fit(&learned, target, 1.0, question)?;
        let seen = match target {
            Target::Classes { codes, .. } => codes.iter().copied().collect::<std::collections::BTreeSet<u32>>(),
            Target::Values(_) => [].into(),
        };
        let link = Link::of(target, seen);
        let held_out = Numbers::of(features, Some(&fold.validation))?;
        let base = model.intercepts.repeat(fold.validation.len());
        let mut fitted = Self { model, held_out, rows: (0..fold.validation.len()).collect(), base, link };
        for column in 0..features.len() {
            let values = fitted.values(column);
            let coefficients = fitted.model.coefficients.column(column);
            for (raw, value) in fitted.base.chunks_exact_mut(coefficients.len()).zip(values) {
                raw.iter_mut().zip(coefficients).for_each(|(raw, coefficient)| *raw += coefficient * value);
            }
        }
        Ok(fitted)
    }

    fn values(&self, column: usize) -> Vec<f64> {
        let scale = self.model.scales[column];
        self.held_out.at(column, &self.rows).into_iter().map(|value| scale.turn(value)).collect()
    }
}

impl Model for Linear<'_> {
    fn base(&self) -> &[f64] {
        &self.base
    }

    fn prediction(&self, raw: Vec<f64>) -> Prediction {
        self.link.prediction(raw)
    }

    fn uses(&self, column: usize) -> bool {
        self.model.coefficients.column(column).iter().any(|&coefficient| coefficient != 0.0)
    }

    fn shuffled(&self, column: usize, orders: &[Vec<u32>]) -> Result<Vec<Vec<f64>>> {
        let values = self.values(column);
        let coefficients = self.model.coefficients.column(column);
        let shuffled = |order: &Vec<u32>| {
            let mut raw = self.base.clone();
            for ((raw, &from), value) in raw.chunks_exact_mut(coefficients.len()).zip(order).zip(&values) {
                let change = values[from as usize] - value;
                raw.iter_mut().zip(coefficients).for_each(|(raw, coefficient)| *raw += coefficient * change);
            }
            raw
        };
        Ok(orders.iter().map(shuffled).collect())
    }
}

/// Boosted trees, on held-out rows whose values are numbers of intervals between thresholds.
pub(super) struct Trees {
    trees: Vec<Compiled>,
    link: Link,
    /// How many columns the trees look at.
    width: usize,
    /// Where a column is among them.
    places: Vec<Option<usize>>,
    /// [rows, columns that are looked at]: 0 for what goes the default way.
    codes: Vec<u16>,
    /// For each tree, each row's leaf.
    leaves: Vec<u8>,
    base: Vec<f64>,
    /// For each column that is looked at: the trees that do, and of each of their leaves the first such node on its path.
    looked_at: Vec<Vec<(usize, Vec<Option<u8>>)>>,
}

struct Compiled {
    nodes: Vec<Step>,
    values: Vec<f64>,
}

/// A node: codes from `low` to `low + most` go to the first of `next`.
struct Step {
    column: u32,
    low: u16,
    most: u16,
    next: [u8; 2],
}

/// In `next`, numbers from here on are leaves.
const LEAF: u8 = 128;

/// The thresholds of each column that trees look at, ascending, and which of its values go the default way.
type Thresholds = BTreeMap<usize, (Vec<f64>, Missing)>;

fn thresholds(trees: &trees::Trees) -> Result<Thresholds> {
    let mut thresholds = Thresholds::new();
    for node in trees.trees.iter().flat_map(|tree| &tree.nodes) {
        let (thresholds, missing) = thresholds.entry(node.feature).or_insert((Vec::new(), node.missing));
        if *missing != node.missing {
            return Err(StageError::failed("LightGBM took missing values of a column in two ways"));
        }
        thresholds.push(node.threshold);
    }
    for (thresholds, _) in thresholds.values_mut() {
        thresholds.sort_by(f64::total_cmp);
        thresholds.dedup();
    }
    Ok(thresholds)
}

impl Compiled {
    fn new(tree: &Tree, thresholds: &Thresholds, places: &[Option<usize>]) -> Self {
        let next = |child| match child {
            Child::Node(at) => at as u8,
            Child::Leaf(at) => LEAF + at as u8,
        };
        let step = |node: &trees::Node| {
            let below = thresholds[&node.feature].0.partition_point(|threshold| *threshold < node.threshold) as u16;
            let low = u16::from(!node.default_left);
            let column = places[node.feature].unwrap_or_default() as u32;
            Step { column, low, most: below + 1 - low, next: [next(node.left), next(node.right)] }
        };
        Self {
            nodes: tree.nodes.iter().map(step).collect(),
            values: tree.leaves.iter().map(|leaf| leaf.value).collect(),
        }
    }

    fn root(&self) -> u8 {
        if self.nodes.is_empty() { LEAF } else { 0 }
    }

    /// The leaf below a node.
    fn leaf(&self, from: u8, code: impl Fn(u32) -> u16) -> u8 {
        let mut at = from;
        while at < LEAF {
            let step = &self.nodes[usize::from(at)];
            at = step.next[usize::from(code(step.column).wrapping_sub(step.low) > step.most)];
        }
        at - LEAF
    }

    /// For each column that the tree looks at, the first such node on the path to each leaf.
    fn first_looks(&self) -> BTreeMap<u32, Vec<Option<u8>>> {
        let mut looks: BTreeMap<u32, Vec<Option<u8>>> = BTreeMap::new();
        let mut paths = vec![(self.root(), Vec::new())];
        while let Some((at, path)) = paths.pop() {
            if at < LEAF {
                let step = &self.nodes[usize::from(at)];
                let path: Vec<(u32, u8)> = path.iter().copied().chain([(step.column, at)]).collect();
                paths.extend(step.next.map(|next| (next, path.clone())));
            } else {
                for &(column, node) in path.iter().rev() {
                    let first = looks.entry(column).or_insert_with(|| vec![None; self.values.len()]);
                    first[usize::from(at - LEAF)] = Some(node);
                }
            }
        }
        looks
    }
}

impl Trees {
    pub(super) fn fit(features: &[Feature], fold: &Fold, target: &Target, question: &Question) -> Result<Self> {
        let spec = boosted(ROUNDS, LEAVES, LEARNING_RATE)?;
        let grown = grow(&spec, &Numbers::of(features, Some(&fold.train))?, target, question)?;
        let trees = trees::Trees::read(&grown.text()?)?;
        drop(grown);
        let n_classes = match target {
            Target::Classes { n_classes, .. } => *n_classes as u32,
            Target::Values(_) => 0,
        };
        Self::compile(&trees, Link::of(target, 0..n_classes), &Numbers::of(features, Some(&fold.validation))?)
    }

    fn compile(trees: &trees::Trees, link: Link, held_out: &Numbers) -> Result<Self> {
        let thresholds = thresholds(trees)?;
        let fits = trees.trees.iter().all(|tree| tree.leaves.len() <= usize::from(u8::MAX - LEAF));
        if !fits || thresholds.values().any(|(thresholds, _)| thresholds.len() >= usize::from(u16::MAX)) {
            return Err(StageError::failed("LightGBM grew larger trees than were asked for"));
        }
        let width = thresholds.len();
        let mut places = vec![None; held_out.n_columns()];
        thresholds.keys().enumerate().for_each(|(place, &column)| places[column] = Some(place));
        let compiled: Vec<Compiled> =
            trees.trees.iter().map(|tree| Compiled::new(tree, &thresholds, &places)).collect();
        let n_rows = held_out.n_rows();
        let mut codes = vec![0; n_rows * width];
        codes.par_chunks_mut((TILE * width).max(1)).enumerate().for_each(|(tile, codes)| {
            let rows: Vec<usize> = (tile * TILE..tile * TILE + codes.len() / width).collect();
            for (place, (&column, (thresholds, missing))) in thresholds.iter().enumerate() {
                let code = |value| {
                    let below = |value| thresholds.partition_point(|threshold| *threshold < value) as u16 + 1;
                    missing.compared(value).map_or(0, below)
                };
                let codes = codes.iter_mut().skip(place).step_by(width);
                codes.zip(held_out.at(column, &rows)).for_each(|(to, value)| *to = code(value));
            }
        });
        let mut leaves = vec![0; n_rows * compiled.len()];
        leaves.par_chunks_mut(n_rows.max(1)).zip(&compiled).for_each(|(leaves, tree)| {
            for (row, leaf) in leaves.iter_mut().enumerate() {
                *leaf = tree.leaf(tree.root(), |column| codes[row * width + column as usize]);
            }
        });
        let outputs = link.outputs();
        let mut base = vec![0.0; n_rows * outputs];
        base.par_chunks_mut(TILE * outputs).enumerate().for_each(|(tile, base)| {
            for (at, tree) in compiled.iter().enumerate() {
                let first = at * n_rows + tile * TILE;
                let raw = base.iter_mut().skip(at % outputs).step_by(outputs);
                raw.zip(&leaves[first..]).for_each(|(raw, &leaf)| *raw += tree.values[usize::from(leaf)]);
            }
        });
        let mut looked_at = vec![Vec::new(); width];
        for (at, tree) in compiled.iter().enumerate() {
            tree.first_looks().into_iter().for_each(|(column, first)| looked_at[column as usize].push((at, first)));
        }
        Ok(Self { trees: compiled, link, width, places, codes, leaves, base, looked_at })
    }
}

impl Model for Trees {
    fn base(&self) -> &[f64] {
        &self.base
    }

    fn prediction(&self, raw: Vec<f64>) -> Prediction {
        self.link.prediction(raw)
    }

    fn uses(&self, column: usize) -> bool {
        self.places[column].is_some()
    }

    fn shuffled(&self, column: usize, orders: &[Vec<u32>]) -> Result<Vec<Vec<f64>>> {
        let mut raw = vec![self.base.clone(); orders.len()];
        let Some(place) = self.places[column] else { return Ok(raw) };
        let (outputs, n_rows) = (self.link.outputs(), self.base.len() / self.link.outputs());
        let code = |row: usize| self.codes[row * self.width + place];
        // Of each row one after the other.
        let shuffled: Vec<u16> =
            (0..n_rows).flat_map(|row| orders.iter().map(move |order| code(order[row] as usize))).collect();
        for (at, first) in &self.looked_at[place] {
            let (tree, output) = (&self.trees[*at], at % outputs);
            let leaves = &self.leaves[at * n_rows..(at + 1) * n_rows];
            for ((row, &leaf), shuffled) in leaves.iter().enumerate().zip(shuffled.chunks_exact(orders.len())) {
                let Some(from) = first[usize::from(leaf)] else { continue };
                let codes = &self.codes[row * self.width..(row + 1) * self.width];
                for (raw, &new) in raw.iter_mut().zip(shuffled) {
                    let code = |column: u32| if column as usize == place { new } else { codes[column as usize] };
                    let now = tree.leaf(from, code);
                    if now != leaf {
                        raw[row * outputs + output] += tree.values[usize::from(now)] - tree.values[usize::from(leaf)];
                    }
                }
            }
        }
        Ok(raw)
    }
}
