//! The pipeline language: every YAML type with its defaults, ranges, spans and JSON Schema.
//!
//! Pure data. Nothing here opens a table or links polars or libtorch; the light program `retune` is built on it.
//! A pipeline file is read in three passes: [`yaml`] turns the text into a tree whose every node knows its place,
//! `validate` walks that tree against the JSON Schema made from the types below and reports every mistake at once,
//! and serde turns what is left into [`Pipeline`]. Adding an algorithm starts with a variant here.

pub mod batch;
mod brief;
mod catalogue;
mod checks;
pub mod columns;
pub mod csv;
pub mod data;
pub mod date_format;
pub mod diagnostic;
mod document;
mod emit;
pub mod estimators;
pub mod expression;
pub mod feature_selection;
pub mod fine_tuning;
mod graph;
mod headers;
pub mod images;
pub mod layers;
pub mod metric;
pub mod model_selection;
mod params;
pub mod pipeline;
pub mod preprocessing;
mod publish;
mod reference;
pub mod schema;
pub mod tracking;
pub mod upstream;
mod validate;
pub mod yaml;

pub use catalogue::{Entry, Section, catalogue, describe};
pub use columns::{OneOrMany, Selector};
pub use data::{Data, Split};
pub use diagnostic::{Diagnostic, Severity, Source, did_you_mean, file_like, render};
pub use document::{Document, load, load_stage};
pub use estimators::Estimator;
pub use headers::check_columns;
pub use metric::Metric;
pub use pipeline::{Pipeline, StageKind, StageSpec};
pub use publish::json_schema;
pub use reference::language_reference;
pub use schema::{Field, Kind, Role, Schema, Task};
pub use tracking::Tracking;
