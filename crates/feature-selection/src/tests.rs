//! The stage as a whole, and the scores against scikit-learn's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod scikit_learn;
mod stage;
