//! Arrow tables with column roles: reading and writing, splits and folds, and the bridges Arrow <-> polars <-> ndarray.
//!
//! A [`Table`] is a polars frame (Arrow memory) and a [`Schema`] that says what each column is for. How values are stored follows
//! from the kind: numbers in any numeric type, categories and text as strings, labels to predict as strings, values to predict as 64-bit floats.
//! A missing value is always a null, never NaN.

mod arrow;
mod arrow_file;
mod arrow_stream;
mod binding;
mod by_chunks;
mod bytes;
mod cells;
mod conform;
mod csv;
mod dates;
mod error;
mod files;
mod fold_plans;
mod grammar;
mod image_files;
mod images;
mod ingest;
mod json_lines;
mod kinds;
pub mod neighbours;
pub mod numbers;
mod ordered;
mod parquet_file;
mod profile;
mod split;
mod stack;
mod table;
mod write;

pub use arrow::{from_record_batch, to_record_batch};
pub use arrow_file::ArrowFile;
pub use arrow_stream::{ArrowStream, ArrowStreamWriter};
pub use binding::{BadRow, Binding, Bound};
pub use by_chunks::{ConformFiles, IngestFiles};
pub use cells::{cell_json, frame_json};
pub use conform::{Conformed, TargetPolicy, conform};
pub use error::{Blame, TableError, listed};
pub use files::{Files, ReadOptions, format_of, read_files};
pub use fold_plans::{Divisible, plan_folds};
pub use images::{ImageFile, Images};
pub use ingest::{IngestReport, ingest, ingest_like};
pub use ordered::in_order;
pub use profile::{ColumnProfile, Histogram, profile};
pub use retune_spec::columns::Dtype;
pub use retune_spec::schema::{Field, Kind, Role, Schema, Task};
pub use split::{Fold, Parts, Ties, folds, folds_of, halves, split};
pub use stack::stack;
pub use table::{Levels, Table, Target, encoder_hint, select, select_typed};
pub use write::{IpcFile, OutputFile, PIECE_ROWS, read_ipc, write_file, write_ipc, write_parquet};
