//! `smote`.

use polars::prelude::{BooleanChunked, IntoColumn, NewChunkedArray};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use retune_spec::preprocessing::Smote;
use retune_stage::{Field, FitContext, Kind, Result, StageError};
use retune_table::neighbours::{Nearest, Neighbours};
use serde::{Deserialize, Serialize};

use crate::balance::{self, Labels, Way};
use crate::frame::{Frame, numeric_column};
use crate::neighbours::matrix;
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, Train, counted};

/// Nothing is learned: only training rows are added.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedSmote {
    /// Dense in training rows by then, and so in all others.
    columns: Vec<String>,
}

/// A row between two others.
struct Between {
    row: usize,
    neighbour: usize,
    /// How far it is on the way from the row to the neighbour.
    share: f64,
}

impl FitStep for Smote {
    type Fitted = FittedSmote;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Boolean];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        balance::check(outline, Some(self.sampling))?;
        if Outline::is_closed(columns) && columns.is_empty() {
            return Err(StageError::data("there are no features to put rows between").help("use `random_over_sample`"));
        }
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], context: &FitContext) -> Result<Learnt<FittedSmote>> {
        let frame = source.frame()?;
        let labels = Labels::of(source)?;
        let wanted = labels.wanted(self.sampling, Way::Over)?;
        columns.iter().try_for_each(|name| frame.complete(name).map(|_| ()))?;
        let cells = matrix(frame, columns)?;
        let mut rng = ChaCha8Rng::seed_from_u64(context.seed.0);
        let mut added = Vec::new();
        for (label, &wanted) in wanted.iter().enumerate().filter(|(label, wanted)| **wanted > labels.counts[*label]) {
            let own = labels.rows_of(label);
            if own.len() < 2 {
                let (name, help) = (labels.name(label), "use `random_over_sample`, which repeats rows");
                let message = format!("label `{name}` has 1 training row, which has no neighbour of its label");
                return Err(StageError::data(message).help(help));
            }
            let neighbours = neighbours(&cells, columns.len(), &own, self.neighbours);
            let n_neighbours = self.neighbours.min(own.len() - 1);
            added.extend((own.len()..wanted).map(|_| {
                let place = rng.random_range(0..own.len());
                let neighbour = neighbours[place].found()[rng.random_range(0..n_neighbours)].1;
                Between { row: own[place], neighbour: own[neighbour], share: rng.random() }
            }));
        }
        let text = format!(
            "added {} between those of {}",
            counted(added.len(), "training row"),
            counted(labels.n_changed(&wanted), "label")
        );
        let fitted = FittedSmote { columns: columns.to_vec() };
        let train = Train::Frame(with_added(frame, columns, &cells, &added)?);
        Ok(Learnt::new(fitted, train, text))
    }
}

impl ApplyStep for FittedSmote {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        Ok(frame.clone())
    }
}

/// The neighbours of each of some rows among themselves, by their places in `own`.
fn neighbours(cells: &[f64], n_columns: usize, own: &[usize], wanted: usize) -> Vec<Nearest> {
    let rows = own.iter().flat_map(|row| &cells[row * n_columns..(row + 1) * n_columns]).copied().collect();
    let rows = Neighbours::complete(rows, n_columns);
    let start = |place: usize| (place, Nearest::new(wanted));
    let found = rows.search(rows.rows(), start, |(own, nearest), place, distance| {
        if *own != place {
            nearest.offer(place, distance);
        }
        nearest.far()
    });
    found.into_iter().map(|(_, nearest)| nearest).collect()
}

/// The rows, and below them those between.
fn with_added(frame: &Frame, columns: &[String], cells: &[f64], added: &[Between]) -> Result<Frame> {
    let n_rows = frame.n_rows();
    let rows: Vec<usize> = (0..n_rows).chain(added.iter().map(|between| between.row)).collect();
    let frame = frame.take(&rows)?;
    let replaced = |(index, name): (usize, &String)| {
        let cell = |row: usize| cells[row * columns.len() + index];
        let between =
            |between: &Between| cell(between.row) + between.share * (cell(between.neighbour) - cell(between.row));
        let values = (0..n_rows).map(cell).chain(added.iter().map(between));
        let field = frame.field(name)?.clone();
        Ok((
            name.clone(),
            vec![match field.kind {
                Kind::Boolean => {
                    // The sum of 0 and 1 in shares, rounded: that of the nearer one.
                    let values = values.map(|value| value >= 0.5);
                    (field, BooleanChunked::from_iter_values(name.as_str().into(), values).into_column())
                }
                _ => (Field { kind: Kind::Numeric, ..field }, numeric_column(name, values.collect())),
            }],
        ))
    };
    let replaced = columns.par_iter().enumerate().map(replaced).collect::<Result<_>>()?;
    frame.replace(replaced)
}
