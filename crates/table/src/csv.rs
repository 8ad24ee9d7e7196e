//! CSV, read strictly (RFC 4180): what other readers guess at or swallow is an error with its line.
//!
//! Two passes over memory-mapped bytes, each in parallel over chunks that begin with a record. The first checks the structure and learns what
//! each column holds, over all rows of all files; the second builds the columns. Neither result depends on how the bytes were cut.

use memchr::{memchr, memchr_iter};
use polars::prelude::*;
use rayon::prelude::*;

use crate::TableError;
use crate::dates::{parse_date, parse_datetime};
use crate::grammar::{Chunk, Cursor, DIGIT, Field, Grammar, OTHER, POINT, check_utf8, chunks};

/// How fields are divided and read.
pub(crate) struct Dialect<'a> {
    pub separator: u8,
    pub null_values: &'a [String],
    /// Columns that stay text whatever they look like.
    pub text: &'a [String],
}

/// Reads files of the same columns, one after the other. Each has a name for messages.
pub(crate) fn read_csv(files: &[(String, &[u8])], dialect: &Dialect) -> Result<DataFrame, TableError> {
    let scanned =
        files.iter().map(|(name, bytes)| Scanned::new(name, bytes, dialect)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = scanned.first() else { return Err(TableError::new("no file to read")) };
    let mut facts = first.facts.clone();
    let mut orders = vec![(0..facts.len()).collect::<Vec<_>>()];
    for file in &scanned[1..] {
        let order = first.order_of(file)?;
        for (fact, &at) in facts.iter_mut().zip(&order) {
            *fact |= file.facts[at];
        }
        orders.push(order);
    }
    let kept =
        |(name, fact): (&String, &u8)| if dialect.text.contains(name) { Storage::Text } else { Storage::of(*fact) };
    let storage: Vec<Storage> = first.names.iter().zip(&facts).map(kept).collect();
    let mut columns: Vec<Column> = Vec::new();
    for (file, order) in scanned.iter().zip(&orders) {
        let built = file.build(dialect, &storage, order)?;
        if columns.is_empty() {
            columns = built;
        } else {
            for (column, more) in columns.iter_mut().zip(&built) {
                column.append(more)?;
            }
        }
    }
    let columns: Vec<Column> = columns.into_par_iter().map(|column| column.rechunk()).collect();
    Ok(DataFrame::new_infer_height(columns)?)
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

/// A file whose structure is sound.
struct Scanned<'a> {
    file: &'a str,
    names: Vec<String>,
    chunks: Vec<Chunk<'a>>,
    facts: Vec<u8>,
}

impl<'a> Scanned<'a> {
    fn new(file: &'a str, bytes: &'a [u8], dialect: &Dialect) -> Result<Self, TableError> {
        let bytes = text_of(file, bytes)?;
        let grammar = Grammar::new(dialect.separator);
        let mut cursor = Cursor { bytes, at: 0, line: 1 };
        let names = header(file, &mut cursor, &grammar)?;
        let chunks = chunks(&bytes[cursor.at..], cursor.line);
        let scan = |chunk: &Chunk| {
            check_utf8(chunk).map_err(|fault| fault.error(file, &names))?;
            let mut facts = vec![0; names.len()];
            let records = chunk.records(&grammar, names.len(), |column, field| {
                if facts[column] & TEXT == 0 {
                    facts[column] |= field.facts(dialect.null_values);
                }
                true
            });
            records.map(|records| (records, facts)).map_err(|fault| fault.error(file, &names))
        };
        let scans: Vec<_> = chunks.par_iter().map(scan).collect();
        let (mut records, mut facts) = (0, vec![0; names.len()]);
        // The first fault of the file: later chunks may be cut wrongly because of it.
        for scan in scans {
            let (more, seen) = scan?;
            records += more;
            facts.iter_mut().zip(seen).for_each(|(fact, seen)| *fact |= seen);
        }
        if records == 0 {
            return Err(TableError::new(format!("{file} has a header and no rows")));
        }
        Ok(Self { file, names, chunks, facts })
    }

    /// Where `other` has each of this file's columns.
    fn order_of(&self, other: &Self) -> Result<Vec<usize>, TableError> {
        same_columns((self.file, &self.names), (other.file, &other.names))?;
        Ok(self.names.iter().filter_map(|name| other.names.iter().position(|other| other == name)).collect())
    }

    /// The columns in the order of the first file; `order` says where this one has them.
    fn build(&self, dialect: &Dialect, storage: &[Storage], order: &[usize]) -> Result<Vec<Column>, TableError> {
        let grammar = Grammar::new(dialect.separator);
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, &column)| place[column] = at);
        let build = |chunk: &Chunk| {
            let mut builders: Vec<Builder> =
                self.names.iter().zip(&place).map(|(name, &at)| Builder::new(name, storage[at])).collect();
            let walked = chunk.records(&grammar, builders.len(), |column, field| {
                let missing = field.is_null(dialect.null_values);
                builders[column].push(if missing { None } else { Some(field) })
            });
            walked.map_err(|fault| fault.error(self.file, &self.names))?;
            Ok(builders.into_iter().map(Builder::finish).collect())
        };
        let parts = self.chunks.par_iter().map(build).collect::<Result<Vec<Vec<Series>>, TableError>>()?;
        let mut parts = parts.into_iter();
        let mut columns = parts.next().unwrap_or_default();
        for part in parts {
            for (column, more) in columns.iter_mut().zip(&part) {
                column.append(more)?;
            }
        }
        Ok(order.iter().map(|&at| columns[at].clone().into_column()).collect())
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
    fn new(name: &str, storage: Storage) -> Self {
        let name: PlSmallStr = name.into();
        match storage {
            Storage::Integer => Self::Integer(PrimitiveChunkedBuilder::new(name, 0)),
            Storage::Float => Self::Float(PrimitiveChunkedBuilder::new(name, 0)),
            Storage::Boolean => Self::Boolean(BooleanChunkedBuilder::new(name, 0)),
            Storage::Date => Self::Date(PrimitiveChunkedBuilder::new(name, 0)),
            Storage::Datetime => Self::Datetime(PrimitiveChunkedBuilder::new(name, 0)),
            Storage::Text => Self::Text(StringChunkedBuilder::new(name, 0)),
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
