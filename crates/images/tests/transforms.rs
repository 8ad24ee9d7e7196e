//! Chains of transforms: what is fused must be what its parts are one after the other, and what is drawn depends on nothing but the generator.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::numbered;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retune_images::{Picture, Transforms, flip_horizontally, flip_vertically};
use retune_spec::images::{Augmentation, ImageInput};
use serde_json::{Value, json};

fn transforms(input: Value, augmentations: Value) -> Transforms {
    let input: ImageInput = serde_json::from_value(input).unwrap();
    let augmentations: Vec<Augmentation> = serde_json::from_value(augmentations).unwrap();
    Transforms::new(&input, &augmentations, true).unwrap()
}

/// The 8-bit values that a network would see, channel by channel.
fn seen(transforms: &Transforms, picture: &Picture, seed: u64) -> Vec<f32> {
    let mut out = vec![f32::NAN; transforms.len()];
    transforms.apply(picture, &mut ChaCha8Rng::seed_from_u64(seed), &mut out).unwrap();
    out.iter().map(|number| (number * 255.0).round()).collect()
}

fn plain(size: [u32; 2]) -> Value {
    json!({ "size": size, "mean": 0.0, "std": 1.0 })
}

#[test]
fn flips_on_the_way_are_flips_before() {
    let picture = numbered(31, 24, 3, 1);
    let always = |word: &str| json!({ word: { "p": 1.0 } });
    for after in [
        json!([{ "random_resized_crop": {} }]),
        json!([{ "random_crop": { "padding": 3 } }]),
        json!([{ "random_crop": { "padding": 3, "pad_with": "reflect" } }]),
        json!([{ "center_crop": {} }]),
        json!([{ "resize": {} }, { "rotate": { "degrees": 30 } }]),
        json!([{ "affine": { "degrees": 20, "translate": [0.1, 0.2], "scale": [0.8, 1.2], "shear": 5 } }, { "center_crop": {} }]),
        json!([{ "color_jitter": { "contrast": 0.4, "hue": 0.2 } }, { "random_resized_crop": {} }]),
        json!([{ "resize": { "to": 20 } }, { "rand_augment": { "n": 3 } }]),
    ] {
        for fit in ["stretch", "crop", "pad"] {
            let mut input = plain([13, 15]);
            input["fit"] = json!(fit);
            for (flips, flipped) in [
                (vec!["horizontal_flip"], flip_horizontally(&picture)),
                (vec!["vertical_flip"], flip_vertically(&picture)),
                (vec!["vertical_flip", "horizontal_flip"], flip_horizontally(&flip_vertically(&picture))),
            ] {
                // Flips that never happen draw as many numbers.
                let never = |word: &&str| json!({ *word: { "p": 0.0 } });
                let chain = |flips: Vec<Value>| json!([flips, after.as_array().unwrap().clone()].concat());
                let on_the_way = transforms(input.clone(), chain(flips.iter().map(|word| always(word)).collect()));
                let before = transforms(input.clone(), chain(flips.iter().map(never).collect()));
                for seed in 0..5 {
                    let (ours, theirs) = (seen(&on_the_way, &picture, seed), seen(&before, &flipped, seed));
                    // A level of rounding more or less may be on the other side of a threshold of `rand_augment`.
                    let near = ours.iter().zip(&theirs).filter(|(ours, theirs)| (*ours - *theirs).abs() <= 2.0).count();
                    let all = !after.to_string().contains("rand_augment");
                    assert!(
                        if all { near == ours.len() } else { near * 100 >= ours.len() * 95 },
                        "{flips:?} before {after} with {fit}: {near} of {} are near",
                        ours.len()
                    );
                }
            }
        }
    }
}

#[test]
fn the_same_generator_draws_the_same() {
    let everything = json!([
        { "random_resized_crop": {} }, { "horizontal_flip": {} }, { "vertical_flip": {} }, { "rotate": { "degrees": 10 } },
        { "affine": { "degrees": 5 } }, { "color_jitter": { "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1 } },
        { "grayscale": {} }, { "rand_augment": {} }, { "random_erasing": { "value": "random" } }, { "mixup": {} }
    ]);
    let transforms = transforms(plain([16, 20]), everything);
    let picture = numbered(40, 30, 3, 2);
    assert_eq!(transforms.shape(), [3, 16, 20]);
    assert_eq!(seen(&transforms, &picture, 1), seen(&transforms, &picture, 1));
    assert_ne!(seen(&transforms, &picture, 1), seen(&transforms, &picture, 2));
}

#[test]
fn every_augmentation_takes_pictures_of_any_size_and_mode() {
    for (mode, channels) in [("rgb", 3), ("grey", 1)] {
        for word in Augmentation::WORDS {
            let settings = match *word {
                "rotate" => json!({ "degrees": 45 }),
                "affine" => json!({ "degrees": 45, "translate": [0.5, 0.5], "scale": [0.5, 2], "shear": 30 }),
                "color_jitter" => json!({ "brightness": 1, "contrast": 1, "saturation": 1, "hue": 0.5 }),
                "rand_augment" => json!({ "n": 14 }),
                "random_crop" => json!({ "padding": 2, "pad_with": "reflect" }),
                _ => json!({}),
            };
            let input = json!({ "size": [6, 9], "mode": mode });
            let transforms = transforms(input, json!([{ *word: settings }]));
            for (height, width) in [(1, 1), (1, 50), (50, 1), (2, 3), (6, 9), (40, 33)] {
                for seed in 0..4 {
                    let seen = seen(&transforms, &numbered(height, width, channels, 3), seed);
                    assert!(seen.iter().all(|number| number.is_finite()), "{word} of {height} x {width} in {mode}");
                }
            }
        }
    }
}

#[test]
fn crops_lie_where_torchvision_puts_them() {
    let picture = numbered(5, 5, 1, 0);
    let at = |row: usize, column: usize| f32::from(picture.pixels()[row * 5 + column]);
    let grey = |size: [u32; 2]| json!({ "size": size, "mode": "grey", "mean": 0.0, "std": 1.0 });
    // CenterCrop rounds halves to even numbers: int(round(1.5)) is 2.
    assert_eq!(
        seen(&transforms(grey([2, 4]), json!([{ "center_crop": {} }])), &picture, 1),
        [at(2, 0), at(2, 1), at(2, 2), at(2, 3), at(3, 0), at(3, 1), at(3, 2), at(3, 3)]
    );
    // What a picture lacks is black, the odd column on the right.
    let wide = seen(&transforms(grey([1, 8]), json!([{ "center_crop": {} }])), &picture, 1);
    assert_eq!(wide, [0.0, at(2, 0), at(2, 1), at(2, 2), at(2, 3), at(2, 4), 0.0, 0.0]);
    // All places occur, and no others.
    let random = transforms(grey([5, 5]), json!([{ "random_crop": { "padding": 1 } }]));
    let corners: std::collections::HashSet<Vec<i64>> =
        (0..200).map(|seed| seen(&random, &picture, seed).iter().map(|number| *number as i64).collect()).collect();
    assert_eq!(corners.len(), 9);
}

#[test]
fn erased_parts_are_of_one_value_or_noise() {
    let picture = numbered(20, 20, 3, 1);
    let erasing = |value: Value| json!([{ "random_erasing": { "p": 1.0, "scale": [0.2, 0.3], "value": value } }]);
    let of = |value: Value| seen(&transforms(plain([20, 20]), erasing(value)), &picture, 4);
    let (untouched, erased, noise) =
        (seen(&transforms(plain([20, 20]), json!([])), &picture, 4), of(json!(2.0)), of(json!("random")));
    let changed: Vec<usize> = (0..1200).filter(|place| untouched[*place] != erased[*place]).collect();
    assert!((240..=360).contains(&changed.len()), "{}", changed.len());
    assert!(changed.iter().all(|place| erased[*place] == 510.0));
    // Every number by itself.
    let distinct: std::collections::HashSet<i64> = changed.iter().map(|place| noise[*place] as i64).collect();
    assert!(distinct.len() > 150, "{}", distinct.len());
}

#[test]
fn what_does_not_fit_is_told() {
    let colour = transforms(plain([4, 4]), json!([]));
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut apply = |channels: usize, length: usize| {
        colour.apply(&numbered(4, 4, channels, 0), &mut rng, &mut vec![0.0; length]).unwrap_err()
    };
    assert_eq!(apply(1, 48), "the image was decoded to 1 channels, and 3 are needed");
    assert_eq!(apply(3, 47), "48 numbers do not fit into 47");
    let input = ImageInput { std: Some(retune_spec::OneOrMany::One(0.0)), ..ImageInput::default() };
    assert!(Transforms::new(&input, &[], false).unwrap_err().starts_with("`std` must be greater than 0"));
    assert!(Picture::new(2, 2, 3, vec![0; 11]).is_none() && Picture::new(0, 2, 3, vec![]).is_none());
}
