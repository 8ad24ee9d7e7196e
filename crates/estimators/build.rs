//! Finds LightGBM's library, as the set-up fetched it from its Python wheel.

use std::env;
use std::path::PathBuf;
use std::process::exit;

fn main() {
    println!("cargo::rerun-if-env-changed=RETUNE_LIGHTGBM");
    println!("cargo::rerun-if-changed=../../libraries.txt");
    // The release whose C API `src/lightgbm.rs` declares.
    let libraries = include_str!("../../libraries.txt");
    let Some(version) = libraries.lines().find_map(|line| line.strip_prefix("lightgbm ")) else {
        println!("cargo::error=libraries.txt does not name the release of lightgbm");
        exit(1);
    };
    let Some(root) = env::var_os("RETUNE_LIGHTGBM").map(PathBuf::from).or_else(|| default_root(version)) else {
        println!(
            "cargo::error=neither RETUNE_LIGHTGBM nor HOME is set: say where LightGBM {version} is in RETUNE_LIGHTGBM"
        );
        exit(1);
    };
    let folder = root.join("lib");
    let library = folder.join("lib_lightgbm.so");
    println!("cargo::rerun-if-changed={}", library.display());
    if !library.is_file() {
        println!(
            "cargo::error=no {}: run `./scripts/just setup`, or set RETUNE_LIGHTGBM to a folder with lib/lib_lightgbm.so",
            library.display()
        );
        exit(1);
    }
    println!("cargo::rustc-link-search=native={}", folder.display());
    println!("cargo::rustc-link-lib=dylib=_lightgbm");
    println!("cargo::metadata=LIB={}", folder.display());
    println!("cargo::rustc-env=RETUNE_LIGHTGBM_VERSION={version}");
    // For this package's own tests; programs that depend on it set theirs.
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", folder.display());
}

fn default_root(version: &str) -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("retune").join(format!("lightgbm-{version}")))
}
