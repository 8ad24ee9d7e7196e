//! Where fitted stages are saved and loaded: folders within an artifact.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;

use ndarray::{Array2, ArrayView2};
use retune_store::{Artifact, ArtifactWriter};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Result, StageError};

/// A folder of an artifact that is being written.
pub struct SaveDir<'a> {
    writer: &'a ArtifactWriter,
    prefix: String,
}

impl<'a> SaveDir<'a> {
    /// The artifact's own folder.
    pub fn new(writer: &'a ArtifactWriter) -> Self {
        Self { writer, prefix: String::new() }
    }

    /// A folder within.
    #[must_use]
    pub fn child(&self, name: &str) -> SaveDir<'a> {
        SaveDir { writer: self.writer, prefix: format!("{}{name}/", self.prefix) }
    }

    /// Writes JSON.
    pub fn json<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        Ok(self.writer.write_json(&format!("{}{name}", self.prefix), value)?)
    }

    /// Writes bytes.
    pub fn bytes(&self, name: &str, bytes: &[u8]) -> Result<()> {
        Ok(self.writer.write_bytes(&format!("{}{name}", self.prefix), bytes)?)
    }

    /// Writes matrices to a safetensors file.
    pub fn matrices(&self, name: &str, matrices: &[(&str, ArrayView2<f64>)]) -> Result<()> {
        let views = matrices.iter().map(|(name, matrix)| (*name, Matrix(matrix.as_standard_layout())));
        let bytes = safetensors::serialize(views, None).map_err(|error| StageError::failed(error.to_string()))?;
        self.bytes(name, &bytes)
    }
}

/// A folder of an artifact that is read; everything is verified by its digest.
pub struct LoadDir<'a> {
    artifact: &'a Artifact,
    prefix: String,
}

impl<'a> LoadDir<'a> {
    /// The artifact's own folder.
    pub fn new(artifact: &'a Artifact) -> Self {
        Self { artifact, prefix: String::new() }
    }

    /// A folder within.
    #[must_use]
    pub fn child(&self, name: &str) -> LoadDir<'a> {
        LoadDir { artifact: self.artifact, prefix: format!("{}{name}/", self.prefix) }
    }

    /// Reads JSON.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        Ok(self.artifact.read_json(&format!("{}{name}", self.prefix))?)
    }

    /// Reads bytes.
    pub fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        Ok(self.artifact.read_bytes(&format!("{}{name}", self.prefix))?)
    }

    /// The path of a verified file, for memory-mapping.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        Ok(self.artifact.verified_path(&format!("{}{name}", self.prefix))?)
    }

    /// Reads the matrices of a safetensors file by name.
    pub fn matrices(&self, name: &str) -> Result<HashMap<String, Array2<f64>>> {
        let bytes = self.bytes(name)?;
        let broken = |reason: String| StageError::failed(format!("{}{name}: {reason}", self.prefix));
        let file = SafeTensors::deserialize(&bytes).map_err(|error| broken(error.to_string()))?;
        let read = |(key, view): (String, TensorView)| match (view.dtype(), view.shape()) {
            (Dtype::F64, &[rows, columns]) => {
                let values =
                    view.data().chunks_exact(8).map(|chunk| f64::from_le_bytes(chunk.try_into().unwrap_or_default()));
                let matrix = Array2::from_shape_vec((rows, columns), values.collect())
                    .map_err(|error| broken(error.to_string()))?;
                Ok((key, matrix))
            }
            (kind, shape) => {
                Err(broken(format!("tensor `{key}` is {kind:?} {shape:?}, not a matrix of 64-bit floats")))
            }
        };
        file.tensors().into_iter().map(read).collect()
    }
}

/// A matrix in standard layout, as safetensors wants to see it.
struct Matrix<'a>(ndarray::CowArray<'a, f64, ndarray::Ix2>);

impl View for Matrix<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F64
    }

    fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.0.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        self.0.len() * 8
    }
}
