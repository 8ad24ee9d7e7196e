//! Images in batches: decoded and changed on other threads while a step runs.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{Array2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use retune_images::{
    BadImage, Cache, Limits, Mixing, Picture, Plan, ReadError, Reader, Transforms, bad_images, decode, read,
};
use retune_spec::images::{Augmentation, ImageInput, OnBadImage};
use retune_stage::{Device, ImageFile, Images, Seed, Target};
use tch::Tensor;

use crate::rows::{Batch, Batches, Examples, Mixed, Supply, batch_size, check, floats, targets};
use crate::{Mode, Network, Result, TensorError, device};

/// Decoded images are kept in memory up to so many bytes.
const CACHE: usize = 1 << 30;

/// Images that are the same in each epoch are kept as the network sees them, up to so many numbers.
const KEPT: usize = 1 << 26;

/// A column of images as a network sees them.
pub struct Pictures {
    source: Arc<Cache<Column>>,
    name: String,
    /// The rows' numbers in their source, for messages.
    row_numbers: Vec<u32>,
    /// As in training, and as in prediction.
    changed: Arc<Transforms>,
    plain: Arc<Transforms>,
    mixing: Option<Mixing>,
    is_fixed: bool,
    threads: usize,
}

/// Image files of a column.
struct Column {
    images: Images,
    input: ImageInput,
    limits: Limits,
}

impl retune_images::Pictures for Column {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn get(&self, row: usize) -> Result<Arc<Picture>, String> {
        let decoded = match self.images.get(row) {
            Some(ImageFile::Bytes(bytes)) => decode(bytes, self.input.mode, &self.limits)?,
            Some(ImageFile::Path(path)) => {
                decode(&read(path, self.input.root.as_deref(), &self.limits)?, self.input.mode, &self.limits)?
            }
            None => return Err("the image is missing".to_owned()),
        };
        Ok(Arc::new(decoded))
    }
}

impl Pictures {
    /// Images that a network sees as `input` says, changed in training as `augment` says. Nothing is decoded yet.
    pub fn new(
        images: &Images,
        row_numbers: &[u32],
        input: &ImageInput,
        augment: &[Augmentation],
        threads: usize,
    ) -> Result<Self> {
        let column = Column { images: images.clone(), input: input.clone(), limits: Limits::of(input) };
        let transforms = |training| Transforms::new(input, augment, training).map(Arc::new).map_err(TensorError::data);
        Ok(Self {
            source: Arc::new(Cache::new(column, CACHE)),
            name: images.name().to_owned(),
            row_numbers: row_numbers.to_vec(),
            changed: transforms(true)?,
            plain: transforms(false)?,
            mixing: Mixing::new(augment).map_err(TensorError::data)?,
            is_fixed: augment.is_empty(),
            threads: threads.max(1),
        })
    }

    /// The rows whose images cannot be used, and why; decodes all of them.
    pub fn bad(&self) -> Vec<(usize, String)> {
        bad_images(self.source.as_ref()).into_iter().map(|bad| (bad.row, bad.reason)).collect()
    }

    /// The images with their targets and weights, for training on a device.
    pub fn with_target(self, target: &Target, weights: Option<&[f64]>, device: Device) -> Result<Box<dyn Supply>> {
        let n_rows = self.n_rows();
        check(n_rows, target, weights)?;
        let device = device::resolve(device)?;
        let (targets, weights) = (targets(target)?.f_to(device)?, weights.map(floats).transpose()?);
        let weights = weights.map(|weights| weights.f_to(device)).transpose()?;
        if self.is_fixed && n_rows * self.plain.len() <= KEPT {
            let inputs = self.read(0..n_rows)?.f_to(device)?;
            return Ok(Box::new(Examples::of_tensors(inputs, targets, weights)));
        }
        Ok(Box::new(Labelled { pictures: self, targets, weights, device }))
    }

    /// The network's outputs [rows, outputs], computed on the processor in blocks over the threads of rayon: the same bits however many there are.
    pub fn predict(&self, network: &Network) -> Result<Array2<f32>> {
        let shared = Mutex::new(network.shallow_clone());
        let (n_rows, n_outputs) = (self.n_rows(), network.n_outputs());
        // Part of the result's bits. Each thread has a block in hand.
        let block = (network.rows_at_once() / 4).max(1);
        let blocks: Vec<Array2<f32>> = (0..n_rows.div_ceil(block))
            .into_par_iter()
            .map(|number| {
                device::set_threads(1)?;
                let network = shared.lock().unwrap_or_else(PoisonError::into_inner).shallow_clone();
                let images = self.read(number * block..n_rows.min((number + 1) * block))?;
                let _no_grad = tch::no_grad_guard();
                crate::network::outputs(&network.forward(&images, &mut Mode::Predict)?, n_outputs)
            })
            .collect::<Result<_>>()?;
        let views: Vec<_> = blocks.iter().map(Array2::view).collect();
        if views.is_empty() {
            return Ok(Array2::zeros((0, n_outputs)));
        }
        ndarray::concatenate(Axis(0), &views).map_err(|error| TensorError::failed(error.to_string()))
    }

    fn n_rows(&self) -> usize {
        retune_images::Pictures::len(self.source.as_ref())
    }

    /// Rows as in prediction [rows, channels, height, width].
    fn read(&self, rows: Range<usize>) -> Result<Tensor> {
        let length = self.plain.len();
        let mut pixels = vec![0.0f32; rows.len() * length];
        let first = rows.start;
        let write = |(place, out): (usize, &mut [f32])| {
            let row = first + place;
            let bad = |reason| BadImage { row, reason };
            let picture = retune_images::Pictures::get(self.source.as_ref(), row).map_err(bad)?;
            // Nothing is drawn in prediction.
            self.plain.apply(&picture, &mut ChaCha8Rng::seed_from_u64(0), out).map_err(bad)
        };
        let bad: Vec<BadImage> =
            pixels.par_chunks_mut(length).enumerate().filter_map(|cell| write(cell).err()).collect();
        if !bad.is_empty() {
            return Err(self.told(ReadError::Bad(bad)));
        }
        Ok(Tensor::f_from_slice(&pixels)?.f_reshape(self.shape(rows.len()))?)
    }

    fn shape(&self, n_rows: usize) -> [i64; 4] {
        let [channels, height, width] = self.plain.shape().map(|length| length as i64);
        [n_rows as i64, channels, height, width]
    }

    /// An error with the column and the rows as the user counts them.
    fn told(&self, error: ReadError) -> TensorError {
        let number = |row: usize| self.row_numbers.get(row).map_or(row, |number| (*number as usize).saturating_sub(1));
        let renamed = |bad: BadImage| BadImage { row: number(bad.row), ..bad };
        match error {
            ReadError::Bad(bad) => {
                let bad = ReadError::Bad(bad.into_iter().map(renamed).collect());
                TensorError::data(format!("column `{}` has {bad}", self.name))
                    .help("correct the files, or leave such rows out of training with `on_error: quarantine`")
            }
            ReadError::Panicked(bad) => TensorError::failed(ReadError::Panicked(renamed(bad)).to_string()),
            failed @ ReadError::Failed(_) => TensorError::failed(failed.to_string()),
        }
    }
}

/// Images with their targets.
struct Labelled {
    pictures: Pictures,
    targets: Tensor,
    weights: Option<Tensor>,
    device: tch::Device,
}

impl Labelled {
    fn reader(&self, plan: Plan, is_training: bool) -> Result<Reader> {
        let pictures = &self.pictures;
        let transforms = if is_training { &pictures.changed } else { &pictures.plain };
        let reader = Reader::new(pictures.source.clone(), Arc::clone(transforms), plan);
        reader.map_err(|error| pictures.told(error))
    }

    fn batch(&self, read: Result<retune_images::Batch, ReadError>) -> Result<Batch> {
        let read = read.map_err(|error| self.pictures.told(error))?;
        let rows: Vec<i64> = read.rows.iter().map(|&row| row as i64).collect();
        let rows = Tensor::f_from_slice(&rows)?.f_to(self.device)?;
        let mixed = match &read.shares {
            Some(shares) => {
                let partners: Vec<i64> = shares.iter().map(|share| share.partner as i64).collect();
                let weights: Vec<f32> = shares.iter().map(|share| share.weight).collect();
                Some(Mixed {
                    partners: Tensor::f_from_slice(&partners)?.f_to(self.device)?,
                    shares: Tensor::f_from_slice(&weights)?.f_to(self.device)?,
                })
            }
            None => None,
        };
        let inputs = Tensor::f_from_slice(&read.pixels)?.f_reshape(self.pictures.shape(read.rows.len()))?;
        Ok(Batch {
            inputs: inputs.f_to(self.device)?,
            targets: self.targets.f_index_select(0, &rows)?,
            weights: self.weights.as_ref().map(|weights| weights.f_index_select(0, &rows)).transpose()?,
            mixed,
        })
    }
}

impl Supply for Labelled {
    fn n_rows(&self) -> usize {
        self.pictures.n_rows()
    }

    fn batches(&self, order: &[u32], cuts: &[Range<usize>], first: usize, seed: Seed) -> Result<Batches<'_>> {
        let Some(batch_size) = batch_size(cuts, first) else { return Ok(Box::new(std::iter::empty())) };
        let plan = Plan {
            order: order.iter().map(|&row| row as usize).collect(),
            batch_size,
            first_batch: first,
            seed: seed.0,
            // The seed is that of the epoch.
            epoch: 0,
            threads: self.pictures.threads,
            on_error: OnBadImage::Fail,
            mixing: self.pictures.mixing.clone(),
        };
        let mut read = self.reader(plan, true)?;
        let cuts = cuts.to_vec();
        Ok(Box::new(cuts.into_iter().map(move |cut| {
            let ended = || TensorError::failed("the images of an epoch ran out");
            let mut batch = self.batch(read.next().ok_or_else(ended)?)?;
            // A last batch of too few rows belongs to the one before it.
            while batch.n_rows() < cut.len() {
                batch = batch.joined(self.batch(read.next().ok_or_else(ended)?)?)?;
            }
            Ok(batch)
        })))
    }

    fn plain(&self, at_once: usize) -> Result<Batches<'_>> {
        let plan = Plan {
            order: (0..self.n_rows()).collect(),
            batch_size: at_once.max(1),
            first_batch: 0,
            seed: 0,
            epoch: 0,
            threads: self.pictures.threads,
            on_error: OnBadImage::Fail,
            mixing: None,
        };
        Ok(Box::new(self.reader(plan, false)?.map(|read| self.batch(read))))
    }

    fn is_fixed(&self) -> bool {
        self.pictures.is_fixed
    }
}
