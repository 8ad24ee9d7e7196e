//! CSV, read strictly (RFC 4180): what other readers guess at or swallow is an error with its line.
//!
//! Two passes over memory-mapped bytes, each in parallel over chunks that begin with a record. The first checks the structure and learns what
//! each column holds, over all rows of all files; the second builds the columns of one chunk, as often as it is asked for. Neither result depends on
//! how the bytes were cut.

use memchr::{memchr, memchr_iter};
use polars::prelude::*;
use rayon::prelude::*;

use crate::TableError;
use crate::bytes::Bytes;
use crate::dates::{parse_date, parse_datetime};
use crate::files::{Chunks, ReadOptions};
use crate::grammar::{Chunk, Cursor, Cut, DIGIT, Fault, Field, Grammar, OTHER, POINT, What, check_utf8, cut};

/// Files of the same columns whose structure is sound and of whose columns is known what they hold.
pub(crate) struct CsvFiles {
    files: Vec<Scanned>,
    grammar: Grammar,
    null_values: Vec<String>,
    storage: Vec<Storage>,
    /// The file and the cut of each chunk.
    chunks: Vec<(usize, usize)>,
}

/// A file whose structure is sound.
struct Scanned {
    file: String,
    bytes: Bytes,
    names: Vec<String>,
    cuts: Vec<Cut>,
    /// The records of each cut.
    records: Vec<usize>,
    facts: Vec<u8>,
    /// Where each of its columns is in the first file.
    places: Vec<usize>,
}

impl CsvFiles {
    /// Looks at all records. Each file has a name for messages.
    pub fn open(files: Vec<(String, Bytes)>, options: &ReadOptions) -> Result<Self, TableError> {
        let grammar = Grammar::new(options.separator);
        let scanned = files.into_iter().map(|(name, bytes)| Scanned::new(name, bytes, options, &grammar));
        let mut files = scanned.collect::<Result<Vec<_>, _>>()?;
        let Some((first, others)) = files.split_first_mut() else { return Err(TableError::new("no file to read")) };
        let mut facts = first.facts.clone();
        for other in others {
            same_columns((&first.file, &first.names), (&other.file, &other.names))?;
            let place = |name: &String| first.names.iter().position(|first| first == name);
            other.places = other.names.iter().filter_map(place).collect();
            other.places.iter().zip(&other.facts).for_each(|(&place, seen)| facts[place] |= seen);
        }
        let kept = |(name, fact): (&String, &u8)| {
            if options.text.contains(name) { Storage::Text } else { Storage::of(*fact) }
        };
        let storage = first.names.iter().zip(&facts).map(kept).collect();
        let chunks =
            files.iter().enumerate().flat_map(|(file, scanned)| (0..scanned.cuts.len()).map(move |cut| (file, cut)));
        let chunks = chunks.collect();
        Ok(Self { files, grammar, null_values: options.null_values.clone(), storage, chunks })
    }

    fn names(&self) -> &[String] {
        &self.files[0].names
    }

    /// The builders of the columns, in the order of the first file; `None` for those that are not wanted.
    fn builders(&self, columns: Option<&[String]>, capacity: usize) -> Vec<Option<Builder>> {
        let builder = |(name, &storage): (&String, &Storage)| {
            let wanted = columns.is_none_or(|columns| columns.contains(name));
            wanted.then(|| Builder::new(name, storage, capacity))
        };
        self.names().iter().zip(&self.storage).map(builder).collect()
    }
}

impl Chunks for CsvFiles {
    fn head(&self) -> Result<DataFrame, TableError> {
        finish(0, self.builders(None, 0))
    }

    fn n_chunks(&self) -> usize {
        self.chunks.len()
    }

    fn n_rows(&self, chunk: usize) -> usize {
        let (file, cut) = self.chunks[chunk];
        self.files[file].records[cut]
    }

    fn read(&self, chunk: usize, columns: Option<&[String]>) -> Result<DataFrame, TableError> {
        let (file, cut) = self.chunks[chunk];
        let file = &self.files[file];
        let height = file.records[cut];
        let mut builders = self.builders(columns, height);
        let cut = &file.cuts[cut];
        let walked =
            cut.of(file.bytes.as_slice()).records(&self.grammar, file.names.len(), |column, field| match &mut builders
                [file.places[column]]
            {
                Some(builder) if field.is_null(&self.null_values) => builder.push(None),
                Some(builder) => builder.push(Some(field)),
                None => true,
            });
        let records = walked.map_err(|fault| fault.error(&file.file, &file.names))?;
        file.bytes.release(cut.range.clone());
        if records != height {
            let fault = Fault { line: cut.line, column: 0, what: What::Changed };
            return Err(fault.error(&file.file, &file.names));
        }
        finish(height, builders)
    }
}

fn finish(height: usize, builders: Vec<Option<Builder>>) -> Result<DataFrame, TableError> {
    let columns = builders.into_iter().flatten().map(|builder| builder.finish().into_column()).collect();
    Ok(DataFrame::new(height, columns)?)
}

// What the fields of a column have been seen to be.
const INTEGER: u8 = 1;
const FLOAT: u8 = 2;
const BOOLEAN: u8 = 4;
const DATE: u8 = 8;
const DATETIME: u8 = 16;
const TEXT: u8 = 32;
/// An integer with a leading zero or of more than 18 digits: a code, not a number.
const CODE: u8 = 64;
/// The word `nan`: a missing value among numbers.
const NAN: u8 = 128;

/// Integers of more digits may not fit into 64 bits.
const MOST_DIGITS: usize = 18;

/// How a column is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Storage {
    Integer,
    Float,
    Boolean,
    Date,
    Datetime,
    Text,
}

impl Storage {
    fn of(facts: u8) -> Self {
        match facts {
            INTEGER => Self::Integer,
            facts if facts == INTEGER | NAN => Self::Integer,
            BOOLEAN => Self::Boolean,
            DATE => Self::Date,
            facts if facts & DATETIME != 0 && facts & !(DATE | DATETIME) == 0 => Self::Datetime,
            facts if facts & (FLOAT | NAN) != 0 && facts & !(INTEGER | FLOAT | NAN | CODE) == 0 => Self::Float,
            _ => Self::Text,
        }
    }
}

impl Scanned {
    fn new(file: String, bytes: Bytes, options: &ReadOptions, grammar: &Grammar) -> Result<Self, TableError> {
        let text = text_of(&file, bytes.as_slice())?;
        let begin = bytes.as_slice().len() - text.len();
        let mut cursor = Cursor { bytes: text, at: 0, line: 1 };
        let names = header(&file, &mut cursor, grammar)?;
        let cuts = cut(&bytes, begin + cursor.at, cursor.line, options.chunk_bytes);
        let scan = |cut: &Cut| {
            let chunk = cut.of(bytes.as_slice());
            check_utf8(&chunk).map_err(|fault| fault.error(&file, &names))?;
            let mut facts = vec![0; names.len()];
            let records = chunk.records(grammar, names.len(), |column, field| {
                if facts[column] & TEXT == 0 {
                    facts[column] |= field.facts(&options.null_values);
                }
                true
            });
            bytes.release(cut.range.clone());
            records.map(|records| (records, facts)).map_err(|fault| fault.error(&file, &names))
        };
        let scans: Vec<_> = cuts.par_iter().map(scan).collect();
        let (mut records, mut facts) = (Vec::with_capacity(cuts.len()), vec![0; names.len()]);
        // The first fault of the file: later chunks may be cut wrongly because of it.
        for scan in scans {
            let (more, seen) = scan?;
            records.push(more);
            facts.iter_mut().zip(seen).for_each(|(fact, seen)| *fact |= seen);
        }
        if records.iter().sum::<usize>() == 0 {
            return Err(TableError::new(format!("{file} has a header and no rows")));
        }
        let places = (0..names.len()).collect();
        Ok(Self { file, bytes, names, cuts, records, facts, places })
    }
}

/// Both files must have the same columns, in any order.
pub(crate) fn same_columns(first: (&str, &[String]), other: (&str, &[String])) -> Result<(), TableError> {
    for (one, two) in [(first, other), (other, first)] {
        if let Some(name) = one.1.iter().find(|name| !two.1.contains(name)) {
            return Err(TableError::new(format!("{} has no column `{name}`, which {} has", two.0, one.0))
                .help("files that are read together need the same columns"));
        }
    }
    Ok(())
}

/// The bytes after a byte order mark. Fails where they are not text at all.
fn text_of<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a [u8], TableError> {
    let bytes = retune_spec::csv::text_of(file, bytes)?;
    if memchr(b'\n', bytes).is_none() && memchr(b'\r', bytes).is_some() {
        return Err(TableError::new(format!("{file} ends its lines with a lone carriage return"))
            .help(format!("convert it: tr '\\r' '\\n' < {file} > lines.csv")));
    }
    Ok(bytes)
}

fn header(file: &str, cursor: &mut Cursor, grammar: &Grammar) -> Result<Vec<String>, TableError> {
    let start = cursor.at;
    let mut names: Vec<String> = Vec::new();
    let read = cursor.record(grammar, |_, field| {
        names.push(String::from_utf8_lossy(&field.text()).trim().to_owned());
        true
    });
    read.map_err(|fault| fault.error(file, &[]))?;
    check_utf8(&Chunk { bytes: &cursor.bytes[start..cursor.at], line: 1 }).map_err(|fault| fault.error(file, &[]))?;
    retune_spec::csv::check_names(file, &names)?;
    Ok(names)
}

impl Field<'_> {
    #[inline]
    fn is_null(&self, null_values: &[String]) -> bool {
        if self.bytes.is_empty() {
            return true;
        }
        if null_values.is_empty() && self.classes & OTHER == 0 {
            return false;
        }
        let bytes = if self.quoted { self.bytes } else { self.bytes.trim_ascii() };
        bytes.is_empty() || null_values.iter().any(|word| word.as_bytes() == bytes)
    }

    #[inline]
    fn facts(&self, null_values: &[String]) -> u8 {
        if self.is_null(null_values) {
            0
        } else if self.classes == DIGIT {
            integer_facts(self.bytes)
        } else if self.classes == DIGIT | POINT && memchr_iter(b'.', self.bytes).count() == 1 {
            FLOAT
        } else {
            facts_of(self.bytes.trim_ascii())
        }
    }
}

#[inline]
fn integer_facts(digits: &[u8]) -> u8 {
    if digits.len() > MOST_DIGITS || (digits.len() > 1 && digits[0] == b'0') { INTEGER | CODE } else { INTEGER }
}

fn facts_of(bytes: &[u8]) -> u8 {
    let unsigned = bytes.strip_prefix(b"-").or_else(|| bytes.strip_prefix(b"+")).unwrap_or(bytes);
    if !unsigned.is_empty() && unsigned.iter().all(u8::is_ascii_digit) {
        return integer_facts(unsigned);
    }
    if is_decimal(unsigned) || is_word(unsigned, &["inf", "infinity"]) {
        FLOAT
    } else if is_word(bytes, &["nan"]) {
        NAN
    } else if is_word(bytes, &["true", "false"]) {
        BOOLEAN
    } else if parse_date(bytes).is_some() {
        DATE
    } else if parse_datetime(bytes).is_some() {
        DATETIME
    } else {
        TEXT
    }
}

fn is_word(bytes: &[u8], words: &[&str]) -> bool {
    words.iter().any(|word| bytes.eq_ignore_ascii_case(word.as_bytes()))
}

/// Digits with a point, an exponent or both.
fn is_decimal(bytes: &[u8]) -> bool {
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(bytes);
    let mut rest = &bytes[whole..];
    let mut fraction = 0;
    if let Some(after) = rest.strip_prefix(b".") {
        fraction = digits(after);
        rest = &after[fraction..];
    }
    if whole + fraction == 0 {
        return false;
    }
    let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) else { return rest.is_empty() };
    let exponent = exponent.strip_prefix(b"-").or_else(|| exponent.strip_prefix(b"+")).unwrap_or(exponent);
    !exponent.is_empty() && digits(exponent) == exponent.len()
}

enum Builder {
    Integer(PrimitiveChunkedBuilder<Int64Type>),
    Float(PrimitiveChunkedBuilder<Float64Type>),
    Boolean(BooleanChunkedBuilder),
    Date(PrimitiveChunkedBuilder<Int32Type>),
    Datetime(PrimitiveChunkedBuilder<Int64Type>),
    Text(StringChunkedBuilder),
}

impl Builder {
    fn new(name: &str, storage: Storage, capacity: usize) -> Self {
        let name: PlSmallStr = name.into();
        match storage {
            Storage::Integer => Self::Integer(PrimitiveChunkedBuilder::new(name, capacity)),
            Storage::Float => Self::Float(PrimitiveChunkedBuilder::new(name, capacity)),
            Storage::Boolean => Self::Boolean(BooleanChunkedBuilder::new(name, capacity)),
            Storage::Date => Self::Date(PrimitiveChunkedBuilder::new(name, capacity)),
            Storage::Datetime => Self::Datetime(PrimitiveChunkedBuilder::new(name, capacity)),
            Storage::Text => Self::Text(StringChunkedBuilder::new(name, capacity)),
        }
    }

    /// Adds a value; false where it is not what the first pass saw.
    #[inline]
    fn push(&mut self, field: Option<Field>) -> bool {
        let Some(field) = field else {
            match self {
                Self::Integer(builder) | Self::Datetime(builder) => builder.append_null(),
                Self::Float(builder) => builder.append_null(),
                Self::Boolean(builder) => builder.append_null(),
                Self::Date(builder) => builder.append_null(),
                Self::Text(builder) => builder.append_null(),
            }
            return true;
        };
        let plain = field.bytes.trim_ascii();
        match self {
            Self::Integer(builder) => append(builder, integer(plain), plain),
            Self::Float(builder) => match fast_float2::parse::<f64, _>(plain) {
                Ok(value) => append(builder, Some(value).filter(|value| !value.is_nan()), plain),
                Err(_) => false,
            },
            Self::Boolean(builder) => {
                builder.append_value(is_word(plain, &["true"]));
                true
            }
            Self::Date(builder) => append(builder, parse_date(plain), plain),
            Self::Datetime(builder) => {
                let midnight = || parse_date(plain).map(|days| i64::from(days) * 86_400_000_000);
                append(builder, parse_datetime(plain).or_else(midnight), plain)
            }
            Self::Text(builder) => match std::str::from_utf8(&field.text()) {
                Ok(text) => {
                    builder.append_value(text);
                    true
                }
                Err(_) => false,
            },
        }
    }

    fn finish(self) -> Series {
        match self {
            Self::Integer(builder) => builder.finish().into_series(),
            Self::Float(builder) => builder.finish().into_series(),
            Self::Boolean(builder) => builder.finish().into_series(),
            Self::Date(builder) => builder.finish().into_date().into_series(),
            Self::Datetime(builder) => builder.finish().into_datetime(TimeUnit::Microseconds, None).into_series(),
            Self::Text(builder) => builder.finish().into_series(),
        }
    }
}

fn integer(bytes: &[u8]) -> Option<i64> {
    let (digits, sign) = match bytes {
        [b'-', digits @ ..] => (digits, -1),
        [b'+', digits @ ..] => (digits, 1),
        digits => (digits, 1),
    };
    if digits.is_empty() || digits.len() > MOST_DIGITS {
        return None;
    }
    let add = |sum: i64, byte: &u8| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'));
    Some(sign * digits.iter().try_fold(0, add)?)
}

/// Adds a value, or a null for the word `nan`.
#[inline]
fn append<T: PolarsNumericType>(
    builder: &mut PrimitiveChunkedBuilder<T>,
    value: Option<T::Native>,
    bytes: &[u8],
) -> bool {
    let known = value.is_some() || is_word(bytes, &["nan"]);
    builder.append_option(value);
    known
}
