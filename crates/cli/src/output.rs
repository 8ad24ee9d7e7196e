//! Results go to standard output, everything else to standard error.

use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};

/// Bold red.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();

/// Bold yellow.
pub const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// Green.
pub const GOOD: Style = AnsiColor::Green.on_default();

/// Dim.
pub const QUIET: Style = Style::new().dimmed();

/// Bold.
pub const STRONG: Style = Style::new().bold();

/// Writes text to standard output. A reader that went away (`| head`) ends the output, not the program.
pub fn print(text: &str) {
    let _ = anstream::stdout().write_all(text.as_bytes());
}

/// Writes a line to standard output.
pub fn line(text: &str) {
    print(&format!("{text}\n"));
}

/// Writes a line to standard error.
pub fn note(text: &str) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Writes an error and the way out to standard error.
pub fn error(message: &str, help: Option<&str>) {
    note(&format!("{ERROR}error{ERROR:#}: {message}"));
    for help in help.into_iter().flat_map(str::lines) {
        note(&format!("  {STRONG}help{STRONG:#}: {help}"));
    }
}

/// Writes text that is already laid out to standard error.
pub fn error_text(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}

/// Whether standard error shows colours.
pub fn colours_on_stderr() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

/// A table with a header; all columns but the first `left` ones are aligned to the right.
pub fn table(header: &[&str], rows: Vec<Vec<String>>, left: usize) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    table.add_rows(rows);
    for (position, column) in table.column_iter_mut().enumerate() {
        if position >= left {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\n")
}

/// Whether standard error is a terminal that a person looks at.
pub fn is_interactive() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
