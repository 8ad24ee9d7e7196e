//! Feature selection methods, one file each.
//!
//! A method is declared in `retune_spec::feature_selection` and judges columns of numbers by training rows alone ([`Judge`](judge::Judge)): a score,
//! a decision and a reason for each. The methods follow one another, each on the columns that the ones before left. What is learned is the list of the
//! columns that stay; the account of every column goes to the report. To add a method, add a variant in `spec`, a file here, and a line to
//! `judge_of`. Sample weights are not looked at.

mod account;
mod boruta;
mod chi2;
mod choose;
mod correlation;
mod f_test;
mod features;
mod information_value;
mod judge;
mod kruskal_wallis;
mod l1;
mod linear_coefficients;
mod missing_share;
mod moments;
mod mrmr;
mod mutual_information;
mod neighbors;
mod permutation_importance;
mod recursive_elimination;
mod relief_f;
mod sequential;
mod shap_importance;
mod stability;
mod tree_importance;
mod trees;
mod variance_threshold;
mod wrapped;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::{HashMap, HashSet};

use retune_spec::Selector;
use retune_spec::feature_selection::{FeatureSelection, GroupBy, Groups, Keep, Method};
use retune_stage::{
    Fit, FitContext, Fitted, Kind, Level, LoadDir, Result, Role, Rows, SaveDir, Schema, Stage, StageError, Table, Task,
    Ties,
};
use retune_table::{TargetPolicy, conform, listed, select};
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::choose::{Grouped, choose, hold_together};
use crate::features::{Feature, features, refuse_unfit, target};
use crate::judge::{Judge, Judgement, Question, Verdict};

/// The version of what [`FittedFeatureSelection`] writes.
const FORMAT_VERSION: u32 = 1;

/// `uses: feature-selection`, as declared.
#[derive(Clone, Debug)]
pub struct FeatureSelectionStage(pub FeatureSelection);

/// The columns that stay. Rows need no others.
#[derive(Debug)]
pub struct FittedFeatureSelection {
    schema: Schema,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    schema: Schema,
}

impl Stage for FeatureSelectionStage {
    fn check(&self, input: &Schema) -> Result<(), Vec<StageError>> {
        let mut errors = Vec::new();
        let mut chosen = |word: &str, selector: &Option<Selector>| {
            let names = selector.as_ref().map_or(Ok(Vec::new()), |selector| select(input, selector));
            let names = names.map_err(|error| errors.push(StageError::from(error).within(format!("`{word}`"))));
            names.unwrap_or_default().into_iter().collect::<HashSet<_>>()
        };
        let pinned = chosen("always_keep", &self.0.always_keep);
        let banned = chosen("never_keep", &self.0.never_keep);
        let mut both: Vec<&String> = pinned.intersection(&banned).collect();
        both.sort();
        if !both.is_empty() {
            let message = format!("{} chosen by both `always_keep` and `never_keep`", are(&both));
            errors.push(StageError::data(message).help("choose them by one of the two"));
        }
        errors.extend(Kind::ALL.into_iter().filter_map(|kind| not_numbers(input, &banned, kind)));
        if input.features().all(|field| banned.contains(&field.name)) {
            errors.push(no_features(input));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn fit(&self, train: Rows, context: &FitContext) -> Result<Fit> {
        let table = table_of(&train)?;
        self.check(table.schema()).map_err(|mut errors| errors.swap_remove(0))?;
        if table.n_rows() < 2 {
            let message = format!("feature selection needs two training rows, there are {}", table.n_rows());
            return Err(StageError::data(message));
        }
        let mut account = Account::new(table.schema());
        let (banned, mut left) = self.split(table)?;
        account.never_keep(&banned);
        let named = self.named_groups(table)?;
        let target = target(table)?;
        let task = table.schema().task.clone().unwrap_or(Task::Regression);
        let ties = Ties::of(table)?;
        let mut checked = Checked::No;
        for (index, method) in self.0.steps.iter().enumerate() {
            context.progress.check_cancelled()?;
            context.progress.update("methods", index as u64, Some(self.0.steps.len() as u64));
            let place = format!("step {} ({})", index + 1, method.word());
            let judge = judge_of(method);
            checked = checked.up_to(table, &left, judge.takes_missing()).map_err(|error| error.within(&place))?;
            let groups = Grouped::new(&left, |feature| named.as_ref()?.of(feature));
            let question =
                Question { target: &target, task: &task, ties: &ties, groups: &groups, context: context.at(&place) };
            let Judgement { mut verdicts, note } =
                decided(judge, method.word(), &left, &question).map_err(|error| error.within(&place))?;
            for (verdict, _) in verdicts.iter_mut().zip(&left).filter(|(_, feature)| feature.pinned) {
                verdict.kept = true;
                verdict.reason = "listed under `always_keep`".to_owned();
            }
            account.enter(index + 1, method.word(), &left, &verdicts, note);
            refuse_empty(judge, &left, &verdicts).map_err(|error| error.within(&place))?;
            let mut kept = verdicts.iter().map(|verdict| verdict.kept);
            left.retain(|_| kept.next().unwrap_or(false));
        }
        let fitted = FittedFeatureSelection { schema: kept_schema(table.schema(), &left) };
        let train = fitted.choose(table)?;
        Ok(Fit {
            fitted: Box::new(fitted),
            train: Rows::Table(train),
            report: account.report()?,
            chain: None,
            base: None,
        })
    }
}

/// What a method says of columns, with a decision on each.
pub(crate) fn decided(judge: &dyn Judge, word: &str, features: &[Feature], question: &Question) -> Result<Judgement> {
    let groups = question.groups;
    let mut judgement = judge.judge(features, question)?;
    match judge.choice() {
        Some(choice) => {
            if let Some(Keep::Count(count)) = choice.keep
                && count > groups.len()
            {
                let text = format!("{word}: `keep` is {count}, but only {} are left; all are kept", groups.counted());
                question.context.progress.message(Level::Warning, &text);
            }
            choose(&choice, features, groups, &mut judgement.verdicts);
        }
        None => hold_together(features, groups, &mut judgement.verdicts),
    }
    Ok(judgement)
}

/// How far the values of the columns are known to be numbers that methods can work on: looked at once, not for each method.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Checked {
    No,
    Infinite,
    Missing,
}

impl Checked {
    fn up_to(self, table: &Table, features: &[Feature], takes_missing: bool) -> Result<Self> {
        let needed = if takes_missing { Self::Infinite } else { Self::Missing };
        if self < needed {
            refuse_unfit(table, features, needed == Self::Missing)?;
        }
        Ok(self.max(needed))
    }
}

/// The groups that columns belong to by name.
enum NamedGroups {
    Source,
    Named(HashMap<String, String>),
}

impl NamedGroups {
    fn of(&self, feature: &Feature) -> Option<String> {
        match self {
            Self::Source => Some(feature.source.to_owned()),
            Self::Named(groups) => groups.get(feature.name).cloned(),
        }
    }
}

impl FeatureSelectionStage {
    /// The names of the features that `never_keep` chooses, and the others.
    fn split<'a>(&self, table: &'a Table) -> Result<(Vec<String>, Vec<Feature<'a>>)> {
        let chosen = |selector: &Option<Selector>| {
            selector.as_ref().map_or(Ok(Vec::new()), |selector| table.select(selector)).map_err(StageError::from)
        };
        let banned = chosen(&self.0.never_keep)?;
        let features = features(table, &banned, &chosen(&self.0.always_keep)?)?;
        Ok((banned, features))
    }

    /// The group of each column that is in one. A group of no column and a column of two groups are errors.
    fn named_groups(&self, table: &Table) -> Result<Option<NamedGroups>> {
        let named = match &self.0.groups {
            None => return Ok(None),
            Some(Groups::By(GroupBy::Source)) => return Ok(Some(NamedGroups::Source)),
            Some(Groups::Named(named)) => named,
        };
        let mut groups: HashMap<String, String> = HashMap::new();
        for (group, selector) in named {
            let columns = table
                .select(selector)
                .map_err(|error| StageError::from(error).within(format!("group `{group}` of `groups`")))?;
            if columns.is_empty() {
                return Err(StageError::data(format!(
                    "no column belongs to the group `{group}`: `{selector}` chooses none"
                ))
                .help("correct the selector under `groups`, or leave the group out"));
            }
            for column in columns {
                if let Some(other) = groups.insert(column.clone(), group.clone()) {
                    return Err(StageError::data(format!(
                        "column `{column}` belongs to two groups, `{other}` and `{group}`"
                    ))
                    .help("let each column be chosen by one group under `groups`"));
                }
            }
        }
        Ok(Some(NamedGroups::Named(groups)))
    }
}

impl Fitted for FittedFeatureSelection {
    fn kind(&self) -> &'static str {
        "feature-selection"
    }

    fn input(&self) -> &Schema {
        &self.schema
    }

    fn output(&self) -> &Schema {
        &self.schema
    }

    fn apply(&self, rows: Rows) -> Result<Rows> {
        let table = table_of(&rows)?;
        Ok(Rows::Table(conform(table.frame(), &self.schema, TargetPolicy::Optional)?.table))
    }

    fn save(&self, dir: &SaveDir) -> Result<()> {
        dir.json("stage.json", &Saved { version: FORMAT_VERSION, schema: self.schema.clone() })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl FittedFeatureSelection {
    /// Reads what was saved.
    pub fn load(dir: &LoadDir) -> Result<Self> {
        let Saved { version, schema } = dir.json("stage.json")?;
        if version > FORMAT_VERSION {
            let message = format!("the stage has version {version}; this program reads up to {FORMAT_VERSION}");
            return Err(StageError::failed(message).help("use the program that wrote it, or a newer one"));
        }
        Ok(Self { schema })
    }

    /// The names of the features that stay, in their order.
    pub fn kept(&self) -> impl Iterator<Item = &str> {
        self.schema.features().map(|field| field.name.as_str())
    }

    fn choose(&self, table: &Table) -> Result<Table> {
        Ok(Table::new(table.frame().clone(), self.schema.clone())?)
    }
}

pub(crate) fn judge_of(method: &Method) -> &dyn Judge {
    match method {
        Method::MissingShare(method) => method,
        Method::VarianceThreshold(method) => method,
        Method::Correlation(method) => method,
        Method::MutualInformation(method) => method,
        Method::FTest(method) => method,
        Method::Chi2(method) => method,
        Method::KruskalWallis(method) => method,
        Method::InformationValue(method) => method,
        Method::ReliefF(method) => method,
        Method::Mrmr(method) => method,
        Method::L1(method) => method,
        Method::LinearCoefficients(method) => method,
        Method::TreeImportance(method) => method,
        Method::ShapImportance(method) => method,
        Method::PermutationImportance(method) => method,
        Method::RecursiveElimination(method) => method,
        Method::Sequential(method) => method,
        Method::Boruta(method) => method,
        Method::Stability(method) => method,
    }
}

fn table_of(rows: &Rows) -> Result<&Table> {
    match rows {
        Rows::Table(_) | Rows::Pieces(_) => rows.table(),
        Rows::Tensors(_) => Err(StageError::data("feature selection works on a table and was given tensors")
            .help("put `to_tensor` in a preprocessing stage after feature selection")),
    }
}

fn kept_schema(input: &Schema, left: &[Feature]) -> Schema {
    let kept: HashSet<&str> = left.iter().map(|feature| feature.name).collect();
    let stays = |name: &str, role: Role| role != Role::Feature || kept.contains(name);
    let fields = input.fields.iter().filter(|field| stays(&field.name, field.role)).cloned().collect();
    Schema { fields, task: input.task.clone() }
}

/// The mistake of features of a kind that is neither numbers nor booleans.
fn not_numbers(input: &Schema, banned: &HashSet<String>, kind: Kind) -> Option<StageError> {
    let way_out = match kind {
        Kind::Numeric | Kind::Boolean => return None,
        Kind::Categorical => "encode it in a preprocessing stage before: `one_hot` or `target_encode`",
        Kind::Text => "encode it in a preprocessing stage before: `tf_idf`",
        Kind::Datetime | Kind::Image | Kind::Audio => "leave it out: list it under `data.ignore` or `never_keep`",
    };
    let columns = input.features().filter(|field| field.kind == kind && !banned.contains(&field.name));
    let names: Vec<&str> = columns.map(|field| field.name.as_str()).collect();
    let way_out =
        if names.len() == 1 { way_out.to_owned() } else { way_out.replace(" it ", " them ").replace(" it:", " them:") };
    let message = || format!("{} {}; feature selection works on numbers", are(&names), kind.word());
    (!names.is_empty()).then(|| StageError::data(message()).help(way_out))
}

/// ``column `a` is``, ``columns `a` and `b` are``.
fn are<S: AsRef<str>>(names: &[S]) -> String {
    match names {
        [name] => format!("column `{}` is", name.as_ref()),
        _ => format!("columns {} are", listed(names)),
    }
}

fn no_features(input: &Schema) -> StageError {
    match input.features().count() {
        0 => StageError::data("there are no feature columns to choose from"),
        n => StageError::data(format!("`never_keep` drops all {n} feature columns")).help("let it choose fewer"),
    }
}

fn refuse_empty(judge: &dyn Judge, features: &[Feature], verdicts: &[Verdict]) -> Result<()> {
    if verdicts.iter().any(|verdict| verdict.kept) {
        return Ok(());
    }
    let best = verdicts.iter().zip(features).max_by(|(a, _), (b, _)| a.score.total_cmp(&b.score));
    let best = best.map_or_else(String::new, |(verdict, feature)| {
        format!("; the best {} is {}, that of `{}`", judge.score_word(), judge::shown(verdict.score), feature.name)
    });
    let message = format!("no column of {} is left{best}", features.len());
    Err(StageError::data(message).help("loosen the method, or list columns under `always_keep`"))
}
