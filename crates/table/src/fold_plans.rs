//! The folds of a cross-validation as a plan asks for them.

use polars::prelude::{InitHashMaps, PlHashMap};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use retune_spec::model_selection::{FoldPlan, Folds};
use retune_spec::schema::{Role, Task};

use crate::error::counted;
use crate::split::{Times, folds, folds_of, group_codes};
use crate::{Fold, Table, TableError, Target, Ties};

/// Rows that can be divided into folds.
pub struct Divisible<'a> {
    /// What is predicted.
    pub target: &'a Target,
    /// The labels, for messages.
    pub labels: &'a [String],
    /// Groups and times.
    pub ties: &'a Ties,
    /// The table, for plans that name a column.
    pub table: Option<&'a Table>,
}

impl Ties {
    /// Those of a table, as [`Ties::of`]; fails where a row's group or time is missing.
    pub fn complete(table: &Table) -> Result<Self, TableError> {
        for (role, is_time) in [(Role::Group, false), (Role::Time, true)] {
            if let Some(field) = table.schema().of_role(role) {
                if is_time {
                    Times::of(table, &field.name).map(drop)?;
                } else {
                    group_codes(table, &field.name).map(drop)?;
                }
            }
        }
        Self::of(table)
    }
}

impl Divisible<'_> {
    /// The folds of a plan. Fails where rows, labels, groups or times are too few for it.
    pub fn folds(&self, plan: &Folds, seed: u64) -> Result<Vec<Fold>, TableError> {
        let plan = match plan {
            Folds::Count(n_folds) => return self.ties.folds(self.target, self.labels, *n_folds, seed),
            Folds::Plan(plan) => plan,
        };
        let folds = match plan {
            FoldPlan::KFold(n_folds) => {
                self.refuse_ties("k_fold")?;
                folds_of(&Target::Values(vec![0.0; self.target.len()]), &[], None, *n_folds, seed)?
            }
            FoldPlan::Stratified(n_folds) => {
                self.refuse_ties("stratified")?;
                if matches!(self.target, Target::Values(_)) {
                    return Err(TableError::new("`stratified` folds need labels, and the target is a number")
                        .help("write `folds: { k_fold: 5 }`"));
                }
                folds_of(self.target, self.labels, None, *n_folds, seed)?
            }
            FoldPlan::Group(n_folds) => {
                let groups = self.ties.groups.as_ref().ok_or_else(|| {
                    TableError::new("`group` folds need a group for every row")
                        .help("name its column: `data.split: { group: COLUMN }`")
                })?;
                folds_of(self.target, self.labels, Some(groups), *n_folds, seed)?
            }
            FoldPlan::Repeated(repeated) => {
                if self.ties.times.is_some() {
                    return Err(TableError::new("folds forward in time are the same however often they are made")
                        .help("write `folds: 5`"));
                }
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let mut folds = Vec::with_capacity(repeated.folds * repeated.times);
                for _ in 0..repeated.times {
                    folds.extend(self.ties.folds(
                        self.target,
                        self.labels,
                        repeated.folds,
                        rand::RngExt::random(&mut rng),
                    )?);
                }
                folds
            }
            FoldPlan::TimeSeries(series) => {
                let times = self.ties.times.as_ref().ok_or_else(|| {
                    TableError::new("`time_series` folds need a time for every row")
                        .help("name its column: `data.split: { time: COLUMN }`")
                })?;
                Times::from_ranks(times.clone()).windows(series.folds, series.gap, series.window)?
            }
            FoldPlan::LeaveOneOut => {
                self.refuse_ties("leave_one_out")?;
                let n_rows = self.target.len();
                let others = |left: usize| (0..n_rows).filter(|&row| row != left).collect();
                (0..n_rows).map(|row| Fold { train: others(row), validation: vec![row] }).collect()
            }
            FoldPlan::HoldOut(share) => vec![self.held_out(*share, seed)?],
            FoldPlan::Column(name) => self.by_column(name)?,
        };
        folds.iter().enumerate().try_for_each(|(number, fold)| self.refuse_one_label(number, fold))?;
        Ok(folds)
    }

    /// What ignores groups and times would let a model judge by rows akin to those that it learned from.
    fn refuse_ties(&self, plan: &str) -> Result<(), TableError> {
        let (tie, instead) = match (&self.ties.times, &self.ties.groups) {
            (Some(_), _) => ("times", "time_series: { folds: 5 }"),
            (None, Some(_)) => ("groups", "group: 5"),
            (None, None) => return Ok(()),
        };
        Err(TableError::new(format!("`{plan}` folds would tear apart the {tie} that `data.split` names"))
            .help(format!("write `folds: {{ {instead} }}`")))
    }

    fn held_out(&self, share: f64, seed: u64) -> Result<Fold, TableError> {
        let n_rows = self.target.len();
        let n_judges = ((share * n_rows as f64).ceil() as usize).min(n_rows);
        if let Some(times) = &self.ties.times {
            let times = Times::from_ranks(times.clone());
            return Ok(times.cut(times.first_of(n_rows - n_judges)));
        }
        // Of so many folds one is as large as the share; groups and labels are dealt as they are for folds.
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let pieces = ((1.0 / share).round() as usize).max(2);
        if let Some(groups) = &self.ties.groups {
            return Ok(folds_of(self.target, self.labels, Some(groups), pieces, seed)?.swap_remove(0));
        }
        let mut validation = Vec::with_capacity(n_judges);
        for mut rows in self.target.rows_by_label() {
            rows.shuffle(&mut rng);
            let taken = (share * rows.len() as f64).round() as usize;
            validation.extend_from_slice(&rows[..taken]);
        }
        validation.sort_unstable();
        let mut is_judge = vec![false; n_rows];
        validation.iter().for_each(|&row| is_judge[row] = true);
        let train: Vec<usize> = (0..n_rows).filter(|&row| !is_judge[row]).collect();
        if train.is_empty() || validation.is_empty() {
            return Err(TableError::new(format!("{} are too few to hold out {share} of them", counted(n_rows, "row")))
                .help("give more rows, or use folds"));
        }
        Ok(Fold { train, validation })
    }

    fn by_column(&self, name: &str) -> Result<Vec<Fold>, TableError> {
        let table = self.table.ok_or_else(|| TableError::new("folds by a column need a table"))?;
        let values = crate::kinds::as_text(table.column(name)?)?;
        let mut folds: Vec<Vec<usize>> = Vec::new();
        let mut known: PlHashMap<&str, usize> = PlHashMap::new();
        for (row, value) in values.iter().enumerate() {
            let Some(value) = value else { continue };
            let fold = *known.entry(value).or_insert_with(|| {
                folds.push(Vec::new());
                folds.len() - 1
            });
            folds[fold].push(row);
        }
        let n_rows = self.target.len();
        if folds.is_empty() || folds.iter().any(|validation| validation.len() == n_rows) {
            return Err(TableError::new(format!("all rows have the same fold in column `{name}`"))
                .help("give rows of two folds, or leave the column of some empty: those are always learned from"));
        }
        let fold = |validation: Vec<usize>| {
            let mut is_judge = vec![false; n_rows];
            validation.iter().for_each(|&row| is_judge[row] = true);
            Fold { train: (0..n_rows).filter(|&row| !is_judge[row]).collect(), validation }
        };
        Ok(folds.into_iter().map(fold).collect())
    }

    fn refuse_one_label(&self, number: usize, fold: &Fold) -> Result<(), TableError> {
        let Target::Classes { codes, .. } = self.target else { return Ok(()) };
        let mut seen = fold.train.iter().map(|&row| codes[row]);
        let first = seen.next();
        if seen.any(|code| Some(code) != first) {
            return Ok(());
        }
        let label = first.and_then(|code| self.labels.get(code as usize)).map_or("the same", String::as_str);
        Err(TableError::new(format!("the training rows of fold {} all have one label: `{label}`", number + 1))
            .help("use fewer folds, or folds that keep the labels' shares: `folds: 5`"))
    }
}

/// The rows of a table, divided as a plan asks.
pub fn plan_folds(table: &Table, plan: &Folds, seed: u64) -> Result<Vec<Fold>, TableError> {
    if let Folds::Count(n_folds) = plan {
        return folds(table, *n_folds, seed);
    }
    let labels = match &table.schema().task {
        Some(Task::Classification { labels }) => labels.as_slice(),
        _ => &[],
    };
    let ties = Ties::complete(table)?;
    Divisible { target: &table.target()?, labels, ties: &ties, table: Some(table) }.folds(plan, seed)
}
