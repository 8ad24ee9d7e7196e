//! `decode_image`.

use std::io::{Cursor, Read};
use std::path::{Component, Path, PathBuf};

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use polars::prelude::{BinaryChunked, Column, DataType, IntoColumn, NewChunkedArray, StringChunked, UInt8Chunked};
use rayon::prelude::*;
use retune_spec::images::{ImageFit, ImageMode, OnBadImage};
use retune_spec::preprocessing::DecodeImage;
use retune_stage::{Field, FitContext, Kind, Result, Role, StageError};
use serde::{Deserialize, Serialize};

use crate::frame::{Frame, Replacement};
use crate::outline::{Outline, shown};
use crate::source::Source;
use crate::step::{ApplyStep, BadCell, FitStep, Learnt, Train, counted};

/// More columns than this are refused: a table is no place for large images.
const MOST_COLUMNS: usize = 100_000;

/// How many bad rows a message names.
const SHOWN_ROWS: usize = 5;

/// Images of each column, and the size that they are brought to or must have.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedDecodeImage {
    columns: Vec<String>,
    /// Height and width, of each column.
    sizes: Vec<[u32; 2]>,
    declared: DecodeImage,
}

impl FitStep for DecodeImage {
    type Fitted = FittedDecodeImage;
    const KINDS: &'static [Kind] = &[Kind::Image];

    fn check(&self, columns: &[String], outline: &mut Outline) -> Result<()> {
        if columns.is_empty() {
            return Err(StageError::data("there is no column of images")
                .help("say which columns hold images, `columns: { NAME: image }` under `data`"));
        }
        outline.remove(columns);
        for name in columns {
            match self.size {
                Some([0, _] | [_, 0]) => {
                    return Err(
                        StageError::data("`size` has a side of 0 pixels").help("give a height and a width, 1 or more")
                    );
                }
                Some(size) => {
                    refuse_too_many_columns(name, size, self.mode)?;
                    pixel_names(name, size, self.mode)
                        .into_iter()
                        .try_for_each(|name| outline.add(name, Kind::Numeric))?;
                }
                None => outline.add_open(&format!("{}_", shown(name)), Kind::Numeric),
            }
        }
        Ok(())
    }

    fn fit(&self, source: &Source, columns: &[String], _context: &FitContext) -> Result<Learnt<FittedDecodeImage>> {
        let sizes = match self.size {
            Some(size) => vec![size; columns.len()],
            None => first_sizes(self, source, columns)?,
        };
        for (name, size) in columns.iter().zip(&sizes) {
            refuse_too_many_columns(name, *size, self.mode)?;
        }
        let fitted = FittedDecodeImage { columns: columns.to_vec(), sizes, declared: self.clone() };
        let channels = channels(self.mode).len();
        let n_pixels: usize = fitted.sizes.iter().map(|[height, width]| *height as usize * *width as usize).sum();
        let text =
            format!("decoded {} into {}", counted(columns.len(), "column"), counted(n_pixels * channels, "pixel"));
        if self.on_error == OnBadImage::Fail {
            return Ok(Learnt::applied(fitted, text));
        }
        let (mut kept, mut quarantined) = (Vec::with_capacity(source.n_rows()), Vec::new());
        source.fold(
            columns,
            |frame| fitted.bad_rows(frame),
            |(bad, cells)| {
                kept.extend(bad.into_iter().map(|bad| !bad));
                quarantined.extend(cells);
                Ok(())
            },
        )?;
        let n_bad = kept.iter().filter(|kept| !**kept).count();
        let done = if self.on_error == OnBadImage::Drop {
            quarantined.clear();
            "dropped"
        } else {
            "quarantined"
        };
        let text = format!("{text}; {done} {} without", counted(n_bad, "row"));
        Ok(Learnt { quarantined, ..Learnt::new(fitted, Train::Kept(kept), text) })
    }
}

/// The size of each column's first image that can be decoded.
fn first_sizes(step: &DecodeImage, source: &Source, columns: &[String]) -> Result<Vec<[u32; 2]>> {
    let mut sizes: Vec<Option<[u32; 2]>> = vec![None; columns.len()];
    let of_column = |frame: &Frame, name: &String| -> Result<Option<[u32; 2]>> {
        let files = Files::of(frame, name, step)?;
        let size = |row| {
            let decoded = files.decoded(row)?.ok()?;
            Some([decoded.height(), decoded.width()])
        };
        // Mostly the first row's.
        Ok((0..frame.n_rows()).find_map(size))
    };
    let map = |frame: &Frame| columns.iter().map(|name| of_column(frame, name)).collect::<Result<Vec<_>>>();
    source.fold(columns, map, |piece| {
        sizes.iter_mut().zip(piece).for_each(|(size, found)| *size = size.or(found));
        Ok(())
    })?;
    let size = |(size, name): (Option<[u32; 2]>, &String)| {
        size.ok_or_else(|| {
            StageError::data(format!("column `{name}` has no image in any training row that could be decoded"))
                .help("look at its files, or list it under `data.ignore`")
        })
    };
    sizes.into_iter().zip(columns).map(size).collect()
}

fn refuse_too_many_columns(name: &str, [height, width]: [u32; 2], mode: ImageMode) -> Result<()> {
    let n = height as usize * width as usize * channels(mode).len();
    if n <= MOST_COLUMNS {
        return Ok(());
    }
    Err(StageError::data(format!(
        "images of {height} x {width} pixels in column `{name}` would become {n} columns, more than {MOST_COLUMNS}"
    ))
    .help("give a smaller `size`, or `mode: grey`"))
}

/// What channels are called in columns' names; nothing for the only one.
pub(crate) fn channels(mode: ImageMode) -> &'static [&'static str] {
    match mode {
        ImageMode::Grey => &[""],
        ImageMode::Rgb => &["red_", "green_", "blue_"],
    }
}

/// Channel by channel, each row by row: the order in which networks want to see images.
fn pixel_names(name: &str, [height, width]: [u32; 2], mode: ImageMode) -> Vec<String> {
    let of_row =
        |channel: &'static str, row: u32| (0..width).map(move |column| format!("{name}_{channel}r{row}c{column}"));
    let of_channel = |channel: &'static str| (0..height).flat_map(move |row| of_row(channel, row));
    channels(mode).iter().flat_map(|channel| of_channel(channel)).collect()
}

/// The pixels of an image; `None` where it is missing, and why there are none where it cannot be used.
type Decoded = Option<Result<Vec<u8>, String>>;

impl FittedDecodeImage {
    /// The pixels of a column's images; `Err` says why there are none.
    fn decode(&self, frame: &Frame, column: usize) -> Result<Vec<Decoded>> {
        let files = Files::of(frame, &self.columns[column], &self.declared)?;
        let pixels = |row| files.decoded(row).map(|decoded| self.pixels(&decoded?, self.sizes[column]));
        Ok((0..frame.n_rows()).into_par_iter().map(pixels).collect())
    }

    /// The pixels of an image in the order of the columns' names.
    fn pixels(&self, decoded: &DynamicImage, size: [u32; 2]) -> Result<Vec<u8>, String> {
        let [height, width] = size;
        if self.declared.size.is_none() && [decoded.height(), decoded.width()] != size {
            return Err(format!(
                "the image has {} x {} pixels, where the first training image has {height} x {width}",
                decoded.height(),
                decoded.width()
            ));
        }
        let n_channels = channels(self.declared.mode).len();
        let interleaved = match self.declared.mode {
            ImageMode::Grey => grey(decoded),
            ImageMode::Rgb => decoded.to_rgb8().into_raw(),
        };
        let interleaved =
            resized(interleaved, [decoded.height(), decoded.width()], size, n_channels, self.declared.fit)?;
        let of_channel = |channel: usize| interleaved.iter().copied().skip(channel).step_by(n_channels);
        Ok((0..n_channels).flat_map(of_channel).collect())
    }

    /// Whether a row has an image that cannot be decoded, and which these are.
    fn bad_rows(&self, frame: &Frame) -> Result<(Vec<bool>, Vec<BadCell>)> {
        let (mut bad, mut cells) = (vec![false; frame.n_rows()], Vec::new());
        for (column, name) in self.columns.iter().enumerate() {
            for (row, reason) in bad_images(&self.decode(frame, column)?) {
                bad[row] = true;
                cells.push(BadCell {
                    row: frame.table.row_number(row),
                    column: name.clone(),
                    reason: reason.to_owned(),
                });
            }
        }
        Ok((bad, cells))
    }
}

impl ApplyStep for FittedDecodeImage {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        let mut bad = vec![false; frame.n_rows()];
        let mut replacements: Vec<Replacement> = Vec::new();
        for (column, name) in self.columns.iter().enumerate() {
            let images = self.decode(frame, column)?;
            if self.declared.on_error == OnBadImage::Fail {
                refuse_bad(frame, name, &images)?;
            }
            bad_images(&images).for_each(|(row, _)| bad[row] = true);
            let names = pixel_names(name, self.sizes[column], self.declared.mode);
            let origin = frame.field(name)?.origin().to_owned();
            replacements.push((name.clone(), pixel_columns(names, &origin, &images)));
        }
        let decoded = frame.replace(replacements)?;
        if self.declared.on_error == OnBadImage::Fail { Ok(decoded) } else { decoded.flag(&bad, "decode_image") }
    }
}

/// One column for each pixel.
fn pixel_columns(names: Vec<String>, origin: &str, images: &[Decoded]) -> Vec<(Field, Column)> {
    let column = |(pixel, name): (usize, String)| {
        let values = images.iter().map(|image| image.as_ref()?.as_ref().ok().map(|pixels| pixels[pixel]));
        let values = UInt8Chunked::from_iter_options(name.as_str().into(), values).into_column();
        (Field { name, role: Role::Feature, kind: Kind::Numeric, source: Some(origin.to_owned()) }, values)
    };
    names.into_par_iter().enumerate().map(column).collect()
}

/// The rows whose images cannot be used, and why.
fn bad_images(images: &[Decoded]) -> impl Iterator<Item = (usize, &str)> {
    images.iter().enumerate().filter_map(|(row, image)| Some((row, image.as_ref()?.as_ref().err()?.as_str())))
}

fn refuse_bad(frame: &Frame, name: &str, images: &[Decoded]) -> Result<()> {
    let bad: Vec<(usize, &str)> = bad_images(images).collect();
    let Some(&(_, reason)) = bad.first() else { return Ok(()) };
    let told = |(row, reason): &(usize, &str)| format!("row {}: {reason}", frame.table.row_number(*row));
    let mut told: Vec<String> = bad.iter().take(SHOWN_ROWS).map(told).collect();
    if bad.len() > told.len() {
        told.push(format!("and {} more", counted(bad.len() - told.len(), "row")));
    }
    let error = StageError::data(format!("column `{name}` has no usable image in {}", told.join("\n  ")));
    let help = "or leave such rows out with `on_error: quarantine`";
    Err(error.help(match reason.contains("where the first training image has") {
        true => format!("give the `size` that all images are brought to, {help}"),
        false => format!("correct the files, {help}"),
    }))
}

/// The files of a column of images.
enum Files<'a> {
    Bytes(&'a BinaryChunked, &'a DecodeImage),
    Paths(&'a StringChunked, &'a DecodeImage),
}

impl<'a> Files<'a> {
    fn of(frame: &'a Frame, name: &str, step: &'a DecodeImage) -> Result<Self> {
        let column = frame.table.column(name)?;
        match column.dtype() {
            DataType::Binary => Ok(Self::Bytes(column.binary()?, step)),
            DataType::String => Ok(Self::Paths(column.str()?, step)),
            dtype => Err(StageError::data(format!("column `{name}` holds {dtype}, not images"))
                .help("give the bytes of image files, or their paths")),
        }
    }

    /// The image of a row; `None` where it is missing, and why it cannot be decoded where it cannot.
    fn decoded(&self, row: usize) -> Option<Result<DynamicImage, String>> {
        match self {
            Self::Bytes(bytes, step) => bytes.get(row).map(|bytes| decode(bytes, step)),
            Self::Paths(paths, step) => {
                paths.get(row).map(|path| read(path, step).and_then(|bytes| decode(&bytes, step)))
            }
        }
    }
}

/// The bytes of a file; under a root, which neither `..` nor a link may leave.
fn read(path: &str, step: &DecodeImage) -> Result<Vec<u8>, String> {
    let named = |error: std::io::Error| format!("{path}: {error}");
    let full = match &step.root {
        None => PathBuf::from(path),
        Some(root) => {
            let outside = || format!("{path} is not within `root: {root}`");
            if !Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
                return Err(outside());
            }
            let full = Path::new(root).join(path).canonicalize().map_err(named)?;
            if !full.starts_with(Path::new(root).canonicalize().map_err(named)?) {
                return Err(outside());
            }
            full
        }
    };
    let file = std::fs::File::open(full).map_err(named)?;
    // Read no further than the limit, whatever the file says of its length: it may be a device.
    let mut bytes = Vec::new();
    file.take(step.max_bytes + 1).read_to_end(&mut bytes).map_err(named)?;
    Ok(bytes)
}

/// The image in a file's bytes, turned as its camera was held.
fn decode(bytes: &[u8], step: &DecodeImage) -> Result<DynamicImage, String> {
    if bytes.len() as u64 > step.max_bytes {
        return Err(format!("the file is larger than `max_bytes: {}`", step.max_bytes));
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    if reader.format().is_none() {
        return Err("the bytes are no PNG, JPEG, WebP, GIF, BMP or TIFF image".to_owned());
    }
    let mut decoder = reader.into_decoder().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > step.max_pixels {
        return Err(format!("the image has {height} x {width} pixels, more than `max_pixels: {}`", step.max_pixels));
    }
    // What the header promises is checked; this bounds what decoders take besides: 16 bytes a pixel are four channels of 32 bits.
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(step.max_pixels.saturating_mul(16).max(16 << 20));
    decoder.set_limits(limits).map_err(|error| error.to_string())?;
    let orientation = decoder.orientation().map_err(|error| error.to_string())?;
    let mut decoded = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    decoded.apply_orientation(orientation);
    Ok(decoded)
}

/// Luma as Pillow's `L` (ITU-R 601 in 16 bits); the `image` crate's own is ITU-R 709.
fn grey(decoded: &DynamicImage) -> Vec<u8> {
    match decoded {
        DynamicImage::ImageLuma8(grey) => grey.as_raw().clone(),
        DynamicImage::ImageLumaA8(_) | DynamicImage::ImageLuma16(_) | DynamicImage::ImageLumaA16(_) => {
            decoded.to_luma8().into_raw()
        }
        _ => {
            let luma = |pixel: &[u8]| {
                let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
                ((red * 19_595 + green * 38_470 + blue * 7_471 + 0x8000) >> 16) as u8
            };
            decoded.to_rgb8().as_raw().chunks_exact(3).map(luma).collect()
        }
    }
}

/// Pixels of interleaved channels brought to a size.
fn resized(pixels: Vec<u8>, from: [u32; 2], to: [u32; 2], n_channels: usize, fit: ImageFit) -> Result<Vec<u8>, String> {
    if from == to {
        return Ok(pixels);
    }
    let failed = |error: &dyn std::fmt::Display| format!("the image could not be resized: {error}");
    let pixel_type = if n_channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
    let source = Image::from_vec_u8(from[1], from[0], pixels, pixel_type).map_err(|error| failed(&error))?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let scaled = |[height, width]: [u32; 2], options: ResizeOptions| {
        let mut target = Image::new(width, height, pixel_type);
        Resizer::new().resize(&source, &mut target, &options).map_err(|error| failed(&error))?;
        Ok(target.into_vec())
    };
    match fit {
        ImageFit::Stretch => scaled(to, options),
        ImageFit::Crop => scaled(to, options.fit_into_destination(None)),
        ImageFit::Pad => {
            let inner = contained(from, to);
            let pixels = scaled(inner, options)?;
            let mut padded = vec![0; to[0] as usize * to[1] as usize * n_channels];
            let before = |axis: usize| (f64::from(to[axis] - inner[axis]) * 0.5).round_ties_even() as usize;
            let (top, left) = (before(0), before(1));
            let line = inner[1] as usize * n_channels;
            for (row, line_pixels) in pixels.chunks_exact(line).enumerate() {
                let start = ((top + row) * to[1] as usize + left) * n_channels;
                padded[start..start + line].copy_from_slice(line_pixels);
            }
            Ok(padded)
        }
    }
}

/// The largest size of the shape of `from` within `to`, rounded as Pillow's `ImageOps.contain`.
fn contained(from: [u32; 2], to: [u32; 2]) -> [u32; 2] {
    let [height, width] = from.map(f64::from);
    let [to_height, to_width] = to.map(f64::from);
    let side = |length: f64, most: u32| (length.round_ties_even() as u32).clamp(1, most);
    if width / height > to_width / to_height {
        [side(height / width * to_width, to[0]), to[1]]
    } else {
        [to[0], side(width / height * to_height, to[1])]
    }
}
