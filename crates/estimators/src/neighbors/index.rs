//! How neighbours are found.

use ndarray::ArrayView2;
use rayon::prelude::*;
use retune_spec::estimators::Distance;
use retune_table::neighbours::{Nearest, Neighbours};

use super::tree::{Absolutes, Squares, Tree};

/// With more columns no tree is tried for squares.
const TREE_COLUMNS: usize = 32;

/// Rows with which a tree is tried.
const TRIALS: usize = 64;

/// How many pairs a matrix product rules out while a tree looks at one.
const PRODUCT_SPEED: usize = 8;

/// Queries that one thread takes to a tree at least.
const QUERIES: usize = 64;

/// Training rows, ready to be searched.
pub(super) struct Index {
    distance: Distance,
    search: Search,
}

enum Search {
    Products(Neighbours),
    Squares(Tree<Squares>),
    Absolutes(Tree<Absolutes>),
}

impl Index {
    /// Of rows [rows, features], of which `wanted` will be asked for.
    pub(super) fn new(rows: ArrayView2<f64>, distance: Distance, wanted: usize) -> Self {
        let n_rows = rows.nrows();
        let (cells, n_columns) = prepare(rows, distance, Side::Rows);
        let search = match distance {
            Distance::Manhattan => Search::Absolutes(Tree::new(&cells, n_columns)),
            Distance::Euclidean | Distance::Cosine if n_columns > TREE_COLUMNS => {
                Search::Products(Neighbours::complete(cells, n_columns))
            }
            Distance::Euclidean | Distance::Cosine => {
                let tree = Tree::new(&cells, n_columns);
                // Where the tree has to look at many rows, which depends on the columns that there are behind the columns, products are faster.
                let trials = cells.chunks_exact(n_columns).step_by(n_rows.div_ceil(TRIALS));
                let looked: usize = trials.clone().map(|query| tree.nearest(query, wanted).1).sum();
                if looked * PRODUCT_SPEED > n_rows * trials.len() {
                    Search::Products(Neighbours::complete(cells, n_columns))
                } else {
                    Search::Squares(tree)
                }
            }
        };
        Self { distance, search }
    }

    /// The nearest rows of every query [queries, features].
    pub(super) fn search(&self, queries: ArrayView2<f64>, wanted: usize) -> Vec<Nearest> {
        let (cells, n_columns) = prepare(queries, self.distance, Side::Queries);
        match &self.search {
            Search::Squares(tree) => by_tree(&cells, n_columns, |query| tree.nearest(query, wanted).0),
            Search::Absolutes(tree) => by_tree(&cells, n_columns, |query| tree.nearest(query, wanted).0),
            Search::Products(rows) => rows.search(
                &cells,
                |_| Nearest::new(wanted),
                |nearest, row, distance| {
                    nearest.offer(row, distance);
                    nearest.far()
                },
            ),
        }
    }

    /// The distance that something found stands for.
    pub(super) fn distance(&self, found: f64) -> f64 {
        match self.distance {
            Distance::Euclidean => found.sqrt(),
            Distance::Manhattan => found,
            // Of vectors of length 1: |a - b|^2 = 2 - 2 cos.
            Distance::Cosine => found / 2.0,
        }
    }

    pub(super) fn describe(&self) -> &'static str {
        match self.search {
            Search::Products(_) => "found by matrix products",
            Search::Squares(_) | Search::Absolutes(_) => "found by a tree",
        }
    }
}

fn by_tree(cells: &[f64], n_columns: usize, find: impl Fn(&[f64]) -> Nearest + Sync) -> Vec<Nearest> {
    cells.par_chunks_exact(n_columns).with_min_len(QUERIES).map(&find).collect()
}

/// Which of the two a row is.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Rows,
    Queries,
}

/// Values in row order, and how many columns they have. For the cosine rows get length 1, and one of zeros, which has no angle, a distance of 1 from every
/// other, as scikit-learn has it, by a column of its own on each side.
fn prepare(rows: ArrayView2<f64>, distance: Distance, side: Side) -> (Vec<f64>, usize) {
    if distance != Distance::Cosine {
        return (rows.iter().copied().collect(), rows.ncols());
    }
    let unit = |row: ndarray::ArrayView1<f64>| {
        let greatest = row.fold(0.0, |greatest: f64, value| greatest.max(value.abs()));
        let norm = row.iter().map(|value| (value / greatest).powi(2)).sum::<f64>().sqrt();
        let zero = greatest == 0.0;
        let own = |its: Side| f64::from(u8::from(zero && side == its));
        let cells = row.iter().map(move |value| if zero { 0.0 } else { value / greatest / norm });
        cells.chain([own(Side::Rows), own(Side::Queries)]).collect::<Vec<f64>>()
    };
    (rows.rows().into_iter().flat_map(unit).collect(), rows.ncols() + 2)
}
