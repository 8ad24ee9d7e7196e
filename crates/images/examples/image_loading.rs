//! Reads a folder of JPEGs as for training - a random part at 224 x 224 pixels, half of them flipped, normalised - and prints the images per second.
//!
//! Run: image_loading FOLDER THREADS [EPOCHS] [jitter] [parts]; `jitter` adds `color_jitter`, `parts` times decoding and the transforms one after the other instead.
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::Instant;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retune_images::{Files, Limits, Plan, Reader, Transforms, decode, read};
use retune_spec::images::{Augmentation, ColorJitter, HorizontalFlip, ImageInput, OnBadImage, RandomResizedCrop};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(folder), Some(threads)) = (arguments.first(), arguments.get(1)) else {
        return Err("usage: image_loading FOLDER THREADS [EPOCHS] [jitter] [parts]".into());
    };
    let n_epochs: u64 = arguments.get(2).and_then(|epochs| epochs.parse().ok()).unwrap_or(3);
    let with = |word: &str| arguments.iter().any(|argument| argument == word);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        paths.push(entry?.path().display().to_string());
    }
    paths.sort_unstable();
    let input = ImageInput::default();
    let mut augmentations = vec![
        Augmentation::RandomResizedCrop(RandomResizedCrop::default()),
        Augmentation::HorizontalFlip(HorizontalFlip::default()),
    ];
    if with("jitter") {
        let jitter = ColorJitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 };
        augmentations.push(Augmentation::ColorJitter(jitter));
    }
    let transforms = Arc::new(Transforms::new(&input, &augmentations, true)?);
    if with("parts") {
        return parts(&paths, &input, &transforms);
    }
    let files = Arc::new(Files::new(paths.clone(), &input));
    for epoch in 0..n_epochs {
        let plan = Plan {
            order: (0..paths.len()).collect(),
            batch_size: 64,
            first_batch: 0,
            seed: 1,
            epoch,
            threads: threads.parse()?,
            on_error: OnBadImage::Fail,
            mixing: None,
        };
        let start = Instant::now();
        let mut sum = 0.0;
        let mut reader = Reader::new(files.clone(), Arc::clone(&transforms), plan)?;
        while let Some(batch) = reader.next() {
            let batch = batch?;
            sum += batch.pixels[0];
            reader.recycle(batch.pixels);
        }
        println!("{{\"images_per_second\": {:.1}}}", paths.len() as f64 / start.elapsed().as_secs_f64());
        std::hint::black_box(sum);
    }
    Ok(())
}

/// Milliseconds per image.
fn parts(paths: &[String], input: &ImageInput, transforms: &Transforms) -> Outcome<()> {
    let limits = Limits::of(input);
    let mut out = vec![0.0; transforms.len()];
    let (mut decoding, mut changing) = (0.0, 0.0);
    for (path, seed) in paths.iter().zip(0..) {
        let bytes = read(path, None, &limits)?;
        let start = Instant::now();
        let picture = decode(&bytes, input.mode, &limits)?;
        decoding += start.elapsed().as_secs_f64();
        let start = Instant::now();
        transforms.apply(&picture, &mut ChaCha8Rng::seed_from_u64(seed), &mut out)?;
        changing += start.elapsed().as_secs_f64();
    }
    let of = |seconds: f64| seconds * 1e3 / paths.len() as f64;
    println!("{{\"decode_ms\": {:.3}, \"transforms_ms\": {:.3}}}", of(decoding), of(changing));
    Ok(())
}
