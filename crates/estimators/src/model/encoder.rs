//! Rows as a family that takes neither missing values nor words sees them.

use std::borrow::Cow;

use ndarray::{Array2, ArrayView1};
use retune_spec::Estimator;
use retune_spec::model_selection::Encode;
use retune_stage::Design;
use serde::{Deserialize, Serialize};

/// What becomes of each feature for one family, as its training rows decide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Encoder {
    features: Vec<Encoded>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Encoded {
    /// It stays as it is.
    Same,
    /// A missing number is the median; where training rows had such, a further column says which they are.
    Filled { median: f64, is_flagged: bool },
    /// A column of 0 and 1 for each of these places among the levels, and one for what is missing where training rows had such.
    OneHot { places: Vec<u32>, is_flagged: bool },
}

impl Encoded {
    fn width(&self) -> usize {
        match self {
            Self::Same => 1,
            Self::Filled { is_flagged, .. } => 1 + usize::from(*is_flagged),
            Self::OneHot { places, is_flagged } => places.len() + usize::from(*is_flagged),
        }
    }
}

impl Encoder {
    /// Learns from training rows what a family cannot take as it is; `None` where it takes all.
    pub fn learn(estimator: &Estimator, train: &Design, encode: &Encode) -> Option<Self> {
        if train.images.is_some() {
            return None;
        }
        let encoded = |feature: usize| {
            let column = train.features.column(feature);
            match train.levels_of(feature) {
                Some(_) if estimator.takes_categories() => Encoded::Same,
                Some(levels) => one_hot(column, levels.len(), encode.max_levels),
                None if estimator.takes_missing() => Encoded::Same,
                None => filled(column),
            }
        };
        let features: Vec<Encoded> = (0..train.names.len()).map(encoded).collect();
        features.iter().any(|feature| *feature != Encoded::Same).then_some(Self { features })
    }

    /// Rows with the features of the training rows, as the family sees them.
    pub fn apply(&self, rows: &Design) -> Design {
        let (n_rows, width) = (rows.features.nrows(), self.features.iter().map(Encoded::width).sum());
        let mut features = Array2::zeros((n_rows, width));
        let (mut names, mut levels) = (Vec::with_capacity(width), Vec::with_capacity(width));
        for (feature, encoded) in self.features.iter().enumerate() {
            let (column, name, first) = (rows.features.column(feature), &rows.names[feature], names.len());
            let mut put = |place: usize, value: &dyn Fn(f64) -> f64| {
                features.column_mut(first + place).zip_mut_with(&column, |to, from| *to = value(*from));
            };
            let flag = |value: f64| f64::from(u8::from(value.is_nan()));
            let is_flagged = match encoded {
                Encoded::Same => {
                    put(0, &|value| value);
                    names.push(name.clone());
                    levels.push(rows.levels_of(feature).cloned());
                    continue;
                }
                Encoded::Filled { median, is_flagged } => {
                    put(0, &|value| if value.is_nan() { *median } else { value });
                    names.push(name.clone());
                    *is_flagged
                }
                Encoded::OneHot { places, is_flagged } => {
                    for (at, &place) in places.iter().enumerate() {
                        put(at, &|code| f64::from(u8::from(code == f64::from(place))));
                        let level = rows.levels_of(feature).and_then(|levels| levels.get(place as usize));
                        names.push(format!("{name}={}", level.map_or("", String::as_str)));
                    }
                    *is_flagged
                }
            };
            if is_flagged {
                put(encoded.width() - 1, &flag);
                names.push(format!("{name} is missing"));
            }
            levels.resize(names.len(), None);
        }
        if levels.iter().all(Option::is_none) {
            levels.clear();
        }
        Design {
            features,
            names,
            levels,
            images: None,
            row_numbers: rows.row_numbers.clone(),
            target: rows.target.clone(),
            weights: rows.weights.clone(),
            ties: rows.ties.clone(),
        }
    }

    /// Rows as a family sees them that may have such an encoder.
    pub fn seen<'a>(encoder: Option<&Self>, rows: &'a Design) -> Cow<'a, Design> {
        encoder.map_or(Cow::Borrowed(rows), |encoder| Cow::Owned(encoder.apply(rows)))
    }
}

fn filled(column: ArrayView1<f64>) -> Encoded {
    let mut known: Vec<f64> = column.iter().copied().filter(|value| !value.is_nan()).collect();
    let is_flagged = known.len() < column.len();
    known.sort_unstable_by(f64::total_cmp);
    let middle = known.len() / 2;
    let median = match known.len() {
        0 => 0.0,
        n if n % 2 == 1 => known[middle],
        _ => f64::midpoint(known[middle - 1], known[middle]),
    };
    Encoded::Filled { median, is_flagged }
}

/// The commonest levels; of equally common ones the first.
fn one_hot(column: ArrayView1<f64>, n_levels: usize, max_levels: usize) -> Encoded {
    let mut counts = vec![0_usize; n_levels];
    let mut is_flagged = false;
    for &code in column {
        if code.is_nan() { is_flagged = true } else { counts[code as usize] += 1 }
    }
    let mut places: Vec<u32> = (0..n_levels as u32).filter(|&place| counts[place as usize] > 0).collect();
    places.sort_by_key(|&place| std::cmp::Reverse(counts[place as usize]));
    places.truncate(max_levels);
    Encoded::OneHot { places, is_flagged }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use ndarray::array;

    use super::*;

    fn rows(features: Array2<f64>) -> Design {
        let levels: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        Design {
            features,
            names: vec!["size".to_owned(), "kind".to_owned()],
            levels: vec![None, Some(levels.into())],
            ..Design::default()
        }
    }

    fn family(word: &str) -> Estimator {
        serde_json::from_value(serde_json::json!({ word: {} })).unwrap()
    }

    #[test]
    fn a_family_sees_what_it_can_take() {
        let nan = f64::NAN;
        let train = rows(array![[1.0, 0.0], [nan, 2.0], [4.0, 2.0], [2.0, nan]]);
        let encode = Encode { max_levels: 1 };
        assert_eq!(Encoder::learn(&family("gradient_boosting"), &train, &encode), None);
        let encoder = Encoder::learn(&family("ridge"), &train, &encode).unwrap();
        let seen = encoder.apply(&rows(array![[nan, 2.0], [7.0, nan], [1.0, 1.0]]));
        assert_eq!(seen.names, ["size", "size is missing", "kind=c", "kind is missing"]);
        assert_eq!(seen.features, array![[2.0, 1.0, 1.0, 0.0], [7.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0]]);
        assert!(seen.levels.is_empty());
        // A forest takes what is missing, but no words.
        let seen = Encoder::learn(&family("random_forest"), &train, &encode).unwrap().apply(&train);
        assert_eq!(seen.names, ["size", "kind=c", "kind is missing"]);
        assert!(seen.features[[1, 0]].is_nan());
        // A transformer takes words, but nothing missing; where nothing was missing, nothing says what is.
        let whole = rows(array![[1.0, 0.0], [2.0, 1.0]]);
        let encoder = Encoder::learn(&family("tab_transformer"), &whole, &encode).unwrap();
        let seen = encoder.apply(&train);
        assert_eq!(seen.names, ["size", "kind"]);
        assert_eq!(seen.features.column(0), array![1.0, 1.5, 4.0, 2.0]);
        assert!(seen.levels_of(1).is_some());
    }
}
