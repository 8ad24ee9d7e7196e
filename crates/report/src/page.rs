//! The page: its frame, sections, figures and tables.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Everything about looks. Whatever takes part in a run may end up in the page, so no script is in it, and the policy lets none run.
const STYLE: &str = include_str!("style.css");

/// Scripts, fonts, frames and the network are barred; styles and pictures are those of the page itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// A part of the page with a heading that the contents name.
pub struct Section {
    /// The end of the link to it.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// One sentence on how to read it.
    pub lead: String,
    /// What is in it.
    pub body: Markup,
}

impl Section {
    /// A section without an introduction.
    pub fn new(id: &'static str, title: &'static str, body: Markup) -> Self {
        Self { id, title, lead: String::new(), body }
    }

    /// With a sentence on how to read it.
    #[must_use]
    pub fn lead(mut self, lead: impl Into<String>) -> Self {
        self.lead = lead.into();
        self
    }
}

/// A whole page.
pub fn page(title: &str, header: &Markup, sections: &[Section]) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content=(format!("retune {}", env!("CARGO_PKG_VERSION")));
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header.top { div.wide { (header) } }
                div.wide.columns {
                    nav.contents aria-label="Contents" {
                        ul { @for section in sections { li { a href=(format!("#{}", section.id)) { (section.title) } } } }
                    }
                    main #content tabindex="-1" {
                        @for section in sections {
                            section id=(section.id) aria-labelledby=(format!("{}-title", section.id)) {
                                h2 id=(format!("{}-title", section.id)) { (section.title) }
                                @if !section.lead.is_empty() { p.lead { (section.lead) } }
                                (section.body)
                            }
                        }
                    }
                }
                footer { div.wide { "Written by retune " (env!("CARGO_PKG_VERSION")) ". This page needs no network and holds no script." } }
            }
        }
    }
    .into_string()
}

/// A table whose first `left` columns are words and whose others are numbers.
#[derive(Clone, Default)]
pub struct Table {
    caption: String,
    head: Vec<String>,
    rows: Vec<Vec<Markup>>,
    left: usize,
    left_out: usize,
}

impl Table {
    /// A table without rows.
    pub fn new<S: Into<String>>(caption: impl Into<String>, head: impl IntoIterator<Item = S>, left: usize) -> Self {
        Self { caption: caption.into(), head: head.into_iter().map(Into::into).collect(), left, ..Self::default() }
    }

    /// Adds a row of texts.
    pub fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(|cell| text(cell.as_ref())).collect());
    }

    /// Adds a row of cells that are more than text.
    pub fn cells(&mut self, cells: Vec<Markup>) {
        self.rows.push(cells);
    }

    /// Shows the first `most` rows and says how many more there are.
    #[must_use]
    pub fn limited(mut self, most: usize) -> Self {
        self.left_out += self.rows.len().saturating_sub(most);
        self.rows.truncate(most);
        self
    }

    /// Says that there are further rows than those given.
    #[must_use]
    pub fn of(mut self, n_rows: usize) -> Self {
        self.left_out += n_rows.saturating_sub(self.rows.len() + self.left_out);
        self
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table within a region that scrolls where the table is wider than the page.
    pub fn draw(&self) -> Markup {
        let side = |column: usize| (column >= self.left).then_some("n");
        html! {
            div.scroll role="region" tabindex="0" aria-label=(self.caption) {
                table {
                    caption.hidden { (self.caption) }
                    thead { tr { @for (column, name) in self.head.iter().enumerate() { th scope="col" class=[side(column)] { (name) } } } }
                    tbody {
                        @for row in &self.rows {
                            tr {
                                @for (column, cell) in row.iter().enumerate() {
                                    @if column == 0 { th scope="row" class=[side(0)] { (cell) } } @else { td class=[side(column)] { (cell) } }
                                }
                            }
                        }
                    }
                }
            }
            @if self.left_out > 0 { p.note { "And " (self.left_out) " more " (if self.left_out == 1 { "row" } else { "rows" }) " that are not shown here." } }
        }
    }

    /// The first rows, and a table of the others behind a line that opens it.
    pub fn opening(mut self, n_open: usize) -> Markup {
        let rest = self.rows.split_off(self.rows.len().min(n_open));
        let n = rest.len() + self.left_out;
        let rest = Self { rows: rest, caption: format!("{}, the others", self.caption), ..self.clone() };
        if rest.rows.is_empty() {
            return self.draw();
        }
        self.left_out = 0;
        html! { (self.draw()) (rest.folded(&format!("{n} more"))) }
    }

    /// The table behind a line that opens it.
    pub fn folded(&self, summary: &str) -> Markup {
        html! { @if !self.is_empty() { details { summary { (summary) } (self.draw()) } } }
    }
}

/// A plot with its heading, what its colours mean, and the numbers that it shows.
pub fn figure(title: &str, note: &str, plot: Option<Markup>, legend: &Markup, table: &Table) -> Markup {
    html! {
        @if let Some(plot) = plot {
            figure.card {
                figcaption { h3 { (title) } @if !note.is_empty() { p.note { (note) } } }
                (plot)
                (legend)
                (table.folded("Table"))
            }
        } @else if !table.is_empty() {
            div.card { h3 { (title) } @if !note.is_empty() { p.note { (note) } } (table.draw()) }
        }
    }
}

/// Figures side by side where there is room.
pub fn grid(figures: &[Markup]) -> Markup {
    html! { div.grid { @for figure in figures { (figure) } } }
}

/// A text that gets room where it is a long one, so that a column of it does not become a word wide; one without a space has it anyway.
pub fn text(text: &str) -> Markup {
    const LONG: usize = 26;
    html! { @if text.contains(' ') && text.chars().count() > LONG { span.long { (text) } } @else { (text) } }
}

/// A sentence that matters, in a box. `tone` is `good`, `bad`, `warn` or `info`.
pub fn callout(tone: &str, word: &str, text: &str) -> Markup {
    html! { p.callout.(tone) { strong { (word) } " " (text) } }
}

/// A word in a coloured pill.
pub fn badge(tone: &str, word: &str) -> Markup {
    html! { span.badge.(tone) { (word) } }
}
