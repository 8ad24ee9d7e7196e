//! `text_statistics`.

use rayon::prelude::*;
use retune_spec::preprocessing::{TextStatistic, TextStatistics};
use retune_stage::{Field, FitContext, Kind, Result};
use serde::{Deserialize, Serialize};

use crate::cells;
use crate::frame::{Frame, numeric_column};
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// What is measured; there is nothing else to learn.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedTextStatistics {
    columns: Vec<String>,
    statistics: Vec<TextStatistic>,
    keep: bool,
}

impl FitStep for TextStatistics {
    type Fitted = FittedTextStatistics;
    const KINDS: &'static [Kind] = &[Kind::Text, Kind::Categorical];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        if !self.keep {
            outline.remove(columns);
        }
        for name in columns.iter().filter(|name| Outline::is_closed(std::slice::from_ref(name))) {
            for statistic in chosen(&self.statistics) {
                outline.add(format!("{name}_{}", statistic.word()), Kind::Numeric)?;
            }
        }
        Ok(())
    }

    fn fit(&self, _source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedTextStatistics>> {
        let statistics = chosen(&self.statistics);
        let text =
            format!("measured {} by {}", counted(columns.len(), "column"), counted(statistics.len(), "statistic"));
        Ok(Learnt::applied(FittedTextStatistics { columns: columns.to_vec(), statistics, keep: self.keep }, text))
    }
}

impl ApplyStep for FittedTextStatistics {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let measure = |name: &String| {
            let field = frame.field(name)?;
            let counts = cells::read(frame.table.strings(name)?, |text| Some(Counts::of(text)));
            let mut columns = Vec::new();
            if self.keep {
                columns.push((field.clone(), frame.table.column(name)?.clone()));
            }
            for statistic in &self.statistics {
                let name = format!("{name}_{}", statistic.word());
                let value =
                    |counts: &Option<Counts>| counts.as_ref().map_or(f64::NAN, |counts| counts.value(*statistic));
                let values = counts.par_iter().map(value).collect();
                columns.push((Field::derived(&name, Kind::Numeric, field.origin()), numeric_column(&name, values)));
            }
            Ok((name.clone(), columns))
        };
        frame.replace(self.columns.par_iter().map(measure).collect::<Result<_>>()?)
    }
}

/// Each statistic once, in the order of the language.
fn chosen(statistics: &[TextStatistic]) -> Vec<TextStatistic> {
    TextStatistic::ALL.into_iter().filter(|statistic| statistics.contains(statistic)).collect()
}

/// How many characters of each sort a text has.
#[derive(Default)]
struct Counts {
    characters: u32,
    words: u32,
    capitals: u32,
    digits: u32,
    punctuation: u32,
    spaces: u32,
    exclamations: u32,
    questions: u32,
    line_ends: u32,
}

impl Counts {
    fn of(text: &str) -> Self {
        let mut counts = Self::default();
        let mut in_word = false;
        for character in text.chars() {
            let space = character.is_whitespace();
            counts.characters += 1;
            counts.words += u32::from(!space && !in_word);
            in_word = !space;
            counts.capitals += u32::from(character.is_uppercase());
            counts.digits += u32::from(character.is_numeric());
            counts.punctuation += u32::from(character.is_ascii_punctuation());
            counts.spaces += u32::from(space);
            counts.exclamations += u32::from(character == '!');
            counts.questions += u32::from(character == '?');
            counts.line_ends += u32::from(character == '\n');
        }
        counts
    }

    fn value(&self, statistic: TextStatistic) -> f64 {
        let share = |n: u32| if self.characters == 0 { 0.0 } else { f64::from(n) / f64::from(self.characters) };
        match statistic {
            TextStatistic::Length => f64::from(self.characters),
            TextStatistic::Words => f64::from(self.words),
            TextStatistic::WordLength if self.words == 0 => 0.0,
            TextStatistic::WordLength => f64::from(self.characters - self.spaces) / f64::from(self.words),
            TextStatistic::Capitals => share(self.capitals),
            TextStatistic::Digits => share(self.digits),
            TextStatistic::Punctuation => share(self.punctuation),
            TextStatistic::Spaces => share(self.spaces),
            TextStatistic::Exclamations => f64::from(self.exclamations),
            TextStatistic::Questions => f64::from(self.questions),
            TextStatistic::Lines => f64::from(self.line_ends + 1),
        }
    }
}
