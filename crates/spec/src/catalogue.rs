//! The names of the language, read out of its reference.

use crate::reference::language_reference;

/// A kind of stage with its steps, methods or families.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The word after `uses:`.
    pub title: String,
    /// What it offers.
    pub entries: Vec<Entry>,
}

/// A step, method or family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The word in the language.
    pub name: String,
    /// What it does, in a sentence.
    pub summary: String,
}

/// Every kind of stage with what it offers.
pub fn catalogue() -> Vec<Section> {
    let reference = language_reference();
    let mut sections: Vec<Section> = Vec::new();
    let mut lines = reference.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = heading(line, 2) {
            let title = title.strip_prefix("uses: ").unwrap_or_default();
            sections.push(Section { title: title.to_owned(), entries: Vec::new() });
        } else if let (Some(name), Some(section)) = (heading(line, 3), sections.last_mut()) {
            let paragraph: Vec<&str> =
                lines.by_ref().skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty()).collect();
            let summary = first_sentence(&paragraph.join(" "));
            section.entries.push(Entry { name: name.to_owned(), summary });
        }
    }
    sections.retain(|section| !section.title.is_empty());
    sections
}

/// The chapter of the reference about a kind of stage, a step, a method or a family; `None` for an unknown name.
pub fn describe(name: &str) -> Option<String> {
    let reference = language_reference();
    let mut chapter = String::new();
    let mut level = None;
    for line in reference.lines() {
        let hashes = line.bytes().take_while(|byte| *byte == b'#').count();
        match level {
            None if heading(line, hashes)
                .is_some_and(|title| title == name || title.strip_prefix("uses: ") == Some(name)) =>
            {
                level = Some(hashes);
            }
            None => continue,
            Some(_) if hashes > 0 => break,
            Some(_) => {}
        }
        chapter.push_str(line);
        chapter.push('\n');
    }
    level.map(|_| chapter)
}

/// The text up to its first full stop; that of "et al." is none.
fn first_sentence(text: &str) -> String {
    let ends = text.match_indices(". ").map(|(end, _)| end).filter(|&end| !text[..end].ends_with("et al"));
    ends.min().map_or_else(|| text.to_owned(), |end| text[..=end].to_owned())
}

/// The word of a heading of that level whose whole text is code: "### `impute`".
fn heading(line: &str, level: usize) -> Option<&str> {
    let text = line.strip_prefix(&"#".repeat(level))?.strip_prefix(" `")?;
    text.strip_suffix('`')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn every_kind_of_stage_is_listed_with_what_it_offers() {
        let catalogue = catalogue();
        let titles: Vec<&str> = catalogue.iter().map(|section| section.title.as_str()).collect();
        assert_eq!(titles, ["preprocessing", "feature-selection", "model-selection", "fine-tuning"]);
        let offers = |section: usize, name: &str| {
            catalogue[section].entries.iter().any(|entry| entry.name == name && !entry.summary.is_empty())
        };
        assert!(offers(0, "impute") && offers(1, "correlation") && offers(2, "mlp") && offers(3, "guard"));
    }

    #[test]
    fn a_name_is_described_by_its_chapter() {
        let chapter = describe("impute").unwrap();
        assert!(
            chapter.starts_with("### `impute`")
                && chapter.contains("`strategy`")
                && !chapter.contains("clip_outliers`\n")
        );
        assert!(describe("model-selection").unwrap().contains("candidates"));
        assert_eq!(describe("imputer"), None);
    }
}
