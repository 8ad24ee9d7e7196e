//! `retune`: fine-tunes models from a YAML file.
//!
//! This program parses, checks, plans and shows; the work is done by `retune-stage`. It links neither polars nor libtorch, so it starts in milliseconds.

mod arguments;
mod commands;
mod exit;
mod output;
mod progress;
mod results;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};
use crate::exit::Exit;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Run(run) => commands::run::run(run),
        Command::Validate(validate) => commands::validate::validate(&validate),
        Command::Plan(plan) => commands::plan::plan(&plan),
        Command::Why(why) => commands::plan::why(&why),
        Command::Graph(graph) => commands::graph::graph(&graph),
        Command::Init(init) => commands::init::init(&init),
        Command::Stage(stage) => commands::stage::stage(stage),
        Command::Apply(apply) => commands::apply::apply(&apply),
        Command::Predict(predict) => commands::predict::predict(&predict),
        Command::Evaluate(evaluate) => commands::predict::evaluate(&evaluate),
        Command::Importance(importance) => commands::predict::importance(&importance),
        Command::Show(show) => commands::show::show(&show),
        Command::Report(report) => commands::report::report(&report),
        Command::Compare(compare) => commands::compare::compare(&compare),
        Command::Schema(schema) => commands::schema::schema(&schema),
        Command::Doctor(doctor) => commands::doctor::doctor(&doctor),
        Command::Completions(completions) => commands::pages::completions(&completions),
        Command::Man(man) => commands::pages::man(&man),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => exit::report(error).into(),
    }
}

/// What every command ends with.
pub type Outcome = Result<Exit, retune_pipeline::Error>;
