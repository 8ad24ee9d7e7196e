//! One file for each command.

pub mod apply;
pub mod compare;
pub mod doctor;
pub mod graph;
pub mod init;
pub mod pages;
pub mod plan;
pub mod predict;
pub mod report;
pub mod run;
pub mod schema;
pub mod show;
pub mod stage;
pub mod validate;

use retune_protocol::{Device, Failure};

/// The device that the command line names. `auto` is the processor: on a table it is the faster one, and its bits repeat.
pub fn device_of(text: &str) -> Result<Device, Failure> {
    if text == "auto" { Ok(Device::Cpu) } else { text.parse().map_err(Failure::usage) }
}
