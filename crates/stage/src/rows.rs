//! What flows between stages.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use ndarray::Array2;
use retune_table::{Schema, Table, Target, Ties};

use crate::{Result, StageError};

/// Rows on their way from one stage to the next.
#[derive(Clone)]
pub enum Rows {
    /// An Arrow table.
    Table(Table),
    /// libtorch tensors, as the crate `retune-tensor` makes them.
    Tensors(Arc<dyn TensorRows>),
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

/// What a model learns from: numbers only.
#[derive(Clone, Debug, Default)]
pub struct Design {
    /// Features [rows, features], standard layout.
    pub features: Array2<f64>,
    /// The features' names, unique.
    pub names: Vec<String>,
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
        self.features.nrows()
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
        }
    }

    /// What the columns are.
    pub fn schema(&self) -> &Schema {
        match self {
            Self::Table(table) => table.schema(),
            Self::Tensors(tensors) => tensors.schema(),
        }
    }

    /// The table. Fails for tensors.
    pub fn table(&self) -> Result<&Table> {
        match self {
            Self::Table(table) => Ok(table),
            Self::Tensors(_) => Err(StageError::failed("this stage works on a table and was given tensors")
                .help("put `to_tensor` at the end of the last stage before the model")),
        }
    }

    /// The rows at `indices`, in that order; a row may be taken more than once.
    pub fn take(&self, indices: &[usize]) -> Result<Self> {
        match self {
            Self::Table(table) => Ok(Self::Table(table.take(indices)?)),
            Self::Tensors(tensors) => Ok(Self::Tensors(tensors.take(indices)?)),
        }
    }

    /// What a model learns from. Fails where a feature is not numeric or has missing values.
    pub fn design(&self) -> Result<Design> {
        match self {
            Self::Tensors(tensors) => tensors.design(),
            Self::Table(table) => {
                let has_target = table.schema().of_role(retune_table::Role::Target).is_some();
                Ok(Design {
                    features: table.features()?,
                    names: table.schema().features().map(|field| field.name.clone()).collect(),
                    target: if has_target { Some(table.target()?) } else { None },
                    weights: table.weights()?,
                    ties: Ties::of(table)?,
                })
            }
        }
    }
}
