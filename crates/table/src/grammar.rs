//! The grammar of CSV files: records, fields and what breaks them.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2_iter};
use rayon::prelude::*;

use crate::TableError;
use crate::bytes::Bytes;

/// What breaks the structure of a file.
pub(crate) struct Fault {
    pub line: u64,
    pub column: usize,
    pub what: What,
}

pub(crate) enum What {
    Unclosed,
    AfterQuote { closed: u64 },
    StrayQuote,
    Nul,
    Ragged { expected: usize, found: usize },
    NotUtf8 { byte: u8 },
    Changed,
}

impl Fault {
    pub fn error(&self, file: &str, names: &[String]) -> TableError {
        let place = format!("{file}, line {}", self.line);
        let column = names
            .get(self.column)
            .map_or_else(|| format!("column {}", self.column + 1), |name| format!("column `{name}`"));
        let (message, help) = match self.what {
            What::Unclosed => (
                format!("the quote that opens in {column} is never closed"),
                "close it; inside a quoted field a quote is written twice: \"\"",
            ),
            What::AfterQuote { closed } if closed == self.line => (
                format!("{column} goes on after its closing quote"),
                "inside a quoted field a quote is written twice: \"\"",
            ),
            What::AfterQuote { closed } => (
                format!("the quote that opens in {column} closes in line {closed}, in the middle of a field"),
                "close it where its field ends; inside a quoted field a quote is written twice: \"\"",
            ),
            What::StrayQuote => (
                format!("{column} has a quote in the middle of an unquoted field"),
                "put the whole field in quotes and write the quote inside it twice: \"\"",
            ),
            What::Nul => (format!("{column} holds a NUL byte"), "the file is damaged, or is not text"),
            What::Ragged { expected, found } => (
                format!("{} where the header has {expected}", crate::error::counted(found, "field")),
                "a field that holds the separator must be quoted",
            ),
            What::NotUtf8 { byte } => (
                format!("byte 0x{byte:02x} is not UTF-8"),
                "convert the file, if it is Latin-1 so: iconv -f LATIN1 -t UTF-8 IN > OUT",
            ),
            What::Changed => ("the file changed while it was read".to_owned(), "start again when nothing writes to it"),
        };
        TableError::new(format!("{place}: {message}")).help(help)
    }
}

/// Bytes that begin with a record.
pub(crate) struct Chunk<'a> {
    pub bytes: &'a [u8],
    /// The line of the first byte, counted from 1.
    pub line: u64,
}

impl<'a> Chunk<'a> {
    /// Gives every field to `each` with the number of its column, and returns the number of records. Stops where `each` returns false.
    pub fn records(
        &self,
        grammar: &Grammar,
        n_columns: usize,
        mut each: impl FnMut(usize, Field<'a>) -> bool,
    ) -> Result<usize, Fault> {
        let mut cursor = Cursor { bytes: self.bytes, at: 0, line: self.line };
        let mut records = 0;
        while cursor.at < self.bytes.len() {
            // An empty line is a missing value where there is one column, and nothing where there are more.
            if n_columns > 1 && cursor.skip_empty_line() {
                continue;
            }
            let line = cursor.line;
            let found = cursor.record(grammar, |column, field| column >= n_columns || each(column, field))?;
            if found != n_columns {
                return Err(Fault { line, column: 0, what: What::Ragged { expected: n_columns, found } });
            }
            records += 1;
        }
        Ok(records)
    }
}

/// Where a file is cut into chunks that begin with a record.
pub(crate) struct Cut {
    pub range: Range<usize>,
    /// The line of the first byte, counted from 1.
    pub line: u64,
}

impl Cut {
    pub fn of<'a>(&self, bytes: &'a [u8]) -> Chunk<'a> {
        Chunk { bytes: &bytes[self.range.clone()], line: self.line }
    }
}

/// Cuts what follows `start` into chunks of about `size` bytes, after line ends that are outside of quotes. In a sound file the number of quotes before a
/// byte says whether it is inside; in another the first fault lies in a chunk that was cut rightly.
pub(crate) fn cut(bytes: &Bytes, start: usize, first_line: u64, size: usize) -> Vec<Cut> {
    let (body, size) = (&bytes.as_slice()[start..], size.max(1));
    let count = |(index, block): (usize, &[u8])| {
        let odd = memchr_iter(b'"', block).count() % 2 == 1;
        let lines = memchr_iter(b'\n', block).count() as u64;
        bytes.release(start + index * size..start + index * size + block.len());
        (odd, lines)
    };
    let counts: Vec<(bool, u64)> = body.par_chunks(size).enumerate().map(count).collect();
    let mut starts = vec![(0, first_line)];
    let (mut inside, mut line) = (false, first_line);
    for (block, (odd, lines)) in counts.into_iter().enumerate() {
        let at = block * size;
        if block > 0
            && let Some((start, lines)) = next_record(&body[at..], inside)
            && starts.last().is_none_or(|&(last, _)| at + start > last)
            && at + start < body.len()
        {
            starts.push((at + start, line + lines));
        }
        bytes.release(start + at..start + at + 1);
        inside ^= odd;
        line += lines;
    }
    let ends = starts.iter().skip(1).map(|&(start, _)| start).chain([body.len()]);
    starts.iter().zip(ends).map(|(&(begin, line), end)| Cut { range: start + begin..start + end, line }).collect()
}

/// The offset after the first line end outside of quotes, and the number of line ends up to there.
fn next_record(bytes: &[u8], mut inside: bool) -> Option<(usize, u64)> {
    let mut lines = 0;
    for at in memchr2_iter(b'"', b'\n', bytes) {
        if bytes[at] == b'"' {
            inside = !inside;
            continue;
        }
        lines += 1;
        if !inside {
            return Some((at + 1, lines));
        }
    }
    None
}

pub(crate) fn check_utf8(chunk: &Chunk) -> Result<(), Fault> {
    let Err(error) = std::str::from_utf8(chunk.bytes) else { return Ok(()) };
    let before = &chunk.bytes[..error.valid_up_to()];
    let line = chunk.line + memchr_iter(b'\n', before).count() as u64;
    let byte = chunk.bytes.get(before.len()).copied().unwrap_or_default();
    Err(Fault { line, column: 0, what: What::NotUtf8 { byte } })
}

// What the bytes of an unquoted field are.
pub(crate) const DIGIT: u8 = 1;
pub(crate) const POINT: u8 = 2;
const SIGN: u8 = 4;
pub(crate) const OTHER: u8 = 8;
const STOP: u8 = 128;

/// What each byte means outside of quotes.
pub(crate) struct Grammar {
    separator: u8,
    classes: [u8; 256],
}

impl Grammar {
    pub fn new(separator: u8) -> Self {
        let mut classes = [OTHER; 256];
        classes[b'0' as usize..=b'9' as usize].fill(DIGIT);
        classes[b'.' as usize] = POINT;
        b"+-eE".iter().for_each(|&byte| classes[byte as usize] = SIGN);
        [b'\n', b'\r', b'"', 0, separator].iter().for_each(|&byte| classes[byte as usize] = STOP);
        Self { separator, classes }
    }
}

/// A field as it is written, without its quotes.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    pub bytes: &'a [u8],
    pub classes: u8,
    pub quoted: bool,
    /// Whether quotes inside are doubled.
    pub doubled: bool,
}

pub(crate) struct Cursor<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
    pub line: u64,
}

impl<'a> Cursor<'a> {
    fn skip_empty_line(&mut self) -> bool {
        let rest = &self.bytes[self.at..];
        let length = if rest.starts_with(b"\n") {
            1
        } else if rest.starts_with(b"\r\n") {
            2
        } else {
            return false;
        };
        self.at += length;
        self.line += 1;
        true
    }

    /// One record: gives each field to `each` and returns their number.
    #[inline]
    pub fn record(
        &mut self,
        grammar: &Grammar,
        mut each: impl FnMut(usize, Field<'a>) -> bool,
    ) -> Result<usize, Fault> {
        let mut column = 0;
        loop {
            let line = self.line;
            let (field, last) = if self.bytes.get(self.at) == Some(&b'"') {
                self.quoted(grammar, column)?
            } else {
                self.unquoted(grammar, column)?
            };
            if !each(column, field) {
                return Err(Fault { line, column, what: What::Changed });
            }
            column += 1;
            if last {
                return Ok(column);
            }
        }
    }

    /// A field, and whether it is the record's last.
    #[inline]
    fn unquoted(&mut self, grammar: &Grammar, column: usize) -> Result<(Field<'a>, bool), Fault> {
        let (bytes, start) = (self.bytes, self.at);
        let (mut at, mut classes) = (start, 0);
        while let Some(&byte) = bytes.get(at) {
            let class = grammar.classes[byte as usize];
            if class != STOP {
                classes |= class;
                at += 1;
            } else if byte == b'\r' && bytes.get(at + 1) != Some(&b'\n') {
                classes |= OTHER;
                at += 1;
            } else if byte == b'"' || byte == 0 {
                let what = if byte == 0 { What::Nul } else { What::StrayQuote };
                return Err(Fault { line: self.line, column, what });
            } else {
                break;
            }
        }
        self.at = at;
        let last = self.end_field(grammar);
        Ok((Field { bytes: &bytes[start..at], classes, quoted: false, doubled: false }, last))
    }

    #[inline]
    fn quoted(&mut self, grammar: &Grammar, column: usize) -> Result<(Field<'a>, bool), Fault> {
        let (bytes, opened, start) = (self.bytes, self.line, self.at + 1);
        let (mut at, mut doubled) = (start, false);
        loop {
            let Some(length) = memchr(b'"', &bytes[at..]) else {
                return Err(Fault { line: opened, column, what: What::Unclosed });
            };
            at += length;
            if bytes.get(at + 1) != Some(&b'"') {
                break;
            }
            doubled = true;
            at += 2;
        }
        let inside = &bytes[start..at];
        self.line += memchr_iter(b'\n', inside).count() as u64;
        if memchr(0, inside).is_some() {
            return Err(Fault { line: opened, column, what: What::Nul });
        }
        self.at = at + 1;
        let rest = &bytes[self.at..];
        if !(rest.is_empty() || rest[0] == grammar.separator || rest[0] == b'\n' || rest.starts_with(b"\r\n")) {
            return Err(Fault { line: opened, column, what: What::AfterQuote { closed: self.line } });
        }
        let last = self.end_field(grammar);
        Ok((Field { bytes: inside, classes: OTHER, quoted: true, doubled }, last))
    }

    /// Steps over what ends a field; whether that was the end of the record.
    #[inline]
    fn end_field(&mut self, grammar: &Grammar) -> bool {
        match self.bytes.get(self.at) {
            Some(&byte) if byte == grammar.separator => {
                self.at += 1;
                false
            }
            Some(&byte) => {
                self.at += if byte == b'\r' { 2 } else { 1 };
                self.line += 1;
                true
            }
            None => true,
        }
    }
}

impl<'a> Field<'a> {
    pub fn text(&self) -> Cow<'a, [u8]> {
        if !self.doubled {
            return Cow::Borrowed(self.bytes);
        }
        let mut text = Vec::with_capacity(self.bytes.len());
        let mut rest = self.bytes;
        while let Some(at) = memchr(b'"', rest) {
            text.extend_from_slice(&rest[..=at]);
            rest = rest.get(at + 2..).unwrap_or_default();
        }
        text.extend_from_slice(rest);
        Cow::Owned(text)
    }
}
