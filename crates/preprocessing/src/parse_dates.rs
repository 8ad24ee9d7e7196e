//! `parse_dates`.

use polars::prelude::Column;
use retune_spec::date_format::DateFormat;
use retune_spec::preprocessing::{ParseDates, Unparsed};
use retune_stage::{FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::cells;
use crate::converted::{self, Convert, Unread, told, unread};
use crate::dates;
use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// How dates are read; there is nothing else to learn.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedParseDates {
    columns: Vec<String>,
    formats: Vec<String>,
    unparsed: Unparsed,
}

impl FitStep for ParseDates {
    type Fitted = FittedParseDates;
    const REPAIRS: bool = true;
    const KINDS: &'static [Kind] = &[Kind::Categorical, Kind::Text];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        formats(&self.formats)?;
        outline.set_kind(columns, Kind::Datetime);
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedParseDates>> {
        let fitted =
            FittedParseDates { columns: columns.to_vec(), formats: self.formats.clone(), unparsed: self.unparsed };
        let unread = unread(source, columns, &fitted.reader()?, self.unparsed)?;
        let text = told(&format!("read {} as dates", counted(columns.len(), "column")), columns, &unread);
        Ok(Learnt::applied(fitted, text))
    }
}

impl ApplyStep for FittedParseDates {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        converted::apply(frame, &self.columns, &self.reader()?, self.unparsed)
    }
}

impl FittedParseDates {
    fn reader(&self) -> Result<Reader> {
        Ok(Reader { formats: formats(&self.formats)? })
    }
}

struct Reader {
    formats: Vec<DateFormat>,
}

impl Reader {
    fn read(&self, text: &str) -> Option<i64> {
        if self.formats.is_empty() {
            return dates::read_common(text);
        }
        self.formats.iter().find_map(|format| dates::read_as(format, text))
    }
}

impl Convert for Reader {
    fn kind(&self) -> Kind {
        Kind::Datetime
    }

    fn wanted(&self) -> &'static str {
        "dates"
    }

    fn convert(&self, frame: &Frame, _index: usize, name: &str) -> Result<(Column, Unread)> {
        let before = frame.table.strings(name)?;
        let after = dates::time_column(name, cells::read(before, |text| self.read(text)));
        let unread =
            Unread::between(frame, frame.table.column(name)?, &after, |row| before.get(row).map(str::to_owned));
        Ok((after, unread))
    }

    fn help(&self) -> String {
        let form = if self.formats.is_empty() {
            "give their form: `formats: [\"%d/%m/%Y\"]`"
        } else {
            "add their form to `formats`"
        };
        format!("{form}, or set `unparsed: null` for missing values")
    }
}

fn formats(texts: &[String]) -> Result<Vec<DateFormat>> {
    let read = |text: &String| DateFormat::parse(text).map_err(|(message, help)| StageError::data(message).help(help));
    texts.iter().map(read).collect()
}
