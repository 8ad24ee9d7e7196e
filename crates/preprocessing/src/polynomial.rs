//! `polynomial`.

use std::collections::HashMap;

use polars::prelude::Column;
use rayon::prelude::*;
use retune_spec::preprocessing::Polynomial;
use retune_stage::{Field, FitContext, Kind, Result, Role, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, Names, numeric_column, refuse_too_many_columns};
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// The products to add.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedPolynomial {
    columns: Vec<String>,
    products: Vec<Product>,
}

#[derive(Serialize, Deserialize)]
struct Product {
    name: String,
    origin: Option<String>,
    /// Which of the columns are multiplied, in ascending order.
    factors: Vec<usize>,
}

impl FitStep for Polynomial {
    type Fitted = FittedPolynomial;
    const KINDS: &'static [Kind] = &[Kind::Numeric, Kind::Boolean];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        if !Outline::is_closed(columns) {
            // Any name may appear then.
            outline.add_open("", Kind::Numeric);
            return Ok(());
        }
        refuse_too_many(self, columns.len(), None)?;
        let mut taken = Names::of(outline.schema());
        let mut names = factors(self, columns.len()).into_iter().map(|factors| taken.fresh(name_of(&factors, columns)));
        names.try_for_each(|name| outline.add(name, Kind::Numeric))
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedPolynomial>> {
        refuse_too_many(self, columns.len(), Some(source.n_rows()))?;
        let schema = source.schema();
        let origins: HashMap<&str, &str> =
            schema.features().map(|field| (field.name.as_str(), field.origin())).collect();
        let mut taken = Names::of(&schema);
        let product = |factors: Vec<usize>| {
            let mut of = factors.iter().filter_map(|&factor| origins.get(columns[factor].as_str()));
            let first = of.next().filter(|first| of.all(|origin| origin == *first));
            let origin = first.map(|origin| (*origin).to_owned());
            Product { name: taken.fresh(name_of(&factors, columns)), origin, factors }
        };
        let products: Vec<Product> = factors(self, columns.len()).into_iter().map(product).collect();
        let text = format!("added {} of {}", counted(products.len(), "product"), counted(columns.len(), "column"));
        Ok(Learnt::applied(FittedPolynomial { columns: columns.to_vec(), products }, text))
    }
}

impl ApplyStep for FittedPolynomial {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let columns: Vec<Vec<f64>> = self.columns.par_iter().map(|name| frame.numeric(name)).collect::<Result<_>>()?;
        frame.append(self.products.par_iter().map(|product| product.column(frame, &columns)).collect::<Result<_>>()?)
    }
}

impl Product {
    fn column(&self, frame: &Frame, columns: &[Vec<f64>]) -> Result<(Field, Column)> {
        let mut values = vec![1.0; frame.n_rows()];
        for &factor in &self.factors {
            values.iter_mut().zip(&columns[factor]).for_each(|(value, by)| *value *= by);
        }
        if let Some(row) = values.iter().position(|value| value.is_infinite()) {
            let row = frame.table.row_number(row);
            return Err(StageError::data(format!(
                "the product `{}` is too large for a number in row {row}",
                self.name
            ))
            .help("scale the columns before: `standard_scale`"));
        }
        let field =
            Field { name: self.name.clone(), role: Role::Feature, kind: Kind::Numeric, source: self.origin.clone() };
        Ok((field, numeric_column(&self.name, values)))
    }
}

fn refuse_too_many(step: &Polynomial, n_columns: usize, n_rows: Option<usize>) -> Result<()> {
    let help = "choose fewer `columns`, lower `degree`, set `interaction_only: true`";
    refuse_too_many_columns(n_products(step, n_columns), step.max_columns, n_rows, help)
}

/// How many products of two or more factors there are.
fn n_products(step: &Polynomial, n_columns: usize) -> usize {
    let of_degree = |degree: usize| {
        // Ways to choose so many columns, of which one may be chosen again or not.
        let n = if step.interaction_only { n_columns } else { (n_columns + degree).saturating_sub(1) };
        // The product of what was chosen so far and its divisor stays a whole number.
        (0..degree).fold(1_u128, |ways, at| ways.saturating_mul(n.saturating_sub(at) as u128) / (at as u128 + 1))
    };
    let sum = (2..=step.degree).map(of_degree).fold(0_u128, u128::saturating_add);
    usize::try_from(sum).unwrap_or(usize::MAX)
}

/// The factors of each product, in the order of scikit-learn: by their number, then by the columns.
fn factors(step: &Polynomial, n_columns: usize) -> Vec<Vec<usize>> {
    let mut of_degree: Vec<Vec<usize>> = (0..n_columns).map(|column| vec![column]).collect();
    let mut all = Vec::new();
    for _ in 2..=step.degree {
        let longer = |factors: &Vec<usize>| {
            let last = factors.last().copied().unwrap_or_default();
            let first = last + usize::from(step.interaction_only);
            let factors = factors.clone();
            (first..n_columns).map(move |column| factors.iter().copied().chain([column]).collect::<Vec<usize>>())
        };
        of_degree = of_degree.iter().flat_map(longer).collect();
        all.extend(of_degree.iter().cloned());
    }
    all
}

/// `a^2*b`.
fn name_of(factors: &[usize], columns: &[String]) -> String {
    let powers = factors.chunk_by(|one, other| one == other).map(|same| {
        let name = &columns[same[0]];
        if same.len() == 1 { name.clone() } else { format!("{name}^{}", same.len()) }
    });
    powers.collect::<Vec<String>>().join("*")
}

#[cfg(test)]
mod tests {
    use super::*;
    use retune_spec::Selector;

    #[test]
    fn products_are_counted_before_they_are_made() {
        for (n_columns, degree, interaction_only) in
            [(0, 2, false), (1, 3, false), (5, 3, false), (5, 3, true), (4, 10, true)]
        {
            let step = Polynomial { columns: Selector::all(), degree, interaction_only, max_columns: 1 };
            assert_eq!(n_products(&step, n_columns), factors(&step, n_columns).len(), "{step:?} of {n_columns}");
        }
    }
}
