//! Arrow IPC streams: record batches through a pipe.

use std::io::{BufRead, BufReader, Read, Write};

use arrow::array::new_empty_array;
use arrow::ipc::reader::StreamReader;
use polars::prelude::*;
use polars_arrow::io::ipc::write::{StreamWriter, WriteOptions};
use polars_arrow::record_batch::RecordBatchT;

use crate::TableError;
use crate::arrow::{frame_of, import};

/// Record batches that come one after the other.
pub struct ArrowStream<R: Read> {
    batches: StreamReader<BufReader<R>>,
    head: DataFrame,
}

impl<R: Read> ArrowStream<R> {
    /// Reads the columns. Fails where something else comes.
    pub fn open(source: R) -> Result<Self, TableError> {
        let mut source = BufReader::with_capacity(1 << 20, source);
        let begin =
            source.fill_buf().map_err(|error| TableError::new(format!("the stream cannot be read: {error}")))?;
        let way_out =
            "write an Arrow IPC stream: `write_ipc_stream` of polars, `pyarrow.ipc.new_stream`, DuckDB's `to_arrow`";
        let what = match begin {
            [] => Some("nothing at all"),
            _ if begin.starts_with(b"ARROW1") => Some("an Arrow file"),
            _ if begin.starts_with(b"PAR1") => Some("a Parquet file"),
            // What every message begins with.
            _ if !begin.starts_with(&[0xff; 4]) => Some("something else"),
            _ => None,
        };
        if let Some(what) = what {
            let message = format!("an Arrow stream was to come, and {what} came");
            return Err(TableError::new(message).help(way_out));
        }
        let batches = StreamReader::try_new(source, None).map_err(broken)?;
        let empty = |field: &std::sync::Arc<arrow::datatypes::Field>| {
            import(field.name(), &new_empty_array(field.data_type()).to_data())
        };
        let columns = batches.schema().fields().iter().map(empty).collect::<Result<_, _>>()?;
        Ok(Self { batches, head: DataFrame::new(0, columns)? })
    }

    /// The columns without any row.
    pub fn head(&self) -> &DataFrame {
        &self.head
    }
}

impl<R: Read> Iterator for ArrowStream<R> {
    type Item = Result<DataFrame, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.next()?;
        Some(batch.map_err(broken).and_then(|batch| frame_of(&batch)))
    }
}

fn broken(error: arrow::error::ArrowError) -> TableError {
    TableError::new(format!("the Arrow stream is broken: {error}")).help("what wrote it may have ended too early")
}

/// Writes record batches as they come: each by a few large writes, which need no buffer that whoever reads would have to wait for.
pub struct ArrowStreamWriter<W: Write> {
    writer: StreamWriter<W>,
    has_begun: bool,
}

impl<W: Write> ArrowStreamWriter<W> {
    /// Nothing is written before the first rows.
    pub fn new(target: W) -> Self {
        Self { writer: StreamWriter::new(target, WriteOptions { compression: None }), has_begun: false }
    }

    /// Writes rows; the first tell the columns, even where there are none of them.
    pub fn push(&mut self, rows: &DataFrame) -> Result<(), TableError> {
        // As every reader understands them: text with offsets.
        let level = CompatLevel::oldest();
        let field = |column: &Column| {
            let field = column.field().to_arrow(level);
            (field.name.clone(), field)
        };
        let schema: ArrowSchema = rows.columns().iter().map(field).collect();
        if !self.has_begun {
            self.writer.start(&schema, None).map_err(|error| cannot_write(&error))?;
            self.has_begun = true;
        }
        if rows.height() == 0 {
            return Ok(());
        }
        let arrays = rows.columns().iter().map(|column| column.as_materialized_series().rechunk().to_arrow(0, level));
        let batch = RecordBatchT::try_new(rows.height(), std::sync::Arc::new(schema), arrays.collect())?;
        self.writer.write(&batch, None).map_err(|error| cannot_write(&error))
    }

    /// Ends the stream.
    pub fn finish(mut self) -> Result<(), TableError> {
        self.writer.finish().map_err(|error| cannot_write(&error))?;
        self.writer.into_inner().flush().map_err(|error| cannot_write(&error.into()))
    }
}

fn cannot_write(error: &PolarsError) -> TableError {
    TableError::new(format!("cannot write the stream: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn rows_come_back() {
        let rows = df!(
            "number" => [Some(1.5), None, Some(3.0)],
            "word" => [Some("a"), None, Some("longer than what a view holds")],
            "truth" => [Some(true), None, Some(false)],
        )
        .unwrap();
        for sizes in [&[3][..], &[1, 2], &[]] {
            let mut bytes = Vec::new();
            let mut writer = ArrowStreamWriter::new(&mut bytes);
            writer.push(&rows.head(Some(0))).unwrap();
            let mut begin = 0;
            for &size in sizes {
                writer.push(&rows.slice(begin, size)).unwrap();
                begin += size as i64;
            }
            writer.finish().unwrap();
            let stream = ArrowStream::open(&bytes[..]).unwrap();
            let mut back = stream.head().clone();
            for part in stream {
                back.vstack_mut(&part.unwrap()).unwrap();
            }
            assert!(back.equals_missing(&rows.head(Some(begin as usize))), "{back}");
        }
    }

    #[test]
    fn what_is_no_stream_is_told() {
        for (bytes, what) in [
            (&b""[..], "nothing at all came"),
            (b"ARROW1\0\0", "an Arrow file came"),
            (b"PAR1abc", "a Parquet file came"),
            (b"a,b\n1,2\n", "something else came"),
            (b"\xff\xff\xff\xff\x10\0\0\0", "the Arrow stream is broken"),
        ] {
            let error = ArrowStream::open(bytes).err().unwrap();
            assert!(error.message.contains(what), "{error}");
            assert!(error.help.is_some());
        }
    }
}
