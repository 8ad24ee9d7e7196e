//! Columns read as another kind: what `cast`, `parse_numbers` and `parse_dates` share.

use polars::prelude::Column;
use rayon::prelude::*;
use retune_spec::preprocessing::Unparsed;
use retune_stage::{Field, Kind, Result, StageError};

use crate::frame::Frame;
use crate::source::Source;
use crate::step::counted;

/// How many values that cannot be read are shown.
const SHOWN: usize = 5;

/// The values of a column that cannot be read: how many, and the first with their rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unread {
    pub(crate) n: usize,
    first: Vec<(u64, String)>,
}

impl Unread {
    /// Those that are there before and missing after; `text` gives the value of a row as it was.
    pub(crate) fn between(
        frame: &Frame,
        before: &Column,
        after: &Column,
        text: impl Fn(usize) -> Option<String>,
    ) -> Self {
        if before.null_count() == after.null_count() {
            return Self::default();
        }
        let (before, after) = (before.is_null(), after.is_null());
        let lost = before.iter().zip(after.iter()).enumerate().filter(|(_, (before, after))| before != after);
        let rows: Vec<usize> = lost.map(|(row, _)| row).collect();
        let shown = |&row: &usize| (frame.table.row_number(row), text(row).unwrap_or_default());
        Self { n: rows.len(), first: rows.iter().take(SHOWN).map(shown).collect() }
    }

    fn add(&mut self, other: Self) {
        self.n += other.n;
        let missing = SHOWN.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(missing));
    }

    /// `` `x` in row 3, `y` in row 7 and 2 more``.
    pub(crate) fn listed(&self) -> String {
        let shown: Vec<String> =
            self.first.iter().map(|(row, text)| format!("`{}` in row {row}", short(text))).collect();
        match self.n - self.first.len() {
            0 => shown.join(", "),
            more => format!("{} and {more} more", shown.join(", ")),
        }
    }
}

/// At most 40 characters, on one line.
fn short(text: &str) -> String {
    let line = text.replace(['\n', '\r', '\t'], " ");
    if line.chars().count() <= 40 { line } else { line.chars().take(39).chain(['…']).collect() }
}

/// How the values of one kind of step are read.
pub(crate) trait Convert: Sync {
    /// The kind that columns become.
    fn kind(&self) -> Kind;

    /// What the values must be: `numbers`.
    fn wanted(&self) -> &'static str;

    /// The column of that number, read; missing where it cannot be, and what could not be.
    fn convert(&self, frame: &Frame, index: usize, name: &str) -> Result<(Column, Unread)>;

    /// The way out where values cannot be read.
    fn help(&self) -> String;
}

/// What cannot be read in all training rows, by column; an error where that is not to be.
pub(crate) fn unread(
    source: &Source,
    columns: &[String],
    convert: &impl Convert,
    unparsed: Unparsed,
) -> Result<Vec<Unread>> {
    let mut sums = vec![Unread::default(); columns.len()];
    let of = |frame: &Frame, index: usize| Ok(convert.convert(frame, index, &columns[index])?.1);
    let map =
        |frame: &Frame| (0..columns.len()).into_par_iter().map(|index| of(frame, index)).collect::<Result<Vec<_>>>();
    source.fold(columns, map, |piece| {
        sums.iter_mut().zip(piece).for_each(|(sum, piece)| sum.add(piece));
        Ok(())
    })?;
    columns.iter().zip(&sums).try_for_each(|(name, unread)| refuse(name, unread, convert, unparsed))?;
    Ok(sums)
}

/// The frame with the columns read.
pub(crate) fn apply(frame: &Frame, columns: &[String], convert: &impl Convert, unparsed: Unparsed) -> Result<Frame> {
    let of = |(index, name): (usize, &String)| {
        let (column, unread) = convert.convert(frame, index, name)?;
        refuse(name, &unread, convert, unparsed)?;
        let field = Field { kind: convert.kind(), ..frame.field(name)?.clone() };
        Ok((name.clone(), vec![(field, column)]))
    };
    frame.replace(columns.par_iter().enumerate().map(of).collect::<Result<_>>()?)
}

/// What was read, for the report: `read 2 columns as numbers; ...`.
pub(crate) fn told(what: &str, columns: &[String], unread: &[Unread]) -> String {
    let mut text = what.to_owned();
    let n: usize = unread.iter().map(|unread| unread.n).sum();
    if n > 0 {
        let of = |(name, unread): (&String, &Unread)| format!("column `{name}` {}", unread.listed());
        let listed: Vec<String> =
            columns.iter().zip(unread).filter(|(_, unread)| unread.n > 0).take(SHOWN).map(of).collect();
        let what = if n == 1 { "is" } else { "are" };
        text += &format!("; {} could not be read and {what} missing now: {}", counted(n, "value"), listed.join("; "));
    }
    text
}

fn refuse(name: &str, unread: &Unread, convert: &impl Convert, unparsed: Unparsed) -> Result<()> {
    if unread.n == 0 || unparsed == Unparsed::Null {
        return Ok(());
    }
    let wanted = convert.wanted();
    let what =
        if unread.n == 1 { "1 value that cannot be".to_owned() } else { format!("{} values that cannot be", unread.n) };
    Err(StageError::data(format!("column `{name}` has {what} read as {wanted}: {}", unread.listed()))
        .help(convert.help()))
}
