//! The four stages as libraries: each crate's example runs and says what it shows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

use retune_tests::{assert_has, program};

#[test]
fn each_stage_is_a_library() {
    for (example, expected) in [
        ("preprocessing", &["114 rows, features", "pca"][..]),
        ("feature_selection", &["114 rows, features"]),
        ("model_selection", &["114 rows, columns", "prediction"]),
        ("fine_tuning", &["log_loss", "against the base's"]),
    ] {
        let output = Command::new(program(&format!("examples/{example}"))).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{example}\n{said}{}", String::from_utf8_lossy(&output.stderr));
        assert_has(&said, expected);
    }
}
