//! The job `doctor`: which libraries this program runs with.

use std::path::PathBuf;

use indexmap::IndexMap;
use retune_protocol::{HostReport, Library};
use retune_stage::Result;

use crate::serve::Output;

/// Asks the libraries. That the program runs at all says that they could be loaded.
pub fn doctor() -> Result<Output> {
    let (version, cuda, devices) = retune_tensor::device::libtorch()?;
    let report = HostReport {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        libtorch: Library { version, path: loaded("libtorch_cpu.so") },
        // Its C API has no version to ask for; the file does not change its name with it either.
        lightgbm: Library { version: retune_estimators::LIGHTGBM.to_owned(), path: loaded("lib_lightgbm.so") },
        cuda,
        devices,
    };
    Ok((IndexMap::new(), serde_json::to_value(report)?))
}

/// The file that a library of this process was loaded from.
fn loaded(name: &str) -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let paths = maps.lines().filter_map(|line| line.find('/').map(|start| &line[start..]));
    paths.map(PathBuf::from).find(|path| path.file_name().is_some_and(|file| file == name))
}
