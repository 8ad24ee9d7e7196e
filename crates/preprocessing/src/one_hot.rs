//! `one_hot`.

use polars::prelude::Column;
use rayon::prelude::*;
use retune_spec::preprocessing::{OneHot, Unseen};
use retune_stage::{Field, FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, Names, indicator_columns, refuse_too_many_columns};
use crate::levels::{LevelCounts, Levels, level_counts};
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// The columns of 0 and 1 that each column becomes.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedOneHot {
    columns: Vec<String>,
    encodings: Vec<Encoding>,
    unseen: Unseen,
}

#[derive(Serialize, Deserialize)]
struct Encoding {
    levels: Levels,
    /// Which of `names` each level sets; `None` for the level that was left out.
    places: Vec<Option<usize>>,
    /// Which of `names` rare levels share, where there are any.
    other: Option<usize>,
    names: Vec<String>,
}

impl FitStep for OneHot {
    type Fitted = FittedOneHot;
    const KINDS: &'static [Kind] = &[Kind::Categorical, Kind::Boolean, Kind::Text];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        outline.remove(columns);
        columns.iter().for_each(|name| outline.add_open(&format!("{name}_"), Kind::Boolean));
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedOneHot>> {
        let learned = columns.iter().zip(level_counts(source, columns)?);
        let learned: Vec<(Encoding, usize)> = learned.map(|(name, counts)| learn(self, name, counts)).collect();
        let n_rare: usize = learned.iter().map(|(_, rare)| rare).sum();
        let mut encodings: Vec<Encoding> = learned.into_iter().map(|(encoding, _)| encoding).collect();
        let n_columns = encodings.iter().map(|encoding| encoding.names.len()).sum();
        let help = "lower `max_levels`, raise `min_frequency`, use `hash_encode` or `target_encode`";
        refuse_too_many_columns(n_columns, self.max_columns, Some(source.n_rows()), help)?;
        let mut taken = Names::of(&source.schema());
        for name in encodings.iter_mut().flat_map(|encoding| &mut encoding.names) {
            *name = taken.fresh(std::mem::take(name));
        }
        let mut text = format!("turned {} into {n_columns} of 0 and 1", counted(columns.len(), "column"));
        if n_rare > 0 {
            text += &format!("; {} share a column", counted(n_rare, "rare level"));
        }
        Ok(Learnt::applied(FittedOneHot { columns: columns.to_vec(), encodings, unseen: self.unseen }, text))
    }
}

impl ApplyStep for FittedOneHot {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let encode =
            |(name, encoding): (&String, &Encoding)| Ok((name.clone(), encoding.apply(frame, name, self.unseen)?));
        frame.replace(self.columns.par_iter().zip(&self.encodings).map(encode).collect::<Result<_>>()?)
    }
}

impl Encoding {
    fn apply(&self, frame: &Frame, name: &str, unseen: Unseen) -> Result<Vec<(Field, Column)>> {
        let values = frame.levels(name)?;
        let codes = self.levels.encode(&values);
        if unseen == Unseen::Error
            && let Some(row) = codes.iter().position(Option::is_none)
        {
            let what = values.get(row).map_or("no value".to_owned(), |level| format!("`{level}`"));
            return Err(StageError::data(format!(
                "column `{name}` has {what} in row {}, which no training row has",
                frame.table.row_number(row)
            ))
            .help("set `unseen: ignore` or `unseen: other` to take such rows"));
        }
        // A place that no name has stands for none.
        let place = |place: Option<usize>| place.map_or(u32::MAX, |place| place as u32);
        let known: Vec<u32> = self.places.iter().map(|&of| place(of)).collect();
        let unseen = place(if unseen == Unseen::Other { self.other } else { None });
        let places: Vec<u32> = codes.iter().map(|code| code.map_or(unseen, |code| known[code as usize])).collect();
        Ok(indicator_columns(&self.names, frame.field(name)?.origin(), &places))
    }
}

/// The encoding of a column, and how many of its levels are rare.
fn learn(step: &OneHot, name: &str, LevelCounts { levels, counts }: LevelCounts) -> (Encoding, usize) {
    let rare = rare_levels(step, &counts);
    let mut frequent: Vec<usize> = (0..counts.len()).filter(|&level| !rare[level]).collect();
    frequent.sort_by_key(|&level| std::cmp::Reverse(counts[level]));
    let n_rare = counts.len() - frequent.len();
    let mut names: Vec<String> = frequent.iter().map(|&level| format!("{name}_{}", levels.label(level))).collect();
    let mut other = (n_rare > 0).then_some(names.len());
    if n_rare > 0 {
        names.push(format!("{name}_other"));
    }
    let mut places = vec![other; counts.len()];
    frequent.iter().enumerate().for_each(|(place, &level)| places[level] = Some(place));
    if step.drop_first && !names.is_empty() {
        names.remove(0);
        other = other.and_then(|place| place.checked_sub(1));
        places.iter_mut().for_each(|place| *place = place.and_then(|place| place.checked_sub(1)));
    }
    (Encoding { levels, places, other, names }, n_rare)
}

/// Which levels are rare, as scikit-learn's `OneHotEncoder` finds with `max_categories` and `min_frequency`: of equally frequent levels
/// the first in order is the rarer one, and the column of the rare ones counts as one of `max_levels`.
fn rare_levels(step: &OneHot, counts: &[usize]) -> Vec<bool> {
    let mut rare: Vec<bool> = counts.iter().map(|&count| count < step.min_frequency).collect();
    let n_frequent = rare.iter().filter(|rare| !**rare).count();
    let n_columns = n_frequent + usize::from(n_frequent < counts.len());
    if n_columns > step.max_levels {
        let mut ascending: Vec<usize> = (0..counts.len()).collect();
        ascending.sort_by_key(|&level| counts[level]);
        let n_kept = step.max_levels - 1;
        ascending[..counts.len() - n_kept].iter().for_each(|&level| rare[level] = true);
    }
    rare
}
