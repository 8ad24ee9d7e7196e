//! Compiles the bridge against the libtorch that torch-sys found.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=bridge/bridge.cpp");
    let Some(library) = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        println!("cargo:warning=torch-sys did not say where libtorch is; set LIBTORCH to its folder");
        std::process::exit(1);
    };
    println!("cargo:LIBTORCH={}", library.display());
    let root = library.parent().map_or_else(|| library.clone(), PathBuf::from);
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .warnings(false)
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .includes([root.join("include"), root.join("include/torch/csrc/api/include")])
        .file("bridge/bridge.cpp")
        .compile("retune_bridge");
}
