//! Table builders and checks shared by the tests. Everything here panics where it cannot do what a test asks for.
//!
//! ```
//! use retune_testing::table;
//! let people = table([("age", [41.0, 23.0].into()), ("city", ["Lyon", "Oslo"].into())]).target("city").build();
//! assert_eq!(people.schema().features().count(), 1);
//! ```

#![allow(clippy::expect_used, clippy::panic, clippy::needless_pass_by_value)]

pub mod conformance;
mod file;

pub use file::file;
use polars::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retune_spec::schema::{Field, Kind, Role, Schema as Columns, Task};
use retune_stage::{Fitted, LoadDir, Result, SaveDir, Table};
use retune_store::{Artifact, ArtifactWriter};

/// The values of a column: arrays or vectors of numbers, text or booleans, optional where some are missing.
pub struct Values(Series, Kind);

macro_rules! values {
    ($($item:ty => $kind:ident),*) => {$(
        impl<const N: usize> From<[$item; N]> for Values {
            fn from(values: [$item; N]) -> Self {
                values.to_vec().into()
            }
        }

        impl From<Vec<$item>> for Values {
            fn from(values: Vec<$item>) -> Self {
                Self(Series::new("".into(), values), Kind::$kind)
            }
        }
    )*};
}

values!(
    f64 => Numeric, Option<f64> => Numeric, i64 => Numeric, Option<i64> => Numeric, bool => Boolean, Option<bool> => Boolean,
    &str => Categorical, Option<&str> => Categorical, String => Categorical
);

/// A table of features; the builder's methods give other roles and kinds.
pub fn table<'a>(columns: impl IntoIterator<Item = (&'a str, Values)>) -> TableBuilder {
    TableBuilder::new(columns.into_iter().map(|(name, values)| (name.to_owned(), values)).collect())
}

/// A table on its way.
#[derive(Clone)]
pub struct TableBuilder {
    columns: Vec<Column>,
    fields: Vec<Field>,
    labels: Option<Vec<String>>,
}

impl TableBuilder {
    fn new(columns: Vec<(String, Values)>) -> Self {
        let mut builder = Self { columns: Vec::new(), fields: Vec::new(), labels: None };
        for (name, Values(series, kind)) in columns {
            builder.columns.push(series.with_name(name.as_str().into()).into_column());
            builder.fields.push(Field::feature(name, kind));
        }
        builder
    }

    fn at(&self, name: &str) -> usize {
        self.fields.iter().position(|field| field.name == name).unwrap_or_else(|| panic!("no column `{name}`"))
    }

    /// Gives a column a role.
    #[must_use]
    pub fn role(mut self, name: &str, role: Role) -> Self {
        let at = self.at(name);
        self.fields[at].role = role;
        self
    }

    /// Gives a column a kind.
    #[must_use]
    pub fn kind(mut self, name: &str, kind: Kind) -> Self {
        let at = self.at(name);
        self.fields[at].kind = kind;
        self
    }

    /// A column of free text.
    #[must_use]
    pub fn text(self, name: &str) -> Self {
        self.kind(name, Kind::Text)
    }

    /// The column to predict: labels where it is text, else values.
    #[must_use]
    pub fn target(self, name: &str) -> Self {
        self.role(name, Role::Target)
    }

    /// The labels of the task, where they are more than those of the rows.
    #[must_use]
    pub fn labels<const N: usize>(mut self, labels: [&str; N]) -> Self {
        self.labels = Some(labels.map(str::to_owned).to_vec());
        self
    }

    /// The table, with row numbers.
    pub fn build(mut self) -> Table {
        let height = self.columns.first().map_or(0, Column::len);
        let target = self.fields.iter().position(|field| field.role == Role::Target);
        let task = target.map(|at| match self.columns[at].str() {
            Ok(values) => {
                let mut labels: Vec<String> = values.iter().flatten().map(str::to_owned).collect();
                labels.sort();
                labels.dedup();
                Task::Classification { labels: self.labels.take().unwrap_or(labels) }
            }
            Err(_) => Task::Regression,
        });
        if let (Some(at), Some(Task::Regression)) = (target, &task) {
            self.columns[at] = self.columns[at].cast(&DataType::Float64).expect("a target of numbers");
        }
        let rows = UInt32Chunked::from_vec(Columns::ROW.into(), (1..=height as u32).collect());
        self.columns.insert(0, rows.into_column());
        self.fields.insert(
            0,
            Field { name: Columns::ROW.to_owned(), role: Role::RowNumber, kind: Kind::Numeric, source: None },
        );
        let frame = DataFrame::new(height, self.columns).expect("columns of one length");
        Table::new(frame, Columns { fields: self.fields, task }).expect("a sound table")
    }
}

/// `n` rows in `classes` round clouds in `d` dimensions, features `x0` ..., target `label` of the letters `a` ...; the rows of a class are spread evenly.
pub fn classification(n: usize, d: usize, classes: usize, seed: u64) -> Table {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let centres: Vec<Vec<f64>> = (0..classes).map(|_| (0..d).map(|_| 3.0 * normal(&mut rng)).collect()).collect();
    let labels: Vec<String> = (0..n).map(|row| char::from(b'a' + (row % classes) as u8).to_string()).collect();
    let mut columns: Vec<(String, Values)> = (0..d)
        .map(|at| {
            (
                format!("x{at}"),
                (0..n).map(|row| centres[row % classes][at] + normal(&mut rng)).collect::<Vec<f64>>().into(),
            )
        })
        .collect();
    columns.push(("label".to_owned(), labels.into()));
    TableBuilder::new(columns).target("label").build()
}

/// `n` rows of `d` normal features `x0` ... and the target `y`: their sum, each times its number (from 1), plus noise of deviation 0.1.
pub fn regression(n: usize, d: usize, seed: u64) -> Table {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let features: Vec<Vec<f64>> = (0..d).map(|_| (0..n).map(|_| normal(&mut rng)).collect()).collect();
    let value = |row: usize, noise: f64| {
        features.iter().enumerate().map(|(at, column)| (at + 1) as f64 * column[row]).sum::<f64>() + 0.1 * noise
    };
    let target: Vec<f64> = (0..n).map(|row| value(row, normal(&mut rng))).collect();
    let mut columns: Vec<(String, Values)> =
        features.iter().enumerate().map(|(at, column)| (format!("x{at}"), column.clone().into())).collect();
    columns.push(("y".to_owned(), target.into()));
    TableBuilder::new(columns).target("y").build()
}

/// A standard normal number (Box and Muller, 1958).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (radius, angle): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// Saves a fitted stage to an artifact of its own and loads it again.
pub fn round_trip<T>(fitted: &dyn Fitted, load: impl FnOnce(&LoadDir) -> Result<T>) -> Result<T> {
    let folder = tempfile::tempdir()?;
    let target = folder.path().join("artifact");
    let writer = ArtifactWriter::beside(&target)?;
    fitted.save(&SaveDir::new(&writer))?;
    writer.publish_at(&target, fitted.kind(), 1, serde_json::json!({}))?;
    load(&LoadDir::new(&Artifact::open(&target)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builders_make_what_they_say() {
        let clouds = classification(30, 4, 3, 1);
        assert_eq!((clouds.n_rows(), clouds.schema().features().count()), (30, 4));
        assert_eq!(
            clouds.schema().task,
            Some(Task::Classification { labels: ["a", "b", "c"].map(str::to_owned).to_vec() })
        );
        assert_eq!(clouds.frame(), classification(30, 4, 3, 1).frame());
        assert_ne!(clouds.frame(), classification(30, 4, 3, 2).frame());
        let line = regression(50, 2, 1);
        let (x, y) = (line.features().expect("numbers").0, line.target().expect("a target"));
        let retune_stage::Target::Values(y) = y else { panic!("values") };
        assert!((0..50).all(|row| (y[row] - x[[row, 0]] - 2.0 * x[[row, 1]]).abs() < 0.5));
    }
}
