//! Pictures to the numbers that a network sees.

use std::borrow::Cow;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use retune_spec::images::{Augmentation, ErasingValue, ImageFit, ImageInput, PadWith, RandomErasing, Resize, ResizeTo};

use crate::geometry::{Matrix, crop, flip_horizontally, flip_vertically, mirrored, warp};
use crate::picture::{CropBox, Picture};
use crate::{colour, draw, resize};

/// What becomes of every picture: augmentations in training, the network's size, each channel normalised. Cheap to share between threads.
#[derive(Clone, Debug)]
pub struct Transforms {
    /// Height and width.
    size: [usize; 2],
    n_channels: usize,
    fit: ImageFit,
    /// What becomes of each value of each channel.
    normalised: Vec<[f32; 256]>,
    steps: Vec<Augmentation>,
    erasings: Vec<RandomErasing>,
}

impl Transforms {
    /// Those of a network's input. `mixup` and `cutmix` are left to [`crate::Mixing`]; unless `training`, so are all augmentations. Fails where means or deviations are
    /// not one for each channel, or a deviation is not above 0.
    pub fn new(input: &ImageInput, augmentations: &[Augmentation], training: bool) -> Result<Self, String> {
        if let Some(misfit) = input.misfits().into_iter().next() {
            return Err(format!("{}; {}", misfit.message, misfit.help));
        }
        // As torchvision computes it, in 32 bits: value / 255, minus the mean, divided by the deviation.
        let table = |(mean, deviation): (f64, f64)| {
            std::array::from_fn(|value| (value as f32 / 255.0 - mean as f32) / deviation as f32)
        };
        let (mut steps, mut erasings) = (Vec::new(), Vec::new());
        for augmentation in augmentations.iter().filter(|augmentation| training && !augmentation.mixes()) {
            match augmentation {
                Augmentation::RandomErasing(erasing) => erasings.push(erasing.clone()),
                other => steps.push(other.clone()),
            }
        }
        // The smaller picture is quicker to change.
        if !steps.iter().any(gives_size) {
            steps.insert(0, Augmentation::Resize(Resize { to: None }));
        }
        Ok(Self {
            size: input.size.map(|side| side as usize),
            n_channels: input.mode.channels(),
            fit: input.fit,
            normalised: input.means().into_iter().zip(input.deviations()).map(table).collect(),
            steps,
            erasings,
        })
    }

    /// Channels, height and width of what [`Self::apply`] writes.
    pub fn shape(&self) -> [usize; 3] {
        [self.n_channels, self.size[0], self.size[1]]
    }

    /// How many numbers that is.
    pub fn len(&self) -> usize {
        self.shape().iter().product()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes a picture as `out` [channels, height, width], changed by what `rng` draws. Fails where the picture has other channels or `out` another length.
    pub fn apply(&self, picture: &Picture, rng: &mut ChaCha8Rng, out: &mut [f32]) -> Result<(), String> {
        if picture.channels() != self.n_channels {
            return Err(format!(
                "the image was decoded to {} channels, and {} are needed",
                picture.channels(),
                self.n_channels
            ));
        }
        if out.len() != self.len() {
            return Err(format!("{} numbers do not fit into {}", self.len(), out.len()));
        }
        let mut view = View { picture: Cow::Borrowed(picture), flipped: [false; 2] };
        for step in &self.steps {
            view.change(step, self, rng)?;
        }
        if view.size() != self.size {
            view.fit(self.size, self.fit)?;
        }
        self.write(&view, out);
        for erasing in &self.erasings {
            self.erase(erasing, rng, out);
        }
        Ok(())
    }

    fn write(&self, view: &View, out: &mut [f32]) {
        let [height, width] = self.size;
        let [horizontally, vertically] = view.flipped;
        let (stride, n) = (view.picture.stride(), self.n_channels);
        for (channel, plane) in out.chunks_exact_mut(height * width).enumerate() {
            let table = &self.normalised[channel];
            for (row, line) in plane.chunks_exact_mut(width).enumerate() {
                let from = if vertically { height - 1 - row } else { row };
                let source = view.picture.pixels()[from * stride..][..stride].chunks_exact(n);
                let write = |(number, pixel): (&mut f32, &[u8])| *number = table[usize::from(pixel[channel])];
                if horizontally {
                    line.iter_mut().zip(source.rev()).for_each(write);
                } else {
                    line.iter_mut().zip(source).for_each(write);
                }
            }
        }
    }

    fn erase(&self, erasing: &RandomErasing, rng: &mut ChaCha8Rng, out: &mut [f32]) {
        if !draw::happens(erasing.p, rng) {
            return;
        }
        let Some(part) = draw::erased(self.size, erasing, rng) else { return };
        erase(out, self.size, part, || match erasing.value {
            ErasingValue::Value(value) => value as f32,
            ErasingValue::Noise(_) => StandardNormal.sample(rng),
        });
    }
}

/// Whether an augmentation gives pictures a size.
fn gives_size(augmentation: &Augmentation) -> bool {
    matches!(
        augmentation,
        Augmentation::RandomResizedCrop(_)
            | Augmentation::RandomCrop(_)
            | Augmentation::CenterCrop(_)
            | Augmentation::Resize(_)
    )
}

/// Writes over a part of every channel of `out` [channels, height, width].
pub(crate) fn erase(out: &mut [f32], [height, width]: [usize; 2], part: CropBox, mut value: impl FnMut() -> f32) {
    for plane in out.chunks_exact_mut(height * width) {
        for line in plane.chunks_exact_mut(width).skip(part.top).take(part.height) {
            line[part.left..][..part.width].iter_mut().for_each(|number| *number = value());
        }
    }
}

/// A picture, perhaps seen in a mirror: mirrors cost nothing until the pixels are written.
struct View<'a> {
    picture: Cow<'a, Picture>,
    /// Left and right exchanged, top and bottom exchanged.
    flipped: [bool; 2],
}

impl View<'_> {
    fn size(&self) -> [usize; 2] {
        [self.picture.height(), self.picture.width()]
    }

    fn change(
        &mut self,
        augmentation: &Augmentation,
        transforms: &Transforms,
        rng: &mut ChaCha8Rng,
    ) -> Result<(), String> {
        let size = transforms.size;
        match augmentation {
            Augmentation::RandomResizedCrop(crop) => {
                let part = mirrored(draw::resized_crop(self.size(), crop, rng), &self.picture, self.flipped);
                self.picture = Cow::Owned(resize::resized_crop(&self.picture, part, size)?);
            }
            Augmentation::RandomCrop(crop) => {
                let padding = i64::from(crop.padding);
                let mut first = |have: usize, want: usize| {
                    // What is lacking is added on both sides, as torchvision does.
                    let before = padding.max(0) + (want as i64 - have as i64 - 2 * padding).max(0);
                    rng.random_range(0..=have as i64 + 2 * before - want as i64) - before
                };
                let (top, left) = (first(self.size()[0], size[0]), first(self.size()[1], size[1]));
                self.crop(top, left, size, crop.pad_with);
            }
            Augmentation::CenterCrop(_) => {
                let first = |have: usize, want: usize| match want > have {
                    true => -((want - have) as i64 / 2),
                    false => ((have - want) as f64 / 2.0).round_ties_even() as i64,
                };
                let [top, left] = [0, 1].map(|axis| first(self.size()[axis], size[axis]));
                self.crop(top, left, size, PadWith::Black);
            }
            Augmentation::Resize(Resize { to }) => match to {
                None => self.fit(size, transforms.fit)?,
                Some(ResizeTo::Both(size)) => self.fit(size.map(|side| side as usize), ImageFit::Stretch)?,
                Some(ResizeTo::Shorter(side)) => {
                    self.fit(resize::with_shorter_side(self.size(), *side as usize), ImageFit::Stretch)?;
                }
            },
            Augmentation::HorizontalFlip(flip) => self.flipped[0] ^= draw::happens(flip.p, rng),
            Augmentation::VerticalFlip(flip) => self.flipped[1] ^= draw::happens(flip.p, rng),
            Augmentation::Rotate(rotate) => {
                let (happens, degrees) = (draw::happens(rotate.p, rng), draw::either_way(rotate.degrees, rng));
                if happens {
                    self.warp(Matrix::rotation(degrees, &self.picture));
                }
            }
            Augmentation::Affine(affine) => {
                let [height, width] = self.size();
                let parameters = draw::affine([height, width], affine, rng);
                self.warp(parameters.matrix([width as f64 * 0.5, height as f64 * 0.5]));
            }
            Augmentation::ColorJitter(jitter) => {
                for change in draw::jitter(jitter, rng) {
                    let picture = self.picture.to_mut();
                    match change {
                        draw::Jitter::Brightness(factor) => colour::adjust_brightness(picture, factor),
                        draw::Jitter::Contrast(factor) => colour::adjust_contrast(picture, factor),
                        draw::Jitter::Saturation(factor) => colour::adjust_saturation(picture, factor),
                        draw::Jitter::Hue(turn) => colour::adjust_hue(picture, turn),
                    }
                }
            }
            Augmentation::Grayscale(grayscale) => {
                if draw::happens(grayscale.p, rng) {
                    colour::grayscale(self.picture.to_mut());
                }
            }
            Augmentation::RandAugment(settings) => {
                for change in draw::changes(self.size(), settings, rng) {
                    match change.matrix(&self.picture) {
                        Some(matrix) => self.warp(matrix),
                        None => change.recolour(self.picture.to_mut()),
                    }
                }
            }
            // These wait for normalised numbers and for whole batches.
            Augmentation::RandomErasing(_) | Augmentation::Mixup(_) | Augmentation::Cutmix(_) => {}
        }
        Ok(())
    }

    fn crop(&mut self, top: i64, left: i64, size: [usize; 2], pad_with: PadWith) {
        let [height, width] = self.size().map(|side| side as i64);
        let left = if self.flipped[0] { width - left - size[1] as i64 } else { left };
        let top = if self.flipped[1] { height - top - size[0] as i64 } else { top };
        self.picture = Cow::Owned(crop(&self.picture, top, left, size, pad_with));
    }

    fn fit(&mut self, size: [usize; 2], fit: ImageFit) -> Result<(), String> {
        if size == self.size() {
            return Ok(());
        }
        if fit == ImageFit::Pad {
            // Borders of an odd number of pixels have a thicker side.
            self.unflip();
        }
        self.picture = Cow::Owned(resize::fitted(&self.picture, size, fit)?);
        Ok(())
    }

    fn warp(&mut self, matrix: Matrix) {
        self.picture = Cow::Owned(warp(&self.picture, matrix.of_mirrored(&self.picture, self.flipped)));
        self.flipped = [false; 2];
    }

    fn unflip(&mut self) {
        let [horizontally, vertically] = std::mem::take(&mut self.flipped);
        if horizontally {
            self.picture = Cow::Owned(flip_horizontally(&self.picture));
        }
        if vertically {
            self.picture = Cow::Owned(flip_vertically(&self.picture));
        }
    }
}
