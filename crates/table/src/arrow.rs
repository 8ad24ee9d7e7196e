//! The bridge between tables (polars' own Arrow) and arrow-rs, by Arrow's C data interface: buffers are shared, not copied.

use arrow::array::{ArrayData, ArrayRef, RecordBatch, RecordBatchOptions, make_array};
use arrow::datatypes::{Field as ArrowField, Schema as ArrowSchema};
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi, to_ffi};
use polars::prelude::*;
use polars_arrow::ffi::{ArrowArray as PolarsArray, ArrowSchema as PolarsSchema};
use polars_arrow::ffi::{export_array_to_c, export_field_to_c, import_array_from_c, import_field_from_c};
use retune_spec::Schema as Columns;

use crate::{Table, TableError};

// Both crates declare the two structures of the C data interface.
const _: () = assert!(
    size_of::<PolarsArray>() == size_of::<FFI_ArrowArray>()
        && size_of::<PolarsSchema>() == size_of::<FFI_ArrowSchema>()
);

/// The table's columns as one arrow-rs record batch. Text comes as `Utf8View`.
pub fn to_record_batch(table: &Table) -> Result<RecordBatch, TableError> {
    let mut fields = Vec::with_capacity(table.frame().width());
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(table.frame().width());
    for column in table.frame().columns() {
        let array = export(&column.as_materialized_series().rechunk())?;
        fields.push(ArrowField::new(column.name().as_str(), array.data_type().clone(), true));
        arrays.push(make_array(array));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(table.n_rows()));
    RecordBatch::try_new_with_options(ArrowSchema::new(fields).into(), arrays, &options).map_err(foreign)
}

/// A table of a record batch whose columns are those of the schema.
pub fn from_record_batch(batch: &RecordBatch, schema: Columns) -> Result<Table, TableError> {
    Table::new(frame_of(batch)?, schema)
}

/// A record batch's columns.
pub(crate) fn frame_of(batch: &RecordBatch) -> Result<DataFrame, TableError> {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    let columns =
        columns.map(|(field, array)| import(field.name(), &array.to_data())).collect::<Result<Vec<_>, _>>()?;
    Ok(DataFrame::new(batch.num_rows(), columns)?)
}

fn export(series: &Series) -> Result<ArrayData, TableError> {
    let field = series.field().to_arrow(CompatLevel::newest());
    let array = export_array_to_c(series.to_arrow(0, CompatLevel::newest()));
    let schema = export_field_to_c(&field);
    // SAFETY: both sides are `repr(C)` declarations of the same structures; ownership moves with the value, and the release callback frees what
    // polars keeps alive.
    unsafe {
        let array = std::mem::transmute::<PolarsArray, FFI_ArrowArray>(array);
        let schema = std::mem::transmute::<PolarsSchema, FFI_ArrowSchema>(schema);
        from_ffi(array, &schema).map_err(foreign)
    }
}

pub(crate) fn import(name: &str, data: &ArrayData) -> Result<Column, TableError> {
    let (array, schema) = to_ffi(data).map_err(foreign)?;
    // SAFETY: as in `export`.
    let (array, field) = unsafe {
        let array = std::mem::transmute::<FFI_ArrowArray, PolarsArray>(array);
        let schema = std::mem::transmute::<FFI_ArrowSchema, PolarsSchema>(schema);
        let field = import_field_from_c(&schema)?;
        (import_array_from_c(array, field.dtype.clone())?, field)
    };
    let series = Series::from_arrow_chunks(name.into(), vec![array]).map_err(|error| {
        TableError::new(format!("column `{name}` of type {:?} cannot be taken over: {error}", field.dtype))
    })?;
    Ok(series.into_column())
}

fn foreign(error: arrow::error::ArrowError) -> TableError {
    TableError::new(error.to_string())
}
