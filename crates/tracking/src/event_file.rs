//! TensorBoard's event files: records (TFRecord) of protocol buffers (`Event`), of which scalars need six fields. A library for either would be more than this page.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::record::Point;

/// Writes a new file of events into a folder, which is made where it is missing.
pub fn write(folder: &Path, points: &[Point]) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    fs::create_dir_all(folder)?;
    let name = format!("events.out.tfevents.{}.{}.retune", now.as_secs(), std::process::id());
    let mut out = BufWriter::new(File::create(folder.join(name))?);
    write_to(&mut out, now.as_secs_f64(), points)?;
    out.flush()
}

fn write_to(out: &mut impl Write, wall_time: f64, points: &[Point]) -> io::Result<()> {
    let mut first = Message::default();
    first.double(1, wall_time).bytes(3, b"brain.Event:2");
    record(out, &first.0)?;
    for point in points {
        let (mut value, mut summary, mut event) = (Message::default(), Message::default(), Message::default());
        // The field for scalars has 32 bits.
        value.bytes(1, point.name.as_bytes()).float(2, point.value as f32);
        summary.bytes(1, &value.0);
        event.double(1, wall_time).varint(2, point.step.cast_unsigned()).bytes(5, &summary.0);
        record(out, &event.0)?;
    }
    Ok(())
}

/// The length, its checksum, the data, their checksum.
fn record(out: &mut impl Write, data: &[u8]) -> io::Result<()> {
    let length = (data.len() as u64).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked_checksum(&length).to_le_bytes())?;
    out.write_all(data)?;
    out.write_all(&masked_checksum(data).to_le_bytes())
}

/// CRC-32C, turned and moved so that the checksum of data that hold checksums is no special case.
fn masked_checksum(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// A protocol buffer's fields.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn tag(&mut self, field: u8, wire_type: u8) {
        self.0.push(field << 3 | wire_type);
    }

    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn varint(&mut self, field: u8, value: u64) -> &mut Self {
        self.tag(field, 0);
        self.number(value);
        self
    }

    fn double(&mut self, field: u8, value: f64) -> &mut Self {
        self.tag(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(&mut self, field: u8, value: &[u8]) -> &mut Self {
        self.tag(field, 2);
        self.number(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn float(&mut self, field: u8, value: f32) -> &mut Self {
        self.tag(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    /// The bytes are what `tensorboard.compat.tensorflow_stub`'s writer makes of the same events (tensorboard 2.20; `scripts/integration/event_file.py` prints them).
    #[test]
    fn the_bytes_are_tensorboards() {
        let points = [Point { name: "tuned/loss".to_owned(), step: 300, value: 0.25 }];
        let mut out = Vec::new();
        write_to(&mut out, 1_700_000_000.5, &points).unwrap();
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, include_str!("../tests/reference/events.hex").trim());
    }
}
