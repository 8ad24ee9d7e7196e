//! Lets `retune-stage` find libtorch and LightGBM where they were at build time, without `LD_LIBRARY_PATH`.

fn main() {
    // What the build scripts of the crates that link them found.
    for variable in ["DEP_RETUNE_BRIDGE_LIBTORCH", "DEP_LIGHTGBM_LIB"] {
        match std::env::var(variable) {
            Ok(folder) => println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{folder}"),
            Err(_) => println!("cargo:warning={variable} is not set: retune-stage will need LD_LIBRARY_PATH"),
        }
    }
}
