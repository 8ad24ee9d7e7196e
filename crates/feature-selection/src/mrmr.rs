//! `mrmr`: keeps columns that tell of the target and do not repeat each other.

use rayon::prelude::*;
use retune_spec::feature_selection::{Keep, Mrmr, MrmrMeasure, MrmrScheme};
use retune_stage::{Level, Result, StageError, Target};
use retune_table::numbers::sum;

use crate::f_test::{Against, is_constant, products};
use crate::features::{Feature, Number, Stored};
use crate::information_value::Bins;
use crate::judge::{Judge, Judgement, Question, Verdict, best_first, shown};

/// A quotient's redundancy counts as at least so much, so that one that is 0 by chance does not outweigh everything.
const LEAST_REDUNDANCY: f64 = 1e-3;

/// The score of a column is that of the last choice that it stood in. Columns of `always_keep` are chosen first, and a group as a whole.
impl Judge for Mrmr {
    fn score_word(&self) -> &'static str {
        "score"
    }

    fn judge(&self, features: &[Feature], question: &Question) -> Result<Judgement> {
        if let Keep::Count(count) = self.keep
            && count > question.groups.len()
        {
            let text =
                format!("mrmr: `keep` is {count}, but only {} are left; all are kept", question.groups.counted());
            question.context.progress.message(Level::Warning, &text);
        }
        match self.measure {
            MrmrMeasure::MutualInformation if self.bins <= 256 => {
                choose(self, &Binned::<u8>::new(features, self.bins, question)?, features, question)
            }
            MrmrMeasure::MutualInformation => {
                choose(self, &Binned::<u16>::new(features, self.bins, question)?, features, question)
            }
            MrmrMeasure::FTest => choose(self, &Tests::new(features, question)?, features, question),
        }
    }
}

/// What columns tell of the target and of each other.
trait Measure: Sync {
    /// How much each column tells of the target.
    fn relevance(&self) -> &[f64];

    /// How much each of some columns repeats of another.
    fn redundancy(&self, of: &[usize], other: usize) -> Result<Vec<f64>>;

    /// Both in words.
    fn said(relevance: f64, redundancy: f64) -> String;
}

fn choose<M: Measure>(method: &Mrmr, measure: &M, features: &[Feature], question: &Question) -> Result<Judgement> {
    let Question { groups, context, .. } = question;
    let keep = method.keep.count(groups.len());
    let mut chosen = Chosen::new(features.len());
    for at in best_first(measure.relevance()) {
        if features[at].pinned && chosen.places[at].is_none() {
            chosen.join(|other| groups.group_of(other) == groups.group_of(at));
            chosen.compare(measure, method.scheme, question)?;
        }
    }
    chosen.compare(measure, method.scheme, question)?;
    while chosen.n_groups < keep {
        context.progress.update("columns", chosen.n_groups as u64, Some(keep as u64));
        let Some(best) = chosen.best(measure.relevance()) else { break };
        chosen.join(|other| groups.group_of(other) == groups.group_of(best));
        if chosen.n_groups < keep {
            chosen.compare(measure, method.scheme, question)?;
        }
    }
    let verdict = |at: usize| {
        let said = M::said(measure.relevance()[at], chosen.redundancy(at));
        let reason = match chosen.places[at] {
            Some(place) => format!("chosen as number {place}: {said}"),
            None => format!("not chosen: {said}"),
        };
        Verdict { kept: chosen.places[at].is_some(), ..Verdict::scored(chosen.scores[at], reason) }
    };
    Ok((0..features.len()).map(verdict).collect::<Vec<_>>().into())
}

/// How far choosing is.
struct Chosen {
    /// As what number each column was chosen.
    places: Vec<Option<usize>>,
    n_groups: usize,
    /// Columns chosen that the others have not been compared with, and the number of those they have.
    new: Vec<usize>,
    n_compared: usize,
    /// The columns that are not chosen, in their order.
    left: Vec<usize>,
    /// The sum of what each column repeats of those chosen, as long as it stood to be chosen, and the number of those.
    repeated: Vec<(f64, usize)>,
    scores: Vec<f64>,
}

impl Chosen {
    fn new(n: usize) -> Self {
        Self {
            places: vec![None; n],
            n_groups: 0,
            new: Vec::new(),
            n_compared: 0,
            left: (0..n).collect(),
            repeated: vec![(0.0, 0); n],
            scores: vec![0.0; n],
        }
    }

    /// The mean of what a column repeats of those chosen before.
    fn redundancy(&self, at: usize) -> f64 {
        let (sum, count) = self.repeated[at];
        if count > 0 { sum / count as f64 } else { 0.0 }
    }

    /// Of equal ones the first. A column that tells nothing, such as a constant one, repeats nothing either; it is chosen last.
    fn best(&self, relevance: &[f64]) -> Option<usize> {
        let merit = |at: usize| (relevance[at] > 0.0, self.scores[at]);
        self.left.iter().copied().reduce(|best, at| if merit(at) > merit(best) { at } else { best })
    }

    /// Chooses columns that belong together.
    fn join(&mut self, belongs: impl Fn(usize) -> bool) {
        self.n_groups += 1;
        let (joined, left): (Vec<usize>, Vec<usize>) = self.left.iter().partition(|&&other| belongs(other));
        self.left = left;
        for &other in &joined {
            self.places[other] = Some(self.n_groups);
        }
        self.new.extend(joined);
    }

    /// Takes off from those left what they repeat of those that joined.
    fn compare<M: Measure>(&mut self, measure: &M, scheme: MrmrScheme, question: &Question) -> Result<()> {
        for other in std::mem::take(&mut self.new) {
            question.context.progress.check_cancelled()?;
            self.n_compared += 1;
            for (&at, repeats) in self.left.iter().zip(measure.redundancy(&self.left, other)?) {
                self.repeated[at] = (self.repeated[at].0 + repeats, self.n_compared);
            }
        }
        for &at in &self.left {
            let (relevance, redundancy) = (measure.relevance()[at], self.redundancy(at));
            self.scores[at] = match scheme {
                _ if self.n_compared == 0 => relevance,
                MrmrScheme::Difference => relevance - redundancy,
                MrmrScheme::Quotient => (relevance / redundancy.max(LEAST_REDUNDANCY)).min(f64::MAX),
            };
        }
        Ok(())
    }
}

/// The number of a bin or label.
trait Code: Copy + Send + Sync {
    fn of(bin: usize) -> Self;
    fn at(self) -> usize;
}

macro_rules! codes {
    ($($type:ty)*) => {$(
        impl Code for $type {
            fn of(bin: usize) -> Self {
                bin as Self
            }
            fn at(self) -> usize {
                self as usize
            }
        }
    )*};
}

codes!(u8 u16 u32);

/// Columns cut into bins, which take an eighth or a quarter of the memory of numbers.
struct Binned<C> {
    columns: Vec<Codes<C>>,
    relevance: Vec<f64>,
}

struct Codes<C> {
    codes: Vec<C>,
    n_codes: usize,
}

impl<C: Code> Codes<C> {
    fn of<T: Number>(values: &[T], n_bins: usize) -> Self {
        let bins = Bins::of(values, n_bins);
        Self { codes: values.iter().map(|&value| C::of(bins.bin(value.into()))).collect(), n_codes: bins.len() }
    }
}

impl<C: Code> Binned<C> {
    fn new(features: &[Feature], n_bins: usize, question: &Question) -> Result<Self> {
        let target = match question.target {
            Target::Classes { codes, n_classes } => Codes { codes: codes.clone(), n_codes: *n_classes },
            Target::Values(values) => Codes::<u32>::of(values, n_bins),
        };
        let binned = |feature: &Feature| {
            question.context.progress.check_cancelled()?;
            let column = match feature.stored()? {
                Stored::F64(values) => Codes::of(&values, n_bins),
                Stored::F32(values) => Codes::of(&values, n_bins),
            };
            let relevance = mutual_information(&column, &target);
            Ok((column, relevance))
        };
        let (columns, relevance) = features.par_iter().map(binned).collect::<Result<Vec<_>>>()?.into_iter().unzip();
        Ok(Self { columns, relevance })
    }
}

impl<C: Code> Measure for Binned<C> {
    fn relevance(&self) -> &[f64] {
        &self.relevance
    }

    fn redundancy(&self, of: &[usize], other: usize) -> Result<Vec<f64>> {
        let other = &self.columns[other];
        Ok(of.par_iter().map(|&at| mutual_information(&self.columns[at], other)).collect())
    }

    fn said(relevance: f64, redundancy: f64) -> String {
        let (relevance, redundancy) = (shown(relevance), shown(redundancy));
        format!("tells {relevance} nats of the target, repeats {redundancy} on average of those chosen before")
    }
}

/// In nats.
fn mutual_information<A: Code, B: Code>(a: &Codes<A>, b: &Codes<B>) -> f64 {
    // Four lanes, so that the processor need not wait for each addition.
    let mut cells = vec![[0_u32; 4]; a.n_codes * b.n_codes];
    for (a_codes, b_codes) in a.codes.chunks(4).zip(b.codes.chunks(4)) {
        for (lane, (a, other)) in a_codes.iter().zip(b_codes).enumerate() {
            cells[a.at() * b.n_codes + other.at()][lane] += 1;
        }
    }
    let cells: Vec<f64> = cells.iter().map(|lanes| lanes.iter().map(|&lane| f64::from(lane)).sum()).collect();
    let rows: Vec<f64> = cells.chunks(b.n_codes).map(|row| row.iter().sum()).collect();
    let mut columns = vec![0.0; b.n_codes];
    for row in cells.chunks(b.n_codes) {
        columns.iter_mut().zip(row).for_each(|(column, cell)| *column += cell);
    }
    let n = a.codes.len() as f64;
    let of_row = |(row, total): (&[f64], &f64)| {
        let cells = row.iter().zip(&columns).filter(|(cell, _)| **cell > 0.0);
        cells.map(|(cell, column)| cell / n * (cell / total * (n / column)).ln()).sum::<f64>()
    };
    cells.chunks(b.n_codes).zip(&rows).map(of_row).sum::<f64>().max(0.0)
}

/// Columns as they are.
struct Tests<'a> {
    features: &'a [Feature<'a>],
    /// `None` for constant columns, which correlate with nothing.
    means: Vec<Option<f64>>,
    relevance: Vec<f64>,
}

impl<'a> Tests<'a> {
    fn new(features: &'a [Feature<'a>], question: &Question) -> Result<Self> {
        let against = Against::new(question.target);
        let told = |feature: &Feature| {
            question.context.progress.check_cancelled()?;
            let values = feature.numbers()?;
            let mean = || sum(&values, |value| value) / values.len() as f64;
            Ok(((!is_constant(&values)).then(mean), against.f(&values)))
        };
        let (means, relevance) = features.par_iter().map(told).collect::<Result<Vec<_>>>()?.into_iter().unzip();
        Ok(Self { features, means, relevance })
    }
}

impl Measure for Tests<'_> {
    fn relevance(&self) -> &[f64] {
        &self.relevance
    }

    /// Absolute correlations.
    fn redundancy(&self, of: &[usize], other: usize) -> Result<Vec<f64>> {
        let Some(mean) = self.means[other] else { return Ok(vec![0.0; of.len()]) };
        let other: Vec<f64> = self.features[other].numbers()?.iter().map(|value| value - mean).collect();
        let scatter = sum(&other, |value| value * value);
        let correlation = |&at: &usize| {
            let Some(mean) = self.means[at] else { return Ok(0.0) };
            let [product, own] = products(&self.features[at].numbers()?, mean, &other);
            let correlation = (product / own.sqrt() / scatter.sqrt()).abs();
            Ok::<_, StageError>(if correlation.is_nan() { 0.0 } else { correlation.min(1.0) })
        };
        of.par_iter().map(correlation).collect()
    }

    fn said(relevance: f64, redundancy: f64) -> String {
        let (relevance, redundancy) = (shown(relevance), shown(redundancy));
        format!("F of the target is {relevance}, the mean absolute correlation with those chosen before {redundancy}")
    }
}
