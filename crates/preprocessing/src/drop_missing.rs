//! `drop_missing`.

use std::collections::HashSet;

use polars::prelude::BooleanChunked;
use retune_spec::preprocessing::DropMissing;
use retune_stage::{FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::stats::n_missing;
use crate::step::{ApplyStep, FitStep, Learnt, Train, counted};

/// The columns that go, and from which share of missing values on a row is flagged.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedDropMissing {
    dropped: Vec<String>,
    /// The columns that are counted in a row.
    considered: Vec<String>,
    rows: Option<f64>,
}

impl FitStep for DropMissing {
    type Fitted = FittedDropMissing;
    const KINDS: &'static [Kind] = &Kind::ALL;

    fn check(&self, _columns: &[String], _outline: &mut Outline) -> Result<()> {
        if self.rows.is_some() || self.columns.is_some() {
            return Ok(());
        }
        Err(StageError::data("`drop_missing` says neither which rows nor which columns go")
            .help("give a share of missing values: `rows: 0.5`, `columns: 0.9`, or both"))
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedDropMissing>> {
        let dropped = sparse_columns(source, columns, self.columns)?;
        let gone: HashSet<&String> = dropped.iter().map(|(name, _)| name).collect();
        let considered: Vec<String> = columns.iter().filter(|name| !gone.contains(name)).cloned().collect();
        let names: Vec<String> =
            dropped.iter().map(|(name, share)| format!("{name} ({:.0} % missing)", 100.0 * share)).collect();
        let fitted = FittedDropMissing {
            dropped: dropped.into_iter().map(|(name, _)| name).collect(),
            considered,
            rows: self.rows,
        };
        let mut told = Vec::new();
        if self.columns.is_some() {
            let listed = if names.is_empty() { String::new() } else { format!(": {}", retune_table::listed(&names)) };
            told.push(format!("{}{listed}", counted(names.len(), "column")));
        }
        let mut train = Train::Applied;
        if self.rows.is_some() {
            let kept = fitted.kept(source)?;
            told.push(counted(kept.iter().filter(|kept| !**kept).count(), "training row"));
            train = Train::Kept(kept);
        }
        Ok(Learnt::new(fitted, train, format!("dropped {}", told.join(" and "))))
    }
}

/// The columns with a greater share of missing values than allowed, and that share.
fn sparse_columns(source: &Source, columns: &[String], most: Option<f64>) -> Result<Vec<(String, f64)>> {
    let Some(most) = most else { return Ok(Vec::new()) };
    let (missing, _) = n_missing(source, columns)?;
    let n_rows = source.n_rows() as f64;
    let share = |(name, n): (&String, usize)| (name.clone(), n as f64 / n_rows);
    Ok(columns.iter().zip(missing).map(share).filter(|(_, share)| *share > most).collect())
}

impl FittedDropMissing {
    /// Whether each training row has few enough missing values.
    fn kept(&self, source: &Source) -> Result<Vec<bool>> {
        let mut kept = Vec::with_capacity(source.n_rows());
        source.fold(
            &self.considered,
            |frame| self.flagged(frame),
            |piece: Vec<bool>| {
                kept.extend(piece.into_iter().map(|flagged| !flagged));
                Ok(())
            },
        )?;
        Ok(kept)
    }

    /// Whether each row has too many.
    fn flagged(&self, frame: &Frame) -> Result<Vec<bool>> {
        let mut missing = vec![0_u32; frame.n_rows()];
        for name in &self.considered {
            let column = frame.table.column(name)?;
            if column.null_count() > 0 {
                let null: BooleanChunked = column.is_null();
                missing.iter_mut().zip(null.iter()).for_each(|(n, null)| *n += u32::from(null == Some(true)));
            }
        }
        let most = self.rows.unwrap_or(1.0) * self.considered.len() as f64;
        Ok(missing.into_iter().map(|n| f64::from(n) > most).collect())
    }
}

impl ApplyStep for FittedDropMissing {
    fn dense_columns(&self) -> &[String] {
        &self.considered
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let rest = frame.remove(&self.dropped)?;
        match self.rows {
            None => Ok(rest),
            Some(_) => rest.flag(&self.flagged(frame)?, "drop_missing"),
        }
    }
}
