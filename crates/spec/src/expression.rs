//! Expressions over the values of one row, written in SQL: what `filter_rows` keeps and what `derive` computes.
//!
//! The text is parsed by sqlparser and then said again as a [`Term`]. A term has no word for anything but arithmetic, comparisons and functions of the row's
//! own values: what it cannot say - other rows and tables, files, the time, chance - cannot be asked for.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, DataType, Expr, Function as Call, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, Spanned, UnaryOperator, Value, ValueWithSpan,
};
use sqlparser::dialect::GenericDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, Tokenizer};

use crate::diagnostic::{did_you_mean, one_of};

/// The characters of the longest expression.
const MAX_LENGTH: usize = 20_000;

/// Operators and keywords of the longest expression: what is nested deeper than that is a mistake, or meant to exhaust the stack.
const MAX_OPERATORS: usize = 300;

/// A sound expression, saved as its text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expression {
    text: String,
    term: Term,
}

/// What is wrong with the text of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
    /// The bytes of the text that it is about.
    pub place: Range<usize>,
}

/// A part of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// The value of a column.
    Column(String),
    /// A number.
    Number(f64),
    /// Text; a date where it is compared with one.
    Text(String),
    /// True or false.
    Boolean(bool),
    /// A missing value.
    Null,
    /// `NOT x`.
    Not(Box<Term>),
    /// `-x`.
    Minus(Box<Term>),
    /// `x + y` and the like.
    Arithmetic(Arithmetic, Box<Term>, Box<Term>),
    /// `x < y` and the like.
    Compare(Comparison, Box<Term>, Box<Term>),
    /// `x AND y`.
    And(Box<Term>, Box<Term>),
    /// `x OR y`.
    Or(Box<Term>, Box<Term>),
    /// `x || y`.
    Join(Box<Term>, Box<Term>),
    /// `x IS NULL`.
    IsNull(Box<Term>),
    /// `x IS TRUE`, `x IS FALSE`.
    Is(Box<Term>, bool),
    /// `x IN (a, b)`.
    In(Box<Term>, Vec<Term>),
    /// `x BETWEEN low AND high`: the value, the low and the high end.
    Between(Box<[Term; 3]>),
    /// `x LIKE 'pattern'`.
    Like {
        /// The text.
        text: Box<Term>,
        /// `%` stands for any characters, `_` for one.
        pattern: String,
        /// `ILIKE`: capitals do not matter.
        ignore_case: bool,
    },
    /// `CASE WHEN condition THEN value ... ELSE value END`.
    Case {
        /// Conditions and what holds where the first of them is true.
        branches: Vec<(Term, Term)>,
        /// What holds where none is.
        otherwise: Box<Term>,
    },
    /// `CAST(x AS DOUBLE)`: a number, or 1 and 0 of true and false.
    ToNumber(Box<Term>),
    /// A function.
    Call(Function, Vec<Term>),
}

/// What is done with two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Remainder,
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

macro_rules! functions {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $arguments:expr;)*) => {
        /// A function of the row's own values.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Function {
            $($(#[$doc])* $variant,)*
        }

        impl Function {
            const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word in the language.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The least and the greatest number of arguments.
            fn arguments(self) -> [usize; 2] {
                match self { $(Self::$variant => $arguments,)* }
            }
        }
    };
}

functions! {
    /// The absolute value.
    Abs = "abs", [1, 1];
    /// Rounds to a whole number or to so many decimals, halves away from zero.
    Round = "round", [1, 2];
    /// The greatest whole number that is not greater.
    Floor = "floor", [1, 1];
    /// The least whole number that is not less.
    Ceil = "ceil", [1, 1];
    /// The square root; missing for a negative number.
    Sqrt = "sqrt", [1, 1];
    /// e to the power of x.
    Exp = "exp", [1, 1];
    /// The natural logarithm; missing for 0 and less.
    Ln = "ln", [1, 1];
    /// The logarithm to base 10; missing for 0 and less.
    Log10 = "log10", [1, 1];
    /// x to the power of y.
    Power = "power", [2, 2];
    /// -1, 0 or 1.
    Sign = "sign", [1, 1];
    /// The least of the values that are there.
    Least = "least", [2, 100];
    /// The greatest of the values that are there.
    Greatest = "greatest", [2, 100];
    /// The first of the values that is there.
    Coalesce = "coalesce", [1, 100];
    /// The first value, missing where it equals the second.
    NullIf = "nullif", [2, 2];
    /// The number of characters.
    Length = "length", [1, 1];
    /// In lower case.
    Lower = "lower", [1, 1];
    /// In upper case.
    Upper = "upper", [1, 1];
    /// Without spaces around.
    Trim = "trim", [1, 1];
}

impl Expression {
    /// Reads the text of an expression.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let reader = Reader { text };
        Ok(Self { text: text.to_owned(), term: reader.read()? })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says.
    pub fn term(&self) -> &Term {
        &self.term
    }

    /// The columns that it names, each once, in the order in which they first stand.
    pub fn columns(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.term.columns(&mut names);
        names
    }
}

impl Term {
    fn columns<'a>(&'a self, names: &mut Vec<&'a str>) {
        if let Self::Column(name) = self
            && !names.contains(&name.as_str())
        {
            names.push(name);
        }
        self.parts().into_iter().for_each(|part| part.columns(names));
    }

    /// The terms that it is made of, in their order.
    pub fn parts(&self) -> Vec<&Self> {
        match self {
            Self::Column(_) | Self::Number(_) | Self::Text(_) | Self::Boolean(_) | Self::Null => Vec::new(),
            Self::Not(of) | Self::Minus(of) | Self::IsNull(of) | Self::Is(of, _) | Self::ToNumber(of) => vec![of],
            Self::Arithmetic(_, one, other) | Self::Compare(_, one, other) => vec![one, other],
            Self::And(one, other) | Self::Or(one, other) | Self::Join(one, other) => vec![one, other],
            Self::In(of, list) => std::iter::once(&**of).chain(list).collect(),
            Self::Between(parts) => parts.iter().collect(),
            Self::Like { text, .. } => vec![text],
            Self::Case { branches, otherwise } => {
                branches.iter().flat_map(|(when, then)| [when, then]).chain([&**otherwise]).collect()
            }
            Self::Call(_, arguments) => arguments.iter().collect(),
        }
    }
}

impl TryFrom<String> for Expression {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).map_err(|mistake| mistake.message)
    }
}

impl From<Expression> for String {
    fn from(expression: Expression) -> Self {
        expression.text
    }
}

struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn read(&self) -> Result<Term, Mistake> {
        if self.text.trim().is_empty() {
            return self.whole("the expression is empty", "write one such as \"age >= 18\"");
        }
        if self.text.len() > MAX_LENGTH {
            let message = format!("the expression has {} bytes; at most {MAX_LENGTH} are read", self.text.len());
            return self.whole(&message, "divide it over several steps");
        }
        let dialect = GenericDialect {};
        let tokens = Tokenizer::new(&dialect, self.text)
            .tokenize_with_location()
            .map_err(|error| self.at_location(error.location, format!("not valid SQL: {}", lower(&error.message))))?;
        let plain = |token: &Token| match token {
            Token::Word(word) => word.keyword == Keyword::NoKeyword,
            Token::Whitespace(_) | Token::Comma | Token::Number(..) | Token::SingleQuotedString(_) | Token::EOF => true,
            _ => false,
        };
        let n_operators = tokens.iter().filter(|token| !plain(&token.token)).count();
        if n_operators > MAX_OPERATORS {
            let message =
                format!("the expression has {n_operators} operators and keywords; at most {MAX_OPERATORS} are read");
            return self.whole(&message, "divide it over several steps");
        }
        let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
        let expression = parser.parse_expr().map_err(|error| self.syntax(&error))?;
        let next = parser.peek_token();
        if next.token != Token::EOF {
            let message =
                format!("not valid SQL: nothing is expected after a whole expression, found `{}`", next.token);
            let help = "write one condition, its parts joined by AND or OR";
            return Err(Mistake { message, help: Some(help.to_owned()), place: self.bytes(next.span) });
        }
        self.term(&expression)
    }

    fn term(&self, expression: &Expr) -> Result<Term, Mistake> {
        let boxed = |of: &Expr| Ok::<_, Mistake>(Box::new(self.term(of)?));
        let not = |negated: bool, term: Term| if negated { Term::Not(Box::new(term)) } else { term };
        Ok(match expression {
            Expr::Nested(inner) => self.term(inner)?,
            Expr::Identifier(name) => self.column(name)?,
            Expr::CompoundIdentifier(names) => {
                let name: Vec<&str> = names.iter().map(|name| name.value.as_str()).collect();
                let name = name.join(".");
                return self.refuse(
                    expression,
                    format!("`{name}` names a column of a table, and there is only one table"),
                    format!("if the column is called so, put its name into double quotes: \"{name}\""),
                );
            }
            Expr::Value(value) => self.value(value)?,
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => Term::Not(boxed(expr)?),
            Expr::UnaryOp { op: UnaryOperator::Plus, expr } => self.term(expr)?,
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match self.term(expr)? {
                Term::Number(number) => Term::Number(-number),
                other => Term::Minus(Box::new(other)),
            },
            Expr::BinaryOp { left, op, right } => self.binary(expression, left, op, right)?,
            Expr::IsNull(of) | Expr::IsUnknown(of) => Term::IsNull(boxed(of)?),
            Expr::IsNotNull(of) | Expr::IsNotUnknown(of) => not(true, Term::IsNull(boxed(of)?)),
            Expr::IsTrue(of) => Term::Is(boxed(of)?, true),
            Expr::IsNotTrue(of) => not(true, Term::Is(boxed(of)?, true)),
            Expr::IsFalse(of) => Term::Is(boxed(of)?, false),
            Expr::IsNotFalse(of) => not(true, Term::Is(boxed(of)?, false)),
            Expr::InList { expr, list, negated } => {
                let list = list.iter().map(|item| self.term(item)).collect::<Result<_, _>>()?;
                not(*negated, Term::In(boxed(expr)?, list))
            }
            Expr::Between { expr, negated, low, high } => {
                not(*negated, Term::Between(Box::new([self.term(expr)?, self.term(low)?, self.term(high)?])))
            }
            Expr::Like { negated, any: false, expr, pattern, escape_char: None } => {
                not(*negated, self.like(expr, pattern, false)?)
            }
            Expr::ILike { negated, any: false, expr, pattern, escape_char: None } => {
                not(*negated, self.like(expr, pattern, true)?)
            }
            Expr::Case { operand: None, conditions, else_result, .. } => Term::Case {
                branches: conditions
                    .iter()
                    .map(|when| Ok((self.term(&when.condition)?, self.term(&when.result)?)))
                    .collect::<Result<_, Mistake>>()?,
                otherwise: else_result.as_deref().map_or(Ok(Box::new(Term::Null)), boxed)?,
            },
            Expr::Case { operand: Some(of), .. } => {
                return self.refuse(
                    expression,
                    "`CASE value WHEN` is not known here".to_owned(),
                    format!("write the comparisons out: CASE WHEN {of} = ... THEN ... END"),
                );
            }
            Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None }
                if is_number(data_type) =>
            {
                Term::ToNumber(boxed(expr)?)
            }
            Expr::Cast { .. } | Expr::Convert { .. } => {
                return self.refuse(
                    expression,
                    "an expression turns values into numbers only: CAST(... AS DOUBLE)".to_owned(),
                    "put the step `cast` before".to_owned(),
                );
            }
            Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(_) } => {
                Term::Call(Function::Ceil, vec![self.term(expr)?])
            }
            Expr::Floor { expr, field: CeilFloorKind::DateTimeField(_) } => {
                Term::Call(Function::Floor, vec![self.term(expr)?])
            }
            Expr::Trim { trim_where: None, trim_what: None, expr, trim_characters: None } => {
                Term::Call(Function::Trim, vec![self.term(expr)?])
            }
            Expr::TypedString(typed) if matches!(typed.data_type, DataType::Date | DataType::Timestamp(..)) => {
                self.value(&typed.value)?
            }
            Expr::Function(call) => self.call(call)?,
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } | Expr::InUnnest { .. } => {
                return self.refuse(
                    expression,
                    "an expression cannot hold a query: it sees the values of its own row only".to_owned(),
                    "join tables before retune reads them".to_owned(),
                );
            }
            _ => {
                return self.refuse(
                    expression,
                    format!("`{}` is not known in an expression", crate::yaml::shorten(&expression.to_string())),
                    "there are arithmetic, comparisons, AND, OR, NOT, IN, BETWEEN, LIKE, IS NULL, CASE WHEN and functions".to_owned(),
                );
            }
        })
    }

    fn column(&self, name: &Ident) -> Result<Term, Mistake> {
        if name.quote_style.is_none() {
            match name.value.to_ascii_lowercase().as_str() {
                "current_date" | "current_time" | "current_timestamp" | "localtime" | "localtimestamp" => {
                    return Err(self.not_of_the_row(&name.value, self.bytes(name.span)));
                }
                _ => {}
            }
        }
        Ok(Term::Column(name.value.clone()))
    }

    fn value(&self, value: &ValueWithSpan) -> Result<Term, Mistake> {
        let refuse = |message: String, help: &str| {
            Err(Mistake { message, help: Some(help.to_owned()), place: self.bytes(value.span) })
        };
        Ok(match &value.value {
            Value::Number(number, _) => match number.parse::<f64>() {
                Ok(number) if number.is_finite() => Term::Number(number),
                _ => return refuse(format!("`{number}` is no number that can be held"), "write a smaller one"),
            },
            Value::SingleQuotedString(text) => Term::Text(text.clone()),
            Value::Boolean(value) => Term::Boolean(*value),
            Value::Null => Term::Null,
            other => {
                return refuse(
                    format!("`{other}` is not known in an expression"),
                    "numbers, 'text', TRUE, FALSE and NULL are; a column's name stands plain or in double quotes",
                );
            }
        })
    }

    fn binary(&self, whole: &Expr, left: &Expr, op: &BinaryOperator, right: &Expr) -> Result<Term, Mistake> {
        let arithmetic = |op| Ok(Term::Arithmetic(op, Box::new(self.term(left)?), Box::new(self.term(right)?)));
        let compare = |op| Ok(Term::Compare(op, Box::new(self.term(left)?), Box::new(self.term(right)?)));
        match op {
            BinaryOperator::Plus => arithmetic(Arithmetic::Add),
            BinaryOperator::Minus => arithmetic(Arithmetic::Subtract),
            BinaryOperator::Multiply => arithmetic(Arithmetic::Multiply),
            BinaryOperator::Divide => arithmetic(Arithmetic::Divide),
            BinaryOperator::Modulo => arithmetic(Arithmetic::Remainder),
            BinaryOperator::Eq => compare(Comparison::Equal),
            BinaryOperator::NotEq => compare(Comparison::NotEqual),
            BinaryOperator::Lt => compare(Comparison::Less),
            BinaryOperator::LtEq => compare(Comparison::LessOrEqual),
            BinaryOperator::Gt => compare(Comparison::Greater),
            BinaryOperator::GtEq => compare(Comparison::GreaterOrEqual),
            BinaryOperator::And => Ok(Term::And(Box::new(self.term(left)?), Box::new(self.term(right)?))),
            BinaryOperator::Or => Ok(Term::Or(Box::new(self.term(left)?), Box::new(self.term(right)?))),
            BinaryOperator::StringConcat => Ok(Term::Join(Box::new(self.term(left)?), Box::new(self.term(right)?))),
            other => self.refuse(
                whole,
                format!("the operator `{other}` is not known in an expression"),
                "there are + - * / % = <> < <= > >= || AND and OR".to_owned(),
            ),
        }
    }

    fn like(&self, text: &Expr, pattern: &Expr, ignore_case: bool) -> Result<Term, Mistake> {
        match self.term(pattern)? {
            Term::Text(pattern) => Ok(Term::Like { text: Box::new(self.term(text)?), pattern, ignore_case }),
            _ => self.refuse(
                pattern,
                "the pattern of LIKE must be text".to_owned(),
                "write it in single quotes: LIKE 'a%'".to_owned(),
            ),
        }
    }

    fn call(&self, call: &Call) -> Result<Term, Mistake> {
        let word = call.name.to_string().to_ascii_lowercase();
        let place = call.name.0.first().map_or(0..self.text.len(), |name| self.bytes(name.span()));
        let wrong = |message: String, help: String| Err(Mistake { message, help: Some(help), place: place.clone() });
        if call.over.is_some() {
            let help = "an expression sees the values of its own row only".to_owned();
            return wrong(format!("`{word}(...) OVER` looks at other rows"), help);
        }
        let word = match word.as_str() {
            "pow" => "power",
            "ceiling" => "ceil",
            "char_length" | "character_length" | "len" => "length",
            word => word,
        };
        let Some(function) = Function::ALL.iter().copied().find(|function| function.word() == word) else {
            return Err(self.unknown_function(word, place));
        };
        let arguments = match &call.args {
            FunctionArguments::List(list) if list.duplicate_treatment.is_none() && list.clauses.is_empty() => {
                &list.args
            }
            _ => return wrong(format!("`{word}` is not written so"), format!("write {word}(...)")),
        };
        let extra = call.filter.is_some()
            || call.null_treatment.is_some()
            || !call.within_group.is_empty()
            || !matches!(call.parameters, FunctionArguments::None);
        let argument = |argument: &FunctionArg| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(of)) if !extra => self.term(of),
            _ => wrong(format!("`{word}` is not written so"), format!("write {word}(...) with values in it")),
        };
        let arguments: Vec<Term> = arguments.iter().map(argument).collect::<Result<_, _>>()?;
        let [least, most] = function.arguments();
        if !(least..=most).contains(&arguments.len()) {
            let n = if least == most { format!("{least}") } else { format!("{least} to {most}") };
            let plural = if most == 1 { "" } else { "s" };
            let message = format!("`{word}` takes {n} argument{plural}, found {}", arguments.len());
            return Err(Mistake { message, help: None, place });
        }
        match (function, arguments.as_slice()) {
            (Function::Round, [_, Term::Number(digits)]) if digits.fract() == 0.0 && digits.abs() <= 15.0 => {}
            (Function::Round, [_, _]) => {
                return wrong(
                    "the decimals of `round` must be a whole number".to_owned(),
                    "write round(x, 2)".to_owned(),
                );
            }
            _ => {}
        }
        Ok(Term::Call(function, arguments))
    }

    fn unknown_function(&self, word: &str, place: Range<usize>) -> Mistake {
        const AGGREGATES: [&str; 14] = [
            "sum", "avg", "mean", "min", "max", "count", "median", "stddev", "variance", "std", "var", "first", "last",
            "quantile",
        ];
        const OTHERS: [&str; 9] =
            ["now", "random", "rand", "uuid", "current_date", "current_time", "current_timestamp", "getdate", "today"];
        if AGGREGATES.contains(&word) {
            let help = match word {
                "min" => "for the least of several columns there is `least`",
                "max" => "for the greatest of several columns there is `greatest`",
                _ => "an expression sees the values of its own row only",
            };
            let message = format!("`{word}` is taken over many rows");
            return Mistake { message, help: Some(help.to_owned()), place };
        }
        if OTHERS.contains(&word) {
            return self.not_of_the_row(word, place);
        }
        let known = || Function::ALL.iter().map(|function| function.word());
        let help = match did_you_mean(word, known()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("there are {}", one_of(known()).replace(" or ", " and ")),
        };
        Mistake { message: format!("no function `{word}` in an expression"), help: Some(help), place }
    }

    fn not_of_the_row(&self, word: &str, place: Range<usize>) -> Mistake {
        let help = "what is computed must depend on the row alone; write the value out";
        Mistake { message: format!("`{word}` gives another value each time"), help: Some(help.to_owned()), place }
    }

    fn refuse<T>(&self, part: &Expr, message: String, help: String) -> Result<T, Mistake> {
        Err(Mistake { message, help: Some(help), place: self.bytes(part.span()) })
    }

    fn whole<T>(&self, message: &str, help: &str) -> Result<T, Mistake> {
        Err(Mistake { message: message.to_owned(), help: Some(help.to_owned()), place: 0..self.text.len() })
    }

    fn syntax(&self, error: &ParserError) -> Mistake {
        let (ParserError::TokenizerError(text) | ParserError::ParserError(text)) = error else {
            let message = "the expression is nested too deeply".to_owned();
            return Mistake {
                message,
                help: Some("divide it over several steps".to_owned()),
                place: 0..self.text.len(),
            };
        };
        let (message, place) = text.rsplit_once(" at Line: ").unwrap_or((text, ""));
        let location = place.split_once(", Column: ").and_then(|(line, column)| {
            Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
        });
        // sqlparser's words, in the manner of ours.
        let message = lower(message)
            .replace("expected: ", "expected ")
            .replace("found: EOF", "found its end")
            .replace("found: ", "found ");
        let message = format!("not valid SQL: {message}");
        match location {
            Some(location) => self.at_location(location, message),
            None => Mistake { message, help: None, place: 0..self.text.len() },
        }
    }

    /// A mistake at one character, or at the last one where the text ends too early.
    fn at_location(&self, location: Location, message: String) -> Mistake {
        let start = self.byte(location).min(self.text.trim_end().len().saturating_sub(1));
        let start = self.text.floor_char_boundary(start);
        let end = self.text[start..].chars().next().map_or(start, |character| start + character.len_utf8());
        Mistake { message, help: None, place: start..end }
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        if span == Span::empty() {
            return 0..self.text.len();
        }
        let start = self.byte(span.start);
        start..self.byte(span.end).max(start)
    }

    /// The byte of a place that is given by line and column.
    fn byte(&self, location: Location) -> usize {
        let line = usize::try_from(location.line.saturating_sub(1)).unwrap_or(usize::MAX);
        let column = usize::try_from(location.column.saturating_sub(1)).unwrap_or(usize::MAX);
        let start: usize = self.text.split_inclusive('\n').take(line).map(str::len).sum();
        let rest = &self.text[start..];
        start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
    }
}

fn is_number(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Double(_) | DataType::DoublePrecision | DataType::Float(_) | DataType::Real | DataType::Float64
    )
}

/// With a small first letter.
fn lower(message: &str) -> String {
    let mut characters = message.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn mistake(text: &str) -> (String, String, Option<String>) {
        let mistake = Expression::parse(text).err().unwrap_or_else(|| panic!("{text} is read"));
        (mistake.message, text[mistake.place].to_owned(), mistake.help)
    }

    #[test]
    fn what_can_be_said_is_read() {
        for text in [
            "age BETWEEN 18 AND 99 AND city IS NOT NULL",
            "price / weight",
            "a<-1 or b>-1e3 and c=-.5",
            "\"net weight\" * -2 <> 1 + b % 3",
            "city IN ('Lyon', 'Oslo', NULL) AND name NOT LIKE '_a%' OR name ILIKE 'x%'",
            "CASE WHEN a > 1 THEN 'many' WHEN a = 1 THEN 'one' END",
            "round(ln(abs(a)) + power(b, 2), 2) + coalesce(c, 0) + ceil(d) + FLOOR(e)",
            "joined >= DATE '2024-01-01' AND NOT (flag IS TRUE)",
            "trim(lower(größe)) || '_' || upper(b)",
            "CAST(flag AS DOUBLE) + greatest(a, b, c)",
        ] {
            let expression = Expression::parse(text).unwrap_or_else(|mistake| panic!("{text}: {mistake:?}"));
            let saved = serde_json::to_string(&expression).unwrap();
            assert_eq!(serde_json::from_str::<Expression>(&saved).unwrap(), expression);
        }
        let expression = Expression::parse("b + a > a * \"c d\"").unwrap();
        assert_eq!(expression.columns(), ["b", "a", "c d"]);
    }

    #[test]
    fn what_is_beyond_the_row_is_refused_at_its_place() {
        for (text, message, place) in [
            (
                "a > (SELECT max(a) FROM t)",
                "an expression cannot hold a query: it sees the values of its own row only",
                "SELECT max(a) FROM t",
            ),
            (
                "EXISTS (SELECT 1)",
                "an expression cannot hold a query: it sees the values of its own row only",
                "SELECT 1",
            ),
            (
                "a IN (SELECT a FROM t)",
                "an expression cannot hold a query: it sees the values of its own row only",
                "a IN (SELECT a FROM t",
            ),
            ("a > avg(a)", "`avg` is taken over many rows", "avg"),
            ("a > 1 AND sum(a) OVER () > 2", "`sum(...) OVER` looks at other rows", "sum"),
            ("read_csv('x')", "no function `read_csv` in an expression", "read_csv"),
            ("a < random()", "`random` gives another value each time", "random"),
            ("d < CURRENT_TIMESTAMP", "`current_timestamp` gives another value each time", "CURRENT_TIMESTAMP"),
            ("d < now()", "`now` gives another value each time", "now"),
            ("t.a > 1", "`t.a` names a column of a table, and there is only one table", "t.a"),
            ("CAST(a AS VARCHAR) = 'x'", "an expression turns values into numbers only: CAST(... AS DOUBLE)", "a"),
            ("a ~ 'x'", "the operator `~` is not known in an expression", "a ~ 'x'"),
            ("sqrt(a, b)", "`sqrt` takes 1 argument, found 2", "sqrt"),
            ("a LIKE b", "the pattern of LIKE must be text", "b"),
        ] {
            let (found, at, _) = mistake(text);
            assert_eq!((found.as_str(), at.as_str()), (message, place), "{text}");
        }
    }

    #[test]
    fn mistakes_of_syntax_have_a_place() {
        for (text, message, place) in [
            ("", "the expression is empty", ""),
            ("a >", "not valid SQL: expected an expression, found its end", "a >"),
            ("größe > > 1", "not valid SQL: expected an expression, found >", ">"),
            ("a > 1 b", "not valid SQL: nothing is expected after a whole expression, found `b`", "b"),
            ("a = 'x", "not valid SQL: unterminated string literal", "'"),
            ("a > 1; DROP TABLE t", "not valid SQL: nothing is expected after a whole expression, found `;`", ";"),
            ("a > 1e999", "`1e999` is no number that can be held", "1e999"),
        ] {
            let (found, at, _) = mistake(text);
            assert_eq!((found.as_str(), at.as_str()), (message, place), "{text}");
        }
    }

    #[test]
    fn the_function_that_was_meant_is_named() {
        assert_eq!(mistake("sqr(a)").2.as_deref(), Some("did you mean `sqrt`?"));
        assert_eq!(mistake("max(a, b)").2.as_deref(), Some("for the greatest of several columns there is `greatest`"));
    }

    #[test]
    fn what_would_exhaust_the_stack_is_refused() {
        let deep = [
            "1+".repeat(9000) + "1",
            "(".repeat(3000) + "1" + &")".repeat(3000),
            "NOT ".repeat(4000) + "a",
            "-".repeat(5000).replace('-', "- ") + "1",
            format!("a{}", " IS NULL".repeat(2000)),
            "f(".repeat(4000),
            "CASE WHEN ".repeat(1500),
            "a = '".to_owned() + &"x".repeat(30_000) + "'",
        ];
        for text in deep {
            assert!(Expression::parse(&text).is_err());
        }
        for text in ["1+".repeat(290) + "1", "NOT ".repeat(250) + "a", "(".repeat(140) + "1" + &")".repeat(140)] {
            let _ = Expression::parse(&text);
        }
        assert!(Expression::parse(&format!("a IN ({}1)", "1, ".repeat(5000))).is_ok());
    }
}
