//! Decision trees and forests of them (Breiman 2001; Geurts et al. 2006), with scikit-learn's rules.
//!
//! Columns are cut into bins once, and the rows of a node are counted by bins, or sorted by them where bins are many more. A single tree has a bin for each value,
//! which makes its splits exact; forests have at most [`columns::BINS`] of a column.

mod columns;
mod grow;
mod nodes;
mod split;

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use retune_metrics::Prediction;
use retune_spec::estimators::{
    ClassWeight, Criterion, DecisionTree, ExtraTrees, FeatureRule, MaxFeatures, RandomForest,
};
use retune_stage::{Design, LoadDir, Result, SaveDir, StageError, Task};
use serde::{Deserialize, Serialize};

use crate::family::{Family, Learned};
use crate::rows::{check_width, class_weights, row_weights};
use crate::{FitInfo, FitOptions};
pub use columns::{BINS, Binned};
pub use grow::{Forest, Recipe, Thresholds, Told};
use nodes::{NODE_BYTES, Node, Tree, n_outputs};

/// One or more decision trees.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedForest {
    n_features: usize,
    /// How many labels there are; `None` for values.
    n_classes: Option<usize>,
    trees: Vec<Tree>,
}

/// What `forest.json` says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    n_features: usize,
    n_classes: Option<usize>,
    /// The nodes of each tree in `nodes.bin`, which holds 16 bytes of each: threshold (f64), feature (u32) and child (u32), little-endian.
    nodes: Vec<usize>,
    /// The probabilities of each tree in `leaves.bin`, which holds them as f64, little-endian.
    probabilities: Vec<usize>,
}

/// Rows that go through a tree together.
const BLOCK_ROWS: usize = 256;

impl FittedForest {
    /// The means of the trees [rows, outputs].
    fn means(&self, features: ArrayView2<f64>) -> Result<Array2<f64>> {
        check_width(features, self.n_features)?;
        let n_outputs = n_outputs(self.n_classes);
        let mut means = Array2::zeros((features.nrows(), n_outputs));
        let blocks = means.axis_chunks_iter_mut(Axis(0), BLOCK_ROWS).into_par_iter();
        blocks.zip(features.axis_chunks_iter(Axis(0), BLOCK_ROWS)).for_each(|(mut means, rows)| {
            let rows = rows.as_standard_layout();
            let (Some(cells), Some(sums)) = (rows.as_slice(), means.as_slice_mut()) else { return };
            for tree in &self.trees {
                tree.add(cells.chunks_exact(self.n_features), sums, n_outputs);
            }
            sums.iter_mut().for_each(|sum| *sum /= self.trees.len() as f64);
        });
        Ok(means)
    }
}

impl Learned for FittedForest {
    fn predict(&self, features: ArrayView2<f64>) -> Result<Prediction> {
        let means = self.means(features)?;
        Ok(match self.n_classes {
            None => Prediction::Values(means.into_raw_vec_and_offset().0),
            Some(2) => Prediction::Probabilities(Array2::from_shape_fn((means.nrows(), 2), |(row, code)| {
                if code == 1 { means[[row, 0]] } else { 1.0 - means[[row, 0]] }
            })),
            Some(_) => Prediction::Probabilities(means),
        })
    }

    fn describe(&self) -> String {
        let leaves: usize = self.trees.iter().map(Tree::n_leaves).sum();
        match &self.trees[..] {
            [tree] => format!("a tree of {leaves} leaves and depth {}", tree.depth()),
            trees => format!("{} trees of {} leaves on average", trees.len(), leaves / trees.len().max(1)),
        }
    }

    fn size(&self) -> usize {
        self.trees.iter().map(|tree| 2 * tree.nodes.len() + tree.leaves.len()).sum()
    }

    fn save(&self, dir: &SaveDir) -> Result<()> {
        let Self { n_features, n_classes, trees } = self;
        dir.json(
            "forest.json",
            &Card {
                n_features: *n_features,
                n_classes: *n_classes,
                nodes: trees.iter().map(|tree| tree.nodes.len()).collect(),
                probabilities: trees.iter().map(|tree| tree.leaves.len()).collect(),
            },
        )?;
        let nodes: Vec<u8> = trees.iter().flat_map(|tree| &tree.nodes).flat_map(|node| node.to_bytes()).collect();
        dir.bytes("nodes.bin", &nodes)?;
        let leaves: Vec<u8> =
            trees.iter().flat_map(|tree| &tree.leaves).flat_map(|value| value.to_le_bytes()).collect();
        dir.bytes("leaves.bin", &leaves)
    }

    fn load(dir: &LoadDir) -> Result<Self> {
        let Card { n_features, n_classes, nodes, probabilities } = dir.json("forest.json")?;
        let broken =
            |reason: &str| StageError::failed(format!("the forest is damaged: {reason}")).help("train the model again");
        if nodes.is_empty() || nodes.len() != probabilities.len() || n_classes == Some(0) {
            return Err(broken("forest.json names no trees or no labels"));
        }
        let (node_bytes, leaf_bytes) = (dir.bytes("nodes.bin")?, dir.bytes("leaves.bin")?);
        let all_nodes: Vec<Node> = node_bytes.as_chunks::<NODE_BYTES>().0.iter().map(Node::of_bytes).collect();
        let all_leaves: Vec<f64> =
            leaf_bytes.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        let mut forest = Self { n_features, n_classes, trees: Vec::with_capacity(nodes.len()) };
        let (mut rest_nodes, mut rest_leaves) = (&all_nodes[..], &all_leaves[..]);
        for (index, (n_nodes, n_probabilities)) in nodes.into_iter().zip(probabilities).enumerate() {
            let (Some((nodes, later_nodes)), Some((leaves, later_leaves))) =
                (rest_nodes.split_at_checked(n_nodes), rest_leaves.split_at_checked(n_probabilities))
            else {
                return Err(broken("nodes.bin or leaves.bin is shorter than forest.json says"));
            };
            (rest_nodes, rest_leaves) = (later_nodes, later_leaves);
            let tree = Tree { nodes: nodes.to_vec(), leaves: leaves.to_vec() };
            tree.check(n_features, n_classes)
                .map_err(|error| broken(&format!("tree {} {}", index + 1, error.message)))?;
            forest.trees.push(tree);
        }
        if rest_nodes.is_empty() && rest_leaves.is_empty() && node_bytes.len() % NODE_BYTES + leaf_bytes.len() % 8 == 0
        {
            Ok(forest)
        } else {
            Err(broken("nodes.bin or leaves.bin is longer than forest.json says"))
        }
    }
}

/// What the families have in common.
struct Plan<'a> {
    word: &'a str,
    criterion: Option<Criterion>,
    max_features: MaxFeatures,
    class_weight: ClassWeight,
    /// The most bins of a column.
    bins: usize,
    /// All but the criterion and the columns tried.
    recipe: Recipe,
}

impl Plan<'_> {
    fn learn(self, rows: &Design, options: &FitOptions) -> Result<(FittedForest, FitInfo)> {
        let told = Told::of(rows.target()?);
        let n_classes = match told {
            Told::Values(..) => None,
            Told::Classes(_, n_classes) => Some(n_classes),
        };
        let criterion = self.criterion(n_classes.is_some())?;
        let n_features = rows.features.ncols();
        let weights = row_weights(rows, class_weights(self.class_weight, rows)?.as_deref())?;
        let columns = Binned::of_matrix(rows.features.view(), self.bins);
        let n_tried = n_tried(self.max_features, n_features);
        let forest = Forest {
            columns: columns.iter().collect(),
            told: &told,
            weights: weights.as_deref(),
            recipe: Recipe { criterion, n_tried, ..self.recipe },
        };
        let trees = forest.grow(options.seed, options.progress)?;
        Ok((FittedForest { n_features, n_classes, trees }, FitInfo::default()))
    }

    fn criterion(&self, is_classification: bool) -> Result<Criterion> {
        match (self.criterion, is_classification) {
            (None, true) => Ok(Criterion::Gini),
            (None, false) => Ok(Criterion::SquaredError),
            (Some(criterion), _) if (criterion != Criterion::SquaredError) == is_classification => Ok(criterion),
            (Some(_), true) => {
                Err(StageError::data(format!("{} of labels has no criterion `squared_error`", self.word))
                    .help("use `gini` or `entropy`"))
            }
            (Some(_), false) => {
                Err(StageError::data(format!("{} of values has the criterion `squared_error` only", self.word))
                    .help("leave `criterion` out"))
            }
        }
    }
}

/// The columns that are looked at for a split.
fn n_tried(max_features: MaxFeatures, n_features: usize) -> usize {
    let n_features = n_features as f64;
    let tried = match max_features {
        MaxFeatures::Rule(FeatureRule::All) => n_features,
        MaxFeatures::Rule(FeatureRule::Sqrt) => n_features.sqrt(),
        MaxFeatures::Rule(FeatureRule::Log2) => n_features.log2(),
        MaxFeatures::Share(share) => share * n_features,
    };
    (tried as usize).max(1)
}

impl Family for DecisionTree {
    type Learned = FittedForest;

    fn learn(&self, rows: &Design, _task: &Task, options: &FitOptions) -> Result<(FittedForest, FitInfo)> {
        let plan = Plan {
            word: "decision_tree",
            criterion: self.criterion,
            max_features: self.max_features,
            class_weight: self.class_weight,
            bins: usize::MAX,
            recipe: Recipe {
                trees: 1,
                criterion: Criterion::Gini,
                thresholds: Thresholds::Best,
                max_depth: self.max_depth,
                min_rows_to_split: self.min_rows_to_split,
                min_rows: self.min_rows,
                n_tried: 1,
                bootstrap: false,
            },
        };
        plan.learn(rows, options)
    }
}

macro_rules! forest {
    ($family:ident, $word:literal, $thresholds:ident) => {
        impl Family for $family {
            type Learned = FittedForest;

            fn learn(&self, rows: &Design, task: &Task, options: &FitOptions) -> Result<(FittedForest, FitInfo)> {
                let usual = match task {
                    Task::Classification { .. } => FeatureRule::Sqrt,
                    Task::Regression => FeatureRule::All,
                };
                let plan = Plan {
                    word: $word,
                    criterion: self.criterion,
                    max_features: self.max_features.unwrap_or(MaxFeatures::Rule(usual)),
                    class_weight: self.class_weight,
                    bins: BINS,
                    recipe: Recipe {
                        trees: self.trees,
                        criterion: Criterion::Gini,
                        thresholds: Thresholds::$thresholds,
                        max_depth: self.max_depth,
                        min_rows_to_split: self.min_rows_to_split,
                        min_rows: self.min_rows,
                        n_tried: 1,
                        bootstrap: self.bootstrap,
                    },
                };
                plan.learn(rows, options)
            }
        }
    };
}

forest!(RandomForest, "random_forest", Best);
forest!(ExtraTrees, "extra_trees", Random);
