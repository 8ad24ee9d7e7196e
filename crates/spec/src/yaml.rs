//! YAML text to a tree whose every node knows its place.
//!
//! YAML 1.2 with its core schema, minus what surprises: see `docs/language.md`. Every mistake that does not hide the rest is
//! collected; its node becomes [`Yaml::Invalid`] and later passes leave it alone.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use crate::diagnostic::{Diagnostic, Source};

/// The most nodes that a file may hold once aliases, parameters and matrices are expanded. Long texts count as several.
pub const MAX_NODES: usize = 100_000;

/// How deep lists and mappings may be nested.
pub const MAX_DEPTH: usize = 100;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The bytes that it was written in; empty for a value that was left out.
    pub span: Range<usize>,
    /// The value.
    pub value: Yaml,
    /// Where the value comes from if not from its place.
    pub origin: Option<Box<Origin>>,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Yaml {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A finite number with a point or an exponent.
    Float(f64),
    /// Text.
    String(String),
    /// A list.
    Seq(Vec<Node>),
    /// A mapping; its keys are unique.
    Map(Vec<Entry>),
    /// A value with a mistake that has been reported.
    Invalid,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The bytes of the key.
    pub key_span: Range<usize>,
    /// The value.
    pub node: Node,
}

/// Where a substituted value comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// What to say of it.
    pub note: String,
    /// Its place, if it is in the file.
    pub span: Option<Range<usize>>,
}

impl Node {
    /// A value at a place.
    pub fn new(span: Range<usize>, value: Yaml) -> Self {
        Self { span, value, origin: None }
    }

    /// The entries of a mapping; none for any other value.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Yaml::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none for any other value.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Yaml::Seq(items) => items,
            _ => &[],
        }
    }

    /// The entry of a key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.value {
            Yaml::Map(entries) => entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node),
            _ => None,
        }
    }

    /// The text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Yaml::String(text) => Some(text),
            _ => None,
        }
    }

    /// Puts a value under a key, in place of the one that is there.
    pub fn set(&mut self, key: &str, node: Node) {
        let Yaml::Map(entries) = &mut self.value else {
            return;
        };
        match entries.iter_mut().find(|entry| entry.key == key) {
            Some(entry) => entry.node = node,
            None => entries.push(Entry { key: key.to_owned(), key_span: node.span.clone(), node }),
        }
    }

    /// The JSON value; what is invalid becomes null.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.value {
            Yaml::Null | Yaml::Invalid => Value::Null,
            Yaml::Bool(value) => Value::Bool(*value),
            Yaml::Int(value) => match (u64::try_from(*value), i64::try_from(*value)) {
                (Ok(value), _) => value.into(),
                (_, Ok(value)) => value.into(),
                _ => Value::Null,
            },
            Yaml::Float(value) => Value::from(*value),
            Yaml::String(text) => Value::String(text.clone()),
            Yaml::Seq(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Yaml::Map(entries) => {
                Value::Object(entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect())
            }
        }
    }

    /// How much the node counts towards [`MAX_NODES`].
    pub(crate) fn weight(&self) -> usize {
        match &self.value {
            Yaml::String(text) => 1 + text.len() / 64,
            Yaml::Seq(items) => items.iter().fold(1, |sum, item| sum + item.weight()),
            Yaml::Map(entries) => {
                entries.iter().fold(1, |sum, entry| sum + 1 + entry.key.len() / 64 + entry.node.weight())
            }
            _ => 1,
        }
    }

    fn depth(&self) -> usize {
        match &self.value {
            Yaml::Seq(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Yaml::Map(entries) => 1 + entries.iter().map(|entry| entry.node.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// What the value is, in words: "text `abc`", "a list".
    pub fn describe(&self) -> String {
        match &self.value {
            Yaml::Null => "nothing".to_owned(),
            Yaml::Bool(value) => format!("`{value}`"),
            Yaml::Int(value) => format!("the number {value}"),
            Yaml::Float(value) => format!("the number {value}"),
            Yaml::String(text) => format!("text `{}`", shorten(text)),
            Yaml::Seq(_) => "a list".to_owned(),
            Yaml::Map(_) => "a mapping".to_owned(),
            Yaml::Invalid => "a mistake".to_owned(),
        }
    }
}

/// At most 40 characters of a text, on one line.
pub(crate) fn shorten(text: &str) -> String {
    let line = text.replace(['\n', '\r', '\t'], " ");
    if line.chars().count() <= 40 { line } else { line.chars().take(39).chain(['…']).collect() }
}

/// The tree of a text, or everything that is wrong with it as YAML.
pub fn parse(source: &Source) -> Result<Node, Vec<Diagnostic>> {
    match parse_all(&source.text) {
        (Some(root), diagnostics) if diagnostics.is_empty() => Ok(root),
        (_, diagnostics) => Err(diagnostics),
    }
}

/// The tree, if the text has one, and everything that is wrong with it.
pub(crate) fn parse_all(text: &str) -> (Option<Node>, Vec<Diagnostic>) {
    let mut builder = Builder { text, offsets: Offsets::of(text), ..Builder::default() };
    let root = match builder.read() {
        Ok(root) => Some(root),
        Err(diagnostic) => {
            builder.diagnostics.push(*diagnostic);
            None
        }
    };
    (root, builder.diagnostics)
}

/// Byte offsets of characters; `None` where both are the same.
#[derive(Default)]
struct Offsets(Option<Vec<usize>>);

impl Offsets {
    fn of(text: &str) -> Self {
        Self((!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).chain([text.len()]).collect()))
    }

    fn byte(&self, char: usize) -> usize {
        match &self.0 {
            Some(offsets) => offsets.get(char).or(offsets.last()).copied().unwrap_or(0),
            None => char,
        }
    }

    fn range(&self, span: saphyr_parser::Span) -> Range<usize> {
        let start = self.byte(span.start.index());
        start..self.byte(span.end.index()).max(start)
    }
}

#[derive(Default)]
struct Builder<'a> {
    text: &'a str,
    offsets: Offsets,
    diagnostics: Vec<Diagnostic>,
    open: Vec<Open>,
    root: Option<Node>,
    /// Finished values by the number of their anchor.
    anchors: HashMap<usize, Node>,
    weight: usize,
    aliased: bool,
}

/// A list or mapping whose end has not been read.
struct Open {
    start: usize,
    anchor: usize,
    content: OpenContent,
}

enum OpenContent {
    Seq(Vec<Node>),
    Map(Vec<Entry>, HashMap<String, usize>, Option<(Option<String>, Range<usize>)>),
}

/// A mistake after which nothing more can be read.
type Fatal = Box<Diagnostic>;

impl Builder<'_> {
    fn read(&mut self) -> Result<Node, Fatal> {
        let mut parser = Parser::new_from_str(self.text);
        let mut documents = 0;
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| Box::new(self.scan_error(&error)))?;
            let span = self.offsets.range(span);
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(Box::new(
                            Diagnostic::error("a second document starts here; a file holds one").at(span).with_help(
                                "remove the line `---` and what follows it, or move it to a file of its own",
                            ),
                        ));
                    }
                }
                Event::Scalar(text, style, anchor, tag) => {
                    self.scalar(&text, style, anchor, tag.as_deref(), span)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.start(OpenContent::Seq(Vec::new()), "seq", anchor, tag.as_deref(), span)?;
                }
                Event::MappingStart(anchor, tag) => {
                    self.start(
                        OpenContent::Map(Vec::new(), HashMap::new(), None),
                        "map",
                        anchor,
                        tag.as_deref(),
                        span,
                    )?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.end(&span)?,
                Event::Alias(anchor) => self.alias(anchor, span)?,
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        let empty =
            || Diagnostic::error("the file is empty").with_help("`retune init DATA --target COLUMN` writes a pipeline");
        self.root.take().filter(|root| root.value != Yaml::Null).ok_or_else(|| Box::new(empty()))
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: Range<usize>,
    ) -> Result<(), Fatal> {
        let plain = style == ScalarStyle::Plain;
        let value_span = self.without_properties(&span, anchor != 0 || tag.is_some());
        let value_span = value_span.start..value_span.start + written_length(&self.text[value_span], style);
        let wanted = tag.and_then(|tag| self.known_tag(tag, &span));
        let resolved = match (wanted, plain) {
            (Some("str"), _) | (None, false) => Ok(Yaml::String(text.to_owned())),
            _ => resolve_plain(text),
        };
        let node = if self.at_key() {
            return self.attach_key(resolved, text, anchor, value_span);
        } else {
            match resolved {
                Ok(value) if wanted.is_none_or(|wanted| wanted == "str" || wanted == core_tag(&value)) => {
                    Node::new(value_span, value)
                }
                Ok(_) => self.invalid(
                    Diagnostic::error(format!("`{}` is no `!!{}`", shorten(text), wanted.unwrap_or(""))).at(span),
                ),
                Err(surprise) => self.invalid(surprise.diagnostic(value_span)),
            }
        };
        self.spend(node.weight(), &node.span)?;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.attach(node);
        Ok(())
    }

    fn invalid(&mut self, diagnostic: Diagnostic) -> Node {
        let span = diagnostic.span.clone().unwrap_or(0..0);
        self.diagnostics.push(diagnostic);
        Node::new(span, Yaml::Invalid)
    }

    fn start(
        &mut self,
        content: OpenContent,
        kind: &str,
        anchor: usize,
        tag: Option<&Tag>,
        span: Range<usize>,
    ) -> Result<(), Fatal> {
        if let Some(wanted) = tag.and_then(|tag| self.known_tag(tag, &span))
            && wanted != kind
        {
            self.diagnostics.push(Diagnostic::error(format!("this is no `!!{wanted}`")).at(span.clone()));
        }
        if self.open.len() >= MAX_DEPTH {
            let message = format!("lists and mappings are nested more than {MAX_DEPTH} deep here");
            return Err(Box::new(Diagnostic::error(message).at(span)));
        }
        self.spend(1, &span)?;
        let start = self.without_properties(&span, anchor != 0 || tag.is_some()).start;
        self.open.push(Open { start, anchor, content });
        Ok(())
    }

    fn end(&mut self, span: &Range<usize>) -> Result<(), Fatal> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        // The end of a block is found at the next token, lines later; that of `]` and `}` is exact.
        let last = match &open.content {
            OpenContent::Seq(items) => items.last().map(|item| item.span.end),
            OpenContent::Map(entries, ..) => entries.last().map(|entry| entry.node.span.end.max(entry.key_span.end)),
        };
        let end = if span.is_empty() { last.unwrap_or(open.start) } else { span.end };
        let value = match open.content {
            OpenContent::Seq(items) => Yaml::Seq(items),
            OpenContent::Map(entries, ..) => Yaml::Map(entries),
        };
        let node = Node::new(open.start..end.max(open.start), value);
        if self.at_key() {
            return self.attach_key(Ok(node.value), "", open.anchor, node.span);
        }
        if open.anchor != 0 {
            self.anchors.insert(open.anchor, node.clone());
        }
        self.attach(node);
        Ok(())
    }

    fn alias(&mut self, anchor: usize, span: Range<usize>) -> Result<(), Fatal> {
        self.aliased = true;
        let node = match self.anchors.get(&anchor) {
            Some(node) => {
                let weight = node.weight();
                let too_deep = self.open.len() + node.depth() > MAX_DEPTH;
                self.spend(weight, &span)?;
                if too_deep {
                    let message = format!("this alias nests lists and mappings more than {MAX_DEPTH} deep");
                    return Err(Box::new(Diagnostic::error(message).at(span)));
                }
                let value = self.anchors.get(&anchor).map_or(Yaml::Null, |node| node.value.clone());
                Node::new(span.clone(), value)
            }
            None => {
                let word = self.text.get(span.clone()).unwrap_or("this alias").to_owned();
                self.invalid(
                    Diagnostic::error(format!("`{word}` stands for a value that it is part of")).at(span.clone()),
                )
            }
        };
        if self.at_key() {
            return self.attach_key(Ok(node.value), "", 0, span);
        }
        self.attach(node);
        Ok(())
    }

    fn at_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { content: OpenContent::Map(_, _, None), .. }))
    }

    fn attach_key(
        &mut self,
        resolved: Result<Yaml, Surprise>,
        text: &str,
        anchor: usize,
        span: Range<usize>,
    ) -> Result<(), Fatal> {
        self.spend(1 + text.len() / 64, &span)?;
        if anchor != 0 {
            self.anchors.insert(anchor, Node::new(span.clone(), resolved.clone().unwrap_or(Yaml::Invalid)));
        }
        let key = match resolved {
            Ok(Yaml::String(key)) if key == "<<" => {
                self.diagnostics.push(
                    Diagnostic::error("merge keys (`<<`) are not part of YAML 1.2")
                        .at(span.clone())
                        .with_help("let an alias stand for a whole value (`key: *name`), or use `params`"),
                );
                None
            }
            Ok(Yaml::String(key)) => Some(key),
            Ok(value @ (Yaml::Seq(_) | Yaml::Map(_) | Yaml::Null)) => {
                let found = Node::new(0..0, value).describe();
                self.diagnostics.push(Diagnostic::error(format!("a key must be text, found {found}")).at(span.clone()));
                None
            }
            Ok(_) | Err(_) => {
                let help = format!("if it is a name, quote it: \"{text}\"");
                self.diagnostics.push(
                    Diagnostic::error(format!("a key must be text, found `{text}`")).at(span.clone()).with_help(help),
                );
                None
            }
        };
        if let Some(Open { content: OpenContent::Map(_, _, pending), .. }) = self.open.last_mut() {
            *pending = Some((key, span));
        }
        Ok(())
    }

    fn attach(&mut self, node: Node) {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(OpenContent::Seq(items)) => items.push(node),
            Some(OpenContent::Map(entries, places, pending)) => {
                let Some((Some(key), key_span)) = pending.take() else {
                    return;
                };
                match places.entry(key.clone()) {
                    Occupied(first) => self.diagnostics.push(
                        Diagnostic::error(format!("the key `{}` is given twice", shorten(&key)))
                            .at(key_span)
                            .with_related(entries[*first.get()].key_span.clone(), "first given here"),
                    ),
                    Vacant(place) => {
                        place.insert(entries.len());
                        entries.push(Entry { key, key_span, node });
                    }
                }
            }
        }
    }

    fn spend(&mut self, weight: usize, span: &Range<usize>) -> Result<(), Fatal> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight <= MAX_NODES {
            return Ok(());
        }
        let message = if self.aliased {
            "the aliases of this file expand to more than 100,000 values"
        } else {
            "this file holds more than 100,000 values"
        };
        Err(Box::new(
            Diagnostic::error(message).at(span.clone()).with_help("a pipeline is small; data belong into data files"),
        ))
    }

    /// The suffix of a tag of the core schema; reports every other tag.
    fn known_tag<'t>(&mut self, tag: &'t Tag, span: &Range<usize>) -> Option<&'t str> {
        const CORE: [&str; 7] = ["str", "int", "float", "bool", "null", "seq", "map"];
        if tag.is_yaml_core_schema() && CORE.contains(&tag.suffix.as_str()) {
            return Some(&tag.suffix);
        }
        let written = self.text.get(span.clone()).unwrap_or_default();
        let start = span.start + written.find('!').unwrap_or(0);
        let length = self.text[start..].find(char::is_whitespace).unwrap_or(self.text.len() - start);
        let span = start..start + length;
        let message = format!("unknown tag `{}`", shorten(&self.text[span.clone()]));
        self.diagnostics.push(
            Diagnostic::error(message)
                .at(span)
                .with_help("values need no tags here; to write text that starts with `!`, quote it"),
        );
        None
    }

    /// The span of a value without the anchor and tag before it.
    fn without_properties(&self, span: &Range<usize>, has_properties: bool) -> Range<usize> {
        let Some(mut rest) = self.text.get(span.clone()).filter(|_| has_properties) else {
            return span.clone();
        };
        while rest.starts_with(['&', '!']) {
            rest = rest.split_once(char::is_whitespace).map_or("", |(_, rest)| rest).trim_start();
        }
        if rest.is_empty() { span.clone() } else { span.end - rest.len()..span.end }
    }

    fn scan_error(&self, error: &ScanError) -> Diagnostic {
        let at = self.text.floor_char_boundary(self.offsets.byte(error.marker().index()));
        let line_start = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        if let Some(tab) = indenting_tab(&self.text[line_start..]) {
            let tab = line_start + tab;
            return Diagnostic::error("a tab cannot indent YAML").at(tab..tab + 1).with_help("indent with spaces");
        }
        if let Some(nul) = self.text.find('\0') {
            return Diagnostic::error("a NUL byte is no text").at(nul..nul + 1);
        }
        let info = error.info();
        let (message, help): (Cow<str>, Option<&str>) = if self.text[..at].ends_with('$')
            && self.text[at..].starts_with("{{")
        {
            let help = "quote it inside `[...]` and `{...}`: \"${{ params.NAME }}\"";
            return Diagnostic::error("`${{ ... }}` must be quoted here").at(at - 1..at + 2).with_help(help);
        } else if info.contains("mapping values are not allowed") {
            (
                "a `:` is not allowed here".into(),
                Some("quote a text that contains `: `; give a nested key a line of its own"),
            )
        } else if info.contains("unknown anchor") {
            ("this alias stands for nothing".into(), Some("an anchor `&name` must come before its alias `*name`"))
        } else if info.contains("unexpected end of stream") {
            ("this quote is never closed".into(), None)
        } else if info.contains("document start") {
            ("this line does not belong to what is above".into(), Some("keys of one mapping start in the same column"))
        } else if info.contains("did not find expected key") || info.contains("expected '-' indicator") {
            (
                "this line is indented unlike those above".into(),
                Some("keys of one mapping and items of one list start in the same column"),
            )
        } else if info.contains("unexpected character") {
            ("a text cannot start with this character".into(), Some("quote the text"))
        } else if info.contains("recursion limit") {
            (format!("lists and mappings are nested more than {MAX_DEPTH} deep here").into(), None)
        } else if info.contains("flow") || info.contains("expected node content") {
            ("a `,`, `]` or `}` is missing before this".into(), None)
        } else {
            (format!("not valid YAML: {info}").into(), None)
        };
        let length = self.text[at..].chars().next().filter(|char| *char != '\n').map_or(0, char::len_utf8);
        Diagnostic::error(message).at(at..at + length).with_help_if(help)
    }
}

/// The length of a scalar as written; its span may reach over blanks and a comment up to the next token.
fn written_length(text: &str, style: ScalarStyle) -> usize {
    let quote = match style {
        ScalarStyle::SingleQuoted => b'\'',
        ScalarStyle::DoubleQuoted => b'"',
        ScalarStyle::Plain | ScalarStyle::Literal | ScalarStyle::Folded => {
            return text.trim_end().len();
        }
    };
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quote == b'"' => at += 2,
            byte if byte == quote && quote == b'\'' && bytes.get(at + 1) == Some(&quote) => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// Where a tab is among the blanks that start one of the first two lines.
fn indenting_tab(text: &str) -> Option<usize> {
    let mut start = 0;
    for line in text.split_inclusive('\n').take(2) {
        let blanks = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(tab) = line[..blanks].find('\t') {
            return Some(start + tab);
        }
        start += line.len();
    }
    None
}

fn core_tag(value: &Yaml) -> &'static str {
    match value {
        Yaml::Null => "null",
        Yaml::Bool(_) => "bool",
        Yaml::Int(_) => "int",
        Yaml::Float(_) => "float",
        _ => "str",
    }
}

/// A plain word that probably does not mean what YAML would make of it.
#[derive(Clone, Debug, PartialEq)]
struct Surprise {
    message: String,
    help: String,
}

impl Surprise {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }

    fn diagnostic(self, span: Range<usize>) -> Diagnostic {
        Diagnostic::error(self.message).at(span).with_help(self.help)
    }
}

/// The value of an unquoted word by the core schema of YAML 1.2.
fn resolve_plain(text: &str) -> Result<Yaml, Surprise> {
    let quoted = format!("quote it if text is meant: \"{text}\"");
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Yaml::Null),
        "true" | "True" | "TRUE" => return Ok(Yaml::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Yaml::Bool(false)),
        ".nan" | ".NaN" | ".NAN" => {
            return Err(Surprise::new(format!("`{text}` is not a number"), quoted));
        }
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Err(Surprise::new(format!("`{text}` is infinite; numbers must be finite"), quoted));
    }
    let based = |prefix, radix| {
        unsigned
            .strip_prefix(prefix)
            .filter(|digits| !digits.is_empty() && digits.chars().all(|c: char| c.is_digit(radix)))
    };
    for (prefix, radix, name) in [("0o", 8, "octal"), ("0x", 16, "hexadecimal"), ("0b", 2, "binary")] {
        if let Some(digits) = based(prefix, radix) {
            let help =
                i128::from_str_radix(digits, radix).map_or(quoted.clone(), |n| format!("write {n}, or {quoted}"));
            return Err(Surprise::new(format!("`{text}` is {name}; numbers are decimal"), help));
        }
    }
    let Some(number) = Number::of(unsigned) else {
        return Ok(Yaml::String(text.to_owned()));
    };
    if number.whole.len() > 1 && number.whole.starts_with('0') {
        let dropped = unsigned.trim_start_matches('0');
        let dropped =
            if dropped.starts_with(|c: char| c.is_ascii_digit()) { dropped.to_owned() } else { format!("0{dropped}") };
        let sign = &text[..text.len() - unsigned.len()];
        let help = format!("drop the zero for a number: {sign}{dropped}; {quoted}");
        return Err(Surprise::new(format!("`{text}` has a leading zero"), help));
    }
    if number.is_integer {
        let value = text.parse::<i128>().ok().filter(|n| (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(n));
        return value.map(Yaml::Int).ok_or_else(|| {
            Surprise::new(
                format!("the whole number `{}` is too large", shorten(text)),
                "whole numbers have 64 bits; quote it if text is meant",
            )
        });
    }
    match text.parse::<f64>() {
        Ok(value) if !value.is_finite() => Err(Surprise::new(
            format!("the number `{}` is too large", shorten(text)),
            "the greatest number is about 1.8e308",
        )),
        Ok(value) if value == 0.0 && number.mantissa_has_digit() => Err(Surprise::new(
            format!("the number `{}` is too small", shorten(text)),
            "write 0, or a number of at least 5e-324",
        )),
        Ok(value) => Ok(Yaml::Float(value)),
        Err(_) => Ok(Yaml::String(text.to_owned())),
    }
}

/// The parts of an unsigned decimal number: `[0-9]+ ( . [0-9]* )? ( [eE] [+-]? [0-9]+ )?` or `. [0-9]+ ...`.
struct Number<'a> {
    whole: &'a str,
    fraction: &'a str,
    is_integer: bool,
}

impl<'a> Number<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
            None => (text, None),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let valid = digits(whole)
            && digits(fraction)
            && !(whole.is_empty() && fraction.is_empty())
            && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent));
        valid.then_some(Self { whole, fraction, is_integer: exponent.is_none() && !mantissa.contains('.') })
    }

    fn mantissa_has_digit(&self) -> bool {
        [self.whole, self.fraction].iter().any(|digits| digits.bytes().any(|byte| byte != b'0'))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn value(text: &str) -> Yaml {
        parse(&Source::new("t", text)).unwrap_or_else(|d| panic!("{text}: {d:?}")).get("a").unwrap().value.clone()
    }

    #[test]
    fn scalars_by_the_core_schema() {
        for (text, expected) in [
            ("~", Yaml::Null),
            ("", Yaml::Null),
            ("True", Yaml::Bool(true)),
            ("yes", Yaml::String("yes".into())),
            ("-12", Yaml::Int(-12)),
            ("+12", Yaml::Int(12)),
            ("18446744073709551615", Yaml::Int(u64::MAX.into())),
            ("0", Yaml::Int(0)),
            ("0.5", Yaml::Float(0.5)),
            (".5", Yaml::Float(0.5)),
            ("5.", Yaml::Float(5.0)),
            ("1e-4", Yaml::Float(1e-4)),
            ("0e5", Yaml::Float(0.0)),
            ("1_000", Yaml::String("1_000".into())),
            ("2024-01-01", Yaml::String("2024-01-01".into())),
            ("nan", Yaml::String("nan".into())),
            ("e5", Yaml::String("e5".into())),
            (".", Yaml::String(".".into())),
            ("'010'", Yaml::String("010".into())),
            ("!!str 010", Yaml::String("010".into())),
            ("!!int 3", Yaml::Int(3)),
            ("&x 3", Yaml::Int(3)),
            ("${{ params.x }}", Yaml::String("${{ params.x }}".into())),
        ] {
            assert_eq!(value(&format!("a: {text}\n")), expected, "{text}");
        }
    }

    #[test]
    fn spans_are_bytes_even_after_other_alphabets() {
        let text =
            "\u{feff}# Überschrift – Kommentar\nä: \"grüße\" # é\nlist: [é, &x ö, *x]\n'k y': |\n  α\n  β\nend: 1\n";
        let root = parse(&Source::new("t", text)).unwrap();
        let written: Vec<&str> = root.entries().iter().map(|entry| &text[entry.key_span.clone()]).collect();
        assert_eq!(written, ["ä", "list", "'k y'", "end"]);
        assert_eq!(&text[root.get("ä").unwrap().span.clone()], "\"grüße\"");
        let items: Vec<&str> = root.get("list").unwrap().items().iter().map(|item| &text[item.span.clone()]).collect();
        assert_eq!(items, ["é", "ö", "*x"]);
        assert_eq!(&text[root.get("list").unwrap().span.clone()], "[é, &x ö, *x]");
        assert_eq!(root.get("list").unwrap().items()[2].value, Yaml::String("ö".into()));
        assert_eq!(&text[root.get("end").unwrap().span.clone()], "1");
    }

    #[test]
    fn one_mistake_does_not_hide_another() {
        let (root, diagnostics) = parse_all("a: .nan\nb: 010\na: 2\nc: !foo x\n1: x\n");
        let messages: Vec<&str> = diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
        let expected = [
            "`.nan` is not a number",
            "`010` has a leading zero",
            "the key `a` is given twice",
            "unknown tag `!foo`",
            "a key must be text, found `1`",
        ];
        assert_eq!(messages, expected);
        assert_eq!(root.unwrap().entries().len(), 3);
    }

    #[test]
    fn bombs_are_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let below = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), vec!["*a"; 1000].join(", "));
        let wide = format!("a: [{}]\n", vec!["1"; 200_000].join(","));
        let flow = format!("a: {}1{}", "[".repeat(200), "]".repeat(200));
        let block = format!("{}1", "- ".repeat(10_000));
        let nested = {
            let mut text = "a0: &a0 [[[[[[[[[[x]]]]]]]]]]\n".to_owned();
            for level in 1..20 {
                text.push_str(&format!("a{level}: &a{level} [[[[[[[[[[*a{}]]]]]]]]]]\n", level - 1));
            }
            text
        };
        for (text, expected) in [
            (bomb, "the aliases of this file expand to more than 100,000 values"),
            (long, "the aliases of this file expand to more than 100,000 values"),
            (wide, "this file holds more than 100,000 values"),
            (flow, "lists and mappings are nested more than 100 deep here"),
            (block, "lists and mappings are nested more than 100 deep here"),
            (nested, "this alias nests lists and mappings more than 100 deep"),
        ] {
            let messages: Vec<String> = parse_all(&text).1.into_iter().map(|diagnostic| diagnostic.message).collect();
            assert_eq!(messages, [expected], "{}", shorten(&text));
        }
    }
}
