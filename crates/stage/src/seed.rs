//! Where randomness comes from.

/// A seed. Every place that needs randomness derives its own, so that what one place draws does not move another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed of a place within this one's: `seed.derive("step 3")`.
    #[must_use]
    pub fn derive(self, place: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0.to_le_bytes());
        hasher.update(place.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        Self(u64::from_le_bytes(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_seeds_of_their_own() {
        let seed = Seed(7);
        assert_eq!(seed.derive("a"), seed.derive("a"));
        assert_ne!(seed.derive("a"), seed.derive("b"));
        assert_ne!(seed.derive("a"), Seed(8).derive("a"));
        assert_ne!(seed.derive("a").derive("b"), seed.derive("ab"));
    }
}
