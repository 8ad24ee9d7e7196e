//! `retune apply`: many files, or a stream, through what was fitted.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use retune_pipeline::{Batch, BatchResult, Error, Interrupt, Listener, Project, Session, batch, format_of};
use retune_protocol::{ApplyJob, Device, Failure, INPUT_FD, Job, OUTPUT_FD, Request, StreamJob, VERSION};
use retune_spec::batch::{BadRows, Handling};
use retune_spec::data::Format;
use serde_json::Value;

use crate::Outcome;
use crate::arguments::{Apply, ProgressStyle};
use crate::commands::predict::{absolute, absolute_one, bundle_of, host};
use crate::commands::run::interrupt;
use crate::exit::{Exit, exit_of};
use crate::output::{self, QUIET, STRONG};
use crate::progress::{duration, listener};

/// What stands for standard input and output.
const PIPE: &str = "-";

/// Takes files or a stream through a bundle or a fitted stage.
pub fn apply(arguments: &Apply) -> Outcome {
    let artifact = bundle_of(&arguments.model)?;
    let reads_pipe = arguments.input.iter().any(|input| input == PIPE);
    let writes_pipe = arguments.output == Path::new(PIPE);
    match (reads_pipe, writes_pipe) {
        (true, true) if arguments.input.len() == 1 => stream(artifact, arguments),
        (false, false) if is_one_file(&arguments.output) => to_one_file(artifact, arguments),
        (false, false) => to_folder(artifact, arguments),
        _ => Err(Failure::usage(
            "a stream comes in and goes out: `--input -` needs `--output -`, and the other way round",
        )
        .help("files are taken by `--input FILE --output FILE`")
        .into()),
    }
}

fn is_one_file(output: &Path) -> bool {
    let names_folder = output.is_dir() || output.as_os_str().to_string_lossy().ends_with('/');
    !names_folder && format_of(output).is_some()
}

impl Apply {
    fn handling(&self) -> Handling {
        Handling {
            missing_columns: self.missing_columns,
            extra_columns: self.extra_columns,
            retyped_columns: self.retyped_columns,
            bad_rows: self.bad_rows,
            unseen_levels: self.unseen_levels,
            escape_formulas: self.escape_formulas,
            row_numbers: self.row_numbers,
        }
    }
}

/// All files into one.
fn to_one_file(artifact: PathBuf, arguments: &Apply) -> Outcome {
    if arguments.shard.is_some() || arguments.watch.is_some() {
        return Err(Failure::usage("`--shard` and `--watch` need a folder for the results")
            .help("end the output in `/`, or name one without an ending such as .parquet")
            .into());
    }
    let mut input = Vec::new();
    for pattern in &arguments.input {
        input.extend(retune_pipeline::found_by(pattern)?.into_iter().map(|(_, path)| path));
    }
    if input.is_empty() {
        return Err(Failure::data(format!("no file matches {}", arguments.input.join(", "))).into());
    }
    let name = if let [one] = input.as_slice() { one.display().to_string() } else { arguments.input.join(", ") };
    let quarantine = match &arguments.quarantine {
        Some(path) => path.clone(),
        None => arguments.output.with_file_name("quarantine.parquet"),
    };
    let job = ApplyJob {
        artifact,
        input: absolute(&input)?,
        name,
        output: absolute_one(&arguments.output)?,
        handling: arguments.handling(),
        quarantine: Some(absolute_one(&quarantine)?),
    };
    let counts = host(Job::Apply(job))?;
    let count = |key: &str| counts.get(key).and_then(Value::as_u64).unwrap_or_default();
    let (rows, aside) = (count("rows"), count("quarantined"));
    let aside = if aside > 0 { format!(", {aside} set aside in {}", quarantine.display()) } else { String::new() };
    output::line(&format!("{}: {rows} rows in, {} rows out{aside}", arguments.output.display(), count("rows_out")));
    Ok(Exit::Done)
}

/// Each file into one of its own.
fn to_folder(artifact: PathBuf, arguments: &Apply) -> Outcome {
    if arguments.quarantine.is_some() {
        return Err(Failure::usage("`--quarantine` is for a stream or a single file")
            .help("in a folder of results the rows that were set aside lie in `quarantine.parquet`")
            .into());
    }
    let job = Batch {
        artifact: artifact.canonicalize().unwrap_or(artifact),
        input: arguments.input.clone(),
        output: absolute_one(&arguments.output)?,
        format: arguments.format,
        jobs: usize::from(arguments.jobs),
        retries: arguments.retries,
        replace: arguments.replace,
        handling: arguments.handling(),
        shard: arguments.shard,
        watch: arguments.watch,
        store: Project::here(None)?.store,
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    };
    folder(&job, arguments.progress, &arguments.output, &interrupt()?)
}

/// Does a job over many files and prints what came of it.
pub fn folder(job: &Batch, progress: ProgressStyle, shown: &Path, interrupt: &Interrupt) -> Result<Exit, Error> {
    let mut listener: Box<dyn Listener> = listener(progress);
    let result = batch(job, interrupt, listener.as_mut())?;
    drop(listener);
    print(&result, shown);
    Ok(exit(&result))
}

fn print(result: &BatchResult, folder: &Path) {
    let BatchResult { done, before, failures, rows_in, rows_out, quarantined, signal } = result;
    if !failures.is_empty() {
        output::line(&format!("{STRONG}{} failed{STRONG:#}", counted(failures.len(), "file")));
        for (file, failure) in failures {
            output::line(&format!("  {file}: {}", failure.message));
        }
    }
    let before = if *before > 0 { format!(", {before} done before") } else { String::new() };
    output::line(&format!("{} {QUIET}{} done{before}{QUIET:#}", folder.display(), counted(*done, "file")));
    output::line(&format!("{rows_in} rows in = {rows_out} rows out + {quarantined} set aside"));
    if *quarantined > 0 {
        output::line(&format!("{} {QUIET}tells why{QUIET:#}", folder.join("quarantine.parquet").display()));
    }
    if signal.is_some() {
        output::note("stopped; the same command goes on from here");
    } else if !failures.is_empty() {
        output::note("the same command tries them again, and nothing else");
    }
}

fn counted(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

fn exit(result: &BatchResult) -> Exit {
    let mut exits = result.failures.iter().map(|(_, failure)| exit_of(failure));
    match (result.signal, exits.clone().find(|exit| *exit != Exit::DataInvalid).or_else(|| exits.next())) {
        (Some(signal), _) => Exit::Interrupted(signal),
        (None, Some(worst)) => worst,
        (None, None) => Exit::Done,
    }
}

/// Record batches from standard input to standard output.
fn stream(artifact: PathBuf, arguments: &Apply) -> Outcome {
    let (input, output) = (std::io::stdin(), std::io::stdout());
    if output.is_terminal() {
        return Err(Failure::usage("a terminal cannot show an Arrow stream")
            .help("pipe it on, or into a file: `> out.arrow`")
            .into());
    }
    let owned = |fd: std::os::fd::BorrowedFd| {
        fd.try_clone_to_owned()
            .map_err(|error| Failure::failed(format!("standard input or output cannot be used: {error}")))
    };
    let pipes = vec![(owned(input.as_fd())?, INPUT_FD), (owned(output.as_fd())?, OUTPUT_FD)];
    let quarantine = arguments.quarantine.as_deref().map(absolute_one).transpose()?;
    let mut handling = arguments.handling();
    if quarantine.is_none() {
        // There is nowhere to list them.
        handling.bad_rows = BadRows::Fail;
    }
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let job = Job::Stream(StreamJob { artifact, handling, quarantine });
    let request =
        Request { version: VERSION, id: 1, store: Project::here(None)?.store, threads, device: Device::Cpu, job };
    let mut session = Session::start(threads, pipes)?;
    let interrupt = interrupt()?;
    let begun = std::time::Instant::now();
    let counts = session.run(&request, &interrupt, crate::commands::predict::warn).map_err(|gone| gone.failure)?;
    let count = |key: &str| counts.get(key).and_then(Value::as_u64).unwrap_or_default();
    if arguments.progress != ProgressStyle::None {
        output::note(&format!(
            "{} rows in = {} rows out + {} set aside, in {}",
            count("rows"),
            count("rows_out"),
            count("quarantined"),
            duration(begun.elapsed().as_secs_f64())
        ));
    }
    Ok(Exit::Done)
}

/// Reads the format of results.
pub fn format(word: &str) -> Result<Format, String> {
    match retune_spec::batch::choice(word) {
        Ok(Format::Images) | Err(_) => Err("use parquet, csv, arrow or json_lines".to_owned()),
        Ok(format) => Ok(format),
    }
}
