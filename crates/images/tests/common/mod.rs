//! What the tests share.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64::prelude::{BASE64_STANDARD, Engine as _};
use retune_images::Picture;
use serde_json::Value;

pub fn base64(text: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(text).unwrap()
}

/// The picture that a script wrote.
pub fn picture(value: &Value) -> Picture {
    let side = |axis: usize| value["shape"][axis].as_u64().unwrap() as usize;
    Picture::new(side(0), side(1), side(2), base64(value["pixels"].as_str().unwrap())).unwrap()
}

pub fn assert_near(ours: &Picture, theirs: &Picture, most: u64, what: &str) {
    let shape = |picture: &Picture| [picture.height(), picture.width(), picture.channels()];
    assert_eq!(shape(ours), shape(theirs), "{what}");
    for (place, (ours, theirs)) in ours.pixels().iter().zip(theirs.pixels()).enumerate() {
        assert!(u64::from(ours.abs_diff(*theirs)) <= most, "{what}: {ours} against {theirs} at {place}");
    }
}

/// A picture whose pixels tell where they are.
pub fn numbered(height: usize, width: usize, channels: usize, shift: usize) -> Picture {
    let pixels = (0..height * width * channels).map(|place| ((place * 7 + shift * 31) % 251) as u8).collect();
    Picture::new(height, width, channels, pixels).unwrap()
}
