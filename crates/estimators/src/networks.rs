//! Networks in libtorch: multi-layer perceptrons, residual networks and transformers over columns, and networks on images.

mod layers;
mod tuning;

use std::sync::{Mutex, PoisonError};

use ndarray::{Array2, ArrayView2};
use retune_metrics::Prediction;
use retune_spec::Estimator;
use retune_spec::data::TaskKind;
use retune_spec::estimators::{self, ImageNetwork, Mlp, NetworkLoss, TabTransformer, TabularResnet};
use retune_spec::images::{Augmentation, ImageInput};
use retune_stage::{Design, Fold, Images, LoadDir, Result, SaveDir, Seed, StageError, Target, Task};
use retune_tensor::{EarlyStopping, Examples, Loss, Named, Network, Pictures, Shape, Supply, Training};
pub use retune_tensor::{History, RateCurve};
use serde::{Deserialize, Serialize};

pub use self::tuning::{Phase, Tuned, TuningRows, fine_tune, statistics_shifted, wise_ft};
use crate::family::{Family, Learned};
use crate::rows::{class_weights, row_weights};
use crate::{FitInfo, FitOptions};

/// A trained network. It predicts on the processor wherever it was trained, so that it gives the same bits before and after it was stored.
pub struct FittedNetwork {
    card: Card,
    // libtorch's tensors may be sent to another thread, but not be used by two at once.
    network: Mutex<Network>,
}

/// What `network.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    network: Kind,
    /// For each feature the number of its levels, where it is categorical.
    columns: Vec<Option<usize>>,
    output: Output,
    epochs: usize,
    /// The layers, where they are no longer those that the hyperparameters say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layers: Option<Vec<Named>>,
}

/// What `mlp.json` says, which perceptrons had before there were other networks.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MlpCard {
    parameters: Mlp,
    n_features: usize,
    output: Output,
    epochs: usize,
}

impl From<MlpCard> for Card {
    fn from(MlpCard { parameters, n_features, output, epochs }: MlpCard) -> Self {
        Self { network: Kind::Mlp(parameters), columns: vec![None; n_features], output, epochs, layers: None }
    }
}

impl Card {
    /// What a row is.
    fn input(&self) -> Shape {
        match self.network.image_input() {
            Some(input) => {
                let [height, width] = input.size.map(|side| side as usize);
                Shape::Image([input.mode.channels(), height, width])
            }
            None => Shape::Features(self.columns.len()),
        }
    }

    fn layers(&self) -> Vec<Named> {
        match &self.layers {
            Some(layers) => layers.clone(),
            None => self.network.layers(&self.columns, self.output.width()),
        }
    }
}

/// What the last layer gives.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Output {
    /// One logit for each label.
    Classes {
        /// How many labels there are.
        n_classes: usize,
    },
    /// A standardised value.
    Value {
        /// The mean of the training rows' values.
        mean: f64,
        /// Their standard deviation.
        scale: f64,
    },
}

/// A network and its hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Mlp(Mlp),
    TabularResnet(TabularResnet),
    TabTransformer(TabTransformer),
    ImageNetwork(ImageNetwork),
}

/// Trains a network on rows whose features are scaled, or on images. With early stopping a tenth of them is set aside to judge by: whole groups, or the latest
/// rows, where there are such. Fails where a number is not finite and where the training diverges.
fn fit(network: Kind, rows: &Design, task: &Task, options: &FitOptions) -> Result<FittedNetwork> {
    let target = rows.target()?;
    let spec = network.training();
    let untrained = untrained(network, rows, task, options.seed.derive("parameters"))?;
    let divided = match spec.early_stopping {
        0 => None,
        _ => rows.ties.set_aside(target, options.seed.derive("set aside").0),
    };
    let class_weights = class_weights(spec.class_weight, rows)?;
    let card = &untrained.card;
    let supply =
        |rows: &Design, augment: &[Augmentation]| card.supply(rows, augment, class_weights.as_deref(), options);
    let augment = card.network.augment();
    let (train, judges) = match divided {
        Some(Fold { train, validation }) => {
            (supply(&rows.take(&train), augment)?, Some(supply(&rows.take(&validation), &[])?))
        }
        None => (supply(rows, augment)?, None),
    };
    let early_stopping = judges.as_deref().map(|rows| EarlyStopping { rows, patience: spec.early_stopping, every: 1 });
    let start = untrained.network();
    let training = training(&spec, card.output, options);
    let (trained, history) = retune_tensor::train(&start, train.as_ref(), early_stopping, &training)?;
    let card = Card { epochs: history.best_epoch, ..card.clone() };
    Ok(FittedNetwork { card, network: Mutex::new(trained) })
}

fn untrained(network: Kind, rows: &Design, task: &Task, seed: Seed) -> Result<FittedNetwork> {
    let output = Output::of(task, rows.target()?);
    let columns: Vec<_> =
        (0..rows.names.len()).map(|feature| rows.levels_of(feature).map(|levels| levels.len())).collect();
    let card = Card { network, columns, output, epochs: 0, layers: None };
    let network = Mutex::new(Network::named(card.layers(), card.input(), seed)?);
    Ok(FittedNetwork { card, network })
}

impl Card {
    /// The rows as the network sees them: standardised targets, and weights with a mean of one.
    fn supply(
        &self,
        rows: &Design,
        augment: &[Augmentation],
        class_weights: Option<&[f64]>,
        options: &FitOptions,
    ) -> Result<Box<dyn Supply>> {
        let weights = mean_one_weights(rows, class_weights)?;
        let target = match (rows.target()?, self.output) {
            (Target::Values(values), Output::Value { mean, scale }) => {
                Target::Values(values.iter().map(|value| (value - mean) / scale).collect())
            }
            (target, _) => target.clone(),
        };
        if let Some(input) = self.network.image_input() {
            let images = images_of(rows)?;
            let pictures = Pictures::new(images, &rows.row_numbers, input, augment, options.threads)?;
            return Ok(pictures.with_target(&target, weights.as_deref(), options.device)?);
        }
        check_finite(rows)?;
        Ok(Box::new(Examples::new(rows.features.view(), &target, weights.as_deref(), options.device)?))
    }
}

fn images_of(rows: &Design) -> Result<&Images> {
    rows.images.as_ref().ok_or_else(|| StageError::data("the network sees images, and the rows have no column of them"))
}

/// Makes networks families.
macro_rules! network_families {
    ($($kind:ident),*) => {
        $(impl Family for $kind {
            type Learned = FittedNetwork;

            fn learn(&self, rows: &Design, task: &Task, options: &FitOptions) -> Result<(FittedNetwork, FitInfo)> {
                let model = fit(Kind::$kind(self.clone()), rows, task, options)?;
                let info = FitInfo { rounds: Some(model.n_epochs()), notes: Vec::new() };
                Ok((model, info))
            }
        })*

        impl Kind {
            /// How it is trained.
            fn training(&self) -> estimators::Training {
                match self {
                    $(Self::$kind(network) => network.training(),)*
                }
            }

            /// Its layers for columns with so many levels, or numbers.
            fn layers(&self, columns: &[Option<usize>], n_outputs: usize) -> Vec<Named> {
                match self {
                    $(Self::$kind(network) => layers::Layers::layers(network, columns, n_outputs),)*
                }
            }
        }
    };
}

network_families!(Mlp, TabularResnet, TabTransformer, ImageNetwork);

impl Kind {
    /// How it sees images, where it does.
    fn image_input(&self) -> Option<&ImageInput> {
        if let Self::ImageNetwork(network) = self { Some(&network.input) } else { None }
    }

    /// What is done to images in training.
    fn augment(&self) -> &[Augmentation] {
        if let Self::ImageNetwork(network) = self { &network.augment } else { &[] }
    }

    fn of(estimator: &Estimator) -> Option<Self> {
        Some(match estimator {
            Estimator::Mlp(network) => Self::Mlp(network.clone()),
            Estimator::TabularResnet(network) => Self::TabularResnet(network.clone()),
            Estimator::TabTransformer(network) => Self::TabTransformer(network.clone()),
            Estimator::ImageNetwork(network) => Self::ImageNetwork(network.clone()),
            _ => return None,
        })
    }
}

impl Learned for FittedNetwork {
    fn predict(&self, features: ArrayView2<f64>) -> Result<Prediction> {
        self.check_width(features.ncols())?;
        self.said(self.network().predict(features)?) // [rows, outputs]
    }

    fn describe(&self) -> String {
        format!("a network trained for {} epochs", self.card.epochs)
    }

    fn size(&self) -> usize {
        self.network().n_values()
    }

    fn save(&self, dir: &SaveDir) -> Result<()> {
        dir.json("network.json", &self.card)?;
        dir.bytes("weights.safetensors", &self.network().to_bytes()?)
    }

    fn load(dir: &LoadDir) -> Result<Self> {
        let card: Card = dir
            .json("network.json")
            .or_else(|error| dir.json::<MlpCard>("mlp.json").map(Card::from).map_err(|_| error))?;
        let mut network = Network::bare(card.layers(), card.input())?;
        network.load_bytes(&dir.bytes("weights.safetensors")?, "weights.safetensors")?;
        Ok(Self { card, network: Mutex::new(network) })
    }
}

impl FittedNetwork {
    /// The epochs that its parameters were trained for.
    pub fn n_epochs(&self) -> usize {
        self.card.epochs
    }

    /// How it sees images, where it does.
    pub fn image_input(&self) -> Option<&ImageInput> {
        self.card.network.image_input()
    }

    /// An untrained network of a family, with parameters drawn from `seed`; `None` for a family that is none.
    pub fn untrained(estimator: &Estimator, rows: &Design, task: &Task, seed: Seed) -> Option<Result<Self>> {
        Kind::of(estimator).map(|network| untrained(network, rows, task, seed))
    }

    /// The same, whose tensors `change` has filled.
    pub fn with_tensors(self, change: impl FnOnce(&mut Network) -> Result<()>) -> Result<Self> {
        let mut network = self.network();
        change(&mut network)?;
        Ok(Self { card: self.card, network: Mutex::new(network) })
    }

    /// The labels' probabilities, or the values, of images. `row_numbers` are for messages.
    pub(crate) fn predict_images(&self, images: &Images, row_numbers: &[u32]) -> Result<Prediction> {
        let Some(input) = self.card.network.image_input() else {
            return Err(StageError::data("the network sees columns of numbers, and was given images"));
        };
        self.said(
            Pictures::new(images, row_numbers, input, &[], rayon::current_num_threads())?.predict(&self.network())?,
        )
    }

    /// What outputs [rows, outputs] mean.
    fn said(&self, outputs: Array2<f32>) -> Result<Prediction> {
        if let Some(place) = outputs.iter().position(|output| !output.is_finite()) {
            let row = place / outputs.ncols() + 1;
            return Err(StageError::data(format!(
                "the features of row {row} are too large or not numbers: the network's output is not finite"
            )));
        }
        Ok(match self.card.output {
            Output::Classes { .. } if self.card.network.training().loss == Some(NetworkLoss::BinaryCrossEntropy) => {
                Prediction::Probabilities(shares(&outputs))
            }
            Output::Classes { .. } => Prediction::Probabilities(softmax(&outputs)),
            Output::Value { mean, scale } => {
                Prediction::Values(outputs.iter().map(|&value| f64::from(value) * scale + mean).collect())
            }
        })
    }

    /// A network that shares the tensors.
    pub fn network(&self) -> Network {
        self.network.lock().unwrap_or_else(PoisonError::into_inner).shallow_clone()
    }

    fn check_width(&self, width: usize) -> Result<()> {
        let expected = self.card.columns.len();
        if width == expected {
            return Ok(());
        }
        Err(StageError::data(format!("the rows have {width} features, but the network was trained on {expected}")))
    }
}

impl Output {
    fn of(task: &Task, target: &Target) -> Self {
        match (task, target) {
            (Task::Classification { labels }, _) => Self::Classes { n_classes: labels.len() },
            (Task::Regression, Target::Classes { n_classes, .. }) => Self::Classes { n_classes: *n_classes },
            (Task::Regression, Target::Values(values)) => {
                let n_rows = values.len().max(1) as f64;
                let mean = values.iter().sum::<f64>() / n_rows;
                let scale = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n_rows).sqrt();
                // A constant target stays constant instead of turning into NaN.
                Self::Value { mean, scale: if scale > 0.0 { scale } else { 1.0 } }
            }
        }
    }

    /// The task that the network does.
    fn task(self) -> TaskKind {
        match self {
            Self::Classes { .. } => TaskKind::Classification,
            Self::Value { .. } => TaskKind::Regression,
        }
    }

    fn width(self) -> usize {
        match self {
            Self::Classes { n_classes } => n_classes,
            Self::Value { .. } => 1,
        }
    }
}

/// A fresh training; what differs in a fine-tuning is put in its place.
fn training<'a>(spec: &estimators::Training, output: Output, options: &FitOptions<'a>) -> Training<'a> {
    let loss = match spec.loss_for(output.task()) {
        NetworkLoss::CrossEntropy => Loss::CrossEntropy { label_smoothing: spec.label_smoothing },
        NetworkLoss::BinaryCrossEntropy => Loss::BinaryCrossEntropy,
        NetworkLoss::Focal => Loss::Focal,
        NetworkLoss::Squared => Loss::MeanSquaredError,
        NetworkLoss::Absolute => Loss::MeanAbsoluteError,
        NetworkLoss::Huber => Loss::Huber,
    };
    Training {
        optimizer: spec.optimizer,
        learning_rate: spec.learning_rate,
        schedule: spec.schedule,
        weight_decay: spec.weight_decay,
        batch_size: spec.batch_size,
        epochs: spec.epochs,
        threads: options.threads,
        device: options.device,
        progress: options.progress,
        ..Training::new(loss, options.seed)
    }
}

fn check_finite(rows: &Design) -> Result<()> {
    // The network computes with 32 bits, where 1e39 is infinite.
    let refused = |((_, column), value): &((usize, usize), &f64)| {
        let is_unknown_level = value.is_nan() && rows.levels_of(*column).is_some();
        !(**value as f32).is_finite() && !is_unknown_level
    };
    let Some(((row, column), _)) = rows.features.indexed_iter().find(refused) else { return Ok(()) };
    let (name, value) = (&rows.names[column], rows.features[[row, column]]);
    Err(StageError::data(format!("column `{name}` holds {value}, which is not a finite 32-bit number"))
        .help("add `impute` or `standard_scale` before this stage"))
}

/// Sample weights times the weights of the labels, scaled to a mean of one, so that the learning rate means the same with and without them.
fn mean_one_weights(rows: &Design, class_weights: Option<&[f64]>) -> Result<Option<Vec<f64>>> {
    let mut weights = row_weights(rows, class_weights)?;
    if let Some(weights) = &mut weights {
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        weights.iter_mut().for_each(|weight| *weight /= mean);
    }
    Ok(weights)
}

/// The labels' own probabilities, divided by their sum.
fn shares(logits: &Array2<f32>) -> Array2<f64> {
    let mut shares = logits.mapv(|logit| 1.0 / (1.0 + (-f64::from(logit)).exp()));
    for mut row in shares.rows_mut() {
        let sum = row.sum().max(f64::MIN_POSITIVE);
        row /= sum;
    }
    shares
}

fn softmax(logits: &Array2<f32>) -> Array2<f64> {
    let mut probabilities = logits.mapv(f64::from);
    for mut row in probabilities.rows_mut() {
        let greatest = row.fold(f64::NEG_INFINITY, |greatest, &logit| greatest.max(logit));
        row.mapv_inplace(|logit| (logit - greatest).exp());
        let sum = row.sum();
        row /= sum;
    }
    probabilities
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use retune_spec::Estimator;
    use retune_spec::estimators::{ClassWeight, Optimizer};
    use retune_spec::fine_tuning::{EarlyStopping as Stopping, NetworkTuning};
    use retune_stage::{Device, Silent, Ties};
    use retune_store::ArtifactWriter;
    use serde_json::json;

    use super::*;

    fn options(seed: u64) -> FitOptions<'static> {
        FitOptions { seed: Seed(seed), threads: 1, device: Device::Cpu, progress: &Silent }
    }

    fn spec() -> Mlp {
        let spec: Mlp = serde_json::from_str("{}").unwrap();
        Mlp { hidden: vec![32], batch_size: 32, epochs: 30, learning_rate: 0.01, ..spec }
    }

    fn task() -> Task {
        Task::Classification { labels: ["a", "b", "c"].map(String::from).to_vec() }
    }

    fn fit(spec: &Mlp, rows: &Design, task: &Task, options: &FitOptions) -> Result<FittedNetwork> {
        super::fit(Kind::Mlp(spec.clone()), rows, task, options)
    }

    /// Three rings around the origin, moved by `shift`.
    fn rings(n_rows: usize, shift: f64, seed: u64) -> Design {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let codes: Vec<u32> = (0..n_rows).map(|_| random.random_range(0..3)).collect();
        let mut features = Array2::zeros((n_rows, 2));
        for (mut row, &code) in features.rows_mut().into_iter().zip(&codes) {
            let (angle, radius) = (
                random.random_range(0.0..std::f64::consts::TAU),
                f64::from(code) * 0.8 + random.random_range(0.2..0.6),
            );
            row[0] = radius * angle.cos() + shift;
            row[1] = radius * angle.sin();
        }
        Design {
            features,
            names: vec!["x".into(), "y".into()],
            target: Some(Target::Classes { codes, n_classes: 3 }),
            ..Design::default()
        }
    }

    fn plane(n_rows: usize) -> Design {
        let rows = rings(n_rows, 0.0, 5);
        let values =
            rows.features.rows().into_iter().map(|row| 5000.0 + 300.0 * row[0] - 100.0 * row[1] * row[0]).collect();
        Design { target: Some(Target::Values(values)), ..rows }
    }

    fn accuracy(model: &FittedNetwork, rows: &Design) -> f64 {
        let Target::Classes { codes, .. } = rows.target().unwrap() else { panic!() };
        let labels = model.predict(rows.features.view()).unwrap().labels();
        labels.iter().zip(codes).filter(|(ours, theirs)| ours == theirs).count() as f64 / codes.len() as f64
    }

    fn probabilities(model: &FittedNetwork, rows: &Design) -> Array2<f64> {
        let Prediction::Probabilities(probabilities) = model.predict(rows.features.view()).unwrap() else { panic!() };
        probabilities
    }

    #[test]
    fn rings_are_learned_by_every_optimizer() {
        for (optimizer, learning_rate) in [("adamw", 0.01), ("adam", 0.01), ("sgd", 0.1), ("rmsprop", 0.003)] {
            let optimizer: Optimizer = serde_json::from_value(optimizer.into()).unwrap();
            let spec = Mlp { optimizer, learning_rate, dropout: 0.1, weight_decay: 1e-3, ..spec() };
            let model = fit(&spec, &rings(1500, 0.0, 1), &task(), &options(1)).unwrap();
            let accuracy = accuracy(&model, &rings(600, 0.0, 2));
            assert!(accuracy > 0.95, "{optimizer:?}: {accuracy}");
            let sums = probabilities(&model, &rings(10, 0.0, 3)).sum_axis(ndarray::Axis(1));
            assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-12));
        }
    }

    #[test]
    fn values_are_learned_on_their_own_scale() {
        let model = fit(&spec(), &plane(1500), &Task::Regression, &options(1)).unwrap();
        let rows = plane(1500);
        let (Prediction::Values(ours), Target::Values(theirs)) =
            (model.predict(rows.features.view()).unwrap(), rows.target().unwrap())
        else {
            panic!()
        };
        let error = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).sum::<f64>() / 1500.0;
        assert!(error < 15.0, "{error}");
    }

    #[test]
    fn a_constant_target_is_predicted() {
        let rows = Design { target: Some(Target::Values(vec![7.0; 40])), ..rings(40, 0.0, 1) };
        let model = fit(&Mlp { epochs: 80, ..spec() }, &rows, &Task::Regression, &options(1)).unwrap();
        let Prediction::Values(values) = model.predict(rows.features.view()).unwrap() else { panic!() };
        assert!(values.iter().all(|value| (value - 7.0).abs() < 0.3), "{values:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_also_side_by_side() {
        let rows = rings(500, 0.0, 1);
        for threads in [1, 2] {
            let fit = |seed: u64| {
                let spec = Mlp { dropout: 0.2, epochs: 5, ..spec() };
                probabilities(&fit(&spec, &rows, &task(), &FitOptions { threads, ..options(seed) }).unwrap(), &rows)
            };
            let alone = fit(1);
            assert_ne!(alone, fit(2));
            let (left, right) = rayon::join(|| fit(1), || (fit(3), fit(1)));
            assert_eq!(left, alone);
            assert_eq!(right.1, alone);
        }
    }

    #[test]
    fn what_is_saved_predicts_the_same_bits() {
        let folder = tempfile::tempdir().unwrap();
        for (rows, task) in [(rings(200, 0.0, 1), task()), (plane(200), Task::Regression)] {
            let model = fit(&Mlp { epochs: 3, ..spec() }, &rows, &task, &options(1)).unwrap();
            let path = folder.path().join(format!("{}", model.card.output.width()));
            let writer = ArtifactWriter::beside(&path).unwrap();
            model.save(&SaveDir::new(&writer)).unwrap();
            let artifact = writer.publish_at(&path, "model", 1, serde_json::Value::Null).unwrap();
            let loaded = FittedNetwork::load(&LoadDir::new(&artifact)).unwrap();
            assert_eq!(loaded.card, model.card);
            assert_eq!(loaded.predict(rows.features.view()).unwrap(), model.predict(rows.features.view()).unwrap());
        }
    }

    #[test]
    fn without_patience_all_rows_and_epochs_are_used() {
        let rows = rings(100, 0.0, 1);
        let model = fit(&Mlp { early_stopping: 0, epochs: 7, ..spec() }, &rows, &task(), &options(1)).unwrap();
        assert_eq!(model.n_epochs(), 7);
    }

    #[test]
    fn balanced_labels_find_the_rare_one() {
        let mut rows = rings(600, 0.0, 1);
        // The labels overlap: one in ten rows of the outer two rings is called `a`.
        rows.features.fill(1.0);
        let codes: Vec<u32> = (0..600).map(|row| u32::from(row % 10 != 0)).collect();
        rows.target = Some(Target::Classes { codes, n_classes: 2 });
        let task = Task::Classification { labels: vec!["a".into(), "b".into()] };
        for (class_weight, expected) in [(ClassWeight::None, 0.1), (ClassWeight::Balanced, 0.5)] {
            let model = fit(&Mlp { class_weight, ..spec() }, &rows, &task, &options(1)).unwrap();
            let probability = probabilities(&model, &rows)[[0, 0]];
            assert!((probability - expected).abs() < 0.05, "{class_weight:?}: {probability}");
        }
        let weights = (0..600).map(|row| if row % 10 == 0 { 9.0 } else { 1.0 }).collect();
        let model = fit(&spec(), &Design { weights: Some(weights), ..rows.clone() }, &task, &options(1)).unwrap();
        assert!((probabilities(&model, &rows)[[0, 0]] - 0.5).abs() < 0.05);
        let error = fit(&spec(), &Design { weights: Some(vec![0.0; 600]), ..rows }, &task, &options(1)).err().unwrap();
        assert!(error.message.starts_with("the sample weights are not all finite"), "{error}");
    }

    /// A base trained further, and how its last part went.
    fn further(
        base: &FittedNetwork,
        tuning: &NetworkTuning,
        train: &Design,
        stop: &Design,
    ) -> (FittedNetwork, History) {
        let rows = TuningRows { train, stop, rehearsal: None };
        let mut tuned = fine_tune(base, tuning, rows, false, None, &options(2)).unwrap();
        (tuned.network, tuned.phases.pop().unwrap().history)
    }

    fn tuning(json: serde_json::Value) -> NetworkTuning {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn each_strategy_trains_what_it_says() {
        let base = network(
            r#"{ "mlp": { "hidden": [16, 8], "norm": "batch", "batch_size": 32, "epochs": 5, "learning_rate": 0.01 } }"#,
            &rings(400, 0.0, 1),
            &task(),
        )
        .unwrap();
        let (train, stop) = (rings(200, 0.7, 2), rings(100, 0.7, 3));
        let all = ["layers.0", "layers.1", "layers.2", "layers.3", "layers.4"];
        for (strategy, further_settings, expected) in [
            (json!("full"), json!({}), &all[..]),
            (json!("full"), json!({ "freeze": ["layers.0", "layers.1"] }), &all[2..]),
            (json!("linear_probe"), json!({}), &all[4..]),
            (json!("lp_ft"), json!({}), &all[..]),
            (json!({ "gradual_unfreeze": { "every": 1 } }), json!({ "epochs": 1 }), &all[4..]),
            (json!({ "gradual_unfreeze": { "every": 1 } }), json!({ "epochs": 2 }), &all[2..]),
            (json!({ "surgical": { "blocks": ["layers.2"] } }), json!({}), &all[2..3]),
            (json!("norm_only"), json!({}), &["layers.1", "layers.3", "layers.4"]),
            (json!("bias_only"), json!({}), &all[..]),
        ] {
            let mut settings = json!({ "strategy": strategy, "epochs": 2, "learning_rate": 0.01, "early_stopping": { "patience": 0 } });
            further_settings.as_object().unwrap().iter().for_each(|(key, value)| settings[key] = value.clone());
            let (tuned, _) = further(&base, &tuning(settings), &train, &stop);
            let (before, after) = (base.network(), tuned.network());
            let pairs = before.tensors().zip(after.tensors());
            let moved: Vec<&str> = pairs.filter(|((_, a), (_, b))| a != b).map(|((name, _), _)| name).collect();
            let is_meant = |name: &&str| expected.iter().any(|layer| retune_tensor::surgery::covers(layer, name));
            assert!(moved.iter().all(is_meant), "{strategy}: {moved:?}");
            let missed =
                expected.iter().find(|layer| !moved.iter().any(|name| retune_tensor::surgery::covers(layer, name)));
            assert_eq!(missed, None, "{strategy}: {moved:?}");
            if strategy == "bias_only" {
                assert!(
                    moved.iter().all(|name| !name.ends_with("weight") || name.starts_with("layers.4")),
                    "{moved:?}"
                );
            }
        }
        let (chosen, _) =
            further(&base, &tuning(json!({ "strategy": { "surgical": { "choose": 1 } } })), &train, &stop);
        assert_eq!(chosen.card.layers, None);
    }

    #[test]
    fn what_a_base_knows_is_kept_by_every_means() {
        let base = fit(&spec(), &rings(1500, 0.0, 1), &task(), &options(1)).unwrap();
        let (train, stop, old) = (rings(300, 1.5, 2), rings(200, 1.5, 3), rings(600, 0.0, 4));
        let plain =
            json!({ "learning_rate": 0.01, "layer_decay": 1.0, "epochs": 15, "early_stopping": { "patience": 0 } });
        let with = |key: &str, value: serde_json::Value| {
            let mut settings = plain.clone();
            settings[key] = value;
            tuning(settings)
        };
        let forgets = accuracy(&further(&base, &tuning(plain.clone()), &train, &stop).0, &old);
        let anchored = accuracy(&further(&base, &with("l2_sp", json!(1.0)), &train, &stop).0, &old);
        let rows = TuningRows { train: &train, stop: &stop, rehearsal: Some(&old) };
        let rehearsal = with("rehearsal", json!({ "set": "old", "share": 0.5 }));
        let rehearsed = fine_tune(&base, &rehearsal, rows, false, None, &options(2)).unwrap();
        let rehearsed = accuracy(&rehearsed.network, &old);
        assert!(anchored > forgets + 0.02 && rehearsed > forgets + 0.05, "{forgets} {anchored} {rehearsed}");
        // Between base and tuned weights no loss on the rows of early stopping is greater than at the better end.
        let (tuned, _) = further(&base, &tuning(plain.clone()), &train, &stop);
        let (between, note) = wise_ft(&base, &tuned, &stop, &options(2)).unwrap();
        let loss = |model: &FittedNetwork| {
            let Some(Target::Classes { codes, .. }) = &stop.target else { panic!() };
            let probabilities = probabilities(model, &stop);
            codes.iter().enumerate().map(|(row, &code)| -probabilities[[row, code as usize]].ln()).sum::<f64>()
        };
        assert!(loss(&between) <= loss(&base).min(loss(&tuned)) + 1e-3, "{note}");
    }

    #[test]
    fn a_head_for_other_labels_is_asked_for_and_put_in() {
        let base = fit(&Mlp { epochs: 5, ..spec() }, &rings(300, 0.0, 1), &task(), &options(1)).unwrap();
        let two = |rows: Design| {
            let Some(Target::Classes { codes, .. }) = rows.target.clone() else { panic!() };
            let codes = codes.into_iter().map(|code| code.min(1)).collect();
            Design { target: Some(Target::Classes { codes, n_classes: 2 }), ..rows }
        };
        let (train, stop) = (two(rings(300, 0.0, 2)), two(rings(100, 0.0, 3)));
        let rows = TuningRows { train: &train, stop: &stop, rehearsal: None };
        let error = fine_tune(&base, &NetworkTuning::default(), rows, false, None, &options(1)).err().unwrap();
        assert_eq!(error.message, "the network has 3 outputs, and the rows have 2 labels");
        assert!(error.help.unwrap().contains("replace: { block: layers.1, with: [linear] }"));
        let head = tuning(json!({
            "surgery": [{ "replace": { "block": "layers.1", "with": [{ "linear": 8 }, { "activation": "gelu" }, "linear"] } }],
            "strategy": "lp_ft", "learning_rate": 0.01, "epochs": 20
        }));
        let tuned = fine_tune(&base, &head, rows, false, None, &options(1)).unwrap().network;
        assert_eq!(probabilities(&tuned, &stop).ncols(), 2);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tuned");
        let writer = ArtifactWriter::beside(&path).unwrap();
        tuned.save(&SaveDir::new(&writer)).unwrap();
        let artifact = writer.publish_at(&path, "model", 1, serde_json::Value::Null).unwrap();
        let loaded = FittedNetwork::load(&LoadDir::new(&artifact)).unwrap();
        assert_eq!(probabilities(&loaded, &stop), probabilities(&tuned, &stop));
    }

    #[test]
    fn fine_tuning_follows_a_shift_and_keeps_a_base_that_is_better() {
        let base = fit(&spec(), &rings(1500, 0.0, 1), &task(), &options(1)).unwrap();
        let (train, validation, test) = (rings(400, 0.7, 2), rings(300, 0.7, 3), rings(600, 0.7, 4));
        let tuning = NetworkTuning {
            learning_rate: 3e-3,
            early_stopping: Stopping { patience: 5, every: 1 },
            ..NetworkTuning::default()
        };
        let (tuned, history) = further(&base, &tuning, &train, &validation);
        let [before, after] = [&base, &tuned].map(|model| accuracy(model, &test));
        assert!(after > before + 0.15, "{before} {after}");
        assert!(history.best_epoch > 0 && history.base_validation.is_some());
        assert_eq!(tuned.n_epochs(), base.n_epochs() + history.best_epoch);
        let again = further(&base, &tuning, &train, &validation);
        assert_eq!(probabilities(&again.0, &test), probabilities(&tuned, &test));
        assert_eq!(again.1, history);

        // Labels at random have nothing to teach.
        let mut random = ChaCha8Rng::seed_from_u64(8);
        let codes = (0..400).map(|_| random.random_range(0..3)).collect();
        let noise = Design { target: Some(Target::Classes { codes, n_classes: 3 }), ..rings(400, 0.0, 6) };
        let (kept, history) = further(&base, &tuning, &noise, &rings(300, 0.0, 7));
        assert_eq!(history.best_epoch, 0);
        assert_eq!(probabilities(&kept, &test), probabilities(&base, &test));
    }

    #[test]
    fn early_stopping_is_judged_by_later_rows() {
        // From the latest tenth on, each label is called by the next one's name.
        let rows = rings(600, 0.0, 9);
        let Some(Target::Classes { codes, n_classes }) = rows.target.clone() else { panic!() };
        let turned = |(row, code): (usize, u32)| if row < 540 { code } else { (code + 1) % 3 };
        let codes = codes.into_iter().enumerate().map(turned).collect();
        let rows = Design { target: Some(Target::Classes { codes, n_classes }), ..rows };
        let spec = Mlp { early_stopping: 4, ..spec() };
        let epochs = |rows: &Design| fit(&spec, rows, &task(), &options(1)).unwrap().n_epochs();
        let at_random = epochs(&rows);
        let ties = Ties { times: Some((0..600).collect()), groups: None };
        let in_time = epochs(&Design { ties, ..rows });
        assert!(at_random > 6 && in_time < 4, "{at_random} epochs at random, {in_time} in the order of time");
    }

    #[test]
    fn bad_rows_are_named() {
        let mut rows = rings(30, 0.0, 1);
        rows.features[[3, 1]] = 1e39;
        let error = fit(&spec(), &rows, &task(), &options(1)).err().unwrap();
        assert_eq!(error.message, format!("column `y` holds {}, which is not a finite 32-bit number", 1e39));
        let model = fit(&Mlp { epochs: 1, ..spec() }, &rings(30, 0.0, 1), &task(), &options(1)).unwrap();
        let error = model.predict(Array2::zeros((1, 3)).view()).err().unwrap();
        assert_eq!(error.message, "the rows have 3 features, but the network was trained on 2");
    }

    /// Any network by its JSON, through the door that all families have.
    fn network(json: &str, rows: &Design, task: &Task) -> Result<FittedNetwork> {
        let estimator: Estimator = serde_json::from_str(json).unwrap();
        match crate::fit(&estimator, rows, task, &options(1))?.0 {
            crate::FittedModel::Network(network) => Ok(network),
            _ => panic!("{json}"),
        }
    }

    #[test]
    fn every_network_learns_rings_and_is_loaded_with_the_same_bits() {
        let folder = tempfile::tempdir().unwrap();
        for (number, json) in [
            r#"{ "mlp": { "hidden": [32], "norm": "batch", "batch_size": 32, "epochs": 30, "learning_rate": 0.01 } }"#,
            r#"{ "mlp": { "hidden": [32], "norm": "layer", "batch_size": 32, "epochs": 30, "learning_rate": 0.01, "loss": "focal" } }"#,
            r#"{ "tabular_resnet": { "width": 16, "batch_size": 32, "epochs": 30, "learning_rate": 0.01, "schedule": "one_cycle" } }"#,
            r#"{ "tab_transformer": { "width": 16, "blocks": 2, "heads": 4, "batch_size": 32, "epochs": 30, "learning_rate": 0.003 } }"#,
        ]
        .into_iter()
        .enumerate()
        {
            let model = network(json, &rings(1500, 0.0, 1), &task()).unwrap();
            let test = rings(600, 0.0, 2);
            let accuracy = accuracy(&model, &test);
            assert!(accuracy > 0.93, "{json}: {accuracy}");
            let writer = ArtifactWriter::beside(&folder.path().join(number.to_string())).unwrap();
            model.save(&SaveDir::new(&writer)).unwrap();
            let artifact =
                writer.publish_at(&folder.path().join(number.to_string()), "model", 1, serde_json::Value::Null).unwrap();
            let loaded = FittedNetwork::load(&LoadDir::new(&artifact)).unwrap();
            assert_eq!(loaded.card, model.card);
            assert_eq!(probabilities(&loaded, &test), probabilities(&model, &test), "{json}");
        }
    }

    #[test]
    fn perceptrons_stored_before_there_were_other_networks_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old");
        let rows = rings(100, 0.0, 1);
        let model = fit(&Mlp { epochs: 2, ..spec() }, &rows, &task(), &options(1)).unwrap();
        let writer = ArtifactWriter::beside(&path).unwrap();
        let card: serde_json::Value = serde_json::from_str(
            r#"{ "parameters": { "hidden": [32], "activation": "relu", "dropout": 0.0, "optimizer": "adamw", "learning_rate": 0.01,
                "schedule": "cosine", "weight_decay": 0.01, "batch_size": 32, "epochs": 2, "early_stopping": 10, "label_smoothing": 0.0,
                "class_weight": "none" }, "n_features": 2, "output": { "classes": { "n_classes": 3 } }, "epochs": 2 }"#,
        )
        .unwrap();
        SaveDir::new(&writer).json("mlp.json", &card).unwrap();
        SaveDir::new(&writer).bytes("weights.safetensors", &model.network().to_bytes().unwrap()).unwrap();
        let artifact = writer.publish_at(&path, "model", 1, serde_json::Value::Null).unwrap();
        let loaded = FittedNetwork::load(&LoadDir::new(&artifact)).unwrap();
        assert_eq!(loaded.card, Card { epochs: 2, ..model.card.clone() });
        assert_eq!(probabilities(&loaded, &rows), probabilities(&model, &rows));
    }

    /// A column of 12 words of which the odd ones mean `a`, beside one of noise.
    fn words(n_rows: usize, n_unknown: usize) -> Design {
        let mut rows = rings(n_rows, 0.0, 3);
        let codes = (0..n_rows).map(|row| (row * 7 % 12) as u32).collect::<Vec<_>>();
        rows.features.column_mut(0).iter_mut().zip(&codes).for_each(|(cell, code)| *cell = f64::from(*code));
        rows.features.column_mut(0).iter_mut().take(n_unknown).for_each(|cell| *cell = f64::NAN);
        rows.levels = vec![Some((0..12).map(|level| format!("{level:02}")).collect()), None];
        rows.target = Some(Target::Classes { codes: codes.iter().map(|code| code % 2).collect(), n_classes: 2 });
        rows
    }

    const TRANSFORMER: &str = r#"{ "tab_transformer": { "width": 8, "blocks": 1, "heads": 2, "batch_size": 32, "epochs": 20, "learning_rate": 0.01 } }"#;

    #[test]
    fn a_transformer_takes_words_as_they_are() {
        let task = Task::Classification { labels: vec!["a".into(), "b".into()] };
        for n_unknown in [0, 40] {
            let model = network(TRANSFORMER, &words(800, n_unknown), &task).unwrap();
            let accuracy = accuracy(&model, &words(240, 0));
            assert!(accuracy > 0.99, "{accuracy}");
            // Words that it never saw are known by nothing, and predicted all the same.
            let unknown = probabilities(&model, &words(240, 240));
            assert!(unknown.iter().all(|probability| probability.is_finite()));
        }
        let error = network(r#"{ "tabular_resnet": {} }"#, &words(50, 0), &task).err().unwrap();
        assert_eq!(error.message, "column `x` is categorical, where numbers are needed");
        let mut missing = words(50, 0);
        missing.features[[4, 1]] = f64::NAN;
        let error = network(TRANSFORMER, &missing, &task).err().unwrap();
        assert_eq!(error.message, "column `y` has a missing value in row 5");
    }

    #[test]
    fn values_are_learned_by_every_loss() {
        for loss in ["squared", "absolute", "huber"] {
            let json = format!(
                r#"{{ "mlp": {{ "hidden": [32], "batch_size": 32, "epochs": 40, "learning_rate": 0.01, "schedule": "step", "loss": "{loss}" }} }}"#
            );
            let rows = plane(1500);
            let model = network(&json, &rows, &Task::Regression).unwrap();
            let (Prediction::Values(ours), Target::Values(theirs)) =
                (model.predict(rows.features.view()).unwrap(), rows.target().unwrap())
            else {
                panic!()
            };
            let error = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).sum::<f64>() / 1500.0;
            assert!(error < 15.0, "{loss}: {error}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_before_training() {
        let (labels, values) = (rings(60, 0.0, 1), plane(60));
        for (json, rows, task, expected) in [
            (
                r#"{ "mlp": { "loss": "huber" } }"#,
                &labels,
                task(),
                "`loss: huber` is for values, and the target holds labels",
            ),
            (
                r#"{ "mlp": { "loss": "focal" } }"#,
                &values,
                Task::Regression,
                "`loss: focal` is for labels, and the target holds values",
            ),
            (r#"{ "tab_transformer": { "heads": 7 } }"#, &labels, task(), "`width` 64 is no multiple of `heads` 7"),
            (
                r#"{ "tabular_resnet": { "batch_size": 1 } }"#,
                &labels,
                task(),
                "batch norm needs batches of at least 2 rows, and `batch_size` is 1",
            ),
        ] {
            let error = network(json, rows, &task).err().unwrap();
            assert_eq!(error.message, expected);
            assert!(error.help.is_some());
        }
    }

    #[test]
    fn batch_norms_are_tuned_further() {
        let json = r#"{ "tabular_resnet": { "width": 16, "batch_size": 32, "epochs": 20, "learning_rate": 0.01 } }"#;
        let base = network(json, &rings(1500, 0.0, 1), &task()).unwrap();
        let (train, validation, test) = (rings(401, 0.7, 2), rings(300, 0.7, 3), rings(600, 0.7, 4));
        let tuning = NetworkTuning { learning_rate: 3e-3, batch_size: Some(100), ..NetworkTuning::default() };
        let (tuned, _) = further(&base, &tuning, &train, &validation);
        let [before, after] = [&base, &tuned].map(|model| accuracy(model, &test));
        assert!(after > before + 0.1, "{before} {after}");
    }
}
