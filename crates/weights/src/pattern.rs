//! Patterns over names of tensors, and the nearest name.

use std::collections::BTreeSet;

/// A name in which each `*` stands for any text, dots and nothing included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// The text before, between and after the stars.
    pieces: Vec<String>,
}

impl Pattern {
    pub fn new(text: &str) -> Self {
        Self { pieces: text.split('*').map(str::to_owned).collect() }
    }

    pub fn n_stars(&self) -> usize {
        self.pieces.len() - 1
    }

    /// What the stars stand for in this name, in order; none where it does not match. Each star but the last takes as little as it can.
    pub fn captures<'n>(&self, name: &'n str) -> Option<Vec<&'n str>> {
        let (first, rest) = self.pieces.split_first()?;
        let mut rest_of_name = name.strip_prefix(first.as_str())?;
        let Some((last, middle)) = rest.split_last() else {
            return rest_of_name.is_empty().then(Vec::new);
        };
        let mut captures = Vec::with_capacity(rest.len());
        for piece in middle {
            let (captured, after) = rest_of_name.split_once(piece.as_str())?;
            captures.push(captured);
            rest_of_name = after;
        }
        captures.push(rest_of_name.strip_suffix(last.as_str())?);
        Some(captures)
    }

    pub fn matches(&self, name: &str) -> bool {
        self.captures(name).is_some()
    }

    /// The name with these texts in place of its stars.
    pub fn filled(&self, captures: &[&str]) -> String {
        let mut name = String::new();
        for (i, piece) in self.pieces.iter().enumerate() {
            name.push_str(piece);
            if i + 1 < self.pieces.len() {
                name.push_str(captures.get(i).copied().unwrap_or_default());
            }
        }
        name
    }

    /// A pattern like this one that would match: with the nearest beginning of a name, up to a dot, in place of the text before the first star.
    pub fn nearest<'n>(&self, names: impl Iterator<Item = &'n str>) -> Option<String> {
        let (first, rest) = self.pieces.split_first()?;
        let near = if rest.is_empty() {
            nearest(first, names)
        } else {
            let beginnings: BTreeSet<&str> =
                names.flat_map(|name| name.match_indices('.').map(|(dot, _)| &name[..=dot])).collect();
            nearest(first, beginnings)
        }?;
        Some([near].into_iter().chain(rest.iter().map(String::as_str)).collect::<Vec<_>>().join("*"))
    }
}

/// The known text that was most probably meant, if one is near: one edit in short words, a third of the letters in longer ones.
pub(crate) fn nearest<'n>(text: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let limit = (text.chars().count() / 3).max(1);
    known
        .into_iter()
        // Others cannot be that near, and comparing long ones takes time.
        .filter(|known| known.len().abs_diff(text.len()) <= 4 * limit && known.len() <= 200)
        .map(|known| (strsim::damerau_levenshtein(text, known), known))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, name, expected) in [
            ("module.*", "module.layer.0.weight", Some(&["layer.0.weight"][..])),
            ("module.*", "module.", Some(&[""])),
            ("module.*", "modules.weight", None),
            ("*.weight", "a.weight", Some(&["a"])),
            ("*.weight", "a.weights", None),
            ("a.*.b.*", "a.1.b.2.b.3", Some(&["1", "2.b.3"])),
            ("*.b.*.d", "a.b.c.d.b.d", Some(&["a", "c.d.b"])),
            ("a*a", "a", None),
            ("a*a", "aa", Some(&[""])),
            ("*", "anything", Some(&["anything"])),
            ("head", "head", Some(&[])),
            ("head", "head.weight", None),
            ("", "", Some(&[])),
        ] {
            assert_eq!(Pattern::new(pattern).captures(name).as_deref(), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn the_nearest_pattern() {
        let names = ["module.conv1.weight", "module.fc.bias", "step"];
        for (pattern, expected) in [
            ("modul.*", Some("module.*")),
            ("module.cnv1.*", Some("module.conv1.*")),
            ("modle.*.bias", Some("module.*.bias")),
            ("module.fc.bais", Some("module.fc.bias")),
            ("backbone.*", None),
        ] {
            assert_eq!(Pattern::new(pattern).nearest(names.into_iter()).as_deref(), expected, "{pattern}");
        }
    }
}
