//! Columns chosen by a hash; what `hash_encode` and `hash_text` share.

use serde::{Deserialize, Serialize};

/// Which column a text counts in, and with which sign: scikit-learn's `FeatureHasher` (Weinberger et al. 2009).
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Hashing {
    pub(crate) n_features: usize,
    pub(crate) alternate_sign: bool,
}

impl Hashing {
    pub(crate) fn place(self, text: &str) -> (u32, f64) {
        // Reading from memory does not fail.
        let hash = murmur3::murmur3_32(&mut text.as_bytes(), 0).unwrap_or_default().cast_signed();
        let sign = if self.alternate_sign && hash < 0 { -1.0 } else { 1.0 };
        ((hash.unsigned_abs() as usize % self.n_features) as u32, sign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Expected hashes from sklearn.utils.murmurhash3_32 of scikit-learn 1.9.1.
    #[test]
    fn places_are_those_of_scikit_learn() {
        for (text, hash) in [
            ("", 0),
            ("a", 1_009_084_850),
            ("ab", -1_681_926_305),
            ("abc", -1_277_324_294),
            ("kernel", -1_856_922_853),
            ("naïve", 992_511_445),
            ("city=Lyon", 1_190_711_055),
            ("web server side", 1_028_416_831_i32),
        ] {
            let hashing = Hashing { n_features: 1 << 20, alternate_sign: true };
            let sign = if hash < 0 { -1.0 } else { 1.0 };
            assert_eq!(hashing.place(text), (hash.unsigned_abs() % (1 << 20), sign), "{text}");
        }
    }
}
