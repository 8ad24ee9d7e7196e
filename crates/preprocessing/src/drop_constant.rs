//! `drop_constant`.

use polars::chunked_array::ops::row_encode::encode_rows_unordered;
use rayon::prelude::*;
use retune_spec::preprocessing::DropConstant;
use retune_stage::{FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// The columns that go.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedDropConstant {
    dropped: Vec<String>,
}

impl FitStep for DropConstant {
    type Fitted = FittedDropConstant;
    const KINDS: &'static [Kind] = &Kind::ALL;

    fn check(&self, _columns: &[String], _outline: &mut Outline) -> Result<()> {
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedDropConstant>> {
        let mut seen: Vec<Seen> = vec![Seen::default(); columns.len()];
        let map = |frame: &Frame| columns.par_iter().map(|name| Seen::of(frame, name)).collect::<Result<Vec<_>>>();
        source.fold(columns, map, |piece| {
            seen.iter_mut().zip(piece).for_each(|(sum, piece)| sum.add(piece));
            Ok(())
        })?;
        let constant = |seen: &Seen| !seen.several && (self.ignore_missing || !seen.missing || seen.value.is_none());
        let dropped: Vec<String> =
            columns.iter().zip(&seen).filter(|(_, seen)| constant(seen)).map(|(name, _)| name.clone()).collect();
        let text = match dropped.len() {
            0 => "no column has one value only".to_owned(),
            n => format!("dropped {} of one value: {}", counted(n, "column"), retune_table::listed(&dropped)),
        };
        Ok(Learnt::applied(FittedDropConstant { dropped }, text))
    }
}

impl ApplyStep for FittedDropConstant {
    fn dense_columns(&self) -> &[String] {
        // They need not be written out to be dropped.
        &[]
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        frame.remove(&self.dropped)
    }
}

/// What a column holds.
#[derive(Clone, Default)]
struct Seen {
    /// The first value, as bytes that are equal where values are.
    value: Option<Vec<u8>>,
    several: bool,
    missing: bool,
}

impl Seen {
    fn of(frame: &Frame, name: &str) -> Result<Self> {
        let failed = |error: polars::error::PolarsError| StageError::failed(error.to_string());
        let column = frame.table.column(name)?;
        let present = column.drop_nulls();
        let missing = present.len() < column.len();
        // A few values tell most columns apart.
        for n_rows in [present.len().min(64), present.len()] {
            let encoded = encode_rows_unordered(&[present.slice(0, n_rows)]).map_err(failed)?;
            let mut rows = encoded.iter().map(Option::unwrap_or_default);
            let value = rows.next().map(<[u8]>::to_vec);
            let several = rows.any(|row| Some(row) != value.as_deref());
            if several || n_rows == present.len() {
                return Ok(Self { value, several, missing });
            }
        }
        Ok(Self { value: None, several: false, missing })
    }

    fn add(&mut self, other: Self) {
        self.missing |= other.missing;
        self.several |= other.several;
        match (&self.value, other.value) {
            (Some(value), Some(other)) => self.several |= *value != other,
            (None, Some(other)) => self.value = Some(other),
            (_, None) => {}
        }
    }
}
