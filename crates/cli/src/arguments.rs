//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

/// Fine-tunes models from a YAML file: preprocessing, feature selection, model selection and fine-tuning in one cached, leak-proof run.
#[derive(Debug, Parser)]
#[command(name = "retune", version, about, arg_required_else_help = true, max_term_width = 110, after_help = EXIT_CODES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 2 usage; 3 pipeline invalid; 4 data invalid; 5 a stage failed; 6 goal not met or tuned model refused,\nwhere the pipeline says `required: true`; 130/143 interrupted.";

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pipeline: what is in the store is taken from there.
    Run(Run),
    /// Check a pipeline: every mistake at once, no row is read.
    Validate(Validate),
    /// Show what would run and why; runs nothing.
    Plan(Plan),
    /// Show which part of a stage's cache key changed.
    Why(Why),
    /// Draw what depends on what.
    Graph(Graph),
    /// Write a pipeline from a look at the data.
    Init(Init),
    /// List, describe, fit and apply single stages.
    #[command(subcommand)]
    Stage(Stage),
    /// Take many files, or a stream, through a model or a fitted stage; goes on where it was stopped.
    Apply(Apply),
    /// Predict rows with a model that a run left.
    Predict(Predict),
    /// Score a model on rows that have the target.
    Evaluate(Evaluate),
    /// Show how much a model depends on each column of its input.
    Importance(Importance),
    /// Show what a run left.
    Show(Show),
    /// Write the page that shows a run again.
    Report(Report),
    /// Show how two runs differ: pipelines, scores, best trials.
    Compare(Compare),
    /// Print the JSON Schema of pipelines, or the reference of the language.
    Schema(Schema),
    /// Tell what is there and what is missing: the stage host, its libraries, a GPU, disk, memory.
    Doctor(Doctor),
    /// Print the completions for a shell.
    Completions(Completions),
    /// Write the man pages, one for each command.
    Man(Man),
}

/// What every command that reads a pipeline takes.
#[derive(Args, Clone, Debug)]
pub struct PipelineArguments {
    /// The pipeline file.
    #[arg(value_hint = ValueHint::FilePath)]
    pub pipeline: PathBuf,
    /// Give a parameter of the pipeline another value.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub set: Vec<(String, String)>,
}

/// Which part of a pipeline, and where tensors are computed.
#[derive(Args, Clone, Debug)]
pub struct ChoiceArguments {
    /// This stage and what it needs.
    #[arg(long, value_name = "ID", group = "choice")]
    pub only: Option<String>,
    /// This stage and everything after it anew; what comes before it as needed.
    #[arg(long, value_name = "ID", group = "choice")]
    pub from: Option<String>,
    /// Everything but what comes after this stage.
    #[arg(long, value_name = "ID", group = "choice")]
    pub until: Option<String>,
    /// Run although the result is in the store.
    #[arg(long)]
    pub force: bool,
    /// Where tensors are computed: `auto`, `cpu` or `cuda:N`. `auto` is the processor.
    #[arg(long, default_value = "auto")]
    pub device: String,
}

/// `retune run`.
#[derive(Args, Debug)]
pub struct Run {
    /// The pipeline.
    #[command(flatten)]
    pub pipeline: PipelineArguments,
    /// Which part.
    #[command(flatten)]
    pub choice: ChoiceArguments,
    /// How many stages may run side by side.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
    /// The folder that runs are left in; by default `runs`.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// How progress is shown on standard error.
    #[arg(long, value_enum, default_value_t = ProgressStyle::Auto)]
    pub progress: ProgressStyle,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressStyle {
    /// Bars on a terminal, lines elsewhere.
    Auto,
    /// Bars.
    Bars,
    /// A line for each thing that happens.
    Lines,
    /// JSON lines.
    Json,
    /// Nothing but what fails.
    None,
}

/// `retune validate`.
#[derive(Args, Debug)]
pub struct Validate {
    /// The pipeline.
    #[command(flatten)]
    pub pipeline: PipelineArguments,
}

/// `retune plan`.
#[derive(Args, Debug)]
pub struct Plan {
    /// The pipeline.
    #[command(flatten)]
    pub pipeline: PipelineArguments,
    /// Which part.
    #[command(flatten)]
    pub choice: ChoiceArguments,
}

/// `retune why`.
#[derive(Args, Debug)]
pub struct Why {
    /// The pipeline.
    #[command(flatten)]
    pub pipeline: PipelineArguments,
    /// The stage's id.
    pub stage: String,
    /// Where tensors are computed: `auto`, `cpu` or `cuda:N`.
    #[arg(long, default_value = "auto")]
    pub device: String,
}

/// `retune graph`.
#[derive(Args, Debug)]
pub struct Graph {
    /// The pipeline.
    #[command(flatten)]
    pub pipeline: PipelineArguments,
    /// The language of the drawing.
    #[arg(long, value_enum, default_value_t = GraphFormat::Mermaid)]
    pub format: GraphFormat,
}

/// The language of a drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// Mermaid, as Markdown viewers draw it.
    Mermaid,
    /// Graphviz.
    Dot,
    /// A picture.
    Svg,
}

/// `retune init`.
#[derive(Args, Debug)]
pub struct Init {
    /// The data file.
    #[arg(value_hint = ValueHint::FilePath)]
    pub data: PathBuf,
    /// The column to predict.
    #[arg(long, value_name = "COLUMN")]
    pub target: String,
    /// The file to write; by default `NAME.yaml` after the data file. `-` is standard output.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Replace a file that exists.
    #[arg(long)]
    pub force: bool,
}

/// `retune stage`.
#[derive(Debug, Subcommand)]
pub enum Stage {
    /// List the kinds of stages, their steps and model families.
    List,
    /// Describe a stage, a step or a model family: every key with its default.
    Describe {
        /// The name, such as `impute` or `gradient_boosting`.
        name: String,
    },
    /// Fit one stage of a pipeline (`PIPELINE#ID`), or one stage file on one table.
    Fit(StageFit),
    /// Take rows through a fitted stage.
    Apply(StageApply),
}

/// `retune stage fit`.
#[derive(Args, Debug)]
pub struct StageFit {
    /// `PIPELINE#ID`, or the kind of the stage: `preprocessing`, `feature-selection`, `model-selection`.
    pub name: String,
    /// The file with what follows `with:`.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub with: Option<PathBuf>,
    /// The training rows.
    #[arg(long, value_name = "DATA", value_hint = ValueHint::FilePath)]
    pub input: Option<PathBuf>,
    /// The column to predict.
    #[arg(long, value_name = "COLUMN")]
    pub target: Option<String>,
    /// What randomness is derived from.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The folder that the fitted stage is written to; it must not exist.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: PathBuf,
    /// Give a parameter of the pipeline another value.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub set: Vec<(String, String)>,
    /// Where tensors are computed: `auto`, `cpu` or `cuda:N`.
    #[arg(long, default_value = "auto")]
    pub device: String,
}

/// `retune stage apply`.
#[derive(Args, Debug)]
pub struct StageApply {
    /// The folder of a fitted stage or of a bundle.
    #[arg(value_hint = ValueHint::DirPath)]
    pub stage: PathBuf,
    /// The rows.
    #[arg(long, value_name = "DATA", value_hint = ValueHint::FilePath, required = true, num_args = 1..)]
    pub input: Vec<PathBuf>,
    /// The file to write: csv, parquet, arrow or jsonl by its ending.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
}

/// `retune apply`.
#[derive(Args, Debug)]
pub struct Apply {
    /// A bundle (`model/`), the run that it lies in, or a fitted stage.
    pub model: PathBuf,
    /// Files, folders or patterns such as 'new/**/*.parquet'; `-` is an Arrow stream on standard input.
    #[arg(long, short, value_name = "DATA", required = true, num_args = 1..)]
    pub input: Vec<String>,
    /// The folder for the results, one for each file; or one file for all; or `-` for an Arrow stream on standard output.
    #[arg(long, short, value_name = "DIR|FILE")]
    pub output: PathBuf,
    /// The format of results in a folder: parquet, csv, arrow or json_lines.
    #[arg(long, default_value = "parquet", value_parser = crate::commands::apply::format)]
    pub format: retune_spec::data::Format,
    /// Files that are worked on side by side.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
    /// Only the files of this part of all, for jobs side by side on one folder of results: `3/16`.
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub shard: Option<retune_pipeline::Shard>,
    /// Look for new files every so many seconds until stopped.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5", value_parser = seconds)]
    pub watch: Option<std::time::Duration>,
    /// How often a file that cannot be read is tried again, after 1, 2, 4 ... seconds.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=20))]
    pub retries: u32,
    /// Replace results of another model, or of other settings.
    #[arg(long)]
    pub replace: bool,
    /// A column that is missing: `fail`, or `null` (all its values are missing).
    #[arg(long, value_name = "POLICY", default_value = "fail", value_parser = retune_spec::batch::choice::<retune_spec::batch::MissingColumns>)]
    pub missing_columns: retune_spec::batch::MissingColumns,
    /// A column that nothing needs: `ignore`, `keep` (in the result) or `fail`.
    #[arg(long, value_name = "POLICY", default_value = "ignore", value_parser = retune_spec::batch::choice::<retune_spec::batch::ExtraColumns>)]
    pub extra_columns: retune_spec::batch::ExtraColumns,
    /// A column of another type than in training: `convert` or `fail`.
    #[arg(long, value_name = "POLICY", default_value = "convert", value_parser = retune_spec::batch::choice::<retune_spec::batch::RetypedColumns>)]
    pub retyped_columns: retune_spec::batch::RetypedColumns,
    /// A row with a value that its column cannot have: `quarantine` (set aside with the reason) or `fail`.
    #[arg(long, value_name = "POLICY", default_value = "quarantine", value_parser = retune_spec::batch::choice::<retune_spec::batch::BadRows>)]
    pub bad_rows: retune_spec::batch::BadRows,
    /// A word that no training row had: `accept`, `quarantine` or `fail`.
    #[arg(long, value_name = "POLICY", default_value = "accept", value_parser = retune_spec::batch::choice::<retune_spec::batch::UnseenLevels>)]
    pub unseen_levels: retune_spec::batch::UnseenLevels,
    /// Add a column `row`: the number of each row in its file.
    #[arg(long)]
    pub row_numbers: bool,
    /// In CSV results, put an apostrophe before text that a spreadsheet would take for a formula.
    #[arg(long)]
    pub escape_formulas: bool,
    /// The file that lists rows which were set aside, for a stream or a single file; in a folder it is `quarantine.parquet`.
    #[arg(long, value_name = "FILE")]
    pub quarantine: Option<PathBuf>,
    /// How progress is shown on standard error.
    #[arg(long, value_enum, default_value_t = ProgressStyle::Auto)]
    pub progress: ProgressStyle,
}

/// `retune predict`.
#[derive(Args, Debug)]
pub struct Predict {
    /// A bundle (`model/`), or the run that it lies in.
    #[arg(value_hint = ValueHint::DirPath)]
    pub model: PathBuf,
    /// The rows.
    #[arg(long, value_name = "DATA", value_hint = ValueHint::FilePath, required = true, num_args = 1..)]
    pub input: Vec<PathBuf>,
    /// The file to write: csv, parquet, arrow or jsonl by its ending.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
}

/// `retune evaluate`.
#[derive(Args, Debug)]
pub struct Evaluate {
    /// A bundle (`model/`), or the run that it lies in.
    #[arg(value_hint = ValueHint::DirPath)]
    pub model: PathBuf,
    /// The rows, with their target.
    #[arg(long, value_name = "DATA", value_hint = ValueHint::FilePath, required = true, num_args = 1..)]
    pub input: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `retune importance`.
#[derive(Args, Debug)]
pub struct Importance {
    /// A bundle (`model/`), or the run that it lies in.
    #[arg(value_hint = ValueHint::DirPath)]
    pub model: PathBuf,
    /// The rows, with their target; best such that the model was not trained on.
    #[arg(long, value_name = "DATA", value_hint = ValueHint::FilePath, required = true, num_args = 1..)]
    pub input: Vec<PathBuf>,
    /// What is scored: `f1_macro`, `rmse` ... By default `accuracy` or `r2`.
    #[arg(long, value_parser = metric)]
    pub metric: Option<retune_spec::Metric>,
    /// Shuffles of each column or group.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub repeats: u32,
    /// At most so many rows are looked at, drawn at random.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(2..))]
    pub max_rows: u32,
    /// Columns that are shuffled together, such as `address=city,zip,street_*`.
    #[arg(long = "group", value_name = "NAME=COLUMNS", value_parser = name_and_value)]
    pub groups: Vec<(String, String)>,
    /// What rows are drawn and shuffled by.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Write the result to a file, too (CSV, Parquet or Arrow).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `retune show`.
#[derive(Args, Debug)]
pub struct Show {
    /// A run's folder, or a pipeline's name for its newest run, whatever came of it; before it, which part: `stages`, `steps`, `features`, `leaderboard`,
    /// `metrics` or `all`.
    #[arg(value_name = "[PART] RUN", value_hint = ValueHint::AnyPath, required = true, num_args = 1..=2)]
    pub what: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `retune report`.
#[derive(Args, Debug)]
pub struct Report {
    /// A run's folder, or a pipeline's name for its newest run, whatever came of it.
    pub run: PathBuf,
    /// The file to write; by default `report.html` in the run's folder. `-` is standard output.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `retune compare`.
#[derive(Args, Debug)]
pub struct Compare {
    /// A run's folder, or a pipeline's name for its newest run, whatever came of it.
    pub first: PathBuf,
    /// What it is compared with.
    pub second: PathBuf,
    /// Write a page, too.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// All of it.
    All,
    /// The stages and their times.
    Stages,
    /// Rows and columns through the steps.
    Steps,
    /// The features and why each was kept or dropped.
    Features,
    /// The trials of the search.
    Leaderboard,
    /// The scores.
    Metrics,
}

/// `retune schema`.
#[derive(Args, Debug)]
pub struct Schema {
    /// Print the reference of the language (Markdown) instead.
    #[arg(long)]
    pub reference: bool,
}

/// `retune doctor`.
#[derive(Args, Debug)]
pub struct Doctor {
    /// The folder that runs are left in; by default `runs`.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `retune completions`.
#[derive(Args, Debug)]
pub struct Completions {
    /// The shell.
    pub shell: clap_complete::Shell,
}

/// `retune man`.
#[derive(Args, Debug)]
pub struct Man {
    /// The folder that they are written to, such as `~/.local/share/man/man1`; it is made where it is missing.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,
}

fn shard(text: &str) -> Result<retune_pipeline::Shard, String> {
    let parts = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
    match parts {
        Some((number, of)) if number >= 1 && number <= of && of <= 100_000 => Ok(retune_pipeline::Shard { number, of }),
        _ => Err("write it as I/N, with I from 1 to N".to_owned()),
    }
}

fn seconds(text: &str) -> Result<std::time::Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(std::time::Duration::from_secs_f64(seconds)),
        _ => Err("give seconds, from 0.1 to 86400".to_owned()),
    }
}

fn metric(text: &str) -> Result<retune_spec::Metric, String> {
    retune_spec::Metric::from_word(text).ok_or_else(|| {
        let words: Vec<&str> = retune_spec::Metric::ALL.iter().map(|metric| metric.word()).collect();
        format!("use one of {}", words.join(", "))
    })
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}
