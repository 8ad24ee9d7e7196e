//! What flows between stages.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use ndarray::Array2;
use retune_table::{Images, Kind, Levels, Schema, Table, Target, Ties, stack};

use crate::{Result, StageError};

/// Rows on their way from one stage to the next.
#[derive(Clone)]
pub enum Rows {
    /// An Arrow table.
    Table(Table),
    /// libtorch tensors, as the crate `retune-tensor` makes them.
    Tensors(Arc<dyn TensorRows>),
    /// A table that is read piece by piece, because it may be larger than memory.
    Pieces(Arc<dyn Pieces>),
}

/// A table that is read piece by piece, as often as somebody asks.
pub trait Pieces: Send + Sync {
    /// The columns.
    fn schema(&self) -> &Schema;

    /// The number of rows.
    fn n_rows(&self) -> usize;

    /// The number of pieces.
    fn n_pieces(&self) -> usize;

    /// The number of the first row of the piece at `index`, counted from 0; the number of rows for the index after the last.
    fn first_row(&self, index: usize) -> usize;

    /// The piece at `index`, with all columns or with the named ones (in the schema's order).
    fn piece(&self, index: usize, columns: Option<&[String]>) -> Result<Table>;
}

/// Named tensors whose first dimension counts rows. Behind a trait, so that only the crates that compute with tensors link libtorch.
pub trait TensorRows: Send + Sync {
    /// The number of rows.
    fn n_rows(&self) -> usize;

    /// The columns that the tensor `features` was made of, and the target with its task.
    fn schema(&self) -> &Schema;

    /// The rows at `indices`, in that order.
    fn take(&self, indices: &[usize]) -> Result<Arc<dyn TensorRows>>;

    /// Features as a matrix, targets and weights, for models outside libtorch.
    fn design(&self) -> Result<Design>;

    /// Writes everything to a safetensors file.
    fn save(&self, path: &Path) -> Result<()>;

    /// For callers that know the concrete type.
    fn as_any(&self) -> &dyn Any;
}

/// What a model learns from: numbers, and images where there is a column of them.
#[derive(Clone, Debug, Default)]
pub struct Design {
    /// Features [rows, features], standard layout. Missing values are NaN.
    pub features: Array2<f64>,
    /// The features' names, unique.
    pub names: Vec<String>,
    /// For each feature that is categorical the levels that its numbers are places of; empty where none is.
    pub levels: Vec<Option<Levels>>,
    /// The images, where there is a column of them.
    pub images: Option<Images>,
    /// The rows' numbers in their source, for messages; empty where they are not known.
    pub row_numbers: Vec<u32>,
    /// What is predicted; `None` for rows to predict.
    pub target: Option<Target>,
    /// Sample weights, where there are any.
    pub weights: Option<Vec<f64>>,
    /// Groups and times, which whoever sets rows aside has to respect.
    pub ties: Ties,
}

impl Design {
    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        self.images.as_ref().map_or(self.features.nrows(), Images::len)
    }

    /// The levels of a feature; `None` where it is a number.
    pub fn levels_of(&self, feature: usize) -> Option<&Levels> {
        self.levels.get(feature).and_then(Option::as_ref)
    }

    /// Writes categorical features as places among other levels, those of the training rows: what is not among them is missing.
    pub fn recode(&mut self, levels: &[Option<Levels>]) {
        for feature in 0..self.names.len() {
            let wanted = levels.get(feature).and_then(Option::as_ref);
            let (Some(own), Some(wanted)) = (self.levels_of(feature), wanted) else { continue };
            if own == wanted {
                continue;
            }
            let place = |level: &String| wanted.binary_search(level).map_or(f64::NAN, |place| place as f64);
            let places: Vec<f64> = own.iter().map(place).collect();
            self.features
                .column_mut(feature)
                .mapv_inplace(|code| if code.is_nan() { code } else { places[code as usize] });
            self.levels[feature] = Some(wanted.clone());
        }
    }

    /// What messages call a row: its number in its source, counted from 1.
    pub fn row_number(&self, row: usize) -> u64 {
        self.row_numbers.get(row).map_or(row as u64 + 1, |number| u64::from(*number))
    }

    /// The target. Fails for rows to predict.
    pub fn target(&self) -> Result<&Target> {
        self.target.as_ref().ok_or_else(|| StageError::data("the rows have no target column"))
    }

    /// The rows at `indices`, in that order.
    #[must_use]
    pub fn take(&self, indices: &[usize]) -> Self {
        Self {
            features: self.features.select(ndarray::Axis(0), indices),
            names: self.names.clone(),
            levels: self.levels.clone(),
            images: self.images.as_ref().map(|images| images.take(indices)),
            row_numbers: if self.row_numbers.is_empty() {
                Vec::new()
            } else {
                indices.iter().map(|&row| self.row_numbers[row]).collect()
            },
            target: self.target.as_ref().map(|target| target.take(indices)),
            weights: self.weights.as_ref().map(|weights| indices.iter().map(|&row| weights[row]).collect()),
            ties: self.ties.take(indices),
        }
    }
}

impl Rows {
    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        match self {
            Self::Table(table) => table.n_rows(),
            Self::Tensors(tensors) => tensors.n_rows(),
            Self::Pieces(pieces) => pieces.n_rows(),
        }
    }

    /// What the columns are.
    pub fn schema(&self) -> &Schema {
        match self {
            Self::Table(table) => table.schema(),
            Self::Tensors(tensors) => tensors.schema(),
            Self::Pieces(pieces) => pieces.schema(),
        }
    }

    /// The table. Fails for tensors.
    pub fn table(&self) -> Result<&Table> {
        match self {
            Self::Table(table) => Ok(table),
            Self::Tensors(_) => Err(StageError::failed("this stage works on a table and was given tensors")
                .help("put `to_tensor` at the end of the last stage before the model")),
            Self::Pieces(_) => Err(StageError::failed("rows that are read by pieces were not gathered before")),
        }
    }

    /// The same rows, not by pieces but in memory. Fails where they would not fit.
    pub fn gather(self) -> Result<Self> {
        match self {
            Self::Pieces(pieces) => Ok(Self::Table(gather(pieces.as_ref())?)),
            other => Ok(other),
        }
    }

    /// The rows at `indices`, in that order; a row may be taken more than once.
    pub fn take(&self, indices: &[usize]) -> Result<Self> {
        match self {
            Self::Table(table) => Ok(Self::Table(table.take(indices)?)),
            Self::Tensors(tensors) => Ok(Self::Tensors(tensors.take(indices)?)),
            Self::Pieces(pieces) => Self::Table(gather(pieces.as_ref())?).take(indices),
        }
    }

    /// What a model learns from. Fails where a feature is neither a number nor categorical.
    pub fn design(&self) -> Result<Design> {
        match self {
            Self::Tensors(tensors) => tensors.design(),
            Self::Pieces(pieces) => Self::Table(gather(pieces.as_ref())?).design(),
            Self::Table(table) => {
                let (features, levels) = table.features()?;
                let has_target = table.schema().of_role(retune_table::Role::Target).is_some();
                let numbers = table.schema().features().filter(|field| field.kind != Kind::Image);
                Ok(Design {
                    features,
                    names: numbers.map(|field| field.name.clone()).collect(),
                    images: table.images()?,
                    levels: if levels.iter().any(Option::is_some) { levels } else { Vec::new() },
                    row_numbers: table.row_numbers(),
                    target: if has_target { Some(table.target()?) } else { None },
                    weights: table.weights()?,
                    ties: Ties::of(table)?,
                })
            }
        }
    }
}

/// All pieces as one table. Fails where it would take more memory than there is.
pub fn gather(pieces: &dyn Pieces) -> Result<Table> {
    let cells = pieces.n_rows().saturating_mul(pieces.schema().fields.len());
    if let Some(available) = available_memory()
        && cells.saturating_mul(size_of::<f64>()) as u64 > available
    {
        let (rows, columns) = (pieces.n_rows(), pieces.schema().fields.len());
        return Err(StageError::data(format!(
            "{rows} rows of {columns} columns do not fit into the {} GiB of memory that are free",
            available >> 30
        ))
        .help(
            "see with `retune plan` which steps need all rows at once; leave them out, or take fewer rows or columns",
        ));
    }
    if pieces.n_pieces() == 0 {
        return Ok(Table::concat(&[], pieces.schema())?);
    }
    let piece = |index: usize| Ok::<_, StageError>(pieces.piece(index, None)?.frame().clone());
    Ok(Table::new(stack(pieces.n_pieces(), pieces.n_rows(), piece)?, pieces.schema().clone())?)
}

/// Bytes that the system could give out; `None` where it does not say.
pub fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
