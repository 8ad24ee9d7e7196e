//! `drop_identifiers`.

use std::collections::HashSet;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher};

use polars::prelude::DataType;
use retune_spec::preprocessing::DropIdentifiers;
use retune_stage::{FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// The columns that go.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedDropIdentifiers {
    dropped: Vec<String>,
}

impl FitStep for DropIdentifiers {
    type Fitted = FittedDropIdentifiers;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Categorical, Kind::Text];

    fn check(&self, _columns: &[String], _outline: &mut Outline) -> Result<()> {
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedDropIdentifiers>> {
        // One column after the other: the digests of several may be more than memory holds.
        let mut shares = Vec::with_capacity(columns.len());
        for name in columns {
            shares.push((name, share_of_distinct(self, source, name)?));
        }
        let found = shares.into_iter().filter_map(|(name, share)| Some((name, share?)));
        let found: Vec<(&String, f64)> = found.filter(|(_, share)| *share >= self.share).collect();
        let listed: Vec<String> =
            found.iter().map(|(name, share)| format!("{name} ({:.1} % distinct)", 100.0 * share)).collect();
        let text = match found.len() {
            0 => "no column identifies rows".to_owned(),
            n => format!("dropped {}: {}", counted(n, "identifier"), retune_table::listed(&listed)),
        };
        let dropped = found.into_iter().map(|(name, _)| name.clone()).collect();
        Ok(Learnt::applied(FittedDropIdentifiers { dropped }, text))
    }
}

impl ApplyStep for FittedDropIdentifiers {
    fn dense_columns(&self) -> &[String] {
        &[]
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        frame.remove(&self.dropped)
    }
}

/// The share of a column's values that are distinct; `None` where it is clear that the column is no identifier.
fn share_of_distinct(step: &DropIdentifiers, source: &Source, name: &String) -> Result<Option<f64>> {
    let numeric = source.field(name)?.kind == Kind::Numeric;
    // The values are told apart by digests of 64 bits: two of 20 million are the same by chance once in 100,000 columns.
    let mut distinct: HashSet<u64, Plain> = HashSet::with_hasher(Plain);
    let (mut n, mut codes) = (0, Codes::default());
    // So many values may be no first ones.
    let spare = (1.0 - step.share) * source.n_rows() as f64;
    let columns = std::slice::from_ref(name);
    let map = |frame: &Frame| {
        if numeric { numbers(frame, name) } else { texts(frame, name).map(|digests| (digests, Codes::default())) }
    };
    source.fold(columns, map, |(digests, piece): (Vec<u64>, Codes)| {
        n += digests.len();
        codes.add(&piece);
        if (n - distinct.len()) as f64 <= spare + digests.len() as f64 {
            distinct.extend(digests);
        }
        Ok(())
    })?;
    let possible = n >= step.min_rows && (!numeric || codes.like_identifiers(n));
    Ok(possible.then(|| distinct.len() as f64 / n as f64))
}

/// Digests are hashed already.
#[derive(Clone, Copy, Default)]
struct Plain;

impl BuildHasher for Plain {
    type Hasher = PlainHasher;

    fn build_hasher(&self) -> PlainHasher {
        PlainHasher(0)
    }
}

struct PlainHasher(u64);

impl Hasher for PlainHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0 << 8 ^ u64::from(*byte));
    }

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }
}

fn digest(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn texts(frame: &Frame, name: &str) -> Result<Vec<u64>> {
    Ok(frame.table.strings(name)?.iter().flatten().map(digest).collect())
}

fn numbers(frame: &Frame, name: &str) -> Result<(Vec<u64>, Codes)> {
    let column = frame.table.column(name)?.drop_nulls();
    let failed = |error: polars::error::PolarsError| StageError::failed(error.to_string());
    let values: Vec<f64> =
        column.cast(&DataType::Float64).map_err(failed)?.f64().map_err(failed)?.iter().flatten().collect();
    let codes = Codes::of(&values);
    // No identifier: its values need not be told apart.
    let digests =
        if codes.whole { values.iter().map(|value| digest(value.to_bits())).collect() } else { vec![0; values.len()] };
    Ok((digests, codes))
}

/// What tells whole numbers that identify from those that count something.
#[derive(Clone, Debug)]
struct Codes {
    whole: bool,
    ascending: bool,
    descending: bool,
    /// The first and the last value.
    ends: Option<[f64; 2]>,
    /// The least and the greatest.
    range: [f64; 2],
}

impl Default for Codes {
    fn default() -> Self {
        Self { whole: true, ascending: true, descending: true, ends: None, range: [f64::INFINITY, f64::NEG_INFINITY] }
    }
}

impl Codes {
    fn of(values: &[f64]) -> Self {
        let (Some(first), Some(last)) = (values.first(), values.last()) else { return Self::default() };
        Self {
            whole: values.iter().all(|value| value.fract() == 0.0),
            ascending: values.is_sorted_by(|one, other| one < other),
            descending: values.is_sorted_by(|one, other| one > other),
            ends: Some([*first, *last]),
            range: values
                .iter()
                .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(*value), high.max(*value)]),
        }
    }

    /// Those of these values and the others after them.
    fn add(&mut self, other: &Self) {
        let Some([first, last]) = other.ends else { return };
        self.whole &= other.whole;
        self.ascending &= other.ascending && self.ends.is_none_or(|[_, end]| end < first);
        self.descending &= other.descending && self.ends.is_none_or(|[_, end]| end > first);
        self.ends = Some([self.ends.map_or(first, |[first, _]| first), last]);
        self.range = [self.range[0].min(other.range[0]), self.range[1].max(other.range[1])];
    }

    /// Whether they are whole and either count up or down with the rows or fill half of their range. Amounts are whole and distinct too, but do neither.
    fn like_identifiers(&self, n: usize) -> bool {
        let [low, high] = self.range;
        self.whole && (self.ascending || self.descending || high - low < 2.0 * n as f64)
    }
}
