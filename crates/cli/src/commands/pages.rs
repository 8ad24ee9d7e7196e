//! `retune completions` and `retune man`: made from the arguments, so that they are never behind them.

use clap::CommandFactory;
use retune_protocol::Failure;

use crate::Outcome;
use crate::arguments::{Arguments, Completions, Man};
use crate::exit::Exit;
use crate::output;

/// Prints the completions for a shell.
pub fn completions(arguments: &Completions) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "retune", &mut script);
    output::print(&String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}

/// Writes a page for each command: `retune.1`, `retune-run.1`, `retune-stage-fit.1` ...
pub fn man(arguments: &Man) -> Outcome {
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Arguments::command(), folder)).map_err(
        |error| {
            Failure::failed(format!("cannot write man pages to {}: {error}", folder.display()))
                .help("name a folder that you may write to, such as ~/.local/share/man/man1")
        },
    )?;
    output::line(&format!("{}\nnext: man -l {}", folder.display(), folder.join("retune.1").display()));
    Ok(Exit::Done)
}
