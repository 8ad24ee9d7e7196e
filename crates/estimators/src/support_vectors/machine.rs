//! Support vector machines with a kernel.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut1, Axis};
use rayon::prelude::*;
use retune_metrics::Prediction;
use retune_spec::estimators::Svm;
use retune_stage::{Design, LoadDir, Result, SaveDir, StageError, Task};
use serde::{Deserialize, Serialize};

use super::Predicts;
use super::kernel::{KernelFunction, Rows};
use super::smo::{Limits, Solution, Variable, solve};
use crate::family::{Family, Learned};
use crate::labels::stored;
use crate::rows::{check_width, class_weights, row_weights};
use crate::{FitInfo, FitOptions};

/// What caches of kernels hold, together where several machines are trained beside each other.
const CACHE_MIB: usize = 256;
/// So many machines, at most, share the cache.
const BESIDE: usize = 16;

/// A trained support vector machine: the decision of a row is the sum of its kernels with the support vectors, times their shares, plus the intercept.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedSvm {
    /// The training rows that some decision needs [vectors, features].
    pub vectors: Array2<f64>,
    /// For values one row, for labels one for each two of those seen, positive where a row is of the first [decisions, vectors].
    pub shares: Array2<f64>,
    /// One for each decision.
    pub intercepts: Array1<f64>,
    card: Card,
}

/// What `svm.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    predicts: Predicts,
    kernel: KernelFunction,
    /// The dual objective of each decision.
    objectives: Vec<f64>,
    /// The steps of all decisions.
    steps: usize,
}

/// The rows of one decision, and their variables.
struct Machine {
    rows: Vec<usize>,
    variables: Vec<Variable>,
}

impl Family for Svm {
    type Learned = FittedSvm;

    fn learn(&self, rows: &Design, _task: &Task, options: &FitOptions) -> Result<(FittedSvm, FitInfo)> {
        let of_labels = class_weights(self.class_weight, rows)?;
        let weights = row_weights(rows, of_labels.as_deref())?.unwrap_or_else(|| vec![1.0; rows.n_rows()]);
        let predicts = Predicts::of(rows, &weights)?;
        let target = predicts.target(rows)?;
        let costs: Vec<f64> = weights.iter().map(|weight| self.c * weight).collect();
        let kernel = KernelFunction::of(self, rows.features.view());
        let machines = match predicts {
            Predicts::Values => vec![of_values(&target, &costs, self.epsilon)],
            Predicts::Labels { .. } => pairs(predicts.n_seen()).map(|pair| of_pair(&target, &costs, pair)).collect(),
        };
        let limits = Limits {
            tolerance: self.tolerance,
            max_steps: self.max_iterations,
            cache_bytes: (CACHE_MIB << 20) / machines.len().min(BESIDE),
        };
        let train = |machine: &Machine| {
            let own = Rows::new(kernel, rows.features.select(Axis(0), &machine.rows));
            solve(&machine.variables, &own, limits, options.progress)
        };
        let solutions: Vec<Solution> = machines.par_iter().map(train).collect::<Result<_>>()?;
        let mut info = FitInfo::default();
        if solutions.iter().any(|solution| !solution.converged) {
            let limit = self.max_iterations;
            info.notes.push(format!("svm did not converge in {limit} steps; raise `max_iterations` or `tolerance`"));
        }
        Ok((FittedSvm::of(rows, predicts, kernel, &machines, &solutions), info))
    }
}

/// Each two of so many labels.
fn pairs(n_seen: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n_seen).flat_map(move |one| (one + 1..n_seen).map(move |other| (one, other)))
}

/// The machine between two labels.
fn of_pair(target: &[f64], costs: &[f64], (one, other): (usize, usize)) -> Machine {
    let of = |place: usize| (0..target.len()).filter(move |&row| target[row] as usize == place && costs[row] > 0.0);
    let rows: Vec<usize> = of(one).chain(of(other)).collect();
    let variable = |(at, &row): (usize, &usize)| match target[row] as usize == one {
        true => Variable { row: at, bounds: (0.0, costs[row]), aim: 1.0 },
        false => Variable { row: at, bounds: (-costs[row], 0.0), aim: -1.0 },
    };
    Machine { variables: rows.iter().enumerate().map(variable).collect(), rows }
}

/// The machine of values: a variable for errors on each side.
fn of_values(target: &[f64], costs: &[f64], epsilon: f64) -> Machine {
    let rows: Vec<usize> = (0..target.len()).filter(|&row| costs[row] > 0.0).collect();
    let above =
        |(at, &row): (usize, &usize)| Variable { row: at, bounds: (0.0, costs[row]), aim: target[row] - epsilon };
    let below =
        |(at, &row): (usize, &usize)| Variable { row: at, bounds: (-costs[row], 0.0), aim: target[row] + epsilon };
    let variables = rows.iter().enumerate().map(above).chain(rows.iter().enumerate().map(below)).collect();
    Machine { variables, rows }
}

impl FittedSvm {
    fn of(
        rows: &Design,
        predicts: Predicts,
        kernel: KernelFunction,
        machines: &[Machine],
        solutions: &[Solution],
    ) -> Self {
        let mut shares = Array2::zeros((machines.len(), rows.n_rows()));
        for ((machine, solution), mut shares) in machines.iter().zip(solutions).zip(shares.rows_mut()) {
            machine.rows.iter().zip(&solution.shares).for_each(|(&row, &share)| shares[row] = share);
        }
        let is_used = |&row: &usize| shares.column(row).iter().any(|&share| share != 0.0);
        let used: Vec<usize> = (0..rows.n_rows()).filter(is_used).collect();
        let card = Card {
            predicts,
            kernel,
            objectives: solutions.iter().map(|solution| solution.objective).collect(),
            steps: solutions.iter().map(|solution| solution.steps).sum(),
        };
        Self {
            vectors: rows.features.select(Axis(0), &used),
            shares: shares.select(Axis(1), &used),
            intercepts: solutions.iter().map(|solution| solution.intercept).collect(),
            card,
        }
    }

    /// The dual objective of each decision, which training minimises.
    pub fn objectives(&self) -> &[f64] {
        &self.card.objectives
    }

    /// The decisions of rows: positive for the first of two labels.
    fn decide(&self, vectors: &Rows, features: ArrayView2<f64>) -> Array2<f64> {
        let mut decisions = vectors.with(features).dot(&self.shares.t()) + &self.intercepts;
        if self.card.predicts.n_seen() == 2 {
            // One decision between two labels is the second one's score.
            decisions.mapv_inplace(|decision| -decision);
        }
        decisions
    }
}

/// Votes of decisions between each two labels; less than half a vote for how sure they are, so that ties are broken as by scikit-learn's `_ovr_decision_function`.
fn vote(decisions: ArrayView1<f64>, mut scores: ArrayViewMut1<f64>) {
    let n_seen = scores.len();
    let mut sums = vec![0.0; n_seen];
    scores.fill(0.0);
    for ((one, other), &decision) in pairs(n_seen).zip(decisions) {
        scores[if decision < 0.0 { other } else { one }] += 1.0;
        sums[one] += decision;
        sums[other] -= decision;
    }
    scores.iter_mut().zip(sums).for_each(|(score, sum)| *score += sum / (3.0 * (sum.abs() + 1.0)));
}

impl Learned for FittedSvm {
    fn predict(&self, features: ArrayView2<f64>) -> Result<Prediction> {
        check_width(features, self.vectors.ncols())?;
        let vectors = Rows::new(self.card.kernel, self.vectors.clone());
        Ok(self.card.predicts.predict(features, |features| self.decide(&vectors, features), vote))
    }

    fn describe(&self) -> String {
        let (n_vectors, n_features) = self.vectors.dim();
        format!(
            "a support vector machine of {n_vectors} support vectors with {n_features} features, after {} steps",
            self.card.steps
        )
    }

    fn size(&self) -> usize {
        self.vectors.len() + self.shares.len() + self.intercepts.len()
    }

    fn save(&self, dir: &SaveDir) -> Result<()> {
        dir.json("svm.json", &self.card)?;
        let intercepts = self.intercepts.view().insert_axis(Axis(1));
        dir.matrices(
            "vectors.safetensors",
            &[("vectors", self.vectors.view()), ("shares", self.shares.view()), ("intercepts", intercepts)],
        )
    }

    fn load(dir: &LoadDir) -> Result<Self> {
        let card: Card = dir.json("svm.json")?;
        let n_decisions = if card.predicts == Predicts::Values { 1 } else { pairs(card.predicts.n_seen()).count() };
        if !card.predicts.is_sound() || card.objectives.len() != n_decisions {
            return Err(StageError::failed("svm.json names labels that cannot be").help("train the model again"));
        }
        let mut matrices = dir.matrices("vectors.safetensors")?;
        let shares = stored(&mut matrices, "shares", (n_decisions, None))?;
        let vectors = stored(&mut matrices, "vectors", (shares.ncols(), None))?;
        let intercepts = stored(&mut matrices, "intercepts", (n_decisions, Some(1)))?;
        Ok(Self { vectors, shares, intercepts: intercepts.column(0).to_owned(), card })
    }
}
