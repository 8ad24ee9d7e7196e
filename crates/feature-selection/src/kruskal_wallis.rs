//! `kruskal_wallis`: keeps the columns whose ranks differ between labels.

use retune_spec::feature_selection::{Choice, KruskalWallis};
use retune_stage::Result;

use crate::chi2::Classes;
use crate::f_test::tested;
use crate::features::{Feature, Stored};
use crate::judge::{Judge, Judgement, Question};

/// The p-value is that of the chi-squared distribution. A constant column has the score 0 and the p-value 1.
impl Judge for KruskalWallis {
    fn score_word(&self) -> &'static str {
        "H statistic"
    }

    fn choice(&self) -> Option<Choice> {
        Some(KruskalWallis::choice(self))
    }

    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement> {
        let classes = Classes::of(question.target)?;
        let test = |feature: &Feature| {
            let score = match feature.stored()? {
                Stored::F64(values) => h(values.iter().map(|&value| long_key(value)), &classes),
                Stored::F32(values) => h(values.iter().map(|&value| short_key(value)), &classes),
            };
            Ok((score, classes.p_value(score)))
        };
        tested("H", features, question, test)
    }
}

/// H, which ties make greater. `keys` are whole numbers in the order of the values.
fn h<K: Copy + Ord>(keys: impl Iterator<Item = K>, classes: &Classes) -> f64 {
    let mut pairs: Vec<(K, u32)> = keys.zip(classes.codes.iter().copied()).collect();
    pairs.sort_unstable_by_key(|pair| pair.0);
    if pairs.first().map(|pair| pair.0) == pairs.last().map(|pair| pair.0) {
        return 0.0;
    }
    let n = pairs.len() as f64;
    // Of ranks less their mean, which loses no digits.
    let (mut sums, mut tied, mut start) = (vec![0.0; classes.counts.len()], 0.0, 0);
    for equal in pairs.chunk_by(|a, b| a.0 == b.0) {
        let end = start + equal.len();
        let rank = (start + end) as f64 / 2.0 - n / 2.0;
        equal.iter().for_each(|&(_, code)| sums[code as usize] += rank);
        let many = equal.len() as f64;
        tied += many * (many * many - 1.0);
        start = end;
    }
    let present = sums.iter().zip(&classes.counts).filter(|(_, count)| **count > 0.0);
    let between: f64 = present.map(|(sum, count)| sum * sum / count).sum();
    12.0 / (n * (n + 1.0)) * between / (1.0 - tied / (n * (n * n - 1.0)))
}

/// A whole number for each value, in the same order; numbers are sorted faster.
macro_rules! key {
    ($name:ident, $float:ty, $whole:ty) => {
        fn $name(value: $float) -> $whole {
            // -0 becomes 0.
            let bits = (value + 0.0).to_bits();
            let sign = 1 << (<$whole>::BITS - 1);
            if bits & sign == 0 { bits | sign } else { !bits }
        }
    };
}

key!(long_key, f64, u64);
key!(short_key, f32, u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_either_width_give_the_same_statistic() {
        let codes = [0, 1, 0, 1, 1, 0, 1, 0];
        let classes = Classes { codes: &codes, counts: vec![4.0, 4.0] };
        let values = [-2.5_f32, 3.0, -0.0, 1e-40, 0.0, -1e30, 1e30, 1.0];
        // scipy.stats.kruskal of the values of each class, as 64-bit floats.
        let expected = 2.551_204_819_277_107;
        let short = h(values.iter().map(|&value| short_key(value)), &classes);
        let long = h(values.iter().map(|&value| long_key(f64::from(value))), &classes);
        assert!((short - expected).abs() < 1e-12, "{short}");
        assert_eq!(short, long);
    }
}
