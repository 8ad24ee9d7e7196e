//! The column names of a file, without reading its rows.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use retune_protocol::{ErrorClass, Failure};
use retune_spec::Diagnostic;
use retune_spec::data::Format;

/// No header is longer; what is not a table is not read to its end.
const MAX_HEADER: u64 = 16 << 20;

/// So much tells whether a file is CSV at all.
const HEAD: u64 = 64 << 10;

/// The format that a file's ending tells.
pub fn format_of(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "csv" | "tsv" | "txt" => Some(Format::Csv),
        "parquet" | "pq" => Some(Format::Parquet),
        "arrow" | "feather" | "ipc" => Some(Format::Arrow),
        "jsonl" | "ndjson" => Some(Format::JsonLines),
        "png" | "jpg" | "jpeg" | "webp" | "bmp" | "gif" | "tif" | "tiff" => Some(Format::Images),
        _ => None,
    }
}

/// The column names of a file.
pub fn columns_of(path: &Path, format: Option<Format>, separator: &str) -> Result<Vec<String>, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| Failure::data(format!("cannot read {}: {error}", path.display()));
    let format = format.or_else(|| format_of(path)).ok_or_else(|| {
        Failure::data(format!("the format of {} is not told by its ending", path.display()))
            .help("set `data.format` to csv, parquet, arrow, json_lines or images")
    })?;
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    match format {
        Format::Csv => {
            let name = path.display().to_string();
            let mut file = file.take(MAX_HEADER);
            let mut head = Vec::new();
            file.by_ref().take(HEAD).read_to_end(&mut head).map_err(|error| unreadable(&error))?;
            let text = retune_spec::csv::text_of(&name, &head).map_err(in_data)?;
            let separator = separator.bytes().next().unwrap_or(b',');
            let mut reader = csv::ReaderBuilder::new()
                .delimiter(separator)
                .has_headers(false)
                .flexible(true)
                .from_reader(text.chain(file));
            let mut header = csv::ByteRecord::new();
            reader.read_byte_record(&mut header).map_err(|error| unreadable(&error))?;
            let names: Vec<String> =
                header.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
            retune_spec::csv::check_names(&name, &names).map_err(in_data)?;
            Ok(names)
        }
        Format::Images => Ok(vec!["image".to_owned(), "label".to_owned()]),
        Format::Parquet => {
            use parquet::file::reader::FileReader;
            let reader = parquet::file::serialized_reader::SerializedFileReader::new(file)
                .map_err(|error| unreadable(&error))?;
            let schema = reader.metadata().file_metadata().schema_descr().root_schema().get_fields();
            Ok(schema.iter().map(|field| field.name().to_owned()).collect())
        }
        Format::Arrow => {
            let reader = arrow::ipc::reader::FileReader::try_new(BufReader::new(file), None)
                .map_err(|error| unreadable(&error))?;
            Ok(reader.schema().fields().iter().map(|field| field.name().clone()).collect())
        }
        Format::JsonLines => {
            let mut line = String::new();
            BufReader::new(file.take(MAX_HEADER)).read_line(&mut line).map_err(|error| unreadable(&error))?;
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line)
                .map_err(|error| Failure::data(format!("{}:1: not a JSON object: {error}", path.display())))?;
            Ok(object.keys().cloned().collect())
        }
    }
}

fn in_data(diagnostic: Diagnostic) -> Failure {
    Failure { class: ErrorClass::Data, message: diagnostic.message, help: diagnostic.help }
}
