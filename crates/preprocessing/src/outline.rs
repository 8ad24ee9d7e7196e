//! The columns as far as they are known before any row is read: what a step chooses, and every mistake that needs no data to be seen.

use std::collections::{HashMap, HashSet};

use retune_spec::Selector;
use retune_spec::columns::{Dtype, OneOrMany, is_glob};
use retune_spec::diagnostic::did_you_mean;
use retune_stage::{Field, Kind, Result, Role, Schema, StageError};

use crate::source::Source;

/// Ends the name of a field that stands for all columns whose names only the data know: `summary_` and this for the terms of `summary`.
const OPEN: char = '\u{10ffff}';

/// Columns and task on their way through the steps of a check.
#[derive(Clone, Debug)]
pub(crate) struct Outline {
    schema: Schema,
    /// How columns are stored, where rows tell it.
    dtypes: HashMap<String, Dtype>,
}

impl Outline {
    pub(crate) fn new(schema: &Schema) -> Self {
        Self { schema: schema.clone(), dtypes: HashMap::new() }
    }

    /// The columns of rows, of which the types are known too.
    pub(crate) fn of(source: &Source) -> Result<Self> {
        Ok(Self { schema: source.schema(), dtypes: source.dtypes()? })
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The features that a selector chooses; the names of open fields stand for columns that are not known yet. Every name that does not exist is
    /// an error of its own.
    pub(crate) fn select(&self, selector: &Selector) -> Result<Vec<String>, Vec<StageError>> {
        let unknown: Vec<StageError> =
            selector.exact_names().into_iter().filter_map(|name| self.unknown(name).err()).collect();
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let known = self.known_part(selector);
        let dtype_of = |name: &str| self.dtypes.get(name).copied();
        let chosen =
            known.map_or(Ok(Vec::new()), |selector| retune_table::select_typed(&self.schema, &dtype_of, &selector));
        chosen.map_err(|error| vec![error.into()])
    }

    /// Fails for features that are not of one of the kinds. `chooses` says whether the step has `columns` to choose others by.
    pub(crate) fn require(
        &self,
        word: &str,
        kinds: &[Kind],
        names: &[String],
        chooses: bool,
    ) -> Result<(), Vec<StageError>> {
        let help = |kind: Kind| match chooses {
            true => way_out(kind, kinds).to_owned(),
            false => way_out(kind, kinds).replace(CHOOSE, "leave it out under `data.ignore`"),
        };
        let fields = names.iter().filter_map(|name| self.schema.field(name));
        let refused: Vec<StageError> = fields
            .filter(|field| !kinds.contains(&field.kind))
            .map(|field| {
                let (name, kind) = (shown(&field.name), field.kind.word());
                StageError::data(format!("column `{name}` is {kind}; {word} works on {} columns", listed(kinds)))
                    .help(help(field.kind))
            })
            .collect();
        if refused.is_empty() { Ok(()) } else { Err(refused) }
    }

    /// Whether all of the columns are known.
    pub(crate) fn is_closed(names: &[String]) -> bool {
        names.iter().all(|name| !name.ends_with(OPEN))
    }

    pub(crate) fn remove(&mut self, names: &[String]) {
        let names: HashSet<&String> = names.iter().collect();
        self.schema.fields.retain(|field| !names.contains(&field.name));
    }

    pub(crate) fn set_kind(&mut self, names: &[String], kind: Kind) {
        let names: HashSet<&String> = names.iter().collect();
        self.schema.fields.iter_mut().filter(|field| names.contains(&field.name)).for_each(|field| field.kind = kind);
    }

    /// Adds a feature. Fails where its name is taken.
    pub(crate) fn add(&mut self, name: String, kind: Kind) -> Result<()> {
        if self.schema.field(&name).is_some() {
            return Err(StageError::data(format!("there is a column `{name}` already"))
                .help("rename the column of the source, or give the step another `prefix` where it has one"));
        }
        self.schema.fields.push(Field::feature(name, kind));
        Ok(())
    }

    /// Adds features whose names start so; how they go on only the data know.
    pub(crate) fn add_open(&mut self, prefix: &str, kind: Kind) {
        let name = format!("{prefix}{OPEN}");
        if self.schema.field(&name).is_none() {
            self.schema.fields.push(Field::feature(name, kind));
        }
    }

    fn unknown(&self, name: &str) -> Result<()> {
        match self.schema.field(name) {
            Some(field) if field.role == Role::Feature => Ok(()),
            Some(field) => {
                Err(StageError::data(format!("column `{name}` is not a feature: it is the {}", role_word(field.role))))
            }
            None if self.may_appear(name) => Ok(()),
            None => {
                let error = StageError::data(format!("no column `{name}` at this step"));
                let known =
                    self.schema.features().map(|field| field.name.as_str()).filter(|name| !name.ends_with(OPEN));
                let near = did_you_mean(name, known);
                Err(match near {
                    Some(near) => error.help(format!("did you mean `{near}`?")),
                    None => error.help("it is no column of the data, or an earlier step replaced it"),
                })
            }
        }
    }

    /// Whether a name, or the part of a pattern before its first wildcard, fits an open field.
    fn may_appear(&self, word: &str) -> bool {
        let literal = word.split(['*', '?', '[']).next().unwrap_or(word);
        let mut prefixes = self.schema.features().filter_map(|field| field.name.strip_suffix(OPEN));
        prefixes.any(|prefix| literal.starts_with(prefix) || (is_glob(word) && prefix.starts_with(literal)))
    }

    /// The selector without names and patterns that may choose columns which are not known yet and choose none of those that are.
    fn known_part(&self, selector: &Selector) -> Option<Selector> {
        let known = |word: &str| {
            let chooses = retune_table::select(&self.schema, &Selector::word(word)).is_ok();
            chooses || !self.may_appear(word)
        };
        match selector {
            Selector::Words(words) => {
                let words: Vec<String> = words.as_slice().iter().filter(|word| known(word)).cloned().collect();
                (!words.is_empty()).then_some(Selector::Words(OneOrMany::Many(words)))
            }
            Selector::Not { not } => match self.known_part(not) {
                Some(not) => Some(Selector::Not { not: Box::new(not) }),
                None => Some(Selector::all()),
            },
            Selector::Dtype { .. } => Some(selector.clone()),
            Selector::Name { name } => self.schema.field(name).map(|_| selector.clone()),
        }
    }
}

/// A column's name for a message.
pub(crate) fn shown(name: &str) -> String {
    name.replace(OPEN, "...")
}

fn listed(kinds: &[Kind]) -> String {
    let words: Vec<&str> = kinds.iter().map(|kind| kind.word()).collect();
    match words.as_slice() {
        [] => "no".to_owned(),
        [word] => (*word).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn role_word(role: Role) -> &'static str {
    match role {
        Role::Feature => "feature",
        Role::Target => "target",
        Role::Id => "id",
        Role::Weight => "weight",
        Role::Group => "group of the split",
        Role::Time => "time of the split",
        Role::Ignore => "ignored one",
        Role::RowNumber => "row's number",
        Role::Flags => "column of flags",
    }
}

const CHOOSE: &str = "choose other columns";

/// What helps with a column of one kind where others are needed.
fn way_out(kind: Kind, needed: &[Kind]) -> &'static str {
    let numbers = needed.contains(&Kind::Numeric);
    match kind {
        Kind::Categorical if numbers => "encode it before: `one_hot` or `target_encode`; or choose other columns",
        Kind::Text if numbers => "encode it before: `tf_idf`; or choose other columns",
        Kind::Categorical | Kind::Text if needed == [Kind::Datetime] => {
            "read it as dates before: `parse_dates`; or choose other columns"
        }
        Kind::Categorical => "if it is free text, declare it so under `data.columns`; or choose other columns",
        Kind::Numeric if needed.contains(&Kind::Categorical) => {
            "if its numbers are codes, declare it `categorical` under `data.columns`; or choose other columns"
        }
        Kind::Boolean | Kind::Numeric | Kind::Text => CHOOSE,
        Kind::Datetime if !matches!(needed, [Kind::Image] | [Kind::Audio]) => {
            "take it apart before: `datetime_parts`; or choose other columns"
        }
        Kind::Image if numbers => "decode it before: `decode_image`; or choose other columns",
        Kind::Datetime | Kind::Image | Kind::Audio => CHOOSE,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn outline() -> Outline {
        let fields = vec![
            Field::feature("age", Kind::Numeric),
            Field::feature("city", Kind::Categorical),
            Field { role: Role::Target, ..Field::feature("label", Kind::Categorical) },
        ];
        let mut outline = Outline::new(&Schema { fields, task: None });
        outline.add_open("summary_", Kind::Numeric);
        outline
    }

    fn words(words: &[&str]) -> Selector {
        Selector::Words(OneOrMany::Many(words.iter().map(|word| (*word).to_owned()).collect()))
    }

    #[test]
    fn selectors_choose_what_is_known_and_let_pass_what_may_appear() {
        let open = format!("summary_{OPEN}");
        for (selector, chosen) in [
            (words(&["age"]), vec!["age"]),
            (words(&["numeric"]), vec!["age", &open]),
            (words(&["summary_*"]), vec![&open]),
            (words(&["summary_linux"]), vec![]),
            (words(&["summary_linux", "c*"]), vec!["city"]),
            (words(&["summary_py*"]), vec![]),
            (Selector::Not { not: Box::new(words(&["summary_*"])) }, vec!["age", "city"]),
            (Selector::Not { not: Box::new(words(&["summary_linux"])) }, vec!["age", "city", &open]),
        ] {
            assert_eq!(outline().select(&selector).unwrap(), chosen, "{selector:?}");
        }
    }

    #[test]
    fn mistakes_are_told_together() {
        let errors = outline().select(&words(&["agee", "label", "zzz", "age"])).unwrap_err();
        let told: Vec<String> =
            errors.iter().map(|error| format!("{error}; {}", error.help.as_deref().unwrap_or("-"))).collect();
        assert_eq!(
            told,
            [
                "no column `agee` at this step; did you mean `age`?",
                "column `label` is not a feature: it is the target; -",
                "no column `zzz` at this step; it is no column of the data, or an earlier step replaced it",
            ]
        );
        assert_eq!(
            outline().select(&words(&["x*"])).unwrap_err()[0].message,
            "the pattern `x*` matches no feature column"
        );
    }

    #[test]
    fn kinds_are_told_with_the_way_out() {
        let errors = outline().require("log1p", &[Kind::Numeric], &["city".to_owned()], true).unwrap_err();
        assert_eq!(errors[0].message, "column `city` is categorical; log1p works on numeric columns");
        assert_eq!(
            errors[0].help.as_deref(),
            Some("encode it before: `one_hot` or `target_encode`; or choose other columns")
        );
        let errors = outline().require("smote", &[Kind::Numeric], &["city".to_owned()], false).unwrap_err();
        assert_eq!(
            errors[0].help.as_deref(),
            Some("encode it before: `one_hot` or `target_encode`; or leave it out under `data.ignore`")
        );
    }
}
