//! `retune` stays light: what is heavy is linked by `retune-stage` alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

use retune_tests::{program, skip};

#[test]
fn the_command_line_links_neither_libtorch_nor_lightgbm() {
    let needs = |name: &str| {
        let output = Command::new("readelf").arg("-d").arg(program(name)).output();
        output.ok().map(|output| String::from_utf8(output.stdout).unwrap())
    };
    let (Some(light), Some(heavy)) = (needs("retune"), needs("retune-stage")) else {
        return skip("`readelf` (binutils) is not installed");
    };
    for library in ["libtorch", "libc10", "lightgbm", "libgomp", "libstdc++"] {
        assert!(!light.contains(library), "retune links {library}:\n{light}");
    }
    // The question would find them: the other program has them.
    for library in ["libtorch", "lightgbm"] {
        assert!(heavy.contains(library), "{heavy}");
    }
}
