//! Files against Pillow's pixels, from `tests/reference/torchvision_transforms.py`, and files that are none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::LazyLock;

use common::{assert_near, base64, picture};
use retune_images::{Limits, decode, read};
use retune_spec::images::{ImageInput, ImageMode};
use serde_json::Value;

static CASES: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(include_str!("fixtures/decode.json")).unwrap());

const LIMITS: Limits = Limits { max_pixels: 50_000_000, max_bytes: 64 << 20 };
const UNKNOWN: &str = "the bytes are no PNG, JPEG, WebP, GIF, BMP or TIFF image";

fn cases() -> impl Iterator<Item = (&'static str, Vec<u8>, &'static Value)> {
    let cases = CASES["cases"].as_array().unwrap().iter();
    cases.map(|case| (case["name"].as_str().unwrap(), base64(case["file"].as_str().unwrap()), case))
}

fn file(name: &str) -> Vec<u8> {
    cases().find(|case| case.0 == name).unwrap_or_else(|| panic!("no case {name}")).1
}

#[test]
fn pixels_are_those_of_pillow() {
    for (name, bytes, case) in cases() {
        let mode: ImageMode = serde_json::from_value(case["mode"].clone()).unwrap();
        let what = format!("{name} in {mode:?}");
        let ours = decode(&bytes, mode, &LIMITS).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_near(&ours, &picture(case), case["most"].as_u64().unwrap(), &what);
    }
}

#[test]
fn files_that_cannot_be_used_are_told() {
    let png = file("PNG {}");
    let jpeg = file("JPEG 95 {}");
    assert!(decode(&[&jpeg[..], b"appended"].concat(), ImageMode::Rgb, &LIMITS).is_ok());
    let few_bytes = Limits { max_bytes: png.len() as u64 - 1, ..LIMITS };
    let few_pixels = Limits { max_pixels: 53, ..LIMITS };
    for (bytes, limits, reason) in [
        (&b""[..], LIMITS, UNKNOWN.to_owned()),
        (b"no image", LIMITS, UNKNOWN.to_owned()),
        (b"\x89PNG", LIMITS, UNKNOWN.to_owned()),
        (&jpeg[..jpeg.len() - 2], LIMITS, "the JPEG file is cut short: its end marker is missing".to_owned()),
        (&png, few_bytes, format!("the file is larger than `max_bytes: {}`", png.len() - 1)),
        (&png, few_pixels, "the image has 6 x 9 pixels, more than `max_pixels: 53`".to_owned()),
        (
            &bomb(60_000, 60_000),
            LIMITS,
            "the image has 60000 x 60000 pixels, more than `max_pixels: 50000000`".to_owned(),
        ),
    ] {
        assert_eq!(decode(bytes, ImageMode::Rgb, &limits).unwrap_err(), reason);
    }
}

#[test]
fn truncated_files_are_refused() {
    for name in
        ["PNG {}", "BMP {}", "TIFF {}", "WEBP {'lossless': True}", "WebP with losses", "animated GIF", "JPEG 95 {}"]
    {
        let bytes = file(name);
        for share in [0.02, 0.1, 0.3, 0.5, 0.7, 0.9] {
            let length = (bytes.len() as f64 * share) as usize;
            match decode(&bytes[..length], ImageMode::Rgb, &LIMITS) {
                Err(reason) => assert!(!reason.is_empty()),
                // The first of its two frames is there.
                Ok(_) => assert!(share >= 0.5 && name == "animated GIF", "{name} at {share}"),
            }
        }
    }
}

/// The header of a PNG of so many pixels and nothing else.
fn bomb(height: u32, width: u32) -> Vec<u8> {
    let mut bomb = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = b"IHDR".to_vec();
    header.extend_from_slice(&width.to_be_bytes());
    header.extend_from_slice(&height.to_be_bytes());
    header.extend_from_slice(&[8, 0, 0, 0, 0]);
    bomb.extend_from_slice(&13_u32.to_be_bytes());
    bomb.extend_from_slice(&header);
    bomb.extend_from_slice(&crc32(&header).to_be_bytes());
    bomb.extend_from_slice(&0_u32.to_be_bytes());
    bomb.extend_from_slice(b"IDAT");
    bomb
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn paths_start_at_the_root_and_stay_within() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir_all(root.join("a")).unwrap();
    // What a file is, its bytes say and not its name.
    std::fs::write(root.join("a/b.jpg"), file("PNG {}")).unwrap();
    std::fs::write(folder.path().join("outside.png"), file("PNG {}")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("outside.png"), root.join("link.png")).unwrap();
    let root = root.to_str().unwrap();
    let outside = |path: &str| Err(format!("{path} is not within `root: {root}`"));
    for (path, within, expected) in [
        ("a/b.jpg", Some(root), Ok(())),
        ("./a/b.jpg", Some(root), Ok(())),
        (format!("{root}/a/b.jpg").as_str(), None, Ok(())),
        ("../outside.png", Some(root), outside("../outside.png")),
        ("/etc/passwd", Some(root), outside("/etc/passwd")),
        ("link.png", Some(root), outside("link.png")),
        ("a/c.png", Some(root), Err("a/c.png: No such file or directory (os error 2)".to_owned())),
    ] {
        let limits = Limits::of(&ImageInput::default());
        let decoded = read(path, within, &limits).and_then(|bytes| decode(&bytes, ImageMode::Grey, &limits));
        assert_eq!(decoded.map(|picture| assert_eq!(picture.height(), 6)), expected, "{path}");
    }
    // A file that does not end is not read to its end.
    let limits = Limits { max_bytes: 1000, ..LIMITS };
    assert_eq!(read("/dev/zero", None, &limits).unwrap().len(), 1001);
}
