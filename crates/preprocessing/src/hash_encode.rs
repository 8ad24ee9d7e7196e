//! `hash_encode`.

use std::sync::Arc;

use rayon::prelude::*;
use retune_spec::preprocessing::HashEncode;
use retune_stage::{Field, FitContext, Kind, Result, Role};
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, Names, SparseBlock, common_origin};
use crate::hashing::Hashing;
use crate::levels::Levels;
use crate::outline::Outline;
use crate::projection::component_names;
use crate::source::Source;
use crate::sparse::Csr;
use crate::step::{ApplyStep, FitStep, Learnt, counted};
use crate::terms::{BLOCK, Tally};

/// How levels are hashed; nothing is learned but the names that are free.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedHashEncode {
    columns: Vec<String>,
    names: Vec<String>,
    origin: Option<String>,
    hashing: Hashing,
}

/// What the level of each row of a column adds: an index into the places, of which a missing value has none.
struct Hashed {
    codes: Vec<u32>,
    places: Vec<(u32, f64)>,
}

impl FitStep for HashEncode {
    type Fitted = FittedHashEncode;
    const KINDS: &'static [Kind] = &[Kind::Categorical, Kind::Boolean, Kind::Text];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        outline.remove(columns);
        outline.add_open(&format!("{}_", self.prefix), Kind::Numeric);
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedHashEncode>> {
        let schema = source.schema();
        let mut taken = Names::of(&schema);
        let fitted = FittedHashEncode {
            columns: columns.to_vec(),
            names: component_names(&self.prefix, self.n_features).into_iter().map(|name| taken.fresh(name)).collect(),
            origin: common_origin(&schema, columns),
            hashing: Hashing { n_features: self.n_features, alternate_sign: self.alternate_sign },
        };
        let text = format!("hashed {} into {}", counted(columns.len(), "column"), self.n_features);
        Ok(Learnt::applied(fitted, text))
    }
}

impl ApplyStep for FittedHashEncode {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let columns: Vec<Hashed> = self.columns.par_iter().map(|name| self.hash(frame, name)).collect::<Result<_>>()?;
        let rows: Vec<usize> = (0..frame.n_rows()).collect();
        let block = |rows: &[usize]| {
            let (mut matrix, mut tally) = (Csr::empty(self.names.len()), Tally::default());
            for &row in rows {
                let places = columns.iter().filter_map(|column| column.places.get(column.codes[row] as usize));
                places.for_each(|&(place, value)| tally.add(place, value));
                matrix.push_row(tally.sums().iter().copied());
                tally.clear();
            }
            matrix
        };
        let matrix = Csr::stacked(self.names.len(), rows.par_chunks(BLOCK).map(block).collect());
        let field = |name: &String| Field {
            name: name.clone(),
            role: Role::Feature,
            kind: Kind::Numeric,
            source: self.origin.clone(),
        };
        let mut hashed = frame.remove(&self.columns)?;
        hashed.sparse.push(Arc::new(SparseBlock { fields: self.names.iter().map(field).collect(), matrix }));
        Ok(hashed)
    }
}

impl FittedHashEncode {
    fn hash(&self, frame: &Frame, name: &str) -> Result<Hashed> {
        let (levels, codes) = Levels::learn(&frame.levels(name)?);
        let places = levels.names().iter().map(|level| self.hashing.place(&format!("{name}={level}"))).collect();
        Ok(Hashed { codes, places })
    }
}
