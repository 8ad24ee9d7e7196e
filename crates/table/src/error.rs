//! What is wrong with a table.

use retune_spec::diagnostic::did_you_mean;
use thiserror::Error;

/// What is wrong with a table, and the way out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct TableError {
    /// What is wrong, naming file, column and row where they are known.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
    /// What it lies with.
    pub blame: Blame,
}

/// What an error lies with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blame {
    /// What is in the rows, or what was asked of them.
    #[default]
    Data,
    /// What holds the file: another try may go well.
    Source,
    /// The machine, whose disk is full.
    Machine,
}

impl TableError {
    /// An error without advice.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, blame: Blame::Data }
    }

    /// A file that could not be read for now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { blame: Blame::Source, ..Self::new(message) }
    }

    /// Adds the way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Puts where it happened in front: `data/people.csv: ...`.
    #[must_use]
    pub fn within(mut self, place: impl std::fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// There is no column of that name; suggests the nearest of those there are.
    pub fn no_column<'a>(name: &str, columns: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(name, columns) {
            Some(near) => Self::new(format!("no column `{name}`; did you mean `{near}`?")),
            None => Self::new(format!("no column `{name}`")),
        }
    }
}

impl From<polars::error::PolarsError> for TableError {
    fn from(error: polars::error::PolarsError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<retune_spec::Diagnostic> for TableError {
    fn from(diagnostic: retune_spec::Diagnostic) -> Self {
        Self { help: diagnostic.help, ..Self::new(diagnostic.message) }
    }
}

/// The candidate that was probably meant. Names of one or two letters are near to everything, so nothing is said about them.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.chars().count() > 2 { did_you_mean(name, candidates) } else { None }
}

/// Names as a person lists them: `a`, `b` and 3 more.
pub fn listed<S: AsRef<str>>(names: &[S]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{}`", name.as_ref())).collect();
    match (names.len().saturating_sub(SHOWN), shown.split_last()) {
        (0, Some((last, []))) => last.clone(),
        (0, Some((last, first))) => format!("{} and {last}", first.join(", ")),
        (more, _) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// `1 row`, `2 rows`.
pub(crate) fn counted(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed_as_a_person_would() {
        assert_eq!(listed(&["a"]), "`a`");
        assert_eq!(listed(&["a", "b", "c"]), "`a`, `b` and `c`");
        assert_eq!(listed(&["a", "b", "c", "d", "e", "f", "g"]), "`a`, `b`, `c`, `d`, `e` and 2 more");
    }
}
