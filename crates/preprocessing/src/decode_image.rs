//! `decode_image`.

use polars::prelude::{BinaryChunked, Column, DataType, IntoColumn, NewChunkedArray, StringChunked, UInt8Chunked};
use rayon::prelude::*;
use retune_images::{Limits, Picture, decode, fitted, read};
use retune_spec::images::{ImageMode, OnBadImage};
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
            let picture = files.decoded(row)?.ok()?;
            Some([picture.height() as u32, picture.width() as u32])
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
    fn pixels(&self, picture: &Picture, size: [u32; 2]) -> Result<Vec<u8>, String> {
        let [height, width] = size.map(|side| side as usize);
        if self.declared.size.is_none() && [picture.height(), picture.width()] != [height, width] {
            return Err(format!(
                "the image has {} x {} pixels, where the first training image has {height} x {width}",
                picture.height(),
                picture.width()
            ));
        }
        let interleaved = fitted(picture, [height, width], self.declared.fit)?.into_pixels();
        let n_channels = self.declared.mode.channels();
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
    fn decoded(&self, row: usize) -> Option<Result<Picture, String>> {
        match self {
            Self::Bytes(bytes, step) => bytes.get(row).map(|bytes| decode(bytes, step.mode, &limits(step))),
            Self::Paths(paths, step) => paths.get(row).map(|path| {
                let bytes = read(path, step.root.as_deref(), &limits(step))?;
                decode(&bytes, step.mode, &limits(step))
            }),
        }
    }
}

fn limits(step: &DecodeImage) -> Limits {
    Limits { max_pixels: step.max_pixels, max_bytes: step.max_bytes }
}
