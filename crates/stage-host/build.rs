//! Lets `retune-stage` find libtorch and LightGBM where they were at build time, without `LD_LIBRARY_PATH`.

fn main() {
    for variable in ["LIBTORCH", "RETUNE_LIGHTGBM"] {
        println!("cargo:rerun-if-env-changed={variable}");
        if let Ok(folder) = std::env::var(variable) {
            println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{folder}/lib");
        }
    }
}
