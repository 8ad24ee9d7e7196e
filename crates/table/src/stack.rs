//! Parts of a table, one below the other.

use polars::frame::builder::DataFrameBuilder;
use polars::prelude::*;
use polars_arrow::array::builder::ShareStrategy;

use crate::TableError;
use crate::ordered::in_order;

/// Makes the parts `0..n_parts` on all cores and puts them one below the other. All must have the same columns, and `n_rows` rows together.
///
/// Memory for all rows is set aside at once and a part goes as soon as it was copied: parts that are gathered first need twice the memory of the table.
pub fn stack<E: From<TableError> + Send>(
    n_parts: usize,
    n_rows: usize,
    make: impl Fn(usize) -> Result<DataFrame, E> + Sync,
) -> Result<DataFrame, E> {
    if n_parts == 1 {
        let mut sole = make(0)?;
        sole.rechunk_mut();
        return Ok(sole);
    }
    let mut stacked: Option<(DataFrameBuilder, SchemaRef)> = None;
    let below = |part: DataFrame| {
        let (builder, schema) = stacked.get_or_insert_with(|| {
            let mut builder = DataFrameBuilder::new(part.schema().clone());
            builder.reserve(n_rows);
            (builder, part.schema().clone())
        });
        if part.schema() != schema {
            return Err(TableError::new("parts of a table differ in their columns").into());
        }
        // Text is shared with the parts, as it is when frames are taken together.
        builder.extend(&part, ShareStrategy::Always);
        Ok(())
    };
    in_order(n_parts, make, below)?;
    stacked.map(|(builder, _)| builder.freeze()).ok_or_else(|| TableError::new("no row to read").into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn parts_lie_one_below_the_other() {
        let whole = df!(
            "number" => [Some(1.5_f32), None, Some(-0.0), Some(4.0), None, Some(6.0), Some(7.0)],
            "truth" => [Some(true), Some(false), None, Some(true), Some(false), None, Some(true)],
            "text" => [Some("a"), Some("longer than what a view holds"), None, Some(""), Some("é"), None, Some("a")],
            "bytes" => [&b"a"[..], b"\0", b"", b"bb", b"c", b"d", b"e"],
        );
        let mut whole = whole.unwrap();
        let date = Column::new("date".into(), [1, 2, 3, 4, 5, 6, 7]).cast(&DataType::Date).unwrap();
        whole.with_column(date).unwrap();
        for size in [1, 2, 3, 7] {
            let part = |index: usize| Ok::<_, TableError>(whole.slice((index * size) as i64, size));
            let stacked = stack(7_usize.div_ceil(size), 7, part).unwrap();
            assert!(stacked.equals_missing(&whole), "{stacked}");
            assert!(stacked.columns().iter().all(|column| column.n_chunks() == 1));
        }
    }

    #[test]
    fn parts_that_do_not_fit_are_told() {
        let part = |index: usize| {
            let name = if index == 2 { "b" } else { "a" };
            Ok::<_, TableError>(df!(name => [1]).unwrap())
        };
        assert!(stack(3, 3, part).unwrap_err().message.contains("differ in their columns"));
        assert!(stack(0, 0, part).unwrap_err().message.contains("no row"));
        assert_eq!(stack(2, 2, part).unwrap().height(), 2);
    }
}
