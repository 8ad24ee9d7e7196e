use arrow::array::{Array, DictionaryArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use polars::prelude::*;
use retune_table::{
    Field, Kind, Schema as Columns, Table, from_record_batch, profile, read_ipc, to_record_batch, write_ipc,
};
use retune_testing::table;

use crate::{Folder, texts};

fn every_type() -> Table {
    let built = table([
        ("f", [Some(1.5), None, Some(-0.0)].into()),
        ("i", [Some(1_i64), Some(i64::MIN), None].into()),
        ("s", [Some("a longer text than twelve bytes"), None, Some("ö")].into()),
        ("b", [Some(true), None, Some(false)].into()),
    ])
    .build();
    let mut frame = built.frame().clone();
    let mut fields = built.schema().fields.clone();
    let more = [
        Series::new("f32".into(), [Some(0.5_f32), None, Some(2.0)]),
        Series::new("i8".into(), [Some(-1_i8), None, Some(2)]),
        Series::new("u16".into(), [Some(1_u16), None, Some(2)]),
        Series::new("u64".into(), [1_u64, 2, u64::MAX]),
        Series::new("date".into(), [Some(1_i32), None, Some(-5)]).cast(&DataType::Date).unwrap(),
        Series::new("time".into(), [Some(1_i64), None, Some(-5)])
            .cast(&DataType::Datetime(TimeUnit::Microseconds, None))
            .unwrap(),
        Series::new("bytes".into(), [Some(b"\x89PNG".as_slice()), None, Some(b"".as_slice())]),
    ];
    for series in more {
        fields.push(Field::feature(series.name().as_str(), Kind::Numeric));
        frame.with_column(series.into_column()).unwrap();
    }
    Table::new(frame, Columns { fields, task: None }).unwrap()
}

#[test]
fn arrow_rs_and_back() {
    let table = every_type();
    let batch = to_record_batch(&table).unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (3, 12));
    let floats = batch.column_by_name("f").unwrap().as_any().downcast_ref::<Float64Array>().unwrap();
    assert!(floats.is_null(1) && floats.value(0) == 1.5);
    // Shared, not copied.
    let ours = table.column("f").unwrap().as_materialized_series().f64().unwrap().chunks()[0]
        .as_any()
        .downcast_ref::<polars_arrow::array::PrimitiveArray<f64>>()
        .unwrap()
        .values()
        .as_ptr();
    assert_eq!(floats.values().as_ptr(), ours);
    let back = from_record_batch(&batch, table.schema().clone()).unwrap();
    drop(batch);
    assert!(back.frame().equals_missing(table.frame()));
    assert_eq!(back.frame().schema(), table.frame().schema());
    // A slice, whose buffers begin elsewhere.
    let slice = table.take(&[2, 0]).unwrap();
    let batch = to_record_batch(&every_type()).unwrap().slice(1, 2);
    let back = from_record_batch(&batch, table.schema().clone()).unwrap();
    assert_eq!(back.column("i").unwrap().i64().unwrap().to_vec(), [Some(i64::MIN), None]);
    assert_eq!(to_record_batch(&slice).unwrap().num_rows(), 2);
}

#[test]
fn types_of_arrow_rs_that_polars_stores_otherwise() {
    let text = StringArray::from(vec![Some("x"), None]);
    let levels: DictionaryArray<Int32Type> = ["u", "v"].into_iter().collect();
    let batch = RecordBatch::try_from_iter([
        ("t", std::sync::Arc::new(text) as arrow::array::ArrayRef),
        ("l", std::sync::Arc::new(levels)),
    ])
    .unwrap();
    let fields = ["t", "l"].map(|name| Field::feature(name, Kind::Categorical)).to_vec();
    let table = from_record_batch(&batch, Columns { fields, task: None }).unwrap();
    assert_eq!(texts(&table, "t"), [Some("x"), None]);
    assert_eq!(table.column("l").unwrap().cast(&DataType::String).unwrap().str().unwrap().get(1), Some("v"));
}

#[test]
fn stored_and_read_back() {
    let folder = Folder::temporary();
    let table = every_type();
    write_ipc(&table, &folder.path("t.arrow")).unwrap();
    let read = read_ipc(&folder.path("t.arrow"), table.schema().clone()).unwrap();
    assert!(read.frame().equals_missing(table.frame()));
    assert_eq!(read.frame().schema(), table.frame().schema());
    let empty = table.take(&[]).unwrap();
    write_ipc(&empty, &folder.path("e.arrow")).unwrap();
    assert_eq!(read_ipc(&folder.path("e.arrow"), table.schema().clone()).unwrap().n_rows(), 0);
    let error = read_ipc(&folder.path("none.arrow"), Columns::default()).unwrap_err();
    assert_eq!(folder.words(&error).0, "none.arrow: No such file or directory (os error 2)");
}

/// The bytes depend on the values alone, not on how they came about.
#[test]
fn equal_tables_give_equal_bytes() {
    let folder = Folder::temporary();
    let bytes = |name: &str, table: &Table| {
        write_ipc(table, &folder.path(name)).unwrap();
        std::fs::read(folder.path(name)).unwrap()
    };
    let table = every_type();
    let plain = bytes("plain", &table);
    // Taken from a larger table: views into larger buffers, values under the nulls, several chunks.
    let mut doubled = table.frame().clone();
    doubled.vstack_mut(table.frame()).unwrap();
    let doubled = Table::new(doubled, table.schema().clone()).unwrap();
    assert_eq!(plain, bytes("taken", &doubled.take(&[3, 1, 5]).unwrap()));
    let read = read_ipc(&folder.path("plain"), table.schema().clone()).unwrap();
    assert_eq!(plain, bytes("again", &read));
    let hidden = table
        .frame()
        .clone()
        .lazy()
        .with_column(when(col("f").is_null()).then(lit(NULL)).otherwise(col("f") * lit(1.0)).alias("f"));
    assert_eq!(plain, bytes("computed", &Table::new(hidden.collect().unwrap(), table.schema().clone()).unwrap()));
    assert_ne!(plain, bytes("other", &table.take(&[0, 2, 1]).unwrap()));
}

#[test]
fn columns_are_profiled() {
    let rows = table([
        ("x", [Some(1.0), None, Some(4.0), Some(4.0)].into()),
        ("c", [Some("u"), Some("v"), None, Some("v")].into()),
    ])
    .build();
    let [x, c] = profile(&rows).unwrap().try_into().unwrap();
    assert_eq!((x.rows, x.missing, x.distinct, x.range), (4, 1, 2, Some([1.0, 3.0, 4.0])));
    assert_eq!((c.missing, c.distinct, c.range), (1, 2, None));
    assert_eq!(c.most_frequent, [("v".to_owned(), 2), ("u".to_owned(), 1)]);
}
