//! `retune-stage`: executes stages. It links everything heavy, is started by `retune` (or by a batch scheduler), reads jobs and writes events as JSON
//! lines on a channel of its own.

mod apply;
mod bundle;
mod doctor;
mod evaluate;
mod fit;
mod importance;
mod insight;
mod objects;
mod profile;
mod progress;
mod read;
mod registry;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("serve") => serve::serve(),
        Some("--version") => say(&format!("retune-stage {}", env!("CARGO_PKG_VERSION")), ExitCode::SUCCESS),
        _ => say("retune-stage is started by `retune`; see `retune --help`", ExitCode::from(2)),
    }
}

fn say(text: &str, code: ExitCode) -> ExitCode {
    use std::io::Write;
    // Nobody may be listening.
    let _ = writeln!(std::io::stderr(), "{text}");
    code
}
