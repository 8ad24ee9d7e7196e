//! `datetime_parts`.

use std::f64::consts::TAU;

use polars::prelude::{BooleanChunked, Column, IntoColumn, NewChunkedArray};
use rayon::prelude::*;
use retune_spec::preprocessing::{DatetimePart, DatetimeParts};
use retune_stage::{Field, FitContext, Kind, Result};
use serde::{Deserialize, Serialize};

use crate::dates::{DAY, MICROS, civil_from_days, days_from_civil, micros};
use crate::frame::{Frame, numeric_column};
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// What is taken apart; there is nothing else to learn.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedDatetimeParts {
    columns: Vec<String>,
    parts: Vec<DatetimePart>,
    cyclic: bool,
    keep: bool,
}

impl FitStep for DatetimeParts {
    type Fitted = FittedDatetimeParts;
    const KINDS: &'static [Kind] = &[Kind::Datetime];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        if !self.keep {
            outline.remove(columns);
        }
        for name in columns.iter().filter(|name| Outline::is_closed(std::slice::from_ref(name))) {
            for part in distinct(&self.parts) {
                let kind = if part == DatetimePart::IsWeekend { Kind::Boolean } else { Kind::Numeric };
                outline.add(format!("{name}_{}", part.word()), kind)?;
                if self.cyclic && period(part).is_some() {
                    outline.add(format!("{name}_{}_sin", part.word()), Kind::Numeric)?;
                    outline.add(format!("{name}_{}_cos", part.word()), Kind::Numeric)?;
                }
            }
        }
        Ok(())
    }

    fn fit(&self, _source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedDatetimeParts>> {
        let fitted = FittedDatetimeParts {
            columns: columns.to_vec(),
            parts: distinct(&self.parts),
            cyclic: self.cyclic,
            keep: self.keep,
        };
        let text = format!(
            "took {} apart into {} each",
            counted(columns.len(), "column"),
            counted(fitted.parts.iter().map(|part| fitted.n_columns(*part)).sum(), "column")
        );
        Ok(Learnt::applied(fitted, text))
    }
}

impl ApplyStep for FittedDatetimeParts {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let take_apart = |name: &String| {
            let field = frame.field(name)?;
            let column = frame.table.column(name)?;
            let times = micros(column)?;
            let parts: Vec<Vec<(Field, Column)>> =
                self.parts.par_iter().map(|part| self.columns_of(*part, field, &times)).collect();
            let mut columns = if self.keep { vec![(field.clone(), column.clone())] } else { Vec::new() };
            columns.extend(parts.into_iter().flatten());
            Ok((name.clone(), columns))
        };
        frame.replace(self.columns.par_iter().map(take_apart).collect::<Result<_>>()?)
    }
}

impl FittedDatetimeParts {
    fn n_columns(&self, part: DatetimePart) -> usize {
        if self.cyclic && period(part).is_some() { 3 } else { 1 }
    }

    fn columns_of(&self, part: DatetimePart, field: &Field, times: &[Option<i64>]) -> Vec<(Field, Column)> {
        let name = format!("{}_{}", field.name, part.word());
        let derived = |name: &str, kind: Kind| Field::derived(name, kind, field.origin());
        if part == DatetimePart::IsWeekend {
            let weekend = times.iter().map(|time| time.map(|time| value(part, time) > 0.0));
            let column = BooleanChunked::from_iter_options(name.as_str().into(), weekend).into_column();
            return vec![(derived(&name, Kind::Boolean), column)];
        }
        let values: Vec<f64> = times.par_iter().map(|time| time.map_or(f64::NAN, |time| value(part, time))).collect();
        let mut columns = Vec::new();
        if self.cyclic
            && let Some(period) = period(part)
        {
            for (word, of) in [("sin", f64::sin as fn(f64) -> f64), ("cos", f64::cos)] {
                let name = format!("{name}_{word}");
                let turned = values.par_iter().map(|value| of(TAU * value / period)).collect();
                columns.push((derived(&name, Kind::Numeric), numeric_column(&name, turned)));
            }
        }
        columns.insert(0, (derived(&name, Kind::Numeric), numeric_column(&name, values)));
        columns
    }
}

/// Each part once, in the order in which it first stands.
fn distinct(parts: &[DatetimePart]) -> Vec<DatetimePart> {
    let mut once = Vec::new();
    for part in parts {
        if !once.contains(part) {
            once.push(*part);
        }
    }
    once
}

/// After how many values a part begins anew.
fn period(part: DatetimePart) -> Option<f64> {
    Some(match part {
        DatetimePart::Quarter => 4.0,
        DatetimePart::Month => 12.0,
        DatetimePart::Week => 53.0,
        DatetimePart::Day => 31.0,
        DatetimePart::DayOfYear => 366.0,
        DatetimePart::Weekday => 7.0,
        DatetimePart::Hour => 24.0,
        DatetimePart::Minute | DatetimePart::Second => 60.0,
        DatetimePart::Year | DatetimePart::IsWeekend | DatetimePart::Unix => return None,
    })
}

/// A part of a point in time, given in microseconds.
fn value(part: DatetimePart, time: i64) -> f64 {
    let (days, rest) = (time.div_euclid(DAY), time.rem_euclid(DAY) / MICROS);
    // 1970-01-01 was a Thursday.
    let weekday = (days + 3).rem_euclid(7);
    let civil = || civil_from_days(days);
    let whole = match part {
        DatetimePart::Year => civil().0,
        DatetimePart::Quarter => (civil().1 + 2) / 3,
        DatetimePart::Month => civil().1,
        DatetimePart::Week => {
            // The week belongs to the year that its Thursday is in.
            let thursday = days - weekday + 3;
            (thursday - days_from_civil(civil_from_days(thursday).0, 1, 1)) / 7 + 1
        }
        DatetimePart::Day => civil().2,
        DatetimePart::DayOfYear => days - days_from_civil(civil().0, 1, 1) + 1,
        DatetimePart::Weekday => weekday,
        DatetimePart::IsWeekend => i64::from(weekday >= 5),
        DatetimePart::Hour => rest / 3600,
        DatetimePart::Minute => rest / 60 % 60,
        DatetimePart::Second => rest % 60,
        DatetimePart::Unix => return time as f64 / MICROS as f64,
    };
    whole as f64
}
