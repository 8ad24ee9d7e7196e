//! `parse_numbers`.

use std::collections::BTreeMap;

use polars::prelude::Column;
use rayon::prelude::*;
use retune_spec::preprocessing::{DecimalMark, ParseNumbers, Percent, Unparsed};
use retune_stage::{FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::cast::numbers;
use crate::cells;
use crate::converted::{self, Convert, Unread, told, unread};
use crate::frame::{Frame, numeric_column};
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// How numbers are read.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedParseNumbers {
    columns: Vec<String>,
    /// The decimal mark of each column.
    marks: Vec<char>,
    percent: Percent,
    multipliers: BTreeMap<String, f64>,
    unparsed: Unparsed,
}

impl FitStep for ParseNumbers {
    type Fitted = FittedParseNumbers;
    const REPAIRS: bool = true;
    const KINDS: &'static [Kind] = &[Kind::Categorical, Kind::Text];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        outline.set_kind(columns, Kind::Numeric);
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedParseNumbers>> {
        let seen = look(source, columns)?;
        let mark = |(name, seen): (&String, &Seen)| match self.decimal {
            DecimalMark::Point => Ok('.'),
            DecimalMark::Comma => Ok(','),
            DecimalMark::Auto => seen.mark(name),
        };
        let fitted = FittedParseNumbers {
            columns: columns.to_vec(),
            marks: columns.iter().zip(&seen).map(mark).collect::<Result<_>>()?,
            percent: self.percent,
            multipliers: self.multipliers.iter().map(|(word, factor)| (word.clone(), *factor)).collect(),
            unparsed: self.unparsed,
        };
        let unread = unread(source, columns, &fitted, self.unparsed)?;
        let mut text = format!("read {} as numbers", counted(columns.len(), "column"));
        let ignored = ignored(&seen, &fitted.multipliers);
        if !ignored.is_empty() {
            text += &format!(", leaving out {}", retune_table::listed(&ignored));
        }
        Ok(Learnt::applied(fitted, told(&text, columns, &unread)))
    }
}

impl ApplyStep for FittedParseNumbers {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        converted::apply(frame, &self.columns, self, self.unparsed)
    }
}

impl Convert for FittedParseNumbers {
    fn kind(&self) -> Kind {
        Kind::Numeric
    }

    fn wanted(&self) -> &'static str {
        "numbers"
    }

    fn convert(&self, frame: &Frame, index: usize, name: &str) -> Result<(Column, Unread)> {
        let before = frame.table.strings(name)?;
        let mark = self.marks[index];
        let values = cells::read(before, |text| {
            let parts = take_apart(text)?;
            let number = value(parts.number, mark)?;
            let factor = match self.multipliers.get(parts.after) {
                Some(factor) => *factor,
                None if self.percent == Percent::Share && parts.after.starts_with('%') => 0.01,
                None => 1.0,
            };
            // Divided, 12 % is the float nearest to 0.12.
            let number = if factor == 0.01 { number / 100.0 } else { number * factor };
            let number = if parts.negative { -number } else { number };
            number.is_finite().then_some(number)
        });
        let after = numeric_column(name, numbers(values));
        let unread =
            Unread::between(frame, frame.table.column(name)?, &after, |row| before.get(row).map(str::to_owned));
        Ok((after, unread))
    }

    fn help(&self) -> String {
        "words for a missing value are taken out by `null_tokens`; or set `unparsed: null`, or another `decimal` mark"
            .to_owned()
    }
}

/// A text with one number in it.
struct Parts<'a> {
    negative: bool,
    /// Digits, marks between them and an exponent.
    number: &'a str,
    /// What stands before and after, without spaces, signs and brackets.
    before: &'a str,
    after: &'a str,
}

/// Finds the number of a text; `None` where there is none, or more than one.
fn take_apart(text: &str) -> Option<Parts<'_>> {
    let text = text.trim();
    // In books a number in brackets is a negative one.
    let (bracketed, text) = match text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => (true, inner.trim()),
        None => (false, text),
    };
    let digit = text.find(|character: char| character.is_ascii_digit())?;
    // A mark right before the digits belongs to them: `.5`.
    let start = if text[..digit].ends_with(['.', ',']) { digit - 1 } else { digit };
    let end = end_of_number(text, digit);
    let (before, number, after) = (text[..start].trim(), &text[start..end], text[end..].trim());
    if after.contains(|character: char| character.is_ascii_digit()) {
        return None;
    }
    let minus = ['-', '\u{2212}', '\u{2013}'];
    let signed = before.contains(minus) || after == "-";
    // The dash of `covid-19` is no sign.
    let sign_of = |before: &str| before.strip_suffix(minus).is_some_and(|rest| !rest.ends_with(char::is_alphabetic));
    let sound = !signed || before.starts_with(minus) || sign_of(before) || after == "-";
    let before = before.trim_matches(['-', '+', '\u{2212}', '\u{2013}', ' ']).trim();
    sound.then_some(Parts { negative: bracketed != signed, number, before, after: after.trim_end_matches('-') })
}

/// Where a number ends that begins with the digit at `start`: digits, marks and single spaces between digits, an exponent.
fn end_of_number(text: &str, start: usize) -> usize {
    let digit_at = |at: usize| text[at..].starts_with(|character: char| character.is_ascii_digit());
    let mut end = start;
    let characters = text[start..].char_indices().map(|(at, character)| (start + at, character));
    for (at, character) in characters {
        let after = at + character.len_utf8();
        let exponent = matches!(character, 'e' | 'E') && {
            let rest = &text[after..];
            rest.strip_prefix(['+', '-']).unwrap_or(rest).starts_with(|character: char| character.is_ascii_digit())
        };
        if exponent {
            let rest = text[after..].strip_prefix(['+', '-']).unwrap_or(&text[after..]);
            let n = rest.bytes().take_while(u8::is_ascii_digit).count();
            return text.len() - rest.len() + n;
        }
        let between = is_group_mark(character) || matches!(character, '.' | ',');
        if character.is_ascii_digit() {
            end = after;
        } else if !(between && digit_at(after)) {
            // `5.` is a number with its mark.
            return if matches!(character, '.' | ',') { after } else { end };
        }
    }
    end
}

fn is_group_mark(character: char) -> bool {
    matches!(character, ' ' | '\u{a0}' | '\u{202f}' | '\u{2009}' | '\'' | '\u{2019}' | '_')
}

/// The value of digits with marks between them. Groups of digits must have three digits, as must not what follows the decimal mark.
fn value(number: &str, mark: char) -> Option<f64> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, ""));
    let (whole, fraction) = mantissa.split_once(mark).unwrap_or((mantissa, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let is_mark = |character: char| !character.is_ascii_digit();
    let mut groups = whole.split(is_mark);
    let first = groups.next()?;
    let mut rest = groups.peekable();
    if rest.peek().is_some() && !(1..=3).contains(&first.len()) || !rest.all(|group| group.len() == 3) {
        return None;
    }
    // One kind of mark between groups.
    let mut marks = whole.chars().filter(|character| is_mark(*character));
    if let Some(first) = marks.next()
        && marks.any(|mark| mark != first)
    {
        return None;
    }
    let mut plain = String::with_capacity(number.len());
    plain.extend(whole.chars().filter(char::is_ascii_digit));
    if !fraction.is_empty() {
        plain.push('.');
        plain.push_str(fraction);
    }
    if !exponent.is_empty() {
        plain.push('e');
        plain.push_str(exponent);
    }
    plain.parse().ok()
}

/// The decimal mark that a number tells by itself; `None` where it may be either.
fn told_by(number: &str) -> Option<char> {
    let mantissa = number.split(['e', 'E']).next().unwrap_or(number);
    let marks: Vec<(usize, char)> = mantissa.char_indices().filter(|(_, mark)| matches!(mark, '.' | ',')).collect();
    let other = |mark: char| if mark == '.' { ',' } else { '.' };
    match marks.as_slice() {
        [] => None,
        [(at, mark)] => {
            let (before, after) = (&mantissa[..*at], &mantissa[at + 1..]);
            let groups = mantissa.contains(is_group_mark);
            let like_a_group = after.len() == 3 && (1..=3).contains(&before.len()) && before != "0" && !groups;
            (!like_a_group).then_some(*mark)
        }
        [first @ .., (_, last)] => match first.iter().all(|(_, mark)| mark == last) {
            true => Some(other(*last)),
            false => Some(*last),
        },
    }
}

/// What the training values of a column tell.
#[derive(Default)]
struct Seen {
    /// The first value, with its row, that tells a point, and a comma.
    point: Option<(u64, String)>,
    comma: Option<(u64, String)>,
    /// What stands beside the numbers.
    words: BTreeMap<String, usize>,
}

/// More different words than these are not counted.
const MAX_WORDS: usize = 1000;

impl Seen {
    fn mark(&self, name: &str) -> Result<char> {
        match (&self.point, &self.comma) {
            (Some((row, point)), Some((other_row, comma))) => Err(StageError::data(format!(
                "column `{name}` has `{point}` in row {row} and `{comma}` in row {other_row}: the decimal mark is not the same"
            ))
            .help("set `decimal: point` or `decimal: comma`; values that then cannot be read are reported")),
            (None, Some(_)) => Ok(','),
            _ => Ok('.'),
        }
    }

    fn of(frame: &Frame, name: &str) -> Result<Self> {
        let mut seen = Self::default();
        for (row, text) in frame.table.strings(name)?.iter().enumerate() {
            let Some(text) = text else { continue };
            let Some(parts) = take_apart(text) else { continue };
            for word in [parts.before, parts.after].into_iter().filter(|word| !word.is_empty()) {
                let full = seen.words.len() >= MAX_WORDS;
                match seen.words.get_mut(word) {
                    Some(n) => *n += 1,
                    None if full => {}
                    None => {
                        seen.words.insert(word.to_owned(), 1);
                    }
                }
            }
            let first = match told_by(parts.number) {
                Some('.') => &mut seen.point,
                Some(_) => &mut seen.comma,
                None => continue,
            };
            if first.is_none() {
                *first = Some((frame.table.row_number(row), text.to_owned()));
            }
        }
        Ok(seen)
    }

    fn add(&mut self, other: Self) {
        self.point = self.point.take().or(other.point);
        self.comma = self.comma.take().or(other.comma);
        for (word, n) in other.words {
            *self.words.entry(word).or_default() += n;
        }
    }
}

fn look(source: &Source, columns: &[String]) -> Result<Vec<Seen>> {
    let mut sums: Vec<Seen> = columns.iter().map(|_| Seen::default()).collect();
    let map = |frame: &Frame| columns.par_iter().map(|name| Seen::of(frame, name)).collect::<Result<Vec<_>>>();
    source.fold(columns, map, |piece| {
        sums.iter_mut().zip(piece).for_each(|(sum, piece)| sum.add(piece));
        Ok(())
    })?;
    Ok(sums)
}

/// The words beside the numbers that mean nothing to the step, the most frequent first.
fn ignored(seen: &[Seen], multipliers: &BTreeMap<String, f64>) -> Vec<String> {
    let mut words: BTreeMap<&str, usize> = BTreeMap::new();
    for (word, n) in seen.iter().flat_map(|seen| &seen.words) {
        *words.entry(word).or_default() += n;
    }
    let mut words: Vec<(&str, usize)> =
        words.into_iter().filter(|(word, _)| !multipliers.contains_key(*word) && *word != "%").collect();
    words.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    words.into_iter().map(|(word, _)| word.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str, mark: char) -> Option<f64> {
        let parts = take_apart(text)?;
        value(parts.number, mark).map(|number| if parts.negative { -number } else { number })
    }

    #[test]
    fn numbers_are_found_in_text() {
        for (text, mark, expected) in [
            ("1.234,50 EUR", ',', Some(1234.5)),
            ("1.234,50 EUR", '.', None),
            ("$1,200", '.', Some(1200.0)),
            ("1,200.5", '.', Some(1200.5)),
            ("-$5", '.', Some(-5.0)),
            ("$-5", '.', Some(-5.0)),
            ("\u{2212}5 °C", '.', Some(-5.0)),
            ("(1,200)", '.', Some(-1200.0)),
            ("35-", '.', Some(-35.0)),
            ("12 %", '.', Some(12.0)),
            ("1e3", '.', Some(1000.0)),
            ("1.5E-2 m", '.', Some(0.015)),
            ("2 EUR", '.', Some(2.0)),
            ("2EUR", '.', Some(2.0)),
            (".5", '.', Some(0.5)),
            ("5.", '.', Some(5.0)),
            ("1 234 567,8", ',', Some(1_234_567.8)),
            ("1'234'567", '.', Some(1_234_567.0)),
            ("12,34", '.', None),
            ("1,2345", '.', None),
            ("1,234.567,8", '.', None),
            ("3 x 5", '.', None),
            ("2024-02-29", '.', None),
            ("abc", '.', None),
            ("", '.', None),
            ("-", '.', None),
            ("covid-19", '.', None),
            ("EUR -19", '.', Some(-19.0)),
            ("1 234.567 890", '.', None),
        ] {
            assert_eq!(number(text, mark), expected, "{text}");
        }
    }

    #[test]
    fn a_number_tells_its_decimal_mark_or_not() {
        for (text, expected) in [
            ("1.5", Some('.')),
            ("1,5", Some(',')),
            ("1,234", None),
            ("0,234", Some(',')),
            ("1.234", None),
            ("1.234,5", Some(',')),
            ("1,234.5", Some('.')),
            ("1,234,567", Some('.')),
            ("1.234.567", Some(',')),
            ("1234,567", Some(',')),
            ("1 234,567", Some(',')),
            ("1234", None),
        ] {
            assert_eq!(told_by(text), expected, "{text}");
        }
    }
}
