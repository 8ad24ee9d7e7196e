//! Cells as JSON, for programs that read no tables.

use polars::prelude::*;
use serde_json::{Value, json};

/// A cell: a number, a truth, a text, or null. What is none of these is told by its text; bytes are not told.
pub fn cell_json(cell: &AnyValue) -> Value {
    match cell {
        AnyValue::Null | AnyValue::Binary(_) | AnyValue::BinaryOwned(_) => Value::Null,
        AnyValue::Boolean(value) => json!(value),
        AnyValue::String(text) => json!(text),
        AnyValue::StringOwned(text) => json!(text.as_str()),
        AnyValue::Float32(value) => json!(value),
        AnyValue::Float64(value) => json!(value),
        other => match other.extract::<i64>().filter(|_| other.is_integer()) {
            Some(value) => json!(value),
            None => json!(other.to_string()),
        },
    }
}

/// A table as `{ columns, rows, n_rows }`; of more than `most` rows as many, evenly spread, the first and the last among them.
pub fn frame_json(frame: &DataFrame, most: usize) -> Value {
    let n_rows = frame.height();
    let shown = n_rows.min(most);
    let row_at = |place: usize| if shown < 2 { 0 } else { place * (n_rows - 1) / (shown - 1) };
    let cell = |column: &Column, row: usize| column.get(row).map_or(Value::Null, |cell| cell_json(&cell));
    let rows: Vec<Value> =
        (0..shown).map(|place| frame.columns().iter().map(|column| cell(column, row_at(place))).collect()).collect();
    let columns: Vec<&str> = frame.columns().iter().map(|column| column.name().as_str()).collect();
    json!({ "columns": columns, "rows": rows, "n_rows": n_rows })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn long_tables_are_thinned_and_keep_their_ends() {
        let frame = df!("epoch" => (1..=1001_u32).collect::<Vec<_>>(), "loss" => (0..1001).map(|i| (i != 1000).then_some(f64::from(i) / 2.0)).collect::<Vec<_>>()).unwrap();
        let told = frame_json(&frame, 3);
        assert_eq!(
            told,
            json!({ "columns": ["epoch", "loss"], "rows": [[1, 0.0], [501, 250.0], [1001, null]], "n_rows": 1001 })
        );
        assert_eq!(frame_json(&frame.head(Some(1)), 3)["rows"], json!([[1, 0.0]]));
        assert_eq!(cell_json(&AnyValue::Float64(f64::NAN)), Value::Null);
    }
}
