//! What methods share that ask boosted trees: columns as LightGBM reads them, and its trees as they are.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::str::FromStr;

use rayon::prelude::*;
use retune_estimators::FitOptions;
use retune_estimators::boosting::{self, Columns, Grown};
use retune_spec::estimators::GradientBoosting;
use retune_stage::{Result, StageError, Target};
use serde_json::{from_value, json};

use crate::features::{Feature, Stored};
use crate::judge::Question;

/// Rows of a tile, which stays in the cache while the columns pass.
const TILE: usize = 256;

/// Features as LightGBM reads them: as they are stored, without a matrix.
pub(crate) struct Numbers<'a> {
    columns: Vec<Stored<'a>>,
    /// The rows that are looked at, where it is not all of them.
    rows: Option<&'a [usize]>,
}

impl<'a> Numbers<'a> {
    pub(crate) fn of(features: &[Feature<'a>], rows: Option<&'a [usize]>) -> Result<Self> {
        Ok(Self { columns: features.iter().map(Feature::stored).collect::<Result<_>>()?, rows })
    }

    /// Some rows of columns.
    pub(crate) fn of_slices(columns: impl Iterator<Item = &'a [f64]>, rows: &'a [usize]) -> Self {
        Self { columns: columns.map(|values| Stored::F64(Cow::Borrowed(values))).collect(), rows: Some(rows) }
    }

    fn place(&self, row: usize) -> usize {
        self.rows.map_or(row, |rows| rows[row])
    }
}

impl Columns for Numbers<'_> {
    fn n_rows(&self) -> usize {
        self.rows.map_or_else(|| self.columns.first().map_or(0, Stored::len), <[usize]>::len)
    }

    fn n_columns(&self) -> usize {
        self.columns.len()
    }

    fn at(&self, column: usize, rows: &[usize]) -> Vec<f64> {
        match &self.columns[column] {
            Stored::F64(values) => rows.iter().map(|&row| values[self.place(row)]).collect(),
            Stored::F32(values) => rows.iter().map(|&row| f64::from(values[self.place(row)])).collect(),
        }
    }

    fn block(&self, rows: Range<usize>) -> Vec<f64> {
        let width = self.columns.len();
        let mut block = vec![0.0; rows.len() * width];
        block.par_chunks_mut(TILE * width).enumerate().for_each(|(tile, cells)| {
            let first = rows.start + tile * TILE;
            let places: Vec<usize> = (first..first + cells.len() / width).map(|row| self.place(row)).collect();
            for (at, column) in self.columns.iter().enumerate() {
                let cells = cells.iter_mut().skip(at).step_by(width).zip(&places);
                match column {
                    Stored::F64(values) => cells.for_each(|(cell, &row)| *cell = values[row]),
                    Stored::F32(values) => cells.for_each(|(cell, &row)| *cell = f64::from(values[row])),
                }
            }
        });
        block
    }
}

/// Boosted trees with LightGBM's defaults but for the size.
pub(crate) fn boosted(trees: usize, leaves: usize, learning_rate: f64) -> Result<GradientBoosting> {
    Ok(from_value(json!({ "trees": trees, "leaves": leaves, "learning_rate": learning_rate }))?)
}

/// Grows them on columns.
pub(crate) fn grow(spec: &GradientBoosting, columns: &Numbers, target: &Target, question: &Question) -> Result<Grown> {
    boosting::grow(spec, columns, target, &FitOptions::of(&question.context))
}

/// LightGBM's trees.
pub(crate) struct Trees {
    /// The first of each output, then the second of each ...
    pub(crate) trees: Vec<Tree>,
    pub(crate) outputs: usize,
}

pub(crate) struct Tree {
    /// A node comes after the one above it.
    pub(crate) nodes: Vec<Node>,
    pub(crate) leaves: Vec<Leaf>,
}

pub(crate) struct Node {
    pub(crate) feature: usize,
    /// Values up to it go left.
    pub(crate) threshold: f64,
    pub(crate) missing: Missing,
    /// Where missing values go.
    pub(crate) default_left: bool,
    pub(crate) left: Child,
    pub(crate) right: Child,
    /// The training rows that came by.
    pub(crate) rows: f64,
}

pub(crate) struct Leaf {
    pub(crate) value: f64,
    pub(crate) rows: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    Node(usize),
    Leaf(usize),
}

/// Which values go the default way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// None; NaN counts as 0.
    None,
    /// 0, as which NaN counts.
    Zero,
    Nan,
}

impl Missing {
    /// What a value is compared as; `None` where it is missing.
    pub(crate) fn compared(self, value: f64) -> Option<f64> {
        /// LightGBM's `kZeroThreshold`.
        const ZERO: f64 = 1e-35_f32 as f64;
        let value = if value.is_nan() && self != Self::Nan { 0.0 } else { value };
        let missing = match self {
            Self::None => false,
            Self::Zero => value.abs() <= ZERO,
            Self::Nan => value.is_nan(),
        };
        (!missing).then_some(value)
    }
}

impl Node {
    /// Whether a value goes left.
    pub(crate) fn goes_left(&self, value: f64) -> bool {
        self.missing.compared(value).map_or(self.default_left, |value| value <= self.threshold)
    }
}

impl Tree {
    pub(crate) fn root(&self) -> Child {
        if self.nodes.is_empty() { Child::Leaf(0) } else { Child::Node(0) }
    }

    /// The training rows that came to a node or leaf.
    pub(crate) fn rows(&self, at: Child) -> f64 {
        match at {
            Child::Node(at) => self.nodes[at].rows,
            Child::Leaf(at) => self.leaves[at].rows,
        }
    }
}

impl Trees {
    /// Reads LightGBM's text format. Fails for trees with categories or linear leaves, which are never asked for.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut parts = text.split("\nTree=");
        let outputs = Fields::of(parts.next().unwrap_or_default()).one("num_tree_per_iteration")?;
        let trees = parts.map(|part| Tree::read(&Fields::of(part))).collect::<Result<_>>()?;
        Ok(Self { trees, outputs })
    }
}

/// Lines `key=value`.
struct Fields<'a>(HashMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    fn of(text: &'a str) -> Self {
        Self(text.lines().take_while(|line| *line != "end of trees").filter_map(|line| line.split_once('=')).collect())
    }

    fn all<T: FromStr>(&self, key: &str) -> Result<Vec<T>> {
        let values = self.0.get(key).copied().unwrap_or_default().split_ascii_whitespace();
        values.map(str::parse).collect::<Result<_, _>>().map_err(|_| unreadable(key))
    }

    fn one<T: FromStr>(&self, key: &str) -> Result<T> {
        self.all(key)?.into_iter().next().ok_or_else(|| unreadable(key))
    }
}

fn unreadable(what: &str) -> StageError {
    StageError::failed(format!("LightGBM wrote trees that are not understood: `{what}`"))
}

impl Tree {
    fn read(fields: &Fields) -> Result<Self> {
        let n_leaves: usize = fields.one("num_leaves")?;
        if n_leaves == 0 || fields.one::<usize>("num_cat")? > 0 || fields.one::<usize>("is_linear")? > 0 {
            return Err(unreadable("num_cat, is_linear"));
        }
        let n_nodes = n_leaves - 1;
        let child = |at: usize, child: isize| match usize::try_from(child) {
            Ok(child) if child > at && child < n_nodes => Ok(Child::Node(child)),
            Err(_) if !child < n_leaves.cast_signed() => Ok(Child::Leaf((!child).cast_unsigned())),
            _ => Err(unreadable("left_child, right_child")),
        };
        let features: Vec<usize> = fields.all("split_feature")?;
        let (thresholds, decisions): (Vec<f64>, Vec<u8>) = (fields.all("threshold")?, fields.all("decision_type")?);
        let (left, right): (Vec<isize>, Vec<isize>) = (fields.all("left_child")?, fields.all("right_child")?);
        let rows: Vec<f64> = fields.all("internal_count")?;
        let lens = [features.len(), thresholds.len(), decisions.len(), left.len(), right.len(), rows.len()];
        let (values, leaf_rows): (Vec<f64>, Vec<f64>) = (fields.all("leaf_value")?, fields.all("leaf_count")?);
        if lens.into_iter().any(|len| len != n_nodes) || values.len() != n_leaves {
            return Err(unreadable("num_leaves"));
        }
        let node = |at: usize| {
            let missing = match decisions[at] >> 2 & 3 {
                0 => Missing::None,
                1 => Missing::Zero,
                2 => Missing::Nan,
                _ => return Err(unreadable("decision_type")),
            };
            let (left, right) = (child(at, left[at])?, child(at, right[at])?);
            let default_left = decisions[at] & 2 > 0;
            let (feature, threshold, rows) = (features[at], thresholds[at], rows[at]);
            Ok(Node { feature, threshold, missing, default_left, left, right, rows })
        };
        let nodes = (0..n_nodes).map(node).collect::<Result<_>>()?;
        // The only leaf of a tree comes without its rows.
        let leaf = |(at, value): (usize, f64)| Leaf { value, rows: leaf_rows.get(at).copied().unwrap_or(0.0) };
        Ok(Self { nodes, leaves: values.into_iter().enumerate().map(leaf).collect() })
    }
}
