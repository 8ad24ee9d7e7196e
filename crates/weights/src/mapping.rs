//! Other names for the tensors of a file.

use indexmap::IndexMap;

use crate::error::{ErrorKind, WeightsError};
use crate::pattern::Pattern;
use crate::stored::Stored;

/// Rules that give tensors other names or drop them: `{ "module.*": "*", "head.*": null }`.
///
/// The first rule whose pattern matches a name decides; a name that none matches stays. Each `*` of a pattern stands for any text, dots and nothing included, and
/// the stars of the replacement are filled with these texts in order.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    text: String,
    pattern: Pattern,
    /// None drops the tensor.
    replacement: Option<Pattern>,
}

impl Mapping {
    /// Rules of pattern and replacement, in their order; without a replacement, or with an empty one, a tensor is dropped.
    ///
    /// A replacement with more stars than its pattern is an error.
    pub fn new<P: Into<String>, R: AsRef<str>>(
        rules: impl IntoIterator<Item = (P, Option<R>)>,
    ) -> Result<Self, WeightsError> {
        let rules = rules.into_iter().map(|(text, replacement)| {
            let text = text.into();
            let pattern = Pattern::new(&text);
            let replacement = replacement.as_ref().map(AsRef::as_ref).filter(|text| !text.is_empty()).map(Pattern::new);
            match replacement.as_ref().map_or(0, Pattern::n_stars) {
                more if more > pattern.n_stars() => Err(WeightsError::new(
                    ErrorKind::Mapping,
                    format!("the replacement of `{text}` has {more} stars, the pattern {}", pattern.n_stars()),
                )
                .with_help("give the replacement no more stars than its pattern has")),
                _ => Ok(Rule { text, pattern, replacement }),
            }
        });
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }

    /// Whether it has no rule, so that all names stay.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The tensors under their new names, in the same order. A rule that decides for none is a mistake, and so are two tensors of one name.
    pub(crate) fn applied(&self, tensors: &IndexMap<String, Stored>) -> Result<IndexMap<String, Stored>, WeightsError> {
        let mut is_used = vec![false; self.rules.len()];
        let mut mapped: IndexMap<String, (&str, &Stored)> = IndexMap::with_capacity(tensors.len());
        for (name, tensor) in tensors {
            let decided = self.rules.iter().zip(&mut is_used).find_map(|(rule, is_used)| {
                let captures = rule.pattern.captures(name)?;
                *is_used = true;
                Some(rule.replacement.as_ref().map(|replacement| replacement.filled(&captures)))
            });
            let Some(new_name) = decided.unwrap_or_else(|| Some(name.clone())) else {
                continue;
            };
            if let Some((other, _)) = mapped.get(&new_name) {
                let message = format!("`{other}` and `{name}` would both become `{new_name}`");
                return Err(WeightsError::new(ErrorKind::Mapping, message)
                    .with_help("drop one of them by a rule without replacement"));
            }
            mapped.insert(new_name, (name, tensor));
        }
        if let Some((rule, _)) = self.rules.iter().zip(is_used).find(|(_, is_used)| !is_used) {
            return Err(self.unused(rule, tensors));
        }
        Ok(mapped.into_iter().map(|(name, (_, tensor))| (name, tensor.clone())).collect())
    }

    fn unused(&self, rule: &Rule, tensors: &IndexMap<String, Stored>) -> WeightsError {
        let text = &rule.text;
        if let Some(name) = tensors.keys().find(|name| rule.pattern.matches(name)) {
            let earlier = self.rules.iter().find(|earlier| earlier.pattern.matches(name));
            let earlier = earlier.map_or("", |earlier| &earlier.text);
            return WeightsError::new(
                ErrorKind::Mapping,
                format!("`{text}` decides for no tensor: an earlier rule, `{earlier}`, takes those it matches"),
            )
            .with_help("put it before that rule, or leave it out");
        }
        let error = WeightsError::new(ErrorKind::Mapping, format!("no tensor matches `{text}`"));
        match (rule.pattern.nearest(tensors.keys().map(String::as_str)), tensors.keys().next()) {
            (Some(near), _) => error.with_help(format!("did you mean `{near}`?")),
            (None, Some(first)) => error.with_help(format!("names are such as `{first}`")),
            (None, None) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::sync::Arc;

    use super::*;
    use crate::stored::{Dtype, Source};

    /// The new names, or the error.
    fn mapped(rules: &[(&str, Option<&str>)], names: &[&str]) -> Result<Vec<String>, String> {
        let source = Arc::new(Source::Held(Vec::new()));
        let tensor = || Stored::plain(&source, Dtype::F32, vec![0], 0..0);
        let tensors = names.iter().map(|name| ((*name).to_owned(), tensor())).collect();
        let mapping = Mapping::new(rules.iter().copied()).map_err(|error| error.to_string())?;
        Ok(mapping.applied(&tensors).map_err(|error| error.to_string())?.into_keys().collect())
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        for (rules, names, expected) in [
            (&[][..], &["a", "b"][..], &["a", "b"][..]),
            (
                &[("module.*", Some("*")), ("backbone.*", Some("*")), ("head.*", None)],
                &["module.conv.weight", "backbone.fc.bias", "head.weight", "scale"],
                &["conv.weight", "fc.bias", "scale"],
            ),
            // A name that was mapped is not mapped again.
            (&[("module.*", Some("*")), ("head.*", Some(""))], &["module.head.w", "head.w"], &["head.w"]),
            (&[("*.layer.*.w", Some("*/*"))], &["a.layer.0.w", "a.layer.0.b"], &["a/0", "a.layer.0.b"]),
            (&[("*", Some("net.*"))], &["a", "b"], &["net.a", "net.b"]),
            (&[("fc.weight", Some("head.weight"))], &["fc.weight"], &["head.weight"]),
            (&[("a.*", Some("b"))], &["a.1"], &["b"]),
        ] {
            assert_eq!(mapped(rules, names).unwrap(), expected, "{rules:?}");
        }
    }

    #[test]
    fn mistakes_name_the_rule_and_the_tensors() {
        for (rules, names, expected) in [
            (
                &[("module.*", Some("*")), ("backbone.*", Some("*"))][..],
                &["module.w", "backbone.w"][..],
                "`module.w` and `backbone.w` would both become `w`; drop one of them by a rule without replacement",
            ),
            (
                &[("module.*", Some("*"))],
                &["w", "module.w"],
                "`w` and `module.w` would both become `w`; drop one of them by a rule without replacement",
            ),
            (&[("modul.*", Some("*"))], &["module.w"], "no tensor matches `modul.*`; did you mean `module.*`?"),
            (&[("backbone.*", None)], &["module.w"], "no tensor matches `backbone.*`; names are such as `module.w`"),
            (
                &[("*", Some("*")), ("head.*", None)],
                &["head.w"],
                "`head.*` decides for no tensor: an earlier rule, `*`, takes those it matches; put it before that rule, or leave it out",
            ),
            (
                &[("a.*", Some("*.*"))],
                &[],
                "the replacement of `a.*` has 2 stars, the pattern 1; give the replacement no more stars than its pattern has",
            ),
        ] {
            assert_eq!(mapped(rules, names).unwrap_err(), expected, "{rules:?}");
        }
    }
}
