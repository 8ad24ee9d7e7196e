//! Finds out which libtorch and which LightGBM retune is built with: cache keys name them, and `retune` itself links neither.

use std::env;
use std::path::Path;
use std::process::exit;

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-changed=../../libraries.txt");
    let (Some(libtorch), Some(lightgbm)) = (release("libtorch"), release("lightgbm")) else {
        println!("cargo::error=libraries.txt does not name the releases of libtorch and lightgbm");
        exit(1);
    };
    // Somebody may build with a libtorch of their own, whose headers tell its version. LightGBM's C API has no version to ask for.
    let linked = env::var_os("LIBTORCH").and_then(|root| version_of_libtorch(Path::new(&root)));
    println!("cargo::rustc-env=RETUNE_LIBTORCH_VERSION={}", linked.as_deref().unwrap_or(libtorch));
    println!("cargo::rustc-env=RETUNE_LIGHTGBM_VERSION={lightgbm}");
}

/// The release that the set-up fetches and the build looks for.
fn release(library: &str) -> Option<&'static str> {
    include_str!("../../libraries.txt").lines().find_map(|line| line.strip_prefix(library)?.strip_prefix(' '))
}

/// What the headers of a libtorch say, as `2.13.0`.
fn version_of_libtorch(root: &Path) -> Option<String> {
    // Where newer ones have it, and where older ones do.
    let headers = ["include/torch/headeronly/version.h", "include/torch/csrc/api/include/torch/version.h"];
    headers.iter().find_map(|header| {
        let header = root.join(header);
        let text = std::fs::read_to_string(&header).ok()?;
        let part = |part: &str| {
            let define = format!("#define TORCH_VERSION_{part} ");
            text.lines().find_map(|line| line.strip_prefix(&define)?.trim().parse::<u32>().ok())
        };
        let version = format!("{}.{}.{}", part("MAJOR")?, part("MINOR")?, part("PATCH")?);
        println!("cargo::rerun-if-changed={}", header.display());
        Some(version)
    })
}
