//! Temporary.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]
use std::time::Instant;
fn main() {
    let path = std::env::args().nth(1).unwrap();
    let t = Instant::now();
    let f = retune_table::read_files(&[path.clone().into()], &Default::default()).unwrap();
    println!("ours {:?} {:?}", t.elapsed(), f.shape());
    use polars::prelude::*;
    let t = Instant::now();
    let f = CsvReadOptions::default()
        .with_infer_schema_length(Some(1000))
        .try_into_reader_with_file_path(Some(path.into()))
        .unwrap()
        .finish()
        .unwrap();
    println!("polars {:?} {:?}", t.elapsed(), f.shape());
}
