//! Names of scores.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::TaskKind;
use crate::diagnostic::one_of;
use crate::schema::Task;

/// The list of scores: variant and settings, the word in the language, what it is computed from and which values are better.
macro_rules! metrics {
    ($($(#[$doc:meta])* $variant:ident $(($settings:ident))? = $word:literal, $input:ident, $better:ident;)*) => {
        /// A score, as scikit-learn defines it.
        #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(from = "Written", into = "Written")]
        pub enum Metric {
            $($(#[$doc])* $variant $(($settings))?,)*
        }

        impl Metric {
            /// Every metric, with its default settings.
            pub const ALL: &'static [Self] = &[$(Self::$variant $(($settings::DEFAULT))?),*];

            /// The word in the language.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $word,)*
                }
            }

            fn input(self) -> Input {
                match self {
                    $(Self::$variant { .. } => Input::$input,)*
                }
            }

            fn better(self) -> Better {
                match self {
                    $(Self::$variant { .. } => Better::$better,)*
                }
            }
        }

        /// The word of a score.
        #[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
        #[schemars(rename = "MetricWord")]
        enum Word {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)*
        }

        /// A score, as scikit-learn defines it.
        #[derive(Clone, Serialize, Deserialize, JsonSchema)]
        #[serde(untagged, deny_unknown_fields)]
        #[schemars(rename = "Metric")]
        enum Written {
            /// With its default settings.
            Word(Word),
            $($($variant { #[serde(rename = $word)] settings: $settings },)?)*
        }

        impl From<Metric> for Written {
            fn from(metric: Metric) -> Self {
                match metric {
                    $($(Metric::$variant(settings) if settings != $settings::DEFAULT => Self::$variant { settings },)?)*
                    $(Metric::$variant { .. } => Self::Word(Word::$variant),)*
                }
            }
        }

        impl From<Written> for Metric {
            fn from(written: Written) -> Self {
                match written {
                    $($(Written::$variant { settings: settings @ $settings { .. } } => Self::$variant(settings),)?)*
                    $(Written::Word(Word::$variant) => Self::$variant $(($settings::DEFAULT))?,)*
                }
            }
        }
    };
}

metrics! {
    /// Share of right labels.
    Accuracy = "accuracy", Labels, Greater;
    /// Mean recall over the labels that occur.
    BalancedAccuracy = "balanced_accuracy", Labels, Greater;
    /// Of two labels: share of the rows predicted as the second one that have it. 0 where none is.
    Precision = "precision", Labels, Greater;
    /// Mean precision over the labels.
    PrecisionMacro = "precision_macro", Labels, Greater;
    /// Precision over all decisions; with one label a row the same as the accuracy.
    PrecisionMicro = "precision_micro", Labels, Greater;
    /// Mean precision weighted by each label's rows.
    PrecisionWeighted = "precision_weighted", Labels, Greater;
    /// Of two labels: share of the second one's rows that are predicted as such.
    Recall = "recall", Labels, Greater;
    /// Mean recall over the labels.
    RecallMacro = "recall_macro", Labels, Greater;
    /// Recall over all decisions; with one label a row the same as the accuracy.
    RecallMicro = "recall_micro", Labels, Greater;
    /// Mean recall weighted by each label's rows; the same as the accuracy.
    RecallWeighted = "recall_weighted", Labels, Greater;
    /// Of two labels: harmonic mean of the second one's precision and recall.
    F1 = "f1", Labels, Greater;
    /// Mean F1 over the labels.
    F1Macro = "f1_macro", Labels, Greater;
    /// F1 over all decisions; with one label a row the same as the accuracy.
    F1Micro = "f1_micro", Labels, Greater;
    /// Mean F1 weighted by each label's rows.
    F1Weighted = "f1_weighted", Labels, Greater;
    /// F1 in which recall counts `beta` times as much as precision.
    FBeta(FBeta) = "f_beta", Labels, Greater;
    /// Matthews correlation coefficient.
    Mcc = "mcc", Labels, Greater;
    /// Cohen's kappa: agreement beyond that of chance.
    CohenKappa = "cohen_kappa", Labels, Greater;
    /// Cohen's kappa in which a mistake counts as much as the labels lie apart in their order.
    CohenKappaLinear = "cohen_kappa_linear", Labels, Greater;
    /// Cohen's kappa in which a mistake counts as the square of how far the labels lie apart in their order.
    CohenKappaQuadratic = "cohen_kappa_quadratic", Labels, Greater;
    /// Area under the ROC curve; the mean of one label against the rest where there are more than two.
    RocAuc = "roc_auc", Probabilities, Greater;
    /// Area under the ROC curve, mean of each label against the rest: another word for `roc_auc`.
    RocAucOvr = "roc_auc_ovr", Probabilities, Greater;
    /// Area under the ROC curve, each label against the rest, weighted by the label's rows.
    RocAucOvrWeighted = "roc_auc_ovr_weighted", Probabilities, Greater;
    /// Area under the ROC curve, mean over the pairs of labels that occur (Hand & Till 2001).
    RocAucOvo = "roc_auc_ovo", Probabilities, Greater;
    /// Area under the ROC curve over the pairs of labels that occur, weighted by each pair's rows.
    RocAucOvoWeighted = "roc_auc_ovo_weighted", Probabilities, Greater;
    /// Mean precision over the steps of recall, the area under the precision-recall curve; the mean over the labels where there are more than two.
    AveragePrecision = "average_precision", Probabilities, Greater;
    /// Share of the rows whose label is among the `k` most probable ones.
    TopKAccuracy(TopKAccuracy) = "top_k_accuracy", Probabilities, Greater;
    /// Cross-entropy of the probabilities, in nats.
    LogLoss = "log_loss", Probabilities, Less;
    /// Mean squared error of the probabilities, as scikit-learn's `brier_score_loss`.
    Brier = "brier", Probabilities, Less;
    /// How far the probability of the predicted label is from the share of right labels, in bins of equal width (Guo et al. 2017).
    ExpectedCalibrationError(ExpectedCalibrationError) = "expected_calibration_error", Probabilities, Less;
    /// Root of the mean squared error.
    Rmse = "rmse", Values, Less;
    /// Mean squared error.
    Mse = "mse", Values, Less;
    /// Mean absolute error.
    Mae = "mae", Values, Less;
    /// Median absolute error.
    MedianAe = "median_ae", Values, Less;
    /// Mean absolute error as a share of the true value; 0.1 is ten percent.
    Mape = "mape", Values, Less;
    /// Root of the mean squared error of log(1 + value), of values above -1.
    Rmsle = "rmsle", Values, Less;
    /// Coefficient of determination.
    R2 = "r2", Values, Greater;
    /// Share of the variance that is explained; a constant error costs nothing.
    ExplainedVariance = "explained_variance", Values, Greater;
    /// Mean loss of the quantile `alpha`: a prediction too low costs `alpha` times the error, one too high 1 - `alpha` times.
    Pinball(Pinball) = "pinball", Values, Less;
    /// Mean Poisson deviance, of true values from 0 and predictions above 0.
    PoissonDeviance = "poisson_deviance", Values, Less;
    /// Mean gamma deviance, of true values and predictions above 0.
    GammaDeviance = "gamma_deviance", Values, Less;
    /// Spearman's rank correlation.
    Spearman = "spearman", Values, Greater;
}

/// What a score is computed from.
#[derive(PartialEq)]
enum Input {
    Labels,
    Probabilities,
    Values,
}

#[derive(PartialEq)]
enum Better {
    Greater,
    Less,
}

/// The settings of `f_beta`, for two labels; the second one is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FBeta {
    /// How much recall counts against precision.
    #[serde(default = "two")]
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub beta: f64,
}

impl FBeta {
    /// `beta: 2`.
    pub const DEFAULT: Self = Self { beta: two() };
}

/// The settings of `top_k_accuracy`. Of equally probable labels the later one comes first, as in scikit-learn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopKAccuracy {
    /// How many labels are looked at; fewer than there are.
    #[serde(default = "two_labels")]
    #[schemars(range(min = 1))]
    pub k: usize,
}

impl TopKAccuracy {
    /// `k: 2`.
    pub const DEFAULT: Self = Self { k: two_labels() };
}

/// The settings of `expected_calibration_error`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectedCalibrationError {
    /// Bins of equal width from 0 to 1.
    #[serde(default = "fifteen")]
    #[schemars(range(min = 1, max = 1000))]
    pub bins: usize,
}

impl ExpectedCalibrationError {
    /// `bins: 15`.
    pub const DEFAULT: Self = Self { bins: fifteen() };
}

/// The settings of `pinball`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pinball {
    /// The quantile that is predicted; at 0.5 the score is half the mean absolute error.
    #[serde(default = "half")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub alpha: f64,
}

impl Pinball {
    /// `alpha: 0.5`.
    pub const DEFAULT: Self = Self { alpha: half() };
}

const fn two() -> f64 {
    2.0
}

const fn two_labels() -> usize {
    2
}

const fn fifteen() -> usize {
    15
}

const fn half() -> f64 {
    0.5
}

impl JsonSchema for Metric {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Written::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Written::json_schema(generator)
    }
}

impl Metric {
    /// The metrics of a task, with their default settings.
    pub fn of(task: TaskKind) -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(move |metric| metric.task() == task)
    }

    /// Whether tables for people show it; files have all.
    pub fn is_headline(self) -> bool {
        matches!(
            self,
            Self::Accuracy
                | Self::BalancedAccuracy
                | Self::F1
                | Self::F1Macro
                | Self::Mcc
                | Self::RocAuc
                | Self::AveragePrecision
                | Self::LogLoss
                | Self::Brier
                | Self::ExpectedCalibrationError(_)
                | Self::Rmse
                | Self::Mae
                | Self::Mape
                | Self::MedianAe
                | Self::R2
                | Self::Spearman
        )
    }

    /// The metric of a word, with its default settings.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|metric| metric.word() == word)
    }

    /// The task that it scores.
    pub fn task(self) -> TaskKind {
        if self.input() == Input::Values { TaskKind::Regression } else { TaskKind::Classification }
    }

    /// Whether a greater value is better.
    pub fn greater_is_better(self) -> bool {
        self.better() == Better::Greater
    }

    /// Whether it is computed from probabilities rather than labels.
    pub fn needs_probabilities(self) -> bool {
        self.input() == Input::Probabilities
    }

    /// Of a metric that needs probabilities: whether scores that rank the labels do as well.
    pub fn takes_scores(self) -> bool {
        matches!(
            self,
            Self::RocAuc
                | Self::RocAucOvr
                | Self::RocAucOvrWeighted
                | Self::RocAucOvo
                | Self::RocAucOvoWeighted
                | Self::AveragePrecision
                | Self::TopKAccuracy(_)
        )
    }

    /// Of a metric that looks for the second of two labels: the one to use where there are more.
    pub fn for_more_labels(self) -> Option<Self> {
        match self {
            Self::Precision => Some(Self::PrecisionMacro),
            Self::Recall => Some(Self::RecallMacro),
            Self::F1 | Self::FBeta(_) => Some(Self::F1Macro),
            _ => None,
        }
    }

    /// Why it cannot score a task, and the way out.
    pub fn misfit(self, task: &Task) -> Option<(String, String)> {
        let (word, kind) = (self.word(), task.kind());
        if self.task() != kind {
            let what = if kind == TaskKind::Regression { "regression" } else { "classification" };
            return Some((
                format!("`{word}` does not score a {what}"),
                format!("use {}", one_of(Self::of(kind).map(Self::word))),
            ));
        }
        let n_labels = task.n_classes().filter(|n_labels| *n_labels != 2)?;
        let instead = self.for_more_labels()?.word();
        let message = format!("`{word}` scores the second of two labels, and there are {n_labels}");
        Some((message, format!("use `{instead}`")))
    }

    /// The metric that says the same where every row has one label, as all rows here do.
    pub fn same_as(self) -> Option<Self> {
        match self {
            Self::PrecisionMicro | Self::RecallMicro | Self::RecallWeighted | Self::F1Micro => Some(Self::Accuracy),
            Self::RocAucOvr => Some(Self::RocAuc),
            _ => None,
        }
    }

    /// What scikit-learn's estimators score themselves by: accuracy or R2. The default of what compares a model with itself.
    pub fn plain_for(task: TaskKind) -> Self {
        match task {
            TaskKind::Classification => Self::Accuracy,
            TaskKind::Regression => Self::R2,
        }
    }

    /// The metric of a task where none is named.
    pub fn default_for(task: TaskKind) -> Self {
        match task {
            TaskKind::Classification => Self::F1Macro,
            TaskKind::Regression => Self::Rmse,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    #[test]
    fn every_word_is_read_and_written() {
        for &metric in Metric::ALL {
            assert_eq!(serde_json::to_value(metric).ok(), Some(json!(metric.word())));
            assert_eq!(from_value(json!(metric.word())).ok(), Some(metric));
            assert_eq!(Metric::from_word(metric.word()), Some(metric));
        }
    }

    #[test]
    fn a_metric_that_does_not_fit_the_task_is_told() {
        let labels =
            |labels: &[&str]| Task::Classification { labels: labels.iter().map(ToString::to_string).collect() };
        let misfit =
            |metric: Metric, task: &Task| metric.misfit(task).map(|(message, help)| format!("{message}; {help}"));
        assert_eq!(misfit(Metric::F1, &labels(&["no", "yes"])), None);
        assert_eq!(misfit(Metric::F1Macro, &labels(&["a", "b", "c"])), None);
        let expected = "`f1` scores the second of two labels, and there are 3; use `f1_macro`";
        assert_eq!(misfit(Metric::F1, &labels(&["a", "b", "c"])).as_deref(), Some(expected));
        let wrong = misfit(Metric::F1, &Task::Regression);
        assert!(wrong.is_some_and(|text| text.starts_with("`f1` does not score a regression; use `rmse`, `mse`,")));
    }

    #[test]
    fn settings_are_read_and_written() {
        let check = |written: Value, metric: Metric, back: Value| {
            assert_eq!(from_value(written).ok(), Some(metric));
            assert_eq!(serde_json::to_value(metric).ok(), Some(back));
        };
        let pinball = json!({ "pinball": { "alpha": 0.9 } });
        check(pinball.clone(), Metric::Pinball(Pinball { alpha: 0.9 }), pinball);
        check(json!({ "top_k_accuracy": {} }), Metric::TopKAccuracy(TopKAccuracy { k: 2 }), json!("top_k_accuracy"));
        for wrong in [json!({ "pinball": { "beta": 0.9 } }), json!({ "mae": {} }), json!("f1_makro"), json!({})] {
            assert!(from_value::<Metric>(wrong).is_err());
        }
    }
}
