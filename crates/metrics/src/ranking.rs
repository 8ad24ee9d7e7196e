//! The area under the ROC curve of one label against the rest.

use ndarray::ArrayView1;

/// Rows in the order of a label's probability.
pub(crate) struct Ranking {
    ranks: Vec<Rank>,
}

struct Rank {
    row: u32,
    of_label: bool,
    /// Whether the next row has a greater probability.
    last_of_tie: bool,
}

impl Ranking {
    pub(crate) fn new(codes: &[u32], label: u32, probabilities: ArrayView1<f64>) -> Self {
        let mut rows: Vec<u32> = (0..codes.len() as u32).collect();
        rows.sort_by(|&a, &b| probabilities[a as usize].total_cmp(&probabilities[b as usize]));
        let next_differs = |rank: usize, row: u32| {
            rows.get(rank + 1).is_none_or(|&next| probabilities[next as usize] != probabilities[row as usize])
        };
        let rank =
            |(rank, &row)| Rank { row, of_label: codes[row as usize] == label, last_of_tie: next_differs(rank, row) };
        Self { ranks: rows.iter().enumerate().map(rank).collect() }
    }

    /// The share of pairs - a row of the label and one of the rest - in which the row of the label is the more probable, a tie counting half.
    /// `None` where there is no pair.
    pub(crate) fn area(&self, counts: &[u32]) -> Option<f64> {
        let (mut of_label, mut rest) = (0_u64, 0_u64);
        let (mut tied_of_label, mut tied_rest) = (0_u64, 0_u64);
        let mut half_pairs = 0_u64;
        for rank in &self.ranks {
            let count = u64::from(counts[rank.row as usize]);
            tied_of_label += if rank.of_label { count } else { 0 };
            tied_rest += if rank.of_label { 0 } else { count };
            if rank.last_of_tie {
                half_pairs += tied_of_label * (2 * rest + tied_rest);
                of_label += tied_of_label;
                rest += tied_rest;
                (tied_of_label, tied_rest) = (0, 0);
            }
        }
        let pairs = of_label * rest;
        (pairs > 0).then(|| half_pairs as f64 / (2.0 * pairs as f64))
    }
}
