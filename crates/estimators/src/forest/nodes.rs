//! Trees as they are kept: nodes of 16 bytes.

use std::collections::HashMap;

use retune_stage::{Result, StageError};

/// The feature of what is no split.
const LEAF: u32 = u32::MAX >> 1;
/// The bit of `feature` that says where missing values go.
const MISSING_LEFT: u32 = 1 << 31;
/// Bytes of a node in a file.
pub(super) const NODE_BYTES: usize = 16;

/// A split, or a leaf.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Node {
    /// Of a split: what is not above it goes left. Of a leaf: its value, or the probability of the second of two labels.
    threshold: f64,
    /// The column and [`MISSING_LEFT`], or [`LEAF`].
    feature: u32,
    /// Of a split: the child on the left, before that on the right. Of a leaf: its place among the probabilities of more than two labels.
    child: u32,
}

/// A tree; the first node is the root, and children come after their parents.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    /// The different probabilities of leaves [leaves, labels] where there are more than two labels.
    pub(super) leaves: Vec<f64>,
}

/// What goes where in a split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rule {
    pub(super) feature: u32,
    pub(super) threshold: f64,
    pub(super) missing_left: bool,
}

impl Node {
    pub(super) fn to_bytes(self) -> [u8; NODE_BYTES] {
        let mut bytes = [0; NODE_BYTES];
        bytes[..8].copy_from_slice(&self.threshold.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.feature.to_le_bytes());
        bytes[12..].copy_from_slice(&self.child.to_le_bytes());
        bytes
    }

    pub(super) fn of_bytes(&[a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]: &[u8; NODE_BYTES]) -> Self {
        Self {
            threshold: f64::from_le_bytes([a, b, c, d, e, f, g, h]),
            feature: u32::from_le_bytes([i, j, k, l]),
            child: u32::from_le_bytes([m, n, o, p]),
        }
    }

    fn column(self) -> u32 {
        self.feature & LEAF
    }

    pub(super) fn is_leaf(self) -> bool {
        self.column() == LEAF
    }

    fn next(self, row: &[f64]) -> usize {
        let value = row[self.column() as usize];
        let left = if value.is_nan() { self.feature & MISSING_LEFT != 0 } else { value <= self.threshold };
        self.child as usize + usize::from(!left)
    }
}

impl Tree {
    /// A place for a node that [`Tree::split`] or [`Tree::leaf`] fills.
    pub(super) fn open(&mut self) -> usize {
        self.nodes.push(Node { threshold: 0.0, feature: LEAF, child: 0 });
        self.nodes.len() - 1
    }

    /// Makes a node a split. Returns its child on the left, before that on the right.
    pub(super) fn split(&mut self, node: usize, rule: Rule) -> usize {
        let left = self.open();
        self.open();
        let feature = rule.feature | if rule.missing_left { MISSING_LEFT } else { 0 };
        self.nodes[node] = Node { threshold: rule.threshold, feature, child: left as u32 };
        left
    }

    /// Makes a node a leaf with one number.
    pub(super) fn leaf(&mut self, node: usize, value: f64) {
        self.nodes[node] = Node { threshold: value, feature: LEAF, child: 0 };
    }

    /// Makes a node a leaf with the probabilities of more than two labels; equal ones, such as those of one label only, are kept once.
    pub(super) fn leaf_of_many(&mut self, node: usize, probabilities: Vec<f64>, known: &mut HashMap<Vec<u64>, u32>) {
        let place = known.len() as u32;
        let child = *known.entry(probabilities.iter().map(|value| value.to_bits()).collect()).or_insert(place);
        if child == place {
            self.leaves.extend(probabilities);
        }
        self.nodes[node] = Node { threshold: 0.0, feature: LEAF, child };
    }

    /// Adds what the leaf of each row says to the row's sums [rows, outputs].
    pub(super) fn add<'a>(&self, rows: impl Iterator<Item = &'a [f64]>, sums: &mut [f64], n_outputs: usize) {
        for (row, sums) in rows.zip(sums.chunks_exact_mut(n_outputs)) {
            let mut node = self.nodes[0];
            while !node.is_leaf() {
                node = self.nodes[node.next(row)];
            }
            match sums {
                [sum] => *sum += node.threshold,
                _ => {
                    let probabilities = &self.leaves[node.child as usize * n_outputs..][..n_outputs];
                    sums.iter_mut().zip(probabilities).for_each(|(sum, probability)| *sum += probability);
                }
            }
        }
    }

    pub(super) fn n_leaves(&self) -> usize {
        self.nodes.len().div_ceil(2)
    }

    pub(super) fn depth(&self) -> usize {
        let mut depths = vec![0_usize; self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| !node.is_leaf()) {
            let below = depths[at] + 1;
            depths[node.child as usize..][..2].fill(below);
        }
        depths.into_iter().max().unwrap_or(0)
    }

    /// Fails where a file holds what no tree is: a prediction would go beyond the nodes, or round and round.
    pub(super) fn check(&self, n_features: usize, n_classes: Option<usize>) -> Result<()> {
        let n_outputs = n_outputs(n_classes);
        let probable = |value: &f64| (0.0..=1.0).contains(value);
        if !self.leaves.len().is_multiple_of(n_outputs) || !self.leaves.iter().all(probable) {
            return Err(StageError::failed("has a leaf without probabilities"));
        }
        let n_leaves = self.leaves.len() / n_outputs;
        let mut reached = vec![false; self.nodes.len()];
        if let Some(root) = reached.first_mut() {
            *root = true;
        }
        for (at, node) in self.nodes.iter().enumerate() {
            let child = node.child as usize;
            let is_sound = if node.is_leaf() {
                match n_classes {
                    None => node.threshold.is_finite(),
                    Some(2) => probable(&node.threshold),
                    Some(_) => child < n_leaves,
                }
            } else {
                let children = reached.get_mut(child..).and_then(|rest| rest.get_mut(..2));
                // A child before its parent or of two parents could lead back.
                let is_first =
                    |children: &mut [bool]| children.iter_mut().all(|reached| !std::mem::replace(reached, true));
                let is_tree = child > at && children.is_some_and(is_first);
                is_tree && (node.column() as usize) < n_features && !node.threshold.is_nan()
            };
            if !is_sound {
                return Err(StageError::failed(format!("has the node {at} that no tree has: {node:?}")));
            }
        }
        if reached.contains(&false) || reached.is_empty() {
            return Err(StageError::failed("has nodes without a parent, or none"));
        }
        Ok(())
    }
}

/// The numbers of a leaf: one value, the probability of the second of two labels, or those of all labels.
pub(super) fn n_outputs(n_classes: Option<usize>) -> usize {
    n_classes.map_or(1, |n_classes| if n_classes == 2 { 1 } else { n_classes })
}
