//! Expressions over the values of each row: their types, and what they give.
//!
//! Numbers are 64-bit floats of which NaN is a missing value, conditions have three values as in SQL, and every row is computed by itself.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use polars::prelude::{Column, StringChunked};
use rayon::prelude::*;
use regex::{Regex, RegexBuilder};
use retune_spec::Selector;
use retune_spec::expression::{Arithmetic, Comparison, Expression, Function, Term};
use retune_stage::{Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::dates;
use crate::frame::Frame;
use crate::outline::Outline;

/// So many rows are computed at once: what is in between stays in the cache.
const BLOCK: usize = 1 << 13;

/// An expression, as it is checked and computed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Formula(Expression);

/// What a term gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Number,
    Boolean,
    Text,
    Time,
    /// `NULL`, which may be any of them.
    Nothing,
}

impl Type {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::Text => "text",
            Self::Time => "a point in time",
            Self::Nothing => "no value",
        }
    }

    fn of_kind(kind: Kind) -> Option<Self> {
        Some(match kind {
            Kind::Numeric => Self::Number,
            Kind::Boolean => Self::Boolean,
            Kind::Categorical | Kind::Text => Self::Text,
            Kind::Datetime => Self::Time,
            Kind::Image | Kind::Audio => return None,
        })
    }
}

/// The values of some rows.
#[derive(Clone, Debug)]
pub(crate) enum Values<'a> {
    /// A missing one is NaN.
    Numbers(Vec<f64>),
    Booleans(Vec<Option<bool>>),
    Texts(Vec<Option<Cow<'a, str>>>),
    Times(Vec<Option<i64>>),
    /// So many missing values.
    Nothing(usize),
}

impl Formula {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let parsed = Expression::parse(text).map(Self);
        parsed.map_err(|mistake| {
            let marked = text.get(mistake.place.clone()).filter(|marked| !marked.is_empty() && *marked != text);
            let place = marked.map_or_else(String::new, |marked| format!(" at `{marked}`"));
            let error = StageError::data(format!("`{text}`{place}: {}", mistake.message));
            match mistake.help {
                Some(help) => error.help(help),
                None => error,
            }
        })
    }

    /// The columns that it names.
    pub(crate) fn columns(&self) -> Vec<String> {
        self.0.columns().into_iter().map(str::to_owned).collect()
    }

    /// What it gives over the columns of an outline; `None` where it names columns that only the data know.
    pub(crate) fn type_in(&self, outline: &Outline) -> Result<Option<Type>> {
        let mut types = HashMap::new();
        let mut known = true;
        for name in self.0.columns() {
            let chosen = outline.select(&Selector::Name { name: name.to_owned() });
            chosen.map_err(|errors| self.unknown(name, errors))?;
            match outline.schema().field(name) {
                Some(field) => {
                    let of_kind = Type::of_kind(field.kind).ok_or_else(|| {
                        StageError::data(format!(
                            "column `{name}` is {}, which cannot be computed with",
                            field.kind.word()
                        ))
                        .help("name other columns")
                    })?;
                    types.insert(name, of_kind);
                }
                None => known = false,
            }
        }
        if known { type_of(self.0.term(), &types).map(Some) } else { Ok(None) }
    }

    fn unknown(&self, name: &str, errors: Vec<StageError>) -> StageError {
        let error = errors.into_iter().next().unwrap_or_else(|| StageError::data(format!("no column `{name}`")));
        let meant = error.help.as_deref().is_some_and(|help| help.starts_with("did you mean"));
        let quoted = self.0.text().contains(&format!("\"{name}\""));
        if quoted && !meant { error.help(format!("text stands in single quotes: '{name}'")) } else { error }
    }

    /// What it gives for each row. The columns must be in the table.
    pub(crate) fn evaluate(&self, frame: &Frame) -> Result<Values<'static>> {
        let rows = Rows::of(frame, &self.0)?;
        let blocks: Vec<usize> = (0..frame.n_rows().max(1)).step_by(BLOCK).collect();
        let block = |start: usize| Ok(rows.term(self.0.term(), start..frame.n_rows().min(start + BLOCK))?.owned());
        let parts: Vec<Values<'static>> = blocks.into_par_iter().map(block).collect::<Result<_>>()?;
        joined(parts)
    }
}

fn type_of(term: &Term, types: &HashMap<&str, Type>) -> Result<Type> {
    let of = |term: &Term| type_of(term, types);
    let need = |term: &Term, wanted: Type| match of(term)? {
        found if found == wanted || found == Type::Nothing => Ok(()),
        found => Err(mismatch(term, found, wanted)),
    };
    let all = |terms: &[&Term]| same(terms, types);
    Ok(match term {
        Term::Column(name) => types.get(name.as_str()).copied().unwrap_or(Type::Nothing),
        Term::Number(_) => Type::Number,
        Term::Text(_) => Type::Text,
        Term::Boolean(_) => Type::Boolean,
        Term::Null => Type::Nothing,
        Term::Not(of) | Term::Is(of, _) => {
            need(of, Type::Boolean)?;
            Type::Boolean
        }
        Term::Minus(of) => {
            need(of, Type::Number)?;
            Type::Number
        }
        Term::Arithmetic(_, one, other) => {
            need(one, Type::Number)?;
            need(other, Type::Number)?;
            Type::Number
        }
        Term::And(one, other) | Term::Or(one, other) => {
            need(one, Type::Boolean)?;
            need(other, Type::Boolean)?;
            Type::Boolean
        }
        Term::Join(one, other) => {
            need(one, Type::Text)?;
            need(other, Type::Text)?;
            Type::Text
        }
        Term::Compare(comparison, one, other) => {
            let found = all(&[one, other])?;
            let ordered = !matches!(comparison, Comparison::Equal | Comparison::NotEqual);
            if ordered && found == Type::Boolean {
                return Err(StageError::data("true and false have no order").help("compare them by = or <>"));
            }
            Type::Boolean
        }
        Term::IsNull(term) => {
            of(term)?;
            Type::Boolean
        }
        Term::In(of, list) => {
            all(&std::iter::once(&**of).chain(list).collect::<Vec<_>>())?;
            Type::Boolean
        }
        Term::Between(parts) => {
            all(&parts.iter().collect::<Vec<_>>())?;
            Type::Boolean
        }
        Term::Like { text, pattern, ignore_case } => {
            need(text, Type::Text)?;
            like(pattern, *ignore_case)?;
            Type::Boolean
        }
        Term::Case { branches, otherwise } => {
            branches.iter().try_for_each(|(when, _)| need(when, Type::Boolean))?;
            all(&branches.iter().map(|(_, then)| then).chain([&**otherwise]).collect::<Vec<_>>())?
        }
        Term::ToNumber(term) => match of(term)? {
            Type::Number | Type::Boolean | Type::Nothing => Type::Number,
            found => {
                return Err(mismatch(term, found, Type::Number).help("turn the column into numbers before: `cast`"));
            }
        },
        Term::Call(function, arguments) => match function {
            Function::Coalesce | Function::NullIf => all(&arguments.iter().collect::<Vec<_>>())?,
            Function::Length => {
                need(&arguments[0], Type::Text)?;
                Type::Number
            }
            Function::Lower | Function::Upper | Function::Trim => {
                need(&arguments[0], Type::Text)?;
                Type::Text
            }
            _ => {
                arguments.iter().try_for_each(|argument| need(argument, Type::Number))?;
                Type::Number
            }
        },
    })
}

/// The one type of terms that are compared or chosen from. Text written out stands for a point in time beside one.
fn same(terms: &[&Term], types: &HashMap<&str, Type>) -> Result<Type> {
    let found: Vec<Type> = terms.iter().map(|term| type_of(term, types)).collect::<Result<_>>()?;
    let time = found.contains(&Type::Time);
    let mut first: Option<(&Term, Type)> = None;
    for (term, found) in terms.iter().zip(found) {
        let found = match term {
            Term::Text(text) if time => {
                if dates::read_common(text).is_none() {
                    return Err(StageError::data(format!("`{text}` is no date"))
                        .help("write dates as '2024-02-29' or '2024-02-29 12:30'"));
                }
                Type::Time
            }
            _ => found,
        };
        match first {
            _ if found == Type::Nothing => {}
            None => first = Some((term, found)),
            Some((_, before)) if before == found => {}
            Some((one, before)) => return Err(unlike(one, before, term, found)),
        }
    }
    Ok(first.map_or(Type::Nothing, |(_, found)| found))
}

fn unlike(one: &Term, of_one: Type, other: &Term, of_other: Type) -> StageError {
    let error =
        StageError::data(format!("{} is {}, {} is {}", shown(one), of_one.word(), shown(other), of_other.word()));
    match (of_one, of_other) {
        (Type::Text, Type::Number) | (Type::Number, Type::Text) => {
            error.help("write text in single quotes, and turn columns of text into numbers before: `cast`")
        }
        (Type::Boolean, Type::Number) | (Type::Number, Type::Boolean) => {
            error.help("write IS TRUE, or CAST(... AS DOUBLE) for 1 and 0")
        }
        _ => error.help("compare values of one kind"),
    }
}

fn mismatch(term: &Term, found: Type, wanted: Type) -> StageError {
    let help = match (found, wanted) {
        (Type::Boolean, Type::Number) => "CAST(... AS DOUBLE) gives 1 and 0",
        (Type::Number, Type::Boolean) => "write a comparison, such as x > 0",
        (Type::Text, Type::Number) => "turn the column into numbers before: `cast` or `parse_numbers`",
        (Type::Time, Type::Number) => "take the column apart before: `datetime_parts`",
        _ => "turn the column into another kind before: `cast`",
    };
    StageError::data(format!("{} is {}, where {} is needed", shown(term), found.word(), wanted.word())).help(help)
}

/// A term in a message.
fn shown(term: &Term) -> String {
    match term {
        Term::Column(name) => format!("column `{name}`"),
        Term::Number(number) => format!("`{number}`"),
        Term::Text(text) => format!("'{text}'"),
        Term::Boolean(boolean) => format!("`{boolean}`"),
        Term::Call(function, _) => format!("`{}(...)`", function.word()),
        Term::Arithmetic(..) | Term::Minus(_) | Term::ToNumber(_) => "what is computed".to_owned(),
        Term::Join(..) => "what is joined".to_owned(),
        Term::Case { .. } => "what CASE gives".to_owned(),
        _ => "a comparison".to_owned(),
    }
}

/// The pattern of LIKE.
fn like(pattern: &str, ignore_case: bool) -> Result<Regex> {
    let mut expression = String::from("^");
    for character in pattern.chars() {
        match character {
            '%' => expression.push_str(".*"),
            '_' => expression.push('.'),
            other => expression.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    expression.push('$');
    let built = RegexBuilder::new(&expression).case_insensitive(ignore_case).dot_matches_new_line(true).build();
    built.map_err(|_| StageError::data(format!("the pattern '{pattern}' is too long")).help("write a shorter one"))
}

/// The columns that an expression names, and its patterns.
struct Rows<'a> {
    columns: HashMap<&'a str, Data>,
    patterns: HashMap<(&'a str, bool), Regex>,
}

enum Data {
    Numbers(Vec<f64>),
    Booleans(Vec<Option<bool>>),
    Texts(StringChunked),
    Times(Vec<Option<i64>>),
}

impl Data {
    fn of(frame: &Frame, name: &str) -> Result<Self> {
        let column: &Column = frame.table.column(name)?;
        Ok(match frame.field(name)?.kind {
            Kind::Numeric => Self::Numbers(frame.numeric(name)?),
            Kind::Boolean => {
                // A column of 0 and 1 is boolean too.
                let numbers = frame.numeric(name)?;
                Self::Booleans(numbers.into_iter().map(|number| (!number.is_nan()).then_some(number != 0.0)).collect())
            }
            Kind::Datetime => Self::Times(dates::micros(column)?),
            _ => Self::Texts(frame.table.strings(name)?.rechunk().into_owned()),
        })
    }

    fn rows(&self, rows: Range<usize>) -> Values<'_> {
        match self {
            Self::Numbers(values) => Values::Numbers(values[rows].to_vec()),
            Self::Booleans(values) => Values::Booleans(values[rows].to_vec()),
            Self::Times(values) => Values::Times(values[rows].to_vec()),
            Self::Texts(values) => Values::Texts(rows.map(|row| values.get(row).map(Cow::Borrowed)).collect()),
        }
    }
}

impl<'a> Rows<'a> {
    fn of(frame: &Frame, expression: &'a Expression) -> Result<Self> {
        let names = expression.columns();
        let columns = names.into_par_iter().map(|name| Ok((name, Data::of(frame, name)?))).collect::<Result<_>>()?;
        let mut patterns = HashMap::new();
        collect_patterns(expression.term(), &mut patterns)?;
        Ok(Self { columns, patterns })
    }

    fn term(&self, term: &Term, rows: Range<usize>) -> Result<Values<'_>> {
        let n = rows.len();
        let of = |term: &Term| self.term(term, rows.clone());
        let numbers = |term: &Term| of(term)?.numbers();
        let booleans = |term: &Term| of(term)?.booleans();
        Ok(match term {
            Term::Column(name) => match self.columns.get(name.as_str()) {
                Some(data) => data.rows(rows),
                None => return Err(StageError::failed(format!("no column `{name}`"))),
            },
            Term::Number(number) => Values::Numbers(vec![*number; n]),
            Term::Text(text) => Values::Texts(vec![Some(Cow::Owned(text.clone())); n]),
            Term::Boolean(boolean) => Values::Booleans(vec![Some(*boolean); n]),
            Term::Null => Values::Nothing(n),
            Term::Not(of) => {
                Values::Booleans(booleans(of)?.into_iter().map(|value| value.map(|value| !value)).collect())
            }
            Term::Minus(of) => Values::Numbers(numbers(of)?.into_iter().map(|value| -value).collect()),
            Term::Arithmetic(arithmetic, one, other) => {
                let mut one = numbers(one)?;
                compute(*arithmetic, &mut one, &numbers(other)?);
                Values::Numbers(one)
            }
            Term::Compare(comparison, one, other) => Values::Booleans(compare(*comparison, of(one)?, of(other)?)?),
            Term::And(one, other) => Values::Booleans(both(booleans(one)?, &booleans(other)?)),
            Term::Or(one, other) => Values::Booleans(either(booleans(one)?, &booleans(other)?)),
            Term::Join(one, other) => {
                let joined =
                    |(one, other): (Option<Cow<str>>, Option<Cow<str>>)| Some(Cow::Owned(one?.into_owned() + &other?));
                Values::Texts(of(one)?.texts()?.into_iter().zip(of(other)?.texts()?).map(joined).collect())
            }
            Term::IsNull(term) => Values::Booleans(of(term)?.missing().into_iter().map(Some).collect()),
            Term::Is(of, wanted) => {
                Values::Booleans(booleans(of)?.into_iter().map(|value| Some(value == Some(*wanted))).collect())
            }
            Term::In(value, list) => {
                let value = of(value)?;
                let no = vec![Some(false); n];
                let found = list.iter().try_fold(no, |found, item| {
                    Ok::<_, StageError>(either(found, &compare(Comparison::Equal, value.clone(), of(item)?)?))
                })?;
                Values::Booleans(found)
            }
            Term::Between(parts) => {
                let [value, low, high] = &**parts;
                let value = of(value)?;
                let above = compare(Comparison::GreaterOrEqual, value.clone(), of(low)?)?;
                Values::Booleans(both(above, &compare(Comparison::LessOrEqual, value, of(high)?)?))
            }
            Term::Like { text, pattern, ignore_case } => {
                let Some(pattern) = self.patterns.get(&(pattern.as_str(), *ignore_case)) else {
                    return Err(StageError::failed("a pattern was not read"));
                };
                let matches = |text: Option<Cow<str>>| text.map(|text| pattern.is_match(&text));
                Values::Booleans(of(text)?.texts()?.into_iter().map(matches).collect())
            }
            Term::Case { branches, otherwise } => {
                let mut result = of(otherwise)?;
                // From the last to the first, which wins.
                for (when, then) in branches.iter().rev() {
                    let when: Vec<bool> = booleans(when)?.into_iter().map(|value| value == Some(true)).collect();
                    result = choose(&when, of(then)?, result)?;
                }
                result
            }
            Term::ToNumber(term) => match of(term)? {
                Values::Booleans(values) => {
                    let number = |value: Option<bool>| value.map_or(f64::NAN, |value| f64::from(u8::from(value)));
                    Values::Numbers(values.into_iter().map(number).collect())
                }
                other => Values::Numbers(other.numbers()?),
            },
            Term::Call(function, arguments) => {
                let arguments = arguments.iter().map(of).collect::<Result<Vec<_>>>()?;
                call(*function, arguments)?
            }
        })
    }
}

fn collect_patterns<'a>(term: &'a Term, patterns: &mut HashMap<(&'a str, bool), Regex>) -> Result<()> {
    if let Term::Like { pattern, ignore_case, .. } = term {
        patterns.insert((pattern, *ignore_case), like(pattern, *ignore_case)?);
    }
    term.parts().into_iter().try_for_each(|part| collect_patterns(part, patterns))
}

fn wrong_type() -> StageError {
    StageError::failed("a value is of another kind than the expression was checked for")
}

impl<'a> Values<'a> {
    fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Booleans(values) => values.len(),
            Self::Texts(values) => values.len(),
            Self::Times(values) => values.len(),
            Self::Nothing(n) => *n,
        }
    }

    fn numbers(self) -> Result<Vec<f64>> {
        match self {
            Self::Numbers(values) => Ok(values),
            Self::Nothing(n) => Ok(vec![f64::NAN; n]),
            _ => Err(wrong_type()),
        }
    }

    fn booleans(self) -> Result<Vec<Option<bool>>> {
        match self {
            Self::Booleans(values) => Ok(values),
            Self::Nothing(n) => Ok(vec![None; n]),
            _ => Err(wrong_type()),
        }
    }

    fn texts(self) -> Result<Vec<Option<Cow<'a, str>>>> {
        match self {
            Self::Texts(values) => Ok(values),
            Self::Nothing(n) => Ok(vec![None; n]),
            _ => Err(wrong_type()),
        }
    }

    /// Points in time; text written out is read as one.
    fn times(self) -> Result<Vec<Option<i64>>> {
        match self {
            Self::Times(values) => Ok(values),
            Self::Nothing(n) => Ok(vec![None; n]),
            Self::Texts(values) => {
                // Only text that is written out stands beside a time, so that it is the same row after row.
                let mut last: (Option<Cow<str>>, Option<i64>) = (None, None);
                let read = |text: Option<Cow<'a, str>>| {
                    if text != last.0 {
                        last = (text.clone(), text.and_then(|text| dates::read_common(&text)));
                    }
                    last.1
                };
                Ok(values.into_iter().map(read).collect())
            }
            _ => Err(wrong_type()),
        }
    }

    fn missing(&self) -> Vec<bool> {
        match self {
            Self::Numbers(values) => values.iter().map(|value| value.is_nan()).collect(),
            Self::Booleans(values) => values.iter().map(Option::is_none).collect(),
            Self::Texts(values) => values.iter().map(Option::is_none).collect(),
            Self::Times(values) => values.iter().map(Option::is_none).collect(),
            Self::Nothing(n) => vec![true; *n],
        }
    }

    fn owned(self) -> Values<'static> {
        match self {
            Self::Numbers(values) => Values::Numbers(values),
            Self::Booleans(values) => Values::Booleans(values),
            Self::Texts(values) => Values::Texts(
                values.into_iter().map(|value| value.map(|value| Cow::Owned(value.into_owned()))).collect(),
            ),
            Self::Times(values) => Values::Times(values),
            Self::Nothing(n) => Values::Nothing(n),
        }
    }
}

fn joined(parts: Vec<Values<'static>>) -> Result<Values<'static>> {
    let mut parts = parts.into_iter();
    let mut whole = parts.next().unwrap_or(Values::Nothing(0));
    for part in parts {
        match (&mut whole, part) {
            (Values::Numbers(whole), Values::Numbers(part)) => whole.extend(part),
            (Values::Booleans(whole), Values::Booleans(part)) => whole.extend(part),
            (Values::Texts(whole), Values::Texts(part)) => whole.extend(part),
            (Values::Times(whole), Values::Times(part)) => whole.extend(part),
            (Values::Nothing(whole), Values::Nothing(part)) => *whole += part,
            _ => return Err(wrong_type()),
        }
    }
    Ok(whole)
}

/// What is no finite number is missing: a division by zero, an overflow.
fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

fn compute(arithmetic: Arithmetic, one: &mut [f64], other: &[f64]) {
    let with = |one: &mut [f64], of: fn(f64, f64) -> f64| {
        one.iter_mut().zip(other).for_each(|(one, other)| *one = finite(of(*one, *other)));
    };
    match arithmetic {
        Arithmetic::Add => with(one, |one, other| one + other),
        Arithmetic::Subtract => with(one, |one, other| one - other),
        Arithmetic::Multiply => with(one, |one, other| one * other),
        Arithmetic::Divide => with(one, |one, other| one / other),
        Arithmetic::Remainder => with(one, |one, other| one % other),
    }
}

fn compare(comparison: Comparison, one: Values, other: Values) -> Result<Vec<Option<bool>>> {
    use std::cmp::Ordering;
    let holds = move |ordering: Ordering| match comparison {
        Comparison::Equal => ordering.is_eq(),
        Comparison::NotEqual => ordering.is_ne(),
        Comparison::Less => ordering.is_lt(),
        Comparison::LessOrEqual => ordering.is_le(),
        Comparison::Greater => ordering.is_gt(),
        Comparison::GreaterOrEqual => ordering.is_ge(),
    };
    fn each<T>(one: Vec<Option<T>>, other: Vec<Option<T>>, order: impl Fn(&T, &T) -> bool) -> Vec<Option<bool>> {
        one.into_iter().zip(other).map(|(one, other)| Some(order(&one?, &other?))).collect()
    }
    Ok(match (one, other) {
        (Values::Nothing(n), _) | (_, Values::Nothing(n)) => vec![None; n],
        (Values::Numbers(one), Values::Numbers(other)) => {
            one.iter().zip(&other).map(|(one, other)| one.partial_cmp(other).map(holds)).collect()
        }
        (Values::Booleans(one), Values::Booleans(other)) => each(one, other, |one, other| holds(one.cmp(other))),
        (Values::Texts(one), Values::Texts(other)) => each(one, other, |one, other| holds(one.cmp(other))),
        (one @ Values::Times(_), other) | (one, other @ Values::Times(_)) => {
            each(one.times()?, other.times()?, |one, other| holds(one.cmp(other)))
        }
        _ => return Err(wrong_type()),
    })
}

fn both(one: Vec<Option<bool>>, other: &[Option<bool>]) -> Vec<Option<bool>> {
    let and = |(one, other): (Option<bool>, &Option<bool>)| match (one, *other) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    };
    one.into_iter().zip(other).map(and).collect()
}

fn either(one: Vec<Option<bool>>, other: &[Option<bool>]) -> Vec<Option<bool>> {
    let or = |(one, other): (Option<bool>, &Option<bool>)| match (one, *other) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    };
    one.into_iter().zip(other).map(or).collect()
}

/// The one where it says so, the other elsewhere.
fn choose<'a>(when: &[bool], one: Values<'a>, other: Values<'a>) -> Result<Values<'a>> {
    fn each<T>(when: &[bool], one: Vec<T>, other: Vec<T>) -> Vec<T> {
        one.into_iter().zip(other).zip(when).map(|((one, other), when)| if *when { one } else { other }).collect()
    }
    Ok(match (one, other) {
        (Values::Nothing(n), Values::Nothing(_)) => Values::Nothing(n),
        (one @ Values::Numbers(_), other) | (one, other @ Values::Numbers(_)) => {
            Values::Numbers(each(when, one.numbers()?, other.numbers()?))
        }
        (one @ Values::Booleans(_), other) | (one, other @ Values::Booleans(_)) => {
            Values::Booleans(each(when, one.booleans()?, other.booleans()?))
        }
        (one @ Values::Times(_), other) | (one, other @ Values::Times(_)) => {
            Values::Times(each(when, one.times()?, other.times()?))
        }
        (one @ Values::Texts(_), other) | (one, other @ Values::Texts(_)) => {
            Values::Texts(each(when, one.texts()?, other.texts()?))
        }
    })
}

fn call<'a>(function: Function, arguments: Vec<Values<'a>>) -> Result<Values<'a>> {
    let mut arguments = arguments.into_iter();
    let Some(first) = arguments.next() else { return Err(wrong_type()) };
    let map = |of: fn(f64) -> f64| -> Result<Values<'a>> {
        Ok(Values::Numbers(first.clone().numbers()?.into_iter().map(|value| finite(of(value))).collect()))
    };
    let rewrite = |of: fn(&str) -> String| -> Result<Values<'a>> {
        let values = first.clone().texts()?.into_iter();
        Ok(Values::Texts(values.map(|value| value.map(|value| Cow::Owned(of(&value)))).collect()))
    };
    match function {
        Function::Abs => map(f64::abs),
        Function::Floor => map(f64::floor),
        Function::Ceil => map(f64::ceil),
        Function::Sqrt => map(f64::sqrt),
        Function::Exp => map(f64::exp),
        Function::Ln => map(f64::ln),
        Function::Log10 => map(f64::log10),
        Function::Sign => map(|value| if value == 0.0 { 0.0 } else { value.signum() }),
        Function::Round => {
            let factor = match arguments.next() {
                Some(digits) => 10_f64.powf(digits.numbers()?.first().copied().unwrap_or(0.0)),
                None => 1.0,
            };
            let round = |value: f64| {
                let rounded = (value * factor).round() / factor;
                // A number too large to be scaled has no decimals.
                if rounded.is_finite() { rounded } else { value }
            };
            Ok(Values::Numbers(first.numbers()?.into_iter().map(round).collect()))
        }
        Function::Power => {
            let mut values = first.numbers()?;
            let exponents = arguments.next().ok_or_else(wrong_type)?.numbers()?;
            let power = |value: f64, exponent: f64| {
                if value.is_nan() || exponent.is_nan() { f64::NAN } else { value.powf(exponent) }
            };
            values.iter_mut().zip(exponents).for_each(|(value, exponent)| *value = finite(power(*value, exponent)));
            Ok(Values::Numbers(values))
        }
        Function::Least | Function::Greatest => {
            let pick: fn(f64, f64) -> f64 = if function == Function::Least { f64::min } else { f64::max };
            let mut values = first.numbers()?;
            for other in arguments {
                values.iter_mut().zip(other.numbers()?).for_each(|(value, other)| *value = pick(*value, other));
            }
            Ok(Values::Numbers(values))
        }
        Function::Coalesce => arguments.try_fold(first, |first, next| {
            let there: Vec<bool> = first.missing().into_iter().map(|missing| !missing).collect();
            choose(&there, first, next)
        }),
        Function::NullIf => {
            let second = arguments.next().ok_or_else(wrong_type)?;
            let equal = compare(Comparison::Equal, first.clone(), second)?;
            let differs: Vec<bool> = equal.into_iter().map(|equal| equal != Some(true)).collect();
            let nothing = Values::Nothing(first.len());
            choose(&differs, first, nothing)
        }
        Function::Length => {
            let length = |value: Option<Cow<str>>| value.map_or(f64::NAN, |value| value.chars().count() as f64);
            Ok(Values::Numbers(first.texts()?.into_iter().map(length).collect()))
        }
        Function::Lower => rewrite(str::to_lowercase),
        Function::Upper => rewrite(str::to_uppercase),
        Function::Trim => rewrite(|text| text.trim().to_owned()),
    }
}
