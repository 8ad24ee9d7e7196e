//! The training rows as a step sees them: in memory, or read by pieces because they may be larger than memory.
//!
//! A step that learns by [`Source::fold`] and the statistics of `stats.rs` works on both and needs to know neither.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use polars::prelude::{BooleanChunked, ChunkCompareEq, ChunkFull, Column};
use rayon::prelude::*;
use retune_stage::{Field, PIECE_ROWS, Pieces, Result, Role, Rows, Schema, StageError, Table, gather};
use retune_table::{Dtype, in_order};

use crate::frame::Frame;
use crate::step::FittedStep;

/// Training rows.
#[derive(Clone)]
pub(crate) enum Source {
    /// In memory.
    Frame(Frame),
    /// Read by pieces, with the steps applied that were fitted so far.
    Pieces(Mapped),
}

/// Rows that are read by pieces and taken through fitted steps on the way.
#[derive(Clone)]
pub(crate) struct Mapped {
    inner: Arc<dyn Pieces>,
    /// Whether each row of `inner` is still there; `None` where all are.
    kept: Option<Arc<Kept>>,
    steps: Vec<Arc<FittedStep>>,
    schema: Schema,
}

/// Which rows of the inner pieces are still there.
struct Kept {
    rows: Vec<bool>,
    /// The number of the first row of each inner piece among those that are left, and their number.
    starts: Vec<usize>,
}

impl Source {
    pub(crate) fn new(rows: Rows) -> Result<Self> {
        Ok(match rows {
            Rows::Pieces(inner) => Self::Pieces(Mapped::new(inner)),
            rows => Self::Frame(Frame::new(rows.table()?.clone())),
        })
    }

    pub(crate) fn n_rows(&self) -> usize {
        match self {
            Self::Frame(frame) => frame.n_rows(),
            Self::Pieces(mapped) => mapped.n_rows(),
        }
    }

    /// Every column, sparse ones last.
    pub(crate) fn schema(&self) -> Schema {
        match self {
            Self::Frame(frame) => frame.schema(),
            Self::Pieces(mapped) => mapped.schema.clone(),
        }
    }

    /// The number of feature columns.
    pub(crate) fn n_features(&self) -> usize {
        self.schema().features().count()
    }

    /// How dense columns are stored.
    pub(crate) fn dtypes(&self) -> Result<HashMap<String, Dtype>> {
        let of = |frame: &Frame| {
            let names = frame.table.schema().fields.iter().map(|field| &field.name);
            names.filter_map(|name| Some((name.clone(), frame.table.dtype(name)?))).collect()
        };
        Ok(match self {
            Self::Frame(frame) => of(frame),
            Self::Pieces(mapped) if mapped.n_pieces() == 0 => HashMap::new(),
            Self::Pieces(mapped) => of(&mapped.frame(0, None)?),
        })
    }

    /// What a column is.
    pub(crate) fn field(&self, name: &str) -> Result<Field> {
        self.schema().field(name).cloned().ok_or_else(|| StageError::failed(format!("no column `{name}`")))
    }

    /// All rows in memory. For steps whose reach (`Step::reach`) says that they need them: the stage gathers the rows before it fits such a step.
    pub(crate) fn frame(&self) -> Result<&Frame> {
        match self {
            Self::Frame(frame) => Ok(frame),
            Self::Pieces(_) => Err(StageError::failed("the step needs all rows, which were not gathered before it")),
        }
    }

    /// The same rows in memory. Fails where they would not fit.
    pub(crate) fn gathered(self) -> Result<Self> {
        Ok(match self {
            Self::Pieces(mapped) => Self::Frame(Frame::new(gather(&mapped)?)),
            frame => frame,
        })
    }

    /// One pass over the rows: `map` turns each piece into something, on many threads at once; `merge` takes the results one after the other in the
    /// order of the rows. `columns` are those that `map` needs in the table,
    /// beside row numbers and weights. Nothing depends on the number of threads.
    pub(crate) fn fold<T: Send>(
        &self,
        columns: &[String],
        map: impl Fn(&Frame) -> Result<T> + Sync,
        merge: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        let n_pieces = match self {
            Self::Frame(frame) => frame.n_rows().div_ceil(PIECE_ROWS),
            Self::Pieces(mapped) => mapped.n_pieces(),
        };
        let piece = |index: usize| match self {
            Self::Frame(frame) => map(&frame.slice(index * PIECE_ROWS, PIECE_ROWS).densify(columns)?),
            Self::Pieces(mapped) => map(&mapped.frame(index, Some(columns))?.densify(columns)?),
        };
        in_order(n_pieces, piece, merge)
    }

    /// A whole column as numbers, a missing value as NaN: eight bytes a row, however many rows there are.
    pub(crate) fn numeric(&self, name: &str) -> Result<Vec<f64>> {
        if let Self::Frame(frame) = self {
            return frame.densify(&[name.to_owned()])?.numeric(name);
        }
        let mut values = Vec::with_capacity(self.n_rows());
        let columns = [name.to_owned()];
        let merge = |piece: Vec<f64>| {
            values.extend(piece);
            Ok(())
        };
        self.fold(&columns, |frame| frame.numeric(name), merge)?;
        Ok(values)
    }

    /// The rows of which `kept` says so; one entry a row.
    pub(crate) fn filter(self, kept: &[bool]) -> Result<Self> {
        Ok(match self {
            Self::Frame(frame) => {
                let rows: Vec<usize> = (0..kept.len()).filter(|&row| kept[row]).collect();
                Self::Frame(frame.take(&rows)?)
            }
            Self::Pieces(mapped) => Self::Pieces(mapped.filter(kept)),
        })
    }

    /// The rows taken through a fitted step.
    pub(crate) fn after(self, step: &Arc<FittedStep>) -> Result<Self> {
        Ok(match self {
            Self::Frame(frame) => Self::Frame(step.apply(&frame)?),
            Self::Pieces(mapped) => Self::Pieces(mapped.after(step)?),
        })
    }
}

impl Mapped {
    pub(crate) fn new(inner: Arc<dyn Pieces>) -> Self {
        let schema = inner.schema().clone();
        Self { inner, kept: None, steps: Vec::new(), schema }
    }

    /// A piece after all steps. Where columns are named, others may be missing or lack a step.
    fn frame(&self, index: usize, columns: Option<&[String]>) -> Result<Frame> {
        let columns = columns.filter(|columns| !columns.is_empty());
        let (columns, steps) = match columns.and_then(|columns| self.needed(columns)) {
            Some((columns, steps)) => (Some(self.with_carried(&columns)), steps),
            None => (None, self.steps.iter().collect()),
        };
        let frame = Frame::new(self.table(index, columns.as_deref())?);
        steps.into_iter().try_fold(frame, |frame, step| step.apply(&frame))
    }

    /// The columns to read and the steps to apply to them for some columns after all steps; `None` where a step may look at any column.
    fn needed(&self, columns: &[String]) -> Option<(Vec<String>, Vec<&Arc<FittedStep>>)> {
        let mut needed: HashSet<&String> = columns.iter().collect();
        let mut steps = Vec::new();
        for step in self.steps.iter().rev() {
            let turned = step.in_place()?;
            if turned.iter().any(|name| needed.contains(name)) {
                needed.extend(turned);
                steps.push(step);
            }
        }
        steps.reverse();
        let fields = self.inner.schema().fields.iter();
        Some((fields.map(|field| &field.name).filter(|name| needed.contains(name)).cloned().collect(), steps))
    }

    /// The columns, and those that belong to any rows: their numbers, which messages name, and their weights.
    fn with_carried(&self, columns: &[String]) -> Vec<String> {
        let fields = self.inner.schema().fields.iter();
        let carried = fields.filter(|field| matches!(field.role, Role::RowNumber | Role::Weight));
        columns.iter().cloned().chain(carried.map(|field| field.name.clone())).collect()
    }

    /// A piece before all steps. Where rows were dropped, pieces are cut anew, as they would be in memory.
    fn table(&self, index: usize, columns: Option<&[String]>) -> Result<Table> {
        let Some(kept) = &self.kept else { return self.inner.piece(index, columns) };
        let (begin, end) = (self.first_row(index), self.first_row(index + 1));
        let inner =
            kept.starts.partition_point(|&start| start <= begin) - 1..kept.starts.partition_point(|&start| start < end);
        let part = |index: usize| {
            let rows = self.inner.first_row(index)..self.inner.first_row(index + 1);
            let left = (0..rows.len()).filter(|row| kept.rows[rows.start + row]).zip(kept.starts[index]..);
            let wanted: Vec<usize> = left.filter(|(_, at)| (begin..end).contains(at)).map(|(row, _)| row).collect();
            Ok(self.inner.piece(index, columns)?.take(&wanted)?)
        };
        let parts: Vec<Table> = inner.map(part).collect::<Result<_>>()?;
        let schema = parts.first().map_or(self.inner.schema(), Table::schema);
        Ok(Table::concat(&parts, schema)?)
    }

    fn filter(mut self, kept: &[bool]) -> Self {
        let mut kept = kept.iter();
        let mut still = |was: bool| was && kept.next().copied().unwrap_or(false);
        let rows: Vec<bool> = match &self.kept {
            Some(before) => before.rows.iter().map(|&was| still(was)).collect(),
            None => (0..self.inner.n_rows()).map(|_| still(true)).collect(),
        };
        let mut starts = vec![0];
        for index in 0..self.inner.n_pieces() {
            let piece = &rows[self.inner.first_row(index)..self.inner.first_row(index + 1)];
            starts.push(starts[index] + piece.iter().filter(|kept| **kept).count());
        }
        self.kept = Some(Arc::new(Kept { rows, starts }));
        self
    }

    fn after(mut self, step: &Arc<FittedStep>) -> Result<Self> {
        let none = Table::concat(&[], self.inner.schema())?;
        self.steps.push(Arc::clone(step));
        // What no row looks like tells the columns.
        let none = match self.inner.n_pieces() {
            0 => none,
            _ => self.inner.piece(0, None)?.slice(0, 0),
        };
        let after = self.steps.iter().try_fold(Frame::new(none), |frame, step| step.apply(&frame))?;
        self.schema = after.schema();
        Ok(self)
    }
}

impl Pieces for Mapped {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn n_rows(&self) -> usize {
        self.kept.as_ref().map_or_else(|| self.inner.n_rows(), |kept| kept.starts[self.inner.n_pieces()])
    }

    fn n_pieces(&self) -> usize {
        match &self.kept {
            None => self.inner.n_pieces(),
            Some(_) => self.n_rows().div_ceil(PIECE_ROWS),
        }
    }

    fn first_row(&self, index: usize) -> usize {
        match &self.kept {
            None => self.inner.first_row(index),
            Some(_) => self.n_rows().min(index * PIECE_ROWS),
        }
    }

    fn piece(&self, index: usize, columns: Option<&[String]>) -> Result<Table> {
        let table = self.frame(index, columns)?.finish()?;
        let Some(columns) = columns else { return Ok(table) };
        let fields = self.schema.fields.iter().filter(|field| columns.contains(&field.name)).cloned().collect();
        Ok(Table::new(table.frame().clone(), Schema { fields, task: self.schema.task.clone() })?)
    }
}

/// How many rows two frames of the same rows differ in, in the named columns that both have.
pub(crate) fn n_changed(before: &Frame, after: &Frame, columns: &[String]) -> Result<usize> {
    let failed = |error: polars::error::PolarsError| StageError::failed(error.to_string());
    let pairs = columns.iter().filter_map(|name| {
        let (before, after) = (before.table.frame().column(name).ok()?, after.table.frame().column(name).ok()?);
        Some((before, after))
    });
    let pairs: Vec<(&Column, &Column)> = pairs.collect();
    let differ = |(before, after): &(&Column, &Column)| -> Result<BooleanChunked> {
        // A cast changes no value by itself.
        let before = if before.dtype() == after.dtype() {
            (*before).clone()
        } else {
            match before.cast(after.dtype()) {
                Ok(cast) => cast,
                Err(_) => return Ok(BooleanChunked::full(before.name().clone(), true, before.len())),
            }
        };
        let after = after.as_materialized_series();
        before.as_materialized_series().not_equal_missing(after).map_err(failed)
    };
    let none = || BooleanChunked::full("".into(), false, before.n_rows());
    let any = pairs.par_iter().map(differ).try_reduce(none, |one, other| Ok(&one | &other))?;
    Ok(any.sum().unwrap_or(0) as usize)
}
