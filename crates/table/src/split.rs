//! Dividing rows into training, validation and test rows, and into folds.

use std::collections::BTreeMap;

use polars::prelude::*;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use retune_spec::Split;
use retune_spec::schema::{Role, Task};

use crate::error::{counted, listed};
use crate::table::{row_number, rows_by_code};
use crate::{Table, TableError, Target};

/// Row indices of each part, in the order of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Rows to learn from.
    pub train: Vec<usize>,
    /// Rows to choose by.
    pub validation: Vec<usize>,
    /// Rows to judge by, once.
    pub test: Vec<usize>,
}

/// One fold of a cross-validation: row indices in the order of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Rows to learn from.
    pub train: Vec<usize>,
    /// Rows to judge by.
    pub validation: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Train,
    Validation,
    Test,
}

/// Divides rows as `split` says. Sizes are scikit-learn's: a share of the rows, rounded up. `seed` counts unless the split has its own.
///
/// `stratify` gives each part a label's share by largest remainders; a label keeps at least one training row. `group` fills the test and then the
/// validation rows with groups in random order, as near to their shares as groups allow. `time` takes the latest rows; rows of the same time
/// stay together.
pub fn split(table: &Table, split: &Split, seed: u64) -> Result<Parts, TableError> {
    let n_rows = table.n_rows();
    let mut rng = ChaCha8Rng::seed_from_u64(split.seed.unwrap_or(seed));
    let sizes = Sizes::of(n_rows, split)?;
    let assigned = match (&split.column, &split.time, &split.group) {
        (Some(name), ..) => by_column(table, name)?,
        (_, Some(name), _) => by_time(table, name, sizes)?,
        (_, _, Some(name)) => by_group(table, name, sizes, &mut rng)?,
        _ if split.stratify => by_label(table, sizes, &mut rng)?,
        _ => {
            let mut rows: Vec<usize> = (0..n_rows).collect();
            rows.shuffle(&mut rng);
            let mut assigned = vec![Part::Train; n_rows];
            rows[..sizes.test].iter().for_each(|&row| assigned[row] = Part::Test);
            rows[sizes.test..][..sizes.validation].iter().for_each(|&row| assigned[row] = Part::Validation);
            assigned
        }
    };
    let of = |part: Part| (0..n_rows).filter(|&row| assigned[row] == part).collect::<Vec<_>>();
    let parts = Parts { train: of(Part::Train), validation: of(Part::Validation), test: of(Part::Test) };
    let by_column = split.column.is_some();
    let empty = [
        ("training", parts.train.is_empty()),
        ("validation", parts.validation.is_empty() && split.validation > 0.0 && !by_column),
        ("test", parts.test.is_empty() && split.test > 0.0 && !by_column),
    ];
    match empty.into_iter().find(|(_, empty)| *empty) {
        None => Ok(parts),
        Some((part, _)) => {
            Err(TableError::new(format!("the split of {} leaves no {part} rows", counted(n_rows, "row")))
                .help("change the shares of `split`, or give more rows"))
        }
    }
}

#[derive(Clone, Copy)]
struct Sizes {
    validation: usize,
    test: usize,
}

impl Sizes {
    fn of(n_rows: usize, split: &Split) -> Result<Self, TableError> {
        let share = |share: f64| (share * n_rows as f64).ceil() as usize;
        let sizes = Self { validation: share(split.validation), test: share(split.test) };
        if split.column.is_none() && sizes.validation + sizes.test >= n_rows {
            return Err(TableError::new(format!(
                "the split of {} into {} validation and {} test rows leaves no training rows",
                counted(n_rows, "row"),
                sizes.validation,
                sizes.test
            ))
            .help("lower `split.validation` and `split.test`, or give more rows"));
        }
        Ok(sizes)
    }
}

fn by_column(table: &Table, name: &str) -> Result<Vec<Part>, TableError> {
    let way_out = "each row needs `train`, `validation` or `test`";
    let column = table.column(name)?;
    let values =
        column.str().map_err(|_| TableError::new(format!("split column `{name}` is not text")).help(way_out))?;
    let part =
        |(row, value): (usize, Option<&str>)| match value {
            Some("train" | "training") => Ok(Part::Train),
            Some("validation" | "val" | "valid") => Ok(Part::Validation),
            Some("test") => Ok(Part::Test),
            Some(other) => {
                Err(TableError::new(format!("split column `{name}` holds `{other}` in row {}", table.row_number(row)))
                    .help(way_out))
            }
            None => Err(TableError::new(format!("split column `{name}` is empty in row {}", table.row_number(row)))
                .help(way_out)),
        };
    values.iter().enumerate().map(part).collect()
}

fn by_time(table: &Table, name: &str, sizes: Sizes) -> Result<Vec<Part>, TableError> {
    let times = Times::of(table, name)?;
    let n_rows = times.order.len();
    let test = times.first_of(n_rows - sizes.test);
    let validation = times.first_of(n_rows - sizes.test - sizes.validation);
    let mut assigned = vec![Part::Train; n_rows];
    times.order[validation..test].iter().for_each(|&row| assigned[row] = Part::Validation);
    times.order[test..].iter().for_each(|&row| assigned[row] = Part::Test);
    Ok(assigned)
}

/// Rows from the earliest to the latest.
pub(crate) struct Times {
    /// Each row's place in time: equal for equal times, greater for later ones.
    ranks: Vec<u32>,
    order: Vec<usize>,
}

impl Times {
    /// Those of a table's column. Fails where a row has none.
    pub(crate) fn of(table: &Table, name: &str) -> Result<Self, TableError> {
        let column = table.column(name)?;
        if !is_time(column) {
            return Err(TableError::new(format!("time column `{name}` holds neither dates nor numbers"))
                .help(format!("write dates as 2024-02-29 or 2024-02-29T12:30; to see which values are not dates: `columns: {{ {name}: datetime }}`")));
        }
        if let Some(row) = column.is_null().iter().position(|null| null == Some(true)) {
            return Err(TableError::new(format!(
                "time column `{name}` is missing in row {}",
                row_number(table.frame(), row)
            ))
            .help("a split by time needs the time of every row"));
        }
        Ok(Self::from_ranks(ranks(column)?))
    }

    pub(crate) fn from_ranks(ranks: Vec<u32>) -> Self {
        let mut order: Vec<usize> = (0..ranks.len()).collect();
        order.sort_by_key(|&row| ranks[row]);
        Self { ranks, order }
    }

    /// The place of the first row of the same time as the row at `at`: rows of one time stay together, on the later side.
    pub(crate) fn first_of(&self, mut at: usize) -> usize {
        let rank = |at: usize| self.ranks[self.order[at]];
        while at > 0 && at < self.order.len() && rank(at - 1) == rank(at) {
            at -= 1;
        }
        at
    }

    /// The rows between two places, in the order of their source.
    fn rows(&self, from: usize, to: usize) -> Vec<usize> {
        let mut rows = self.order[from..to].to_vec();
        rows.sort_unstable();
        rows
    }

    /// The rows before a place, and those from there on.
    pub(crate) fn cut(&self, at: usize) -> Fold {
        Fold { train: self.rows(0, at), validation: self.rows(at, self.order.len()) }
    }

    /// Folds that learn from the past and judge by what follows: the first of `n_folds + 1` equal spans is learned from only (scikit-learn's
    /// `TimeSeriesSplit`). `place` says in messages where the times are.
    fn forward(&self, place: &str, n_folds: usize) -> Result<Vec<Fold>, TableError> {
        let fold = |pair: &[usize]| Fold { train: self.rows(0, pair[0]), validation: self.rows(pair[0], pair[1]) };
        Ok(self.spans(place, n_folds)?.windows(2).map(fold).collect())
    }

    /// The same, leaving out the `gap` rows before those that are judged by, and learning from at most `window` rows where that is not 0.
    pub(crate) fn windows(&self, n_folds: usize, gap: usize, window: usize) -> Result<Vec<Fold>, TableError> {
        let spans = self.spans("", n_folds)?;
        let fold = |pair: &[usize]| {
            let end = self.first_of(pair[0].saturating_sub(gap));
            let start = if window == 0 { 0 } else { end.saturating_sub(window) };
            if end == 0 {
                return Err(TableError::new(format!(
                    "a gap of {} leaves the first fold nothing to learn from",
                    counted(gap, "row")
                ))
                .help("use fewer folds or a smaller `gap`"));
            }
            Ok(Fold { train: self.rows(start, end), validation: self.rows(pair[0], pair[1]) })
        };
        spans.windows(2).map(fold).collect()
    }

    /// Where the spans that are judged by begin, and where the last one ends.
    fn spans(&self, place: &str, n_folds: usize) -> Result<Vec<usize>, TableError> {
        refuse_one_fold(n_folds)?;
        let n_rows = self.order.len();
        let mut ends: Vec<usize> = (1..=n_folds).map(|span| self.first_of(n_rows * span / (n_folds + 1))).collect();
        ends.push(n_rows);
        if ends[0] == 0 || ends.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(TableError::new(format!("the rows have too few different times{place} for {n_folds} folds"))
                .help("use fewer folds"));
        }
        Ok(ends)
    }

    /// The earlier and the later half. `place` says in messages where the times are.
    fn halves(&self, place: &str) -> Result<[Vec<usize>; 2], TableError> {
        match self.first_of(self.order.len().div_ceil(2)) {
            0 => Err(TableError::new(format!("all rows have the same time{place}"))),
            middle => {
                let Fold { train, validation } = self.cut(middle);
                Ok([train, validation])
            }
        }
    }
}

fn is_time(column: &Column) -> bool {
    column.dtype().is_primitive_numeric() || column.dtype().is_temporal()
}

/// Each row's place in time. A missing time comes before all others.
fn ranks(column: &Column) -> Result<Vec<u32>, TableError> {
    let keys: Vec<Option<i64>> = if column.dtype().is_float() {
        // The order of floats as that of integers, as `total_cmp` has it; zero has one sign.
        let key = |time: f64| {
            let bits = (time + 0.0).to_bits().cast_signed();
            bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
        };
        column.cast(&DataType::Float64)?.f64()?.iter().map(|time| time.map(key)).collect()
    } else {
        // Integers exactly: microseconds go beyond what a float holds.
        column.to_physical_repr().cast(&DataType::Int64)?.i64()?.iter().collect()
    };
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by_key(|&row| keys[row]);
    let mut ranks = vec![0; keys.len()];
    for pair in order.windows(2) {
        ranks[pair[1]] = ranks[pair[0]] + u32::from(keys[pair[0]] != keys[pair[1]]);
    }
    Ok(ranks)
}

/// What ties rows to each other besides their values. Wherever rows are divided, a group stays whole, and where there are times, what is learned from comes
/// before what is judged by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ties {
    /// Each row's group as a number.
    pub groups: Option<Vec<u32>>,
    /// Each row's place in time: equal for equal times, greater for later ones.
    pub times: Option<Vec<u32>>,
}

impl Ties {
    /// Those of a table: its group and its time column. Rows without a group may belong together, so they are one group; rows without a time
    /// come first. ([`folds`] and [`halves`] refuse both; rows to predict may be so.)
    pub fn of(table: &Table) -> Result<Self, TableError> {
        let column = |role| table.schema().of_role(role).map(|field| table.column(&field.name)).transpose();
        let groups = column(Role::Group)?.map(codes).transpose()?;
        let times = column(Role::Time)?.filter(|column| is_time(column)).map(ranks).transpose()?;
        Ok(Self { groups, times })
    }

    /// Whether no row is tied to another.
    pub fn is_empty(&self) -> bool {
        self.groups.is_none() && self.times.is_none()
    }

    /// Those of the rows at `indices`, in that order.
    #[must_use]
    pub fn take(&self, indices: &[usize]) -> Self {
        let take = |numbers: &Vec<u32>| indices.iter().map(|&row| numbers[row]).collect();
        Self { groups: self.groups.as_ref().map(take), times: self.times.as_ref().map(take) }
    }

    /// The folds of a cross-validation, as [`folds`]. `labels` serves messages only.
    pub fn folds(
        &self,
        target: &Target,
        labels: &[String],
        n_folds: usize,
        seed: u64,
    ) -> Result<Vec<Fold>, TableError> {
        match &self.times {
            Some(times) => Times::from_ranks(times.clone()).forward("", n_folds),
            None => folds_of(target, labels, self.groups.as_deref(), n_folds, seed),
        }
    }

    /// Two halves, as [`halves`].
    pub fn halves(&self, target: &Target, seed: u64) -> Result<[Vec<usize>; 2], TableError> {
        match &self.times {
            Some(times) => Times::from_ranks(times.clone()).halves(""),
            None => {
                let fold = folds_of(target, &[], self.groups.as_deref(), 2, seed)?.swap_remove(0);
                Ok([fold.train, fold.validation])
            }
        }
    }

    /// About a tenth of the rows to judge by: the latest where there are times, else whole groups, else at random of each label alike. `None` where rows,
    /// times or groups are too few: nothing would be set aside, less than half would be left to learn from, or a label would be in no group that is.
    pub fn set_aside(&self, target: &Target, seed: u64) -> Option<Fold> {
        let n_rows = target.len();
        let n_judges = (n_rows + 5) / 10;
        let is_fair = |fold: &Fold| !fold.validation.is_empty() && 2 * fold.train.len() >= n_rows;
        if let Some(times) = &self.times {
            let times = Times::from_ranks(times.clone());
            return Some(times.cut(times.first_of(n_rows - n_judges))).filter(is_fair);
        }
        let Some(groups) = &self.groups else {
            return Some(tenth_of_each_label(target, seed)).filter(|fold| !fold.validation.is_empty());
        };
        let n_groups = groups.iter().collect::<PlHashSet<_>>().len();
        let folds = folds_of(target, &[], Some(groups), n_groups.min(10), seed).ok()?;
        let labels = |rows: &[usize]| match target {
            Target::Classes { codes, .. } => rows.iter().map(|&row| codes[row]).collect::<PlHashSet<_>>().len(),
            Target::Values(_) => 1,
        };
        let all_labels = labels(&(0..n_rows).collect::<Vec<_>>());
        let fair = folds.into_iter().filter(|fold| is_fair(fold) && labels(&fold.train) == all_labels);
        fair.min_by_key(|fold| fold.validation.len().abs_diff(n_judges))
    }
}

fn tenth_of_each_label(target: &Target, seed: u64) -> Fold {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    for mut rows in target.rows_by_label() {
        rows.shuffle(&mut rng);
        let n_judges = (rows.len() + 5) / 10;
        validation.extend_from_slice(&rows[..n_judges]);
        train.extend_from_slice(&rows[n_judges..]);
    }
    train.sort_unstable();
    validation.sort_unstable();
    Fold { train, validation }
}

/// Two halves of a table's rows: the earlier and the later ones where it has a time column; else at random, groups whole, each label in both.
pub fn halves(table: &Table, seed: u64) -> Result<[Vec<usize>; 2], TableError> {
    if let Some(field) = table.schema().of_role(Role::Time) {
        return Times::of(table, &field.name)?.halves(&format!(" in `{}`", field.name));
    }
    let fold = folds(table, 2, seed)?.swap_remove(0);
    Ok([fold.train, fold.validation])
}

fn by_group(table: &Table, name: &str, sizes: Sizes, rng: &mut ChaCha8Rng) -> Result<Vec<Part>, TableError> {
    let codes = group_codes(table, name)?;
    let n_groups = codes.iter().max().map_or(0, |&last| last as usize + 1);
    let mut counts = vec![0; n_groups];
    codes.iter().for_each(|&code| counts[code as usize] += 1);
    let mut groups: Vec<usize> = (0..n_groups).collect();
    groups.shuffle(rng);
    let mut part_of = vec![Part::Train; n_groups];
    for (part, size) in [(Part::Test, sizes.test), (Part::Validation, sizes.validation)] {
        let mut filled = 0_usize;
        for &group in &groups {
            // A group goes in where that brings the part nearer to its share.
            if part_of[group] == Part::Train && filled < size && (filled + counts[group]).abs_diff(size) < size - filled
            {
                part_of[group] = part;
                filled += counts[group];
            }
        }
        let smallest =
            groups.iter().copied().filter(|&group| part_of[group] == Part::Train).min_by_key(|&group| counts[group]);
        if let (0, 1.., Some(group)) = (filled, size, smallest) {
            part_of[group] = part;
        }
    }
    if !part_of.contains(&Part::Train) {
        return Err(TableError::new(format!(
            "group column `{name}` has {}, too few for this split",
            counted(n_groups, "group")
        ))
        .help("each part needs a group of its own: give more groups, or set a share to 0"));
    }
    Ok(codes.iter().map(|&code| part_of[code as usize]).collect())
}

/// Each row's group as a number, in the order of first appearance. Fails where a row has none.
pub(crate) fn group_codes(table: &Table, name: &str) -> Result<Vec<u32>, TableError> {
    let column = table.column(name)?;
    match column.is_null().iter().position(|null| null == Some(true)) {
        Some(row) => Err(TableError::new(format!("group column `{name}` is missing in row {}", table.row_number(row)))
            .help("every row needs a group")),
        None => codes(column),
    }
}

/// Each row's value as a number, in the order of first appearance; missing ones are equal to each other.
fn codes(column: &Column) -> Result<Vec<u32>, TableError> {
    let text = crate::kinds::as_text(column)?;
    let mut numbers: PlHashMap<Option<&str>, u32> = PlHashMap::new();
    let code = |value| {
        let next = numbers.len() as u32;
        *numbers.entry(value).or_insert(next)
    };
    Ok(text.iter().map(code).collect())
}

fn by_label(table: &Table, sizes: Sizes, rng: &mut ChaCha8Rng) -> Result<Vec<Part>, TableError> {
    let Target::Classes { codes, n_classes } = table.target()? else {
        return Err(TableError::new("a split can be stratified by labels only, and the target is a number")
            .help("leave out `stratify`"));
    };
    let mut rows = rows_by_code(&codes, n_classes);
    rows.iter_mut().for_each(|rows| rows.shuffle(rng));
    let counts: Vec<usize> = rows.iter().map(Vec::len).collect();
    // A label keeps at least one training row.
    let mut left: Vec<usize> = counts.iter().map(|count| count.saturating_sub(1)).collect();
    let mut assigned = vec![Part::Train; codes.len()];
    for (part, size) in [(Part::Test, sizes.test), (Part::Validation, sizes.validation)] {
        let given = largest_remainders(&counts, size, &left);
        for (label, &n) in given.iter().enumerate() {
            let at = rows[label].len() - n;
            rows[label].drain(at..).for_each(|row| assigned[row] = part);
            left[label] -= n;
        }
    }
    Ok(assigned)
}

/// Divides `size` in proportion to `counts`, at most `caps` each.
fn largest_remainders(counts: &[usize], size: usize, caps: &[usize]) -> Vec<usize> {
    let total: usize = counts.iter().sum();
    let mut given: Vec<usize> =
        counts.iter().zip(caps).map(|(&count, &cap)| (size * count / total.max(1)).min(cap)).collect();
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse((size * counts[at] % total.max(1), counts[at])));
    let mut missing = size - given.iter().sum::<usize>();
    // More than one round only where caps held something back.
    while missing > 0 {
        let before = missing;
        for &at in &order {
            if missing > 0 && given[at] < caps[at] {
                given[at] += 1;
                missing -= 1;
            }
        }
        if missing == before {
            break;
        }
    }
    given
}

/// The folds of a cross-validation over a table's rows: shuffled, with each label's share in every fold, and whole groups where the table has a group
/// column. Where it has a time column, folds learn from the past and judge by what follows.
pub fn folds(table: &Table, n_folds: usize, seed: u64) -> Result<Vec<Fold>, TableError> {
    if let Some(field) = table.schema().of_role(Role::Time) {
        return Times::of(table, &field.name)?.forward(&format!(" in `{}`", field.name), n_folds);
    }
    let groups = table.schema().of_role(Role::Group).map(|field| group_codes(table, &field.name)).transpose()?;
    let labels = match &table.schema().task {
        Some(Task::Classification { labels }) => labels.as_slice(),
        _ => &[],
    };
    folds_of(&table.target()?, labels, groups.as_deref(), n_folds, seed)
}

/// The same from a target and each row's group. `labels` serves messages only.
pub fn folds_of(
    target: &Target,
    labels: &[String],
    groups: Option<&[u32]>,
    n_folds: usize,
    seed: u64,
) -> Result<Vec<Fold>, TableError> {
    refuse_one_fold(n_folds)?;
    let n_rows = target.len();
    if n_rows < n_folds {
        return Err(TableError::new(format!("{n_folds} folds need at least {n_folds} rows; there are {n_rows}"))
            .help("use fewer folds"));
    }
    let one_class = vec![0; n_rows];
    let (codes, n_classes) = match target {
        Target::Classes { codes, n_classes } => (codes.as_slice(), *n_classes),
        Target::Values(_) => (one_class.as_slice(), 1),
    };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let fold_of = match groups {
        None => {
            refuse_rare(codes, n_classes, labels, n_folds)?;
            deal(codes, n_classes, n_folds, &mut rng)
        }
        Some(groups) => deal_groups(codes, n_classes, groups, n_folds, &mut rng)?,
    };
    let fold = |fold| {
        let (validation, train) = (0..n_rows).partition(|&row| fold_of[row] == fold);
        Fold { train, validation }
    };
    Ok((0..n_folds).map(fold).collect())
}

fn refuse_one_fold(n_folds: usize) -> Result<(), TableError> {
    if n_folds >= 2 {
        return Ok(());
    }
    Err(TableError::new(format!("{} cannot validate each other", counted(n_folds, "fold"))).help("use 2 folds or more"))
}

fn refuse_rare(codes: &[u32], n_classes: usize, labels: &[String], n_folds: usize) -> Result<(), TableError> {
    let mut counts = vec![0_usize; n_classes];
    codes.iter().for_each(|&code| counts[code as usize] += 1);
    let mut rare: Vec<usize> =
        (0..n_classes).filter(|&class| n_classes > 1 && (1..n_folds).contains(&counts[class])).collect();
    rare.sort_by_key(|&class| counts[class]);
    let Some(&rarest) = rare.first() else { return Ok(()) };
    let label = |class: usize| labels.get(class).cloned().unwrap_or_else(|| class.to_string());
    let names: Vec<String> = rare[1..].iter().map(|&class| label(class)).collect();
    let others = if names.is_empty() { String::new() } else { format!(", and so have too few: {}", listed(&names)) };
    let way_out = match counts[rarest] {
        1 => "give that label more rows, or leave its rows out".to_owned(),
        count => format!("use {count} folds, give that label more rows, or leave its rows out"),
    };
    Err(TableError::new(format!(
        "{n_folds} folds need at least {n_folds} rows of every label; `{}` has {}{others}",
        label(rarest),
        counts[rarest]
    ))
    .help(way_out))
}

/// Deals each class's rows out in turn, going on where the class before it ended, so that folds differ by one row at most.
fn deal(codes: &[u32], n_classes: usize, n_folds: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut fold_of = vec![0; codes.len()];
    let mut next = 0;
    for mut rows in rows_by_code(codes, n_classes) {
        rows.shuffle(rng);
        for row in rows {
            fold_of[row] = next % n_folds;
            next += 1;
        }
    }
    fold_of
}

/// The largest groups first, each to the fold whose shares of the classes it evens out best (after scikit-learn's StratifiedGroupKFold).
fn deal_groups(
    codes: &[u32],
    n_classes: usize,
    groups: &[u32],
    n_folds: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<usize>, TableError> {
    let mut counts: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for (&group, &code) in groups.iter().zip(codes) {
        counts.entry(group).or_insert_with(|| vec![0.0; n_classes])[code as usize] += 1.0;
    }
    if counts.len() < n_folds {
        return Err(TableError::new(format!(
            "{n_folds} folds need at least {n_folds} groups; there are {}",
            counts.len()
        ))
        .help(format!("use {} folds or fewer", counts.len())));
    }
    let mut totals = vec![0.0; n_classes];
    counts.values().for_each(|group| totals.iter_mut().zip(group).for_each(|(total, count)| *total += count));
    let mut order: Vec<(u32, Vec<f64>)> = counts.into_iter().collect();
    order.shuffle(rng);
    order.sort_by(|(_, a), (_, b)| b.iter().sum::<f64>().total_cmp(&a.iter().sum::<f64>()));
    let mut filled = vec![vec![0.0; n_classes]; n_folds];
    let mut fold_of_group: PlHashMap<u32, usize> = PlHashMap::new();
    for (at, (group, count)) in order.iter().enumerate() {
        // The growth of the sum of squared shares is least where there is least so far; an empty fold goes first while groups are scarce.
        let growth = |fold: usize| -> f64 {
            let shares = filled[fold].iter().zip(count).zip(&totals).filter(|(_, total)| **total > 0.0);
            shares.map(|((have, more), total)| ((have + more).powi(2) - have.powi(2)) / total.powi(2)).sum()
        };
        let empty: Vec<usize> = (0..n_folds).filter(|&fold| filled[fold].iter().sum::<f64>() == 0.0).collect();
        let candidates: Vec<usize> = if order.len() - at <= empty.len() { empty } else { (0..n_folds).collect() };
        let best = candidates.into_iter().min_by(|&a, &b| growth(a).total_cmp(&growth(b))).unwrap_or(0);
        filled[best].iter_mut().zip(count).for_each(|(have, more)| *have += more);
        fold_of_group.insert(*group, best);
    }
    Ok(groups.iter().map(|group| fold_of_group[group]).collect())
}
