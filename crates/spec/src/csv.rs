//! What the first bytes and the header of a CSV file tell, before a row is read. The program that reads headers and the one that reads rows use the same words.

use crate::diagnostic::Diagnostic;

/// The bytes after a byte order mark. Fails where they are not CSV at all.
#[allow(clippy::result_large_err)] // Called once a file.
pub fn text_of<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a [u8], Diagnostic> {
    let kinds: [(&[u8], &str, &str); 8] = [
        (b"\x1f\x8b", "gzip-compressed", "decompress it first: `gunzip`"),
        (b"\x28\xb5\x2f\xfd", "zstd-compressed", "decompress it first: `unzstd`"),
        (b"BZh", "bzip2-compressed", "decompress it first: `bunzip2`"),
        (b"\xfd7zXZ\0", "xz-compressed", "decompress it first: `unxz`"),
        (b"PK\x03\x04", "a zip archive or an Excel workbook", "unpack it, or save the sheet as CSV"),
        (b"PAR1", "a Parquet file", "name it `.parquet`, or say `format: parquet`"),
        (b"ARROW1", "an Arrow file", "name it `.arrow`, or say `format: arrow`"),
        (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save the sheet as CSV"),
    ];
    if let Some((_, kind, help)) = kinds.iter().find(|(magic, ..)| bytes.starts_with(magic)) {
        return Err(Diagnostic::error(format!("{file} is {kind}, not CSV")).with_help(*help));
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Diagnostic::error(format!("{file} is UTF-16, not UTF-8"))
            .with_help(format!("convert it: iconv -f UTF-16 -t UTF-8 {file} > utf8.csv")));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Diagnostic::error(format!("{file} is empty")));
    }
    Ok(bytes)
}

/// Fails where a header has a column twice or without a name, or is divided otherwise than was said.
#[allow(clippy::result_large_err)] // Called once a file.
pub fn check_names(file: &str, names: &[String]) -> Result<(), Diagnostic> {
    if let [only] = names {
        let separators = [(";", ";"), ("\t", "\\t"), ("|", "|"), (",", ",")];
        if let Some((_, word)) = separators.iter().find(|(separator, _)| only.contains(separator)) {
            let quote = if *word == "\\t" { '"' } else { '\'' };
            return Err(Diagnostic::error(format!("{file} has a single column, `{}`", only.escape_debug()))
                .with_help(format!("did you mean separator: {quote}{word}{quote}")));
        }
    }
    if let Some(at) = names.iter().position(String::is_empty) {
        return Err(Diagnostic::error(format!("{file}, line 1: column {} has no name", at + 1))
            .with_help("name it in the header (pandas leaves the name of its index empty: write with `index=False`)"));
    }
    for (at, name) in names.iter().enumerate() {
        if let Some(first) = names[..at].iter().position(|other| other == name) {
            return Err(Diagnostic::error(format!(
                "{file}, line 1: columns {} and {} are both called `{name}`",
                first + 1,
                at + 1
            ))
            .with_help("rename one of them in the header"));
        }
    }
    Ok(())
}
