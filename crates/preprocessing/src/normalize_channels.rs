//! `normalize_channels`.

use retune_spec::images::ImageMode;
use retune_spec::preprocessing::NormalizeChannels;
use retune_stage::{FitContext, Kind, Result, StageError};
use serde::{Deserialize, Serialize};

use crate::decode_image::channels;
use crate::frame::Frame;
use crate::outline::{Outline, shown};
use crate::source::Source;
use crate::stats::{Moments, moments};
use crate::step::{ApplyStep, FitStep, Learnt, counted};

/// What is subtracted from and divided by in each channel, and the channel of each column.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedNormalizeChannels {
    columns: Vec<String>,
    channels: Vec<usize>,
    means: Vec<f64>,
    deviations: Vec<f64>,
}

impl FitStep for NormalizeChannels {
    type Fitted = FittedNormalizeChannels;
    const KINDS: &'static [Kind] = &[Kind::Numeric];

    fn check(&self, columns: &[String], _outline: &mut Outline) -> Result<()> {
        if let Some(std) = self.std.iter().flatten().find(|std| **std <= 0.0) {
            return Err(StageError::data(format!("`std` has {std}, by which nothing can be divided"))
                .help("give standard deviations above 0, or leave `std` out to learn them"));
        }
        // Columns that are not known yet are looked at when they are.
        if !columns.is_empty() && Outline::is_closed(columns) {
            let (_, mode) = channels_of(columns)?;
            refuse_other_lengths(self, channels(mode).len())?;
        }
        Ok(())
    }

    fn fit(
        &self,
        source: &Source,
        columns: &[String],
        _context: &FitContext,
    ) -> Result<Learnt<FittedNormalizeChannels>> {
        let (channel_of, mode) = channels_of(columns)?;
        let n_channels = channels(mode).len();
        refuse_other_lengths(self, n_channels)?;
        let learned = match (&self.mean, &self.std) {
            (Some(_), Some(_)) => vec![None; n_channels],
            _ => learn(source, columns, &channel_of, n_channels)?,
        };
        let [mut means, mut deviations] = [Vec::new(), Vec::new()];
        for (channel, learned) in learned.iter().enumerate() {
            let deviation = learned.map_or(1.0, |moments: Moments| moments.variance().sqrt());
            let given = |values: &Option<Vec<f64>>| values.as_ref().map(|values| values[channel]);
            means.push(given(&self.mean).unwrap_or(learned.map_or(0.0, |moments| moments.mean)));
            // A constant channel stays constant instead of turning into NaN.
            deviations.push(given(&self.std).unwrap_or(if deviation > 0.0 { deviation } else { 1.0 }));
        }
        let shown: Vec<String> =
            means.iter().zip(&deviations).map(|(mean, deviation)| format!("{mean:.4} and {deviation:.4}")).collect();
        let text = format!(
            "normalised {} of {} with mean and deviation {}",
            counted(columns.len(), "pixel"),
            counted(n_channels, "channel"),
            shown.join("; ")
        );
        let fitted = FittedNormalizeChannels { columns: columns.to_vec(), channels: channel_of, means, deviations };
        Ok(Learnt::applied(fitted, text))
    }
}

fn refuse_other_lengths(step: &NormalizeChannels, n_channels: usize) -> Result<()> {
    for (word, values) in [("mean", &step.mean), ("std", &step.std)] {
        if let Some(values) = values
            && values.len() != n_channels
        {
            return Err(StageError::data(format!(
                "`{word}` has {}, and the pixels are of {}",
                counted(values.len(), "number"),
                counted(n_channels, "channel")
            ))
            .help("give one for grey images; for colour three: red, green and blue"));
        }
    }
    Ok(())
}

/// The moments of all pixels of each channel.
fn learn(source: &Source, columns: &[String], channel_of: &[usize], n_channels: usize) -> Result<Vec<Option<Moments>>> {
    let mut sums: Vec<Option<Moments>> = vec![None; n_channels];
    for (moments, &channel) in moments(source, columns, true)?.into_iter().zip(channel_of) {
        sums[channel] = match (sums[channel], moments) {
            (Some(sum), Some(moments)) => Some(sum.with(moments)),
            (sum, moments) => sum.or(moments),
        };
    }
    Ok(sums)
}

/// The channel of each column by its name, as `decode_image` gave it.
fn channels_of(columns: &[String]) -> Result<(Vec<usize>, ImageMode)> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_place = |text: &str| {
        text.strip_prefix('r')
            .and_then(|text| text.split_once('c'))
            .is_some_and(|(row, column)| digits(row) && digits(column))
    };
    let channel = |name: &String| {
        let (before, _) = name.rsplit_once('_').filter(|(_, place)| is_place(place))?;
        let colour = before.rsplit_once('_').map_or(before, |(_, colour)| colour);
        let place = channels(ImageMode::Rgb).iter().position(|channel| channel.strip_suffix('_') == Some(colour));
        Some(place)
    };
    let mut found = Vec::with_capacity(columns.len());
    for name in columns {
        found.push(channel(name).ok_or_else(|| {
            StageError::data(format!("column `{}` is not a pixel that `decode_image` made", shown(name)))
                .help("choose its pixels by their pattern, such as `columns: image_*`; for other columns take `standard_scale`")
        })?);
    }
    let colours: Option<Vec<usize>> = found.iter().copied().collect();
    match colours {
        Some(colours) if !colours.is_empty() => Ok((colours, ImageMode::Rgb)),
        _ if found.iter().all(Option::is_none) => Ok((vec![0; found.len()], ImageMode::Grey)),
        _ => Err(StageError::data("the columns are pixels of grey images and of images in colour")
            .help("add one `normalize_channels` for each")),
    }
}

impl ApplyStep for FittedNormalizeChannels {
    fn dense_columns(&self) -> &[String] {
        &self.columns
    }

    fn apply(&self, frame: &Frame) -> Result<Frame> {
        frame.map(&self.columns, |index, values| {
            let channel = self.channels[index];
            let (mean, deviation) = (self.means[channel], self.deviations[channel]);
            values.iter_mut().for_each(|value| *value = (*value - mean) / deviation);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn channels_are_known_by_their_names() {
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            channels_of(&names).map_err(|error| error.message)
        };
        assert_eq!(of(&["image_r0c0", "image_r0c11"]).unwrap(), (vec![0, 0], ImageMode::Grey));
        assert_eq!(of(&["a_red_r0c0", "a_blue_r3c1", "a_green_r0c0"]).unwrap(), (vec![0, 2, 1], ImageMode::Rgb));
        assert_eq!(of(&["age"]).unwrap_err(), "column `age` is not a pixel that `decode_image` made");
        assert_eq!(of(&["a_r0c"]).unwrap_err(), "column `a_r0c` is not a pixel that `decode_image` made");
        assert!(of(&["a_r0c0", "b_red_r0c0"]).is_err());
    }
}
