//! How the predictions of several members become one.

use std::borrow::{Borrow, Cow};
use std::sync::Arc;

use ndarray::{Array2, ArrayView1, Axis, concatenate};
use retune_metrics::Prediction;
use retune_spec::Estimator;
use retune_spec::estimators::{ClassWeight, LogisticRegression, Ridge};
use retune_spec::model_selection::Encode;
use retune_stage::{Design, Device, Progress, Result, Seed, StageError, Target, Task};

use super::{Encoder, Member};
use crate::linear::LeastSquares;
use crate::{FitInfo, FitOptions, FittedModel, logistic};

/// Probabilities below this count as this much before their logarithm is taken, so that a member that is sure and wrong does not outweigh all others.
const LEAST_PROBABILITY: f64 = 1e-6;

/// The search for a model of predictions goes to the optimum: it has few columns.
const STACK_TOLERANCE: f64 = 1e-8;
const STACK_ITERATIONS: usize = 1000;

/// How the predictions of the members become one.
#[derive(Clone)]
pub enum Combination {
    /// There is one member.
    Single,
    /// The mean of probabilities or values, with a weight for each member; weights sum to 1.
    Weighted(Vec<f64>),
    /// A model of the members' predictions: logistic regression for labels, ridge regression for values.
    Stacked(Box<Member>),
}

impl Combination {
    /// Learns a model of predictions for rows that the members have not seen: logistic regression on the logarithms of probabilities (of two labels on the
    /// log-odds) and on scores, ridge regression on values, each with the penalty `l2`. Members are in the order in which they will predict.
    pub fn stack<P: Borrow<Prediction>>(
        members: &[P],
        target: &Target,
        weights: Option<&[f64]>,
        l2: f64,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let features = stacked(members)?;
        let rows = Design {
            names: (1..=features.ncols()).map(|column| format!("prediction {column}")).collect(),
            features,
            target: Some(target.clone()),
            weights: weights.map(<[f64]>::to_vec),
            ..Design::default()
        };
        let member = match target {
            Target::Classes { .. } => {
                let spec = LogisticRegression {
                    l2,
                    l1: 0.0,
                    class_weight: ClassWeight::None,
                    max_iterations: STACK_ITERATIONS,
                    tolerance: STACK_TOLERANCE,
                };
                let options = FitOptions { seed: Seed(0), threads: 1, device: Device::Cpu, progress };
                let (fitted, _) = logistic::fit(&spec, &rows, &options)?;
                Member::new(Estimator::LogisticRegression(spec), FittedModel::Logistic(fitted))
            }
            Target::Values(_) => {
                let fitted = LeastSquares::new(&rows)?.solve(l2);
                Member::new(Estimator::Ridge(Ridge { l2 }), FittedModel::Linear(fitted))
            }
        };
        Ok(Self::Stacked(Box::new(member)))
    }

    /// One prediction of the members', which are of the same rows. Fails where there are more or fewer members than weights, and for a mean of scores.
    pub fn apply<P: Borrow<Prediction>>(&self, members: &[P]) -> Result<Prediction> {
        match self {
            Self::Single => match members {
                [only] => Ok(only.borrow().clone()),
                _ => Err(StageError::failed(format!(
                    "there are {} predictions, and none says how to combine them",
                    members.len()
                ))),
            },
            Self::Weighted(weights) => mean(members, weights),
            Self::Stacked(model) => model.fitted.predict(stacked(members)?.view()),
        }
    }

    /// Fails where it does not fit so many members: for a model that was changed by hand.
    pub(super) fn check(&self, n_members: usize) -> Result<()> {
        let sound = match self {
            Self::Single => n_members == 1,
            Self::Weighted(weights) => {
                weights.len() == n_members
                    && weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0)
                    && (weights.iter().sum::<f64>() - 1.0).abs() < 1e-6
            }
            Self::Stacked(_) => n_members > 0,
        };
        if sound {
            Ok(())
        } else {
            Err(StageError::failed(format!("the model's combination does not fit its {n_members} members"))
                .help("train the model again"))
        }
    }

    /// What it does with the members, in words.
    pub fn describe(&self, members: &[Member]) -> String {
        let words = members.iter().map(|member| member.estimator.word());
        match self {
            Self::Single => members.iter().map(|member| member.fitted.describe()).collect(),
            Self::Weighted(weights) => {
                let words: Vec<String> =
                    words.zip(weights).map(|(word, weight)| format!("{weight:.3} {word}")).collect();
                format!("a weighted mean: {}", words.join(" + "))
            }
            Self::Stacked(model) => {
                let words: Vec<&str> = words.collect();
                format!("{} of the predictions of {}", model.fitted.describe(), words.join(", "))
            }
        }
    }
}

fn mean<P: Borrow<Prediction>>(members: &[P], weights: &[f64]) -> Result<Prediction> {
    if members.len() != weights.len() {
        let (members, weights) = (members.len(), weights.len());
        return Err(StageError::failed(format!("there are {members} predictions and {weights} weights")));
    }
    let rows = members.first().map_or(0, |first| first.borrow().len());
    if members.iter().all(|member| matches!(member.borrow(), Prediction::Values(_))) {
        let mut sum = vec![0.0; rows];
        for (member, weight) in members.iter().zip(weights) {
            let Prediction::Values(values) = member.borrow() else { continue };
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
        }
        return Ok(Prediction::Values(sum));
    }
    let mut sum: Option<Array2<f64>> = None;
    for (member, weight) in members.iter().zip(weights) {
        let probabilities = member.borrow().probabilities().ok_or_else(no_mean)?;
        match &mut sum {
            Some(sum) => sum.scaled_add(*weight, probabilities),
            None => sum = Some(probabilities * *weight),
        }
    }
    sum.map(Prediction::Probabilities).ok_or_else(|| StageError::failed("there is no prediction to combine"))
}

fn no_mean() -> StageError {
    StageError::data("a mean needs the probabilities of every member, and a support vector machine gives scores")
        .help("use `ensemble: stacking`, or leave `svm` and `linear_svm` out of the candidates")
}

/// The columns that a model of predictions sees.
fn stacked<P: Borrow<Prediction>>(members: &[P]) -> Result<Array2<f64>> {
    let columns: Vec<Array2<f64>> = members.iter().map(|member| columns(member.borrow())).collect();
    let views: Vec<_> = columns.iter().map(Array2::view).collect();
    concatenate(Axis(1), &views)
        .map(|columns| columns.as_standard_layout().to_owned())
        .map_err(|error| StageError::failed(error.to_string()))
}

fn columns(prediction: &Prediction) -> Array2<f64> {
    let by_label = match prediction {
        Prediction::Values(values) => return ArrayView1::from(values).insert_axis(Axis(1)).to_owned(),
        Prediction::Scores(scores) => scores.clone(),
        Prediction::Probabilities(probabilities) | Prediction::Decided { probabilities, .. } => {
            probabilities.mapv(|probability| probability.max(LEAST_PROBABILITY).ln())
        }
    };
    // Of two labels the difference says all.
    if by_label.ncols() == 2 { (&by_label.column(1) - &by_label.column(0)).insert_axis(Axis(1)) } else { by_label }
}

impl Member {
    /// A family and what it learned.
    pub fn new(estimator: Estimator, fitted: FittedModel) -> Self {
        Self { estimator, fitted: Arc::new(fitted), encoder: None }
    }

    /// Trains a family; what it cannot take is turned for it where that is declared, and refused where it is not.
    pub fn fit(
        estimator: &Estimator,
        train: &Design,
        task: &Task,
        encode: Option<&Encode>,
        options: &FitOptions,
    ) -> Result<(Self, FitInfo)> {
        let encoder = encode.and_then(|encode| Encoder::learn(estimator, train, encode));
        let (fitted, info) = crate::fit(estimator, &Encoder::seen(encoder.as_ref(), train), task, options)?;
        Ok((Self { encoder, ..Self::new(estimator.clone(), fitted) }, info))
    }

    /// The same, where it learned something else.
    #[must_use]
    pub fn with_fitted(&self, estimator: Estimator, fitted: FittedModel) -> Self {
        Self { encoder: self.encoder.clone(), ..Self::new(estimator, fitted) }
    }

    /// Rows with the features of the training rows, as this member sees them.
    pub fn seen<'a>(&self, rows: &'a Design) -> Cow<'a, Design> {
        Encoder::seen(self.encoder.as_ref(), rows)
    }

    /// Predicts rows with the features of the training rows.
    pub fn predict(&self, rows: &Design) -> Result<Prediction> {
        self.fitted.predict_rows(&self.seen(rows))
    }

    /// Whether it predicts rows that miss values.
    pub fn takes_missing(&self) -> bool {
        self.encoder.is_some() || self.estimator.takes_missing()
    }
}
