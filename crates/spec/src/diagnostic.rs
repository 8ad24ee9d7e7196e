//! Mistakes, each with its place, and how they are shown.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// The greatest size of a pipeline file, in bytes.
pub const MAX_SOURCE_BYTES: u64 = 1 << 20;

/// At most so many diagnostics are shown in full.
const MAX_SHOWN: usize = 50;

/// A text and the name that it is spoken of by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The path as the user wrote it.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// A source from a text that is at hand already.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// Reads a file of at most [`MAX_SOURCE_BYTES`]; a larger one is refused before it is read.
    #[allow(clippy::result_large_err)] // Called once a run; a box would only burden the callers.
    pub fn read(path: &Path) -> Result<Self, Diagnostic> {
        let name = path.display().to_string();
        let unreadable = |error: &std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                let meant = file_like(path).map(|meant| format!("did you mean `{meant}`?"));
                let help = meant.unwrap_or_else(|| "`retune init DATA --target COLUMN` writes a pipeline".to_owned());
                Diagnostic::error(format!("no file `{name}`")).with_help(help)
            }
            std::io::ErrorKind::PermissionDenied => Diagnostic::error(format!("no permission to read `{name}`")),
            _ => Diagnostic::error(format!("cannot read `{name}`: {error}")),
        };
        let metadata = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
        if metadata.is_dir() {
            let inside = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
            let pipeline =
                inside.filter(|path| path.extension().is_some_and(|end| end == "yaml" || end == "yml")).min();
            let help = pipeline.map(|pipeline| format!("name a file in it, such as `{}`", pipeline.display()));
            return Err(Diagnostic::error(format!("`{name}` is a folder, not a pipeline file")).with_help_if(help));
        }
        if metadata.len() > MAX_SOURCE_BYTES {
            return Err(too_large(&name, Some(metadata.len())));
        }
        let file = File::open(path).map_err(|error| unreadable(&error))?;
        // A pipe or a device has no length of its own, so the limit is kept while reading too.
        let mut bytes = Vec::new();
        file.take(MAX_SOURCE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
        if bytes.len() as u64 > MAX_SOURCE_BYTES {
            return Err(too_large(&name, None));
        }
        let text = String::from_utf8(bytes).map_err(|error| not_utf8(&name, &error))?;
        Ok(Self { name, text })
    }
}

/// A file that is there and whose name is like the one of a file that is not, written as that one is.
pub fn file_like(missing: &Path) -> Option<String> {
    let wanted = missing.file_name()?.to_str()?;
    let folder = missing.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = std::fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?.flatten();
    let files: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let meant = did_you_mean(wanted, files.iter().map(String::as_str))?;
    Some(folder.map_or(PathBuf::from(meant), |folder| folder.join(meant)).display().to_string())
}

fn too_large(name: &str, bytes: Option<u64>) -> Diagnostic {
    let size =
        bytes.map_or_else(|| "more than 1 MiB".to_owned(), |n| format!("{:.1} MiB", n as f64 / (1 << 20) as f64));
    Diagnostic::error(format!("`{name}` has {size}; a pipeline file has at most 1 MiB"))
        .with_help("is it a data file? data are named in a pipeline under `data: path:`")
}

fn not_utf8(name: &str, error: &std::string::FromUtf8Error) -> Diagnostic {
    let at = error.utf8_error().valid_up_to();
    let bytes = error.as_bytes();
    let line = 1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count();
    let diagnostic = Diagnostic::error(format!(
        "`{name}` is not UTF-8 text: byte 0x{:02x} in line {line} (byte {at} of the file)",
        bytes[at]
    ));
    let help = match bytes {
        [0x1f, 0x8b, ..] => "the file is compressed with gzip; unpack it first",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "the file is UTF-16; save it as UTF-8",
        _ => "save the file as UTF-8",
    };
    diagnostic.with_help(help)
}

/// How much a diagnostic matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The pipeline cannot run.
    Error,
    /// The pipeline runs, but probably not as meant.
    Warning,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The bytes of the source that are underlined.
    pub span: Option<Range<usize>>,
    /// A word beside the underlined text.
    pub label: Option<String>,
    /// The way out.
    pub help: Option<String>,
    /// Other places that matter, each with a word.
    pub related: Vec<(Range<usize>, String)>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span: None,
            label: None,
            help: None,
            related: Vec::new(),
        }
    }

    /// A warning without a place.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// Underlines these bytes.
    pub fn at(mut self, span: impl Into<Option<Range<usize>>>) -> Self {
        self.span = span.into();
        self
    }

    /// Puts a word beside the underlined text.
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds the way out. A later one replaces an earlier one.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the way out where there is one.
    pub fn with_help_if(self, help: Option<impl Into<String>>) -> Self {
        match help {
            Some(help) => self.with_help(help),
            None => self,
        }
    }

    /// Adds another place that matters.
    pub fn with_related(mut self, span: Range<usize>, note: impl Into<String>) -> Self {
        self.related.push((span, note.into()));
        self
    }
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// Shows diagnostics with the lines that they are about, in the order of their places, and how many there are.
pub fn render(diagnostics: &[Diagnostic], source: &Source, color: bool) -> String {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|diagnostic| diagnostic.span.as_ref().map_or(0, |span| span.start));
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in sorted.iter().take(MAX_SHOWN) {
        out.push_str(&render_one(diagnostic, source, &renderer));
        out.push_str("\n\n");
    }
    if sorted.len() > MAX_SHOWN {
        out.push_str(&format!("... and {} more\n\n", sorted.len() - MAX_SHOWN));
    }
    out.push_str(&summary(diagnostics));
    out.push('\n');
    out
}

fn render_one(diagnostic: &Diagnostic, source: &Source, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(diagnostic.message.as_str());
    let mut group = match &diagnostic.span {
        Some(span) => {
            let excerpt = Excerpt::around(diagnostic, span, &source.text);
            let primary = AnnotationKind::Primary.span(excerpt.span(span)).label(diagnostic.label.as_deref());
            let related = diagnostic
                .related
                .iter()
                .map(|(span, note)| AnnotationKind::Context.span(excerpt.span(span)).label(note.as_str()));
            title.element(
                Snippet::source(excerpt.text)
                    .line_start(excerpt.line)
                    .path(source.name.as_str())
                    .annotation(primary)
                    .annotations(related),
            )
        }
        None => annotate_snippets::Group::with_title(title),
    };
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

/// The lines that a diagnostic is about: a renderer that saw the whole text would read it once for each diagnostic.
struct Excerpt<'a> {
    text: &'a str,
    start: usize,
    line: usize,
}

impl<'a> Excerpt<'a> {
    fn around(diagnostic: &Diagnostic, span: &Range<usize>, text: &'a str) -> Self {
        let spans = || diagnostic.related.iter().map(|(span, _)| span).chain([span]);
        let first = text.floor_char_boundary(spans().map(|span| span.start).min().unwrap_or(0));
        let last = text.floor_char_boundary(spans().map(|span| span.end).max().unwrap_or(0)).max(first);
        let start = text[..first].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[last..].find('\n').map_or(text.len(), |newline| last + newline);
        let line = 1 + text[..start].bytes().filter(|byte| *byte == b'\n').count();
        Self { text: &text[start..end], start, line }
    }

    /// A span within the excerpt, on the boundaries of characters, and on one line.
    fn span(&self, span: &Range<usize>) -> Range<usize> {
        let within = |at: usize| self.text.floor_char_boundary(at.saturating_sub(self.start));
        let (start, end) = (within(span.start), within(span.end).max(within(span.start)));
        start..self.text[start..end].find('\n').map_or(end, |newline| start + newline)
    }
}

fn summary(diagnostics: &[Diagnostic]) -> String {
    let count = |severity| diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    match (count(Severity::Error), count(Severity::Warning)) {
        (errors, 0) => plural(errors, "error"),
        (0, warnings) => plural(warnings, "warning"),
        (errors, warnings) => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
    }
}

/// The known word that was most probably meant.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 100 {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    // One edit in short words, a third of the letters in longer ones.
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&word, &known.to_lowercase().replace('-', "_")), known))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// `` `a`, `b` or `c` ``.
pub fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn renders_place_label_help_and_count() {
        let source = Source::new("p.yaml", "version: 1\nnaem: x\n");
        let diagnostics = [Diagnostic::error("unknown key `naem`")
            .at(11..15)
            .with_label("here")
            .with_help("did you mean `name`?")
            .with_related(0..7, "first")];
        let expected = "\
error: unknown key `naem`
 --> p.yaml:2:1
  |
1 | version: 1
  | ------- first
2 | naem: x
  | ^^^^ here
  |
  = help: did you mean `name`?

1 error
";
        assert_eq!(render(&diagnostics, &source, false), expected);
    }

    #[test]
    fn spans_outside_the_text_do_not_panic() {
        let source = Source::new("p.yaml", "aé");
        for span in [0..99, 2..2, 2..3, 7..9] {
            render(&[Diagnostic::error("x").at(span)], &source, true);
        }
        render(&[Diagnostic::error("x").at(0..1)], &Source::new("p.yaml", ""), false);
    }

    #[test]
    fn suggestions() {
        for (word, expected) in
            [("folsd", Some("folds")), ("f1-macro", Some("f1_macro")), ("zzz", None), ("F1_Macro", Some("f1_macro"))]
        {
            assert_eq!(did_you_mean(word, ["folds", "f1_macro", "metric"]), expected, "{word}");
        }
    }

    #[test]
    fn refuses_what_is_no_pipeline_file() {
        let folder = std::env::temp_dir().join(format!("retune-spec-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let large = write("large.yaml", b"");
        File::options().write(true).open(&large).unwrap().set_len(100 << 20).unwrap();
        let cases = [
            (
                folder.join("missing.yaml"),
                "no file `DIR/missing.yaml` (`retune init DATA --target COLUMN` writes a pipeline)",
            ),
            (folder.clone(), "`DIR` is a folder, not a pipeline file (name a file in it, such as `DIR/gzip.yaml`)"),
            (
                large,
                "`DIR/large.yaml` has 100.0 MiB; a pipeline file has at most 1 MiB (is it a data file? data are named in a pipeline under `data: path:`)",
            ),
            (
                write("latin1.yaml", b"a: 1\nb: caf\xe9\n"),
                "`DIR/latin1.yaml` is not UTF-8 text: byte 0xe9 in line 2 (byte 11 of the file) (save the file as UTF-8)",
            ),
            (
                write("gzip.yaml", b"\x1f\x8b\x08\x00"),
                "`DIR/gzip.yaml` is not UTF-8 text: byte 0x8b in line 1 (byte 1 of the file) (the file is compressed with gzip; unpack it first)",
            ),
        ];
        for (path, expected) in cases {
            let message = Source::read(&path).unwrap_err().to_string();
            assert_eq!(message.replace(&folder.display().to_string(), "DIR"), expected);
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
