//! Whether the tensors of a file are those of a network.

use std::fmt;

use indexmap::IndexMap;

use crate::pattern::Pattern;
use crate::{Dtype, Weights};

/// Buffers that some networks have and others of the same layers do not, and that no prediction depends on.
pub const KNOWN_BUFFERS: [&str; 2] = ["*.num_batches_tracked", "num_batches_tracked"];

/// So many of each kind of mistake are named in the report.
const MAX_NAMED: usize = 8;

/// How the tensors of a file differ from those expected. Displayed, it is a report for a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    /// Expected, and not in the file.
    pub missing: Vec<String>,
    /// In the file, and not expected.
    pub unexpected: Vec<String>,
    /// Of another shape, or of a kind that cannot be converted.
    pub mismatched: Vec<Mismatch>,
    /// Of the right shape, with a value that is infinite or not a number, or would become so in the kind expected.
    pub not_finite: Vec<String>,
    /// Of the right shape, and of another kind of floating-point numbers, to which they would have to be converted.
    pub kinds: Vec<OtherKind>,
    hint: Option<(String, String)>,
}

/// A tensor that is not what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Its name.
    pub name: String,
    /// Kind and shape in the file.
    pub found: (Dtype, Vec<usize>),
    /// Kind and shape expected.
    pub expected: (Dtype, Vec<usize>),
}

/// A tensor of another kind of floating-point numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherKind {
    /// Its name.
    pub name: String,
    /// The kind in the file.
    pub found: Dtype,
    /// The kind expected.
    pub expected: Dtype,
}

impl Fit {
    /// Whether nothing differs.
    pub fn is_exact(&self) -> bool {
        self.fits() && self.kinds.is_empty()
    }

    /// Whether nothing differs but the kind of floating-point numbers.
    pub fn fits(&self) -> bool {
        self.missing.is_empty()
            && self.unexpected.is_empty()
            && self.mismatched.is_empty()
            && self.not_finite.is_empty()
    }

    /// A rule of a [`crate::Mapping`], pattern and replacement, after which the missing tensors would be there.
    pub fn hint(&self) -> Option<(&str, &str)> {
        self.hint.as_ref().map(|(pattern, replacement)| (pattern.as_str(), replacement.as_str()))
    }
}

/// Compares the tensors of a file with the names, kinds and shapes of those that a network has. Tensors whose names match a pattern of `ignored`, such as
/// [`KNOWN_BUFFERS`], may be missing or unexpected.
///
/// Values are looked at where name and shape fit.
pub fn compare<N: AsRef<str>, S: AsRef<[usize]>>(
    weights: &Weights,
    expected: &[(N, Dtype, S)],
    ignored: &[&str],
) -> Fit {
    let ignored: Vec<Pattern> = ignored.iter().map(|pattern| Pattern::new(pattern)).collect();
    let is_ignored = |name: &str| ignored.iter().any(|pattern| pattern.matches(name));
    let expected: IndexMap<&str, (Dtype, &[usize])> =
        expected.iter().map(|(name, dtype, shape)| (name.as_ref(), (*dtype, shape.as_ref()))).collect();
    let mut fit = Fit::default();
    for (&name, &(dtype, shape)) in &expected {
        let Some(tensor) = weights.get(name) else {
            if !is_ignored(name) {
                fit.missing.push(name.to_owned());
            }
            continue;
        };
        let found = tensor.dtype();
        if tensor.shape() != shape || (found != dtype && !(found.is_float() && dtype.is_float())) {
            fit.mismatched.push(Mismatch {
                name: name.to_owned(),
                found: (found, tensor.shape().to_vec()),
                expected: (dtype, shape.to_vec()),
            });
            continue;
        }
        if found != dtype {
            fit.kinds.push(OtherKind { name: name.to_owned(), found, expected: dtype });
        }
        if found.is_float() && !are_finite(&tensor.bytes(), found, dtype) {
            fit.not_finite.push(name.to_owned());
        }
    }
    let unexpected = weights.iter().map(|(name, _)| name);
    fit.unexpected
        .extend(unexpected.filter(|name| !expected.contains_key(name) && !is_ignored(name)).map(str::to_owned));
    fit.hint = hint(&fit.missing, weights, &expected);
    fit
}

/// A prefix that all missing names lack in the file, or that they have there and should not.
fn hint(
    missing: &[String],
    weights: &Weights,
    expected: &IndexMap<&str, (Dtype, &[usize])>,
) -> Option<(String, String)> {
    let first = missing.first()?;
    let are_all = |named: &dyn Fn(&str) -> Option<String>| {
        missing.iter().all(|name| {
            named(name).is_some_and(|name| weights.get(&name).is_some() && !expected.contains_key(name.as_str()))
        })
    };
    let before = weights.iter().filter_map(|(name, _)| name.strip_suffix(first.as_str()));
    for prefix in before.filter(|prefix| prefix.ends_with('.')) {
        if are_all(&|name| Some(format!("{prefix}{name}"))) {
            return Some((format!("{prefix}*"), "*".to_owned()));
        }
    }
    for (dot, _) in first.match_indices('.') {
        let prefix = &first[..=dot];
        if are_all(&|name| name.strip_prefix(prefix).map(str::to_owned)) {
            return Some(("*".to_owned(), format!("{prefix}*")));
        }
    }
    None
}

/// Whether all floating-point numbers of kind `found` are finite, and stay so as `expected`.
///
/// Without their sign, the bits of floating-point numbers are in the order of the numbers, so that one comparison with the bits of the least number that is too
/// large does for infinities, for what is not a number and for what would become infinite.
fn are_finite(bytes: &[u8], found: Dtype, expected: Dtype) -> bool {
    // Rounded to the nearest, half of the last place beyond the greatest number is infinite.
    let limit = match expected {
        Dtype::F32 => 3.402_823_567_797_336_6e38,
        Dtype::BF16 => f64::from(f32::from_bits(0x7f7f_8000)),
        Dtype::F16 => 65520.0,
        _ => f64::INFINITY,
    };
    let limit_32 = (limit as f32).to_bits();
    match found {
        Dtype::F64 => {
            let limit = limit.to_bits();
            are_all(bytes, |element| u64::from_le_bytes(element) & (u64::MAX >> 1) < limit)
        }
        Dtype::F32 => are_all(bytes, |element| u32::from_le_bytes(element) & (u32::MAX >> 1) < limit_32),
        Dtype::BF16 => {
            // The upper half of the bits of a 32-bit number; the least that is not below the limit.
            let limit = limit_32.div_ceil(1 << 16) as u16;
            are_all(bytes, |element| u16::from_le_bytes(element) & (u16::MAX >> 1) < limit)
        }
        Dtype::F16 => are_all(bytes, |element| u16::from_le_bytes(element) & (u16::MAX >> 1) < 0x7c00),
        _ => true,
    }
}

fn are_all<const SIZE: usize>(bytes: &[u8], is_good: impl Fn([u8; SIZE]) -> bool) -> bool {
    let (elements, _) = bytes.as_chunks::<SIZE>();
    // Blocks without a branch within are vectorised, and the end is not far once a value is bad.
    elements.chunks(4096).all(|block| block.iter().fold(true, |are_good, element| are_good & is_good(*element)))
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_exact() {
            return f.write_str("every tensor fits");
        }
        let mut report = Report { f, is_first: true };
        let names = |names: &[String]| names.iter().map(|name| format!("`{}`", name.escape_debug())).collect();
        report.group("missing", names(&self.missing))?;
        report.group("unexpected", names(&self.unexpected))?;
        let mismatched = self.mismatched.iter().map(|Mismatch { name, found, expected }| {
            let (name, (dtype, shape), (other, other_shape)) = (name.escape_debug(), found, expected);
            format!("`{name}` is {dtype} {shape:?}, expected {other} {other_shape:?}")
        });
        report.group("of another shape or kind", mismatched.collect())?;
        report.group("with values that are not finite", names(&self.not_finite))?;
        let kinds = self.kinds.iter().map(|OtherKind { name, found, expected }| {
            format!("`{}` is {found}, expected {expected}", name.escape_debug())
        });
        report.group("to be converted", kinds.collect())?;
        match &self.hint {
            Some((pattern, replacement)) => {
                write!(report.f, "\nmapping `{pattern}` to `{replacement}` would give the missing ones their names")
            }
            None => Ok(()),
        }
    }
}

struct Report<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    is_first: bool,
}

impl Report<'_, '_> {
    /// A line such as `2 tensors missing: ...`, if there are any.
    fn group(&mut self, what: &str, items: Vec<String>) -> fmt::Result {
        let n = items.len();
        if n == 0 {
            return Ok(());
        }
        if !std::mem::take(&mut self.is_first) {
            self.f.write_str("\n")?;
        }
        let shown = items.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
        let more = if n > MAX_NAMED { format!("; and {} more", n - MAX_NAMED) } else { String::new() };
        write!(self.f, "{n} tensor{} {what}: {shown}{more}", if n == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::borrow::Cow;
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Named, Options, to_bytes};

    const F32: Dtype = Dtype::F32;

    fn weights(tensors: &[(&str, Dtype, &[usize])]) -> Weights {
        let tensors = tensors.iter().map(|(name, dtype, shape)| Named {
            name,
            dtype: *dtype,
            shape,
            bytes: Cow::Owned(vec![0; shape.iter().product::<usize>() * dtype.size()]),
        });
        Weights::from_bytes(to_bytes(tensors, &BTreeMap::new()).unwrap(), "w.safetensors", &Options::default()).unwrap()
    }

    type Specs<'a> = &'a [(&'a str, Dtype, &'a [usize])];

    #[test]
    fn every_difference_is_reported() {
        let cases: [(Specs, Specs, &str); 8] = [
            (&[("w", F32, &[2, 3])], &[("w", F32, &[2, 3])], "every tensor fits"),
            (&[("w", F32, &[2])], &[("b", F32, &[2])], "1 tensor missing: `b`\n1 tensor unexpected: `w`"),
            (
                &[("w", F32, &[2, 3]), ("n", Dtype::I32, &[])],
                &[("w", F32, &[3, 2]), ("n", Dtype::I64, &[])],
                "2 tensors of another shape or kind: `w` is F32 [2, 3], expected F32 [3, 2]; `n` is I32 [], expected I64 []",
            ),
            (
                &[("w", Dtype::F16, &[2]), ("v", Dtype::F64, &[1])],
                &[("w", F32, &[2]), ("v", F32, &[1])],
                "2 tensors to be converted: `w` is F16, expected F32; `v` is F64, expected F32",
            ),
            // Whole numbers are no floating-point numbers of another kind.
            (
                &[("w", Dtype::I64, &[2])],
                &[("w", F32, &[2])],
                "1 tensor of another shape or kind: `w` is I64 [2], expected F32 [2]",
            ),
            (
                &[("bn.num_batches_tracked", Dtype::I64, &[])],
                &[("num_batches_tracked", Dtype::I64, &[])],
                "every tensor fits",
            ),
            (
                &[("module.a.w", F32, &[1]), ("module.a.b", F32, &[1])],
                &[("a.w", F32, &[1]), ("a.b", F32, &[1])],
                "2 tensors missing: `a.w`; `a.b`\n2 tensors unexpected: `module.a.b`; `module.a.w`\n\
                 mapping `module.*` to `*` would give the missing ones their names",
            ),
            (
                &[("w", F32, &[1]), ("head.w", F32, &[1])],
                &[("net.w", F32, &[1]), ("head.w", F32, &[1])],
                "1 tensor missing: `net.w`\n1 tensor unexpected: `w`\n\
                 mapping `*` to `net.*` would give the missing ones their names",
            ),
        ];
        for (found, expected, report) in cases {
            let fit = compare(&weights(found), expected, &KNOWN_BUFFERS);
            assert_eq!(fit.to_string(), report);
            assert_eq!(fit.is_exact(), report == "every tensor fits");
            assert_eq!(fit.fits(), fit.is_exact() || report.starts_with("2 tensors to be converted"));
        }
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..20).map(|i| format!("w{i:02}")).collect();
        let expected: Vec<(&str, Dtype, &[usize])> = names.iter().map(|name| (name.as_str(), F32, &[1][..])).collect();
        assert_eq!(
            compare(&weights(&[]), &expected, &[]).to_string(),
            "20 tensors missing: `w00`; `w01`; `w02`; `w03`; `w04`; `w05`; `w06`; `w07`; and 12 more"
        );
    }

    #[test]
    fn a_value_must_be_finite_in_the_kind_expected() {
        use Dtype::{BF16, F16, F64};
        let max_32 = f64::from(f32::MAX);
        let half_beyond = f64::from_bits(max_32.to_bits() + (1 << 28));
        let (beyond, within) = (half_beyond.to_le_bytes(), f64::from_bits(half_beyond.to_bits() - 1).to_le_bytes());
        // Which numbers are infinite in a smaller kind is asked of PyTorch 2.13, `tensor.to(kind).isfinite()`.
        for (found, expected, value, is_finite) in [
            (F32, F32, &1e38f32.to_le_bytes()[..], true),
            (F32, F32, &f32::NAN.to_le_bytes(), false),
            (F32, F32, &f32::NEG_INFINITY.to_le_bytes(), false),
            (F64, F64, &1e308f64.to_le_bytes(), true),
            (F64, F64, &f64::NAN.to_le_bytes(), false),
            (F64, F32, &within, true),
            (F64, F32, &beyond, false),
            (F64, F16, &65519.0f64.to_le_bytes(), true),
            (F64, F16, &(-65520.0f64).to_le_bytes(), false),
            (F32, F16, &65519.0f32.to_le_bytes(), true),
            (F32, F16, &65520.0f32.to_le_bytes(), false),
            (F32, BF16, &f32::from_bits(0x7f7f_7fff).to_le_bytes(), true),
            (F32, BF16, &f32::MAX.to_le_bytes(), false),
            (BF16, F32, &0x7f7fu16.to_le_bytes(), true),
            (BF16, F32, &0x7f80u16.to_le_bytes(), false),
            (BF16, F16, &0x477fu16.to_le_bytes(), true),
            (BF16, F16, &0x4780u16.to_le_bytes(), false),
            (F16, F32, &0x7bffu16.to_le_bytes(), true),
            (F16, F32, &0xfc00u16.to_le_bytes(), false),
            (F16, F16, &0x7e00u16.to_le_bytes(), false),
        ] {
            // Among many others, at the end of a block and after it.
            for n_before in [0, 4095, 4096, 10_000] {
                let mut bytes = vec![0; n_before * found.size()];
                bytes.extend_from_slice(value);
                assert_eq!(are_finite(&bytes, found, expected), is_finite, "{found} {value:?} as {expected}");
            }
        }
    }
}
