//! Where things lie, and a pipeline that was read and checked.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use retune_protocol::Failure;
use retune_spec::columns::OneOrMany;
use retune_spec::data::Format;
use retune_spec::fine_tuning::Base;
use retune_spec::{Data, Diagnostic, Document, Source, StageKind};
use retune_store::{Store, StoreError};
use thiserror::Error;

use crate::headers;

/// The word for one source that is divided.
const ALL: &str = "all";

/// Why a pipeline cannot be planned or run.
#[derive(Debug, Error)]
pub enum Error {
    /// The pipeline file is wrong; the mistakes are shown with its text.
    #[error("the pipeline is not valid")]
    Invalid {
        /// The file.
        source_text: Box<Source>,
        /// Every mistake.
        diagnostics: Vec<Diagnostic>,
    },
    /// The pipeline file is sound, but data files that it names are not there; shown with its text.
    #[error("data files are missing")]
    NoData {
        /// The file.
        source_text: Box<Source>,
        /// Every file that is missing.
        diagnostics: Vec<Diagnostic>,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Anything else, with the way out.
    #[error("{0}")]
    Failure(#[from] Failure),
}

/// The folders that the program works in.
#[derive(Clone, Debug)]
pub struct Project {
    /// Where relative data paths start: the current folder.
    pub folder: PathBuf,
    /// The store: `RETUNE_STORE`, or `.retune` in the current folder.
    pub store: PathBuf,
    /// Where runs are left.
    pub runs: PathBuf,
}

impl Project {
    /// The project of the current folder.
    pub fn here(runs: Option<PathBuf>) -> Result<Self, Failure> {
        let folder =
            std::env::current_dir().map_err(|error| Failure::failed(format!("there is no current folder: {error}")))?;
        let store = std::env::var_os("RETUNE_STORE")
            .filter(|path| !path.is_empty())
            .map_or_else(|| folder.join(".retune"), PathBuf::from);
        let runs = runs.unwrap_or_else(|| folder.join("runs"));
        Ok(Self {
            store: std::path::absolute(&store).unwrap_or(store),
            runs: std::path::absolute(&runs).unwrap_or(runs),
            folder,
        })
    }

    /// Opens the store, making it where it does not exist.
    pub fn open_store(&self) -> Result<Store, StoreError> {
        Store::open(&self.store)
    }

    /// The store, to look at: nothing is made or written.
    pub fn look_at_store(&self) -> Result<Store, StoreError> {
        Store::at(&self.store)
    }

    /// Reads and checks a pipeline file: the language first, then the columns, from headers only.
    pub fn load(&self, path: &Path, overrides: &[(String, String)]) -> Result<(Document, Inputs), Error> {
        let source = Source::read(path).map_err(|diagnostic| Error::Invalid {
            source_text: Box::new(Source { name: path.display().to_string(), text: String::new() }),
            diagnostics: vec![diagnostic],
        })?;
        let document = retune_spec::load(&source, overrides);
        self.check(source, document)
    }

    /// Checks what was read from a text against the data's files and columns.
    pub fn check(
        &self,
        source: Source,
        document: Result<Document, Vec<Diagnostic>>,
    ) -> Result<(Document, Inputs), Error> {
        let document = match document {
            Ok(document) => document,
            Err(diagnostics) => return Err(Error::Invalid { source_text: Box::new(source), diagnostics }),
        };
        let invalid = |diagnostics| Error::Invalid { source_text: Box::new(source.clone()), diagnostics };
        let inputs = Inputs::find(&self.folder, &document).map_err(|mistakes| match mistakes {
            Mistakes::OfPipeline(diagnostics) => invalid(diagnostics),
            Mistakes::OfData(diagnostics) => Error::NoData { source_text: Box::new(source.clone()), diagnostics },
        })?;
        let columns = inputs.columns(&document.pipeline.data)?;
        let diagnostics = retune_spec::check_columns(&document, &columns);
        if diagnostics.is_empty() { Ok((document, inputs)) } else { Err(invalid(diagnostics)) }
    }
}

/// The files of each set of rows, globs expanded and sorted.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Where relative paths start.
    pub folder: PathBuf,
    /// `all` where one source is divided, else `train`, `validation`, `test` and named sets.
    pub files: IndexMap<String, Vec<PathBuf>>,
    /// The files of weights that stages start from, by their ids.
    pub weights: IndexMap<String, PathBuf>,
}

/// Whose fault it is that files cannot be found. Where both are at fault, all mistakes are the pipeline's.
enum Mistakes {
    /// What the pipeline says cannot be meant.
    OfPipeline(Vec<Diagnostic>),
    /// What it names is not there.
    OfData(Vec<Diagnostic>),
}

/// Why a pattern gives no files.
enum Unfound {
    /// It cannot be meant.
    NoPattern(String),
    /// What it names is not there.
    NoFile(String),
}

impl Inputs {
    fn find(folder: &Path, document: &Document) -> Result<Self, Mistakes> {
        let data = &document.pipeline.data;
        let mut files = IndexMap::new();
        let mut diagnostics = Vec::new();
        let mut of_pipeline = false;
        let named = [
            (ALL, "path", &data.path),
            ("train", "train", &data.train),
            ("validation", "validation", &data.validation),
            ("test", "test", &data.test),
        ];
        let named =
            named.into_iter().filter_map(|(set, key, paths)| Some((set.to_owned(), key.to_owned(), paths.as_ref()?)));
        let sets = data.sets.iter().map(|(set, paths)| (set.clone(), format!("sets/{set}"), paths));
        for (set, key, patterns) in named.chain(sets) {
            match expand_all(folder, patterns) {
                Ok(found) => {
                    files.insert(set, found);
                }
                Err(unfound) => {
                    of_pipeline |= matches!(unfound, Unfound::NoPattern(_));
                    let (Unfound::NoPattern(message) | Unfound::NoFile(message)) = unfound;
                    diagnostics.push(Diagnostic::error(message).at(document.span_of(&format!("/data/{key}"))));
                }
            }
        }
        let mut weights = IndexMap::new();
        for (number, stage) in document.pipeline.stages.iter().enumerate() {
            let StageKind::FineTuning(tuning) = &stage.kind else { continue };
            let Base::Network(network) = &tuning.base else { continue };
            let Some(file) = &network.weights else { continue };
            let path = folder.join(file);
            if path.is_file() {
                weights.insert(stage.id.clone(), path);
            } else {
                let message = format!("no file `{file}`; relative paths start at {}", folder.display());
                let place = document.span_of(&format!("/stages/{number}/with/base/weights"));
                diagnostics.push(Diagnostic::error(message).at(place));
            }
        }
        if let Some(message) = in_two_sets(&files) {
            of_pipeline = true;
            diagnostics.push(Diagnostic::error(message).at(document.span_of("/data")));
        }
        match (diagnostics.is_empty(), of_pipeline) {
            (true, _) => Ok(Self { folder: folder.to_owned(), files, weights }),
            (false, true) => Err(Mistakes::OfPipeline(diagnostics)),
            (false, false) => Err(Mistakes::OfData(diagnostics)),
        }
    }

    /// The columns of the first file.
    fn columns(&self, data: &Data) -> Result<Vec<String>, Failure> {
        match self.files.values().next().and_then(|files| files.first()) {
            Some(file) => headers::columns_of(file, data.format, &data.separator),
            None => Ok(Vec::new()),
        }
    }
}

/// The files that a path or a pattern names as `path` of a pipeline does, or what is wrong.
pub fn expand(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    expand_all(folder, &OneOrMany::One(pattern.to_owned()))
        .map_err(|(Unfound::NoPattern(message) | Unfound::NoFile(message))| message)
}

fn expand_all(folder: &Path, patterns: &OneOrMany<String>) -> Result<Vec<PathBuf>, Unfound> {
    let mut files = Vec::new();
    for pattern in patterns.as_slice() {
        if retune_spec::columns::is_glob(pattern) && !folder.join(pattern).exists() {
            let found = matches(folder, pattern)?;
            if found.is_empty() {
                return Err(Unfound::NoFile(format!("no file matches `{pattern}`")));
            }
            files.extend(found);
        } else {
            let path = folder.join(pattern);
            match std::fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {
                    return Err(Unfound::NoFile(format!(
                        "`{pattern}` is a folder; name a file, or a pattern such as `{}/*.csv`",
                        pattern.trim_end_matches('/')
                    )));
                }
                Ok(_) => files.push(path),
                Err(_) => {
                    // Without the folder, as it is written.
                    let meant = retune_spec::file_like(&path).map(|meant| {
                        let meant = Path::new(&meant);
                        let meant = meant
                            .strip_prefix(folder)
                            .ok()
                            .filter(|_| !Path::new(pattern).is_absolute())
                            .unwrap_or(meant);
                        format!("; did you mean `{}`?", meant.display())
                    });
                    let end = meant.unwrap_or_else(|| format!("; relative paths start at {}", folder.display()));
                    return Err(Unfound::NoFile(format!("no file `{pattern}`{end}")));
                }
            }
        }
    }
    // The order in which files are read and hashed, whatever the order in which they were named; none is read twice.
    files.sort();
    files.dedup_by_key(|file| file.canonicalize().unwrap_or_else(|_| file.clone()));
    Ok(files)
}

/// A file of two sets would be learned from in one and judged by in the other.
fn in_two_sets(files: &IndexMap<String, Vec<PathBuf>>) -> Option<String> {
    let mut seen: IndexMap<PathBuf, &String> = IndexMap::new();
    for (set, files) in files {
        for file in files {
            let other = seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone()), set);
            if let Some(other) = other.filter(|other| *other != set) {
                return Some(format!("{} is named both for `{other}` and for `{set}`", file.display()));
            }
        }
    }
    None
}

/// The files that somebody means by a file, a folder (all tables in it, and below) or a pattern, each with its path from where the folder or pattern begins.
/// Hidden files are left out, as shells do.
pub fn found_by(pattern: &str) -> Result<Vec<(String, PathBuf)>, Failure> {
    let path = Path::new(pattern);
    let below = |base: &Path, found: Vec<PathBuf>| {
        let relative = |path: PathBuf| Some((path.strip_prefix(base).ok()?.display().to_string(), path));
        let named: Vec<(String, PathBuf)> = found.into_iter().filter_map(relative).collect();
        named.into_iter().filter(|(name, _)| !name.split('/').any(|part| part.starts_with('.'))).collect()
    };
    let failed = |unfound| match unfound {
        Unfound::NoPattern(message) | Unfound::NoFile(message) => Failure::data(message),
    };
    if path.is_dir() {
        let all = format!("{}/**/*", glob::Pattern::escape(pattern.trim_end_matches('/')));
        let found = matches(Path::new(""), &all).map_err(failed)?;
        let is_table = |path: &PathBuf| headers::format_of(path).is_some_and(|format| format != Format::Images);
        return Ok(below(path, found.into_iter().filter(is_table).collect()));
    }
    if path.exists() {
        let base = path.parent().unwrap_or(Path::new(""));
        return Ok(below(base, vec![path.to_owned()]));
    }
    if !retune_spec::columns::is_glob(pattern) {
        return Err(Failure::data(format!("no file {pattern}")).help("paths are relative to the current folder"));
    }
    let fixed: PathBuf = path
        .components()
        .take_while(|part| !retune_spec::columns::is_glob(&part.as_os_str().to_string_lossy()))
        .collect();
    Ok(below(&fixed, matches(Path::new(""), pattern).map_err(failed)?))
}

/// The files that a pattern matches, sorted.
fn matches(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, Unfound> {
    let rooted = format!("{}/{pattern}", glob::Pattern::escape(&folder.display().to_string()));
    let is_rooted = Path::new(pattern).is_absolute() || folder.as_os_str().is_empty();
    let rooted = if is_rooted { pattern } else { &rooted };
    let no_pattern = |error| Unfound::NoPattern(format!("`{pattern}` is not a pattern: {error}"));
    // By itself first, so that places in the error count from its own beginning.
    glob::Pattern::new(pattern).map_err(no_pattern)?;
    let found = glob::glob(rooted).map_err(no_pattern)?;
    Ok(found.filter_map(Result::ok).filter(|path| path.is_file()).collect())
}
