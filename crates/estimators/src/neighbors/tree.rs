//! A tree of boxes (Bentley, Multidimensional binary search trees, 1975): fast where columns are few or follow from few.

use std::marker::PhantomData;

use retune_table::neighbours::Nearest;

/// Rows of a leaf, of which all are looked at together.
const LEAF: usize = 32;

/// What a distance is the sum of.
pub(super) trait Term {
    /// Of the difference in one column; it never falls where the difference grows.
    fn of(apart: f64) -> f64;
}

/// Squared differences.
pub(super) struct Squares;

impl Term for Squares {
    fn of(apart: f64) -> f64 {
        apart * apart
    }
}

/// Sizes of differences.
pub(super) struct Absolutes;

impl Term for Absolutes {
    fn of(apart: f64) -> f64 {
        apart.abs()
    }
}

/// Rows in a tree. Node `i` halves its rows between the nodes `2 i + 1` and `2 i + 2`.
///
/// A row in a box is never nearer than the box, not even by rounding: the difference in each column is at least that of the box, which rounding keeps so, and
/// both are summed in the same order.
pub(super) struct Tree<T> {
    n_columns: usize,
    /// The numbers of the rows, leaf after leaf.
    rows: Vec<usize>,
    /// The values of the rows, leaf after leaf; within one column after column.
    values: Vec<f64>,
    /// The least and the greatest value of each column, node after node.
    boxes: Vec<(f64, f64)>,
    term: PhantomData<T>,
}

/// Rows of a node: those of `Tree::rows` from `start` to `end`.
#[derive(Clone, Copy)]
struct Node {
    number: usize,
    start: usize,
    end: usize,
}

impl Node {
    fn is_leaf(self) -> bool {
        self.end - self.start <= LEAF
    }

    fn halves(self) -> [Self; 2] {
        let middle = self.start + (self.end - self.start) / 2;
        [
            Self { number: 2 * self.number + 1, end: middle, ..self },
            Self { number: 2 * self.number + 2, start: middle, ..self },
        ]
    }
}

impl<T: Term> Tree<T> {
    /// Of values in row order.
    pub(super) fn new(cells: &[f64], n_columns: usize) -> Self {
        let rows: Vec<usize> = (0..cells.len() / n_columns).collect();
        let values = Vec::with_capacity(cells.len());
        let mut tree = Self { n_columns, rows, values, boxes: Vec::new(), term: PhantomData };
        tree.grow(tree.root(), cells);
        tree
    }

    fn root(&self) -> Node {
        Node { number: 0, start: 0, end: self.rows.len() }
    }

    /// Halves a node's rows along the widest side of their box, down to the leaves.
    fn grow(&mut self, node: Node, cells: &[f64]) {
        let n_columns = self.n_columns;
        let rows = &mut self.rows[node.start..node.end];
        let mut bounds = vec![(f64::INFINITY, f64::NEG_INFINITY); n_columns];
        for &row in rows.iter() {
            let values = &cells[row * n_columns..(row + 1) * n_columns];
            bounds.iter_mut().zip(values).for_each(|((least, greatest), value)| {
                *least = least.min(*value);
                *greatest = greatest.max(*value);
            });
        }
        let width = |column: &usize| bounds[*column].1 - bounds[*column].0;
        let widest = (0..n_columns).max_by(|one, other| width(one).total_cmp(&width(other))).unwrap_or(0);
        let from = node.number * n_columns;
        if self.boxes.len() < from + n_columns {
            self.boxes.resize(from + n_columns, (f64::INFINITY, f64::NEG_INFINITY));
        }
        self.boxes[from..from + n_columns].copy_from_slice(&bounds);
        if node.is_leaf() {
            self.values
                .extend((0..n_columns).flat_map(|column| rows.iter().map(move |row| cells[row * n_columns + column])));
            return;
        }
        let value = |row: usize| cells[row * n_columns + widest];
        rows.select_nth_unstable_by(rows.len() / 2, |&one, &other| {
            value(one).total_cmp(&value(other)).then(one.cmp(&other))
        });
        node.halves().into_iter().for_each(|half| self.grow(half, cells));
    }

    /// The nearest rows, of rows equally near the earlier ones, and how many were looked at.
    pub(super) fn nearest(&self, query: &[f64], wanted: usize) -> (Nearest, usize) {
        let mut found = (Nearest::new(wanted), 0);
        self.search(self.root(), query, &mut found);
        found
    }

    fn search(&self, node: Node, query: &[f64], found: &mut (Nearest, usize)) {
        if node.is_leaf() {
            return self.look(node, query, found);
        }
        let mut halves = node.halves().map(|half| (self.distance(half, query), half));
        if halves[1].0 < halves[0].0 {
            halves.swap(0, 1);
        }
        for (distance, half) in halves {
            // A row as far as the last one found may come before it.
            if distance <= found.0.far() {
                self.search(half, query, found);
            }
        }
    }

    /// Looks at all rows of a leaf.
    fn look(&self, leaf: Node, query: &[f64], (nearest, looked): &mut (Nearest, usize)) {
        let n_rows = leaf.end - leaf.start;
        let values = &self.values[leaf.start * self.n_columns..leaf.end * self.n_columns];
        let mut distances = [0.0; LEAF];
        let distances = &mut distances[..n_rows];
        for (value, column) in query.iter().zip(values.chunks_exact(n_rows)) {
            distances.iter_mut().zip(column).for_each(|(distance, other)| *distance += T::of(value - other));
        }
        for (&row, &distance) in self.rows[leaf.start..leaf.end].iter().zip(distances.iter()) {
            if distance <= nearest.far() {
                nearest.offer(row, distance);
            }
        }
        *looked += n_rows;
    }

    /// The distance of a node's box, 0 within.
    fn distance(&self, node: Node, query: &[f64]) -> f64 {
        let bounds = &self.boxes[node.number * self.n_columns..(node.number + 1) * self.n_columns];
        let term =
            |(value, (least, greatest)): (&f64, &(f64, f64))| T::of((least - value).max(value - greatest).max(0.0));
        query.iter().zip(bounds).map(term).sum()
    }
}
