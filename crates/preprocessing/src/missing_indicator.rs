//! `missing_indicator`.

use polars::prelude::IntoColumn;
use retune_spec::preprocessing::MissingIndicator;
use retune_stage::{Field, FitContext, Kind, Result};
use serde::{Deserialize, Serialize};

use crate::frame::Frame;
use crate::impute::indicator_name;
use crate::outline::Outline;
use crate::source::Source;
use crate::stats::n_missing;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// The columns that had missing training values.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedMissingIndicator {
    columns: Vec<String>,
}

impl FitStep for MissingIndicator {
    type Fitted = FittedMissingIndicator;
    const KINDS: &'static [Kind] = &Kind::ALL;
    // The columns of `tf_idf` have no missing values.
    const SPARSE: bool = true;

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        let known = columns.iter().filter(|name| Outline::is_closed(std::slice::from_ref(name)));
        known.for_each(|name| outline.add_open(&indicator_name(name), Kind::Boolean));
        Ok(())
    }

    fn fit(
        &self,
        source: &Source,
        columns: &[String],
        _context: &FitContext,
    ) -> Result<Learnt<FittedMissingIndicator>> {
        let (missing, _) = n_missing(source, columns)?;
        let chosen = columns.iter().zip(&missing).filter(|(_, missing)| **missing > 0);
        let columns: Vec<String> = chosen.map(|(name, _)| name.clone()).collect();
        let (n_missing, n_columns) = (missing.iter().sum(), columns.len());
        let text = format!("marked {} in {}", counted(n_missing, "missing value"), counted(n_columns, "column"));
        Ok(Learnt::applied(FittedMissingIndicator { columns }, text))
    }
}

impl ApplyStep for FittedMissingIndicator {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let marked = |name: &String| {
            let field = frame.field(name)?;
            let column = frame.table.column(name)?;
            let indicator = indicator_name(name);
            let missing = column.is_null().with_name(indicator.as_str().into()).into_column();
            let indicator = Field::derived(indicator, Kind::Boolean, field.origin());
            Ok((name.clone(), vec![(field.clone(), column.clone()), (indicator, missing)]))
        };
        frame.replace(self.columns.iter().map(marked).collect::<Result<_>>()?)
    }
}
