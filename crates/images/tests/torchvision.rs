//! Every transform on fixed parameters against torchvision's and Pillow's, from `tests/reference/torchvision_transforms.py`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::LazyLock;

use common::{assert_near, base64, picture};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use retune_images::{
    AffineParameters, Change, CropBox, Matrix, Picture, Transforms, adjust_brightness, adjust_contrast, adjust_hue,
    adjust_saturation, adjust_sharpness, auto_contrast, change, crop, equalize, flip_horizontally, flip_vertically,
    grayscale, posterize, resized_crop, solarize, warp,
};
use retune_spec::images::PadWith;
use serde_json::Value;

static REFERENCE: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("fixtures/torchvision.json")).unwrap());

fn recoloured(picture: &Picture, recolour: impl Fn(&mut Picture)) -> Picture {
    let mut changed = picture.clone();
    recolour(&mut changed);
    changed
}

fn ours(operation: &str, source: &Picture, parameters: &Value) -> Picture {
    let number = || parameters.as_f64().unwrap();
    let of = |place: usize| parameters[place].as_f64().unwrap();
    let whole = |place: usize| parameters[place].as_i64().unwrap();
    match operation {
        "brightness" => recoloured(source, |picture| adjust_brightness(picture, number())),
        "contrast" => recoloured(source, |picture| adjust_contrast(picture, number())),
        "saturation" => recoloured(source, |picture| adjust_saturation(picture, number())),
        "sharpness" => recoloured(source, |picture| adjust_sharpness(picture, number())),
        "hue" => recoloured(source, |picture| adjust_hue(picture, number())),
        "posterize" => recoloured(source, |picture| posterize(picture, number() as u32)),
        "solarize" => recoloured(source, |picture| solarize(picture, number())),
        "auto_contrast" => recoloured(source, auto_contrast),
        "equalize" => recoloured(source, equalize),
        "grayscale" => recoloured(source, grayscale),
        "horizontal_flip" => flip_horizontally(source),
        "vertical_flip" => flip_vertically(source),
        "resized_crop" => {
            let [top, left, height, width, to_height, to_width] = [0, 1, 2, 3, 4, 5].map(|place| whole(place) as usize);
            resized_crop(source, CropBox { top, left, height, width }, [to_height, to_width]).unwrap()
        }
        "crop" => {
            let pad_with = serde_json::from_value::<PadWith>(parameters[4].clone()).unwrap();
            crop(source, whole(0), whole(1), [whole(2) as usize, whole(3) as usize], pad_with)
        }
        "rotate" => warp(source, Matrix::rotation(number(), source)),
        "affine" => {
            let affine =
                AffineParameters { angle: of(0), translate: [of(1), of(2)], scale: of(3), shear: [of(4), of(5)] };
            warp(source, affine.matrix([source.width() as f64 / 2.0, source.height() as f64 / 2.0]))
        }
        "rand_augment" => {
            let turned = parameters[2].as_bool().unwrap();
            let size = [source.height(), source.width()];
            change(source, Change::of(whole(0) as usize, whole(1) as usize, turned, size))
        }
        other => panic!("no operation {other}"),
    }
}

#[test]
fn pixels_are_those_of_torchvision() {
    let cases = REFERENCE["cases"].as_array().unwrap();
    for case in cases {
        let [source, operation] = ["source", "operation"].map(|key| case[key].as_str().unwrap());
        let what = format!("{operation} of {source} by {}", case["parameters"]);
        let ours = ours(operation, &picture(&REFERENCE["sources"][source]), &case["parameters"]);
        assert_near(&ours, &picture(case), case["most"].as_u64().unwrap(), &what);
    }
    assert!(cases.len() > 200, "{}", cases.len());
}

#[test]
fn a_network_sees_the_numbers_of_torchvision() {
    for case in REFERENCE["inputs"].as_array().unwrap() {
        let input = serde_json::from_value(case["input"].clone()).unwrap();
        let transforms = Transforms::new(&input, &[], false).unwrap();
        let mut numbers = vec![f32::NAN; transforms.len()];
        let source = picture(&REFERENCE["sources"][case["source"].as_str().unwrap()]);
        transforms.apply(&source, &mut ChaCha8Rng::seed_from_u64(1), &mut numbers).unwrap();
        let theirs = base64(case["numbers"].as_str().unwrap());
        assert_eq!(theirs.len(), numbers.len() * 4, "{case}");
        let most = case["most"].as_f64().unwrap();
        for (place, (ours, bytes)) in numbers.iter().zip(theirs.chunks_exact(4)).enumerate() {
            let theirs = f32::from_le_bytes(bytes.try_into().unwrap());
            let off = f64::from((ours - theirs).abs());
            assert!(off <= most, "{}: {ours} against {theirs} at {place}", case["input"]);
        }
    }
}
