//! `derive`.

use polars::prelude::{BooleanChunked, Column, IntoColumn, NewChunkedArray, StringChunked};
use retune_spec::preprocessing::Derive;
use retune_stage::{Field, FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::evaluate::{Formula, Type, Values};
use crate::frame::{Frame, common_origin, numeric_column};
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// The expressions; there is nothing else to learn.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedDerive {
    /// The columns of the rows that the expressions need.
    columns: Vec<String>,
    made: Vec<Made>,
}

#[derive(Serialize, Deserialize)]
struct Made {
    name: String,
    formula: Formula,
    /// The source column, where there is only one.
    origin: Option<String>,
}

impl FitStep for Derive {
    type Fitted = FittedDerive;
    const KINDS: &'static [Kind] = &Kind::ALL;
    // The columns that the expressions need are made dense, no others.
    const SPARSE: bool = true;

    fn check(&self, _columns: &[String], outline: &mut Outline) -> Result<()> {
        for (name, text) in &self.columns {
            let place = |error: StageError| error.within(format!("`{name}`"));
            if name.trim().is_empty() || name.starts_with('#') {
                return Err(StageError::data(format!("`{name}` is no name for a column"))
                    .help("give the new column another name"));
            }
            let kind = match Formula::parse(text).map_err(place)?.type_in(outline).map_err(place)? {
                // What open columns hold only the data know.
                None | Some(Type::Number) => Kind::Numeric,
                Some(Type::Boolean) => Kind::Boolean,
                Some(Type::Text) => Kind::Categorical,
                Some(other) => {
                    return Err(place(
                        StageError::data(format!("`{text}` gives {}", other.word()))
                            .help("a new column holds numbers, true and false, or levels"),
                    ));
                }
            };
            outline.add(name.clone(), kind)?;
        }
        Ok(())
    }

    fn fit(&self, source: &Source, _columns: &[String], _context: &FitContext) -> Result<Learnt<FittedDerive>> {
        let schema = source.schema();
        let (mut columns, mut made): (Vec<String>, Vec<Made>) = (Vec::new(), Vec::new());
        for (name, text) in &self.columns {
            let formula = Formula::parse(text)?;
            let named = formula.columns();
            let needed: Vec<String> = named.iter().filter(|name| !self.columns.contains_key(*name)).cloned().collect();
            let origin = if needed.len() == named.len() { common_origin(&schema, &needed) } else { None };
            needed.into_iter().for_each(|name| {
                if !columns.contains(&name) {
                    columns.push(name);
                }
            });
            made.push(Made { name: name.clone(), formula, origin });
        }
        let text = format!("computed {}", counted(made.len(), "column"));
        Ok(Learnt::applied(FittedDerive { columns, made }, text))
    }
}

impl ApplyStep for FittedDerive {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        // One after the other: an expression may name the columns before it.
        self.made.iter().try_fold(frame.clone(), |frame, made| {
            let (kind, column) = column(&made.name, made.formula.evaluate(&frame)?)?;
            let field = Field { source: made.origin.clone(), ..Field::feature(&made.name, kind) };
            frame.append(vec![(field, column)])
        })
    }
}

fn column(name: &str, values: Values) -> Result<(Kind, Column)> {
    Ok(match values {
        Values::Numbers(values) => (Kind::Numeric, numeric_column(name, values)),
        Values::Booleans(values) => {
            (Kind::Boolean, BooleanChunked::from_iter_options(name.into(), values.into_iter()).into_column())
        }
        Values::Texts(values) => {
            let present = values.into_iter().map(|value| value.filter(|value| !value.is_empty()));
            (Kind::Categorical, StringChunked::from_iter_options(name.into(), present).into_column())
        }
        Values::Times(_) | Values::Nothing(_) => return Err(StageError::failed("the expression gives no column")),
    })
}
