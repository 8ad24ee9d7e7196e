//! Safetensors files, held against the crate `safetensors`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::borrow::Cow;
use std::collections::BTreeMap;

use common::read;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retune_weights::{Dtype, ErrorKind, Format, Named, Options, Weights, to_bytes, write};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

const TENSORS: [(&str, Dtype, &[usize]); 7] = [
    ("b.weight", Dtype::F32, &[2, 3]),
    ("a.weight", Dtype::F32, &[2]),
    ("count", Dtype::I64, &[]),
    ("half", Dtype::BF16, &[3]),
    ("mask", Dtype::Bool, &[1, 5]),
    ("none", Dtype::F64, &[0, 4]),
    ("é\"\n", Dtype::U8, &[2]),
];

fn values(shape: &[usize], dtype: Dtype) -> Vec<u8> {
    (0..shape.iter().product::<usize>() * dtype.size()).map(|i| i as u8 % 2).collect()
}

fn named() -> Vec<Named<'static>> {
    TENSORS.map(|(name, dtype, shape)| Named { name, dtype, shape, bytes: Cow::Owned(values(shape, dtype)) }).into()
}

fn metadata(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// As the crate has it.
fn theirs(dtype: Dtype) -> safetensors::Dtype {
    serde_json::from_str(&format!("\"{dtype}\"")).unwrap()
}

#[test]
fn what_is_written_is_what_the_crate_writes() {
    let crates: Vec<(&str, Vec<u8>, Dtype, &[usize])> =
        TENSORS.iter().map(|(name, dtype, shape)| (*name, values(shape, *dtype), *dtype, *shape)).collect();
    let views = crates
        .iter()
        .map(|(name, bytes, dtype, shape)| (*name, TensorView::new(theirs(*dtype), shape.to_vec(), bytes).unwrap()));
    let expected = safetensors::serialize(views, None).unwrap();
    assert_eq!(to_bytes(named(), &metadata(&[])).unwrap(), expected);
    assert_eq!(to_bytes(named().into_iter().rev(), &metadata(&[])).unwrap(), expected);

    // Each kind in the order that the crate has.
    let all = [
        Dtype::Bool,
        Dtype::U8,
        Dtype::I8,
        Dtype::I16,
        Dtype::F16,
        Dtype::BF16,
        Dtype::I32,
        Dtype::F32,
        Dtype::F64,
        Dtype::I64,
    ];
    assert!(all.windows(2).all(|pair| theirs(pair[0]) < theirs(pair[1])));
    let bytes = to_bytes(
        all.map(|dtype| Named { name: "w", dtype, shape: &[0], bytes: Cow::Borrowed(&[]) }).into_iter().take(1),
        &metadata(&[("b", "2"), ("a", "1")]),
    )
    .unwrap();
    assert!(
        bytes[8..].starts_with(
            br#"{"__metadata__":{"a":"1","b":"2"},"w":{"dtype":"BOOL","shape":[0],"data_offsets":[0,0]}}"#
        )
    );
}

#[test]
fn what_is_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.safetensors");
    for pairs in [&[][..], &[("format", "pt"), ("made by", "retune"), ("a", "")]] {
        write(&path, named(), &metadata(pairs)).unwrap();
        let weights = Weights::open(&path, &Options::default()).unwrap();
        assert_eq!(weights.format(), Format::Safetensors);
        assert_eq!(*weights.metadata(), metadata(pairs));
        assert_eq!(weights.len(), TENSORS.len());
        for (name, dtype, shape) in TENSORS {
            let tensor = weights.get(name).unwrap();
            assert_eq!((tensor.dtype(), tensor.shape()), (dtype, shape));
            assert_eq!(*tensor.bytes(), values(shape, dtype));
            assert!(matches!(tensor.bytes(), Cow::Borrowed(_)));
        }
        let names: Vec<&str> = weights.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["count", "none", "a.weight", "b.weight", "half", "é\"\n", "mask"]);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.safetensors");
    write(&path, named(), &metadata(&[])).unwrap();
    let old = std::fs::read(&path).unwrap();
    let twice = [named(), named()].concat();
    let reserved = vec![Named { name: "__metadata__", ..named()[0].clone() }];
    let short = vec![Named { shape: &[3, 3], ..named()[0].clone() }];
    for (tensors, expected) in [
        (twice, "`count` is there twice; give each tensor a name of its own"),
        (reserved, "`__metadata__` is no name for a tensor; give each tensor a name of its own"),
        (short, "tensor `b.weight` has 24 bytes, which is not what F32 [3, 3] needs"),
    ] {
        let error = write(&path, tensors, &metadata(&[])).unwrap_err();
        assert_eq!(error.to_string(), format!("{}: {expected}", path.display()));
        assert_eq!(std::fs::read(&path).unwrap(), old);
    }
    let taken = dir.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    for (path, reason) in
        [(taken, "Is a directory"), (dir.path().join("none/w.safetensors"), "No such file or directory")]
    {
        let error = write(&path, named(), &metadata(&[])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Write);
        assert!(error.message().starts_with(&format!("cannot write {}: {reason}", path.display())), "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

/// A file of this header and so many bytes.
fn file(header: &str, n_bytes: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; n_bytes]].concat()
}

#[test]
fn a_bad_header_names_the_tensor() {
    let one = |name: &str, dtype: &str, shape: &str, from: u64, to: u64| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    let a = one("a", "F32", "[2]", 0, 8);
    let cases = [
        (format!("{{{a}}}"), 8, None),
        (format!("{{{a},{}}}", one("b", "U8", "[2]", 8, 10)), 10, None),
        (format!("{{{a},{a}}}"), 8, Some("its header cannot be read, `a` is there twice")),
        (
            r#"{"__metadata__":{},"__metadata__":{}}"#.to_owned(),
            0,
            Some("its header cannot be read, `__metadata__` is there twice"),
        ),
        (format!("{{{a},{}}}", one("b", "U8", "[2]", 7, 9)), 9, Some("tensor `b` overlaps tensor `a`")),
        (
            format!("{{{a},{}}}", one("b", "U8", "[2]", 9, 11)),
            11,
            Some("tensor `b` begins at byte 9, and no tensor has the bytes from 8 on"),
        ),
        (format!("{{{a}}}"), 9, Some("no tensor has the last 1 bytes")),
        (format!("{{{a}}}"), 7, Some("tensor `a` is said to be bytes 0 to 8 of 7")),
        (format!("{{{}}}", one("a", "F32", "[2]", 8, 0)), 8, Some("tensor `a` is said to be bytes 8 to 0 of 8")),
        (
            format!("{{{}}}", one("a", "F32", "[2]", 0, u64::MAX)),
            8,
            Some("tensor `a` is said to be bytes 0 to 18446744073709551615 of 8"),
        ),
        (format!("{{{}}}", one("a", "F32", "[3]", 0, 8)), 8, Some("tensor `a` has 8 bytes; F32 [3] needs 12")),
        (
            format!("{{{}}}", one("a", "F32", "[4611686018427387904]", 0, 0)),
            0,
            Some("tensor `a` has 0 bytes; F32 [4611686018427387904] needs more than there can be"),
        ),
        (
            format!("{{{}}}", one("a", "F8_E5M2", "[8]", 0, 8)),
            8,
            Some("tensor `a` is F8_E5M2, a kind that is not read"),
        ),
        (
            format!("{{{}}}", one("a", "F32", "[-2]", 0, 8)),
            8,
            Some("its header cannot be read, `a`: invalid value: integer `-2`, expected usize"),
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[2]}}"#.to_owned(),
            8,
            Some("its header cannot be read, `a`: missing field `data_offsets`"),
        ),
        (
            r#"{"__metadata__":{"a":1}}"#.to_owned(),
            0,
            Some("its header cannot be read, `__metadata__`: invalid type: integer `1`"),
        ),
        ("{}x".to_owned(), 0, Some("its header cannot be read, trailing characters")),
        ("[]".to_owned(), 0, Some("its header cannot be read, invalid type: sequence, expected a map of tensors")),
        ("{".repeat(200), 0, Some("its header cannot be read, ")),
    ];
    for (header, n_bytes, expected) in cases {
        let file = file(&header, n_bytes);
        match (read(&file, "w.safetensors"), expected) {
            (Ok(_), None) => assert!(SafeTensors::deserialize(&file).is_ok(), "{header}"),
            (Err(error), Some(expected)) => {
                assert!(error.message().starts_with(&format!("w.safetensors: {expected}")), "{error}");
                // The crate takes the second of two tensors of a name, and knows more kinds.
                let is_known = SafeTensors::deserialize(&file).is_ok();
                let is_ours = error.kind() == ErrorKind::Unsupported || expected.ends_with("`a` is there twice");
                assert_eq!(is_known, is_ours, "{header}");
            }
            (found, _) => panic!("{header}: {:?}", found.map(|weights| weights.len())),
        }
    }
    for (bytes, expected) in [
        (&b"\xff"[..], "1 bytes are no safetensors file"),
        (&[255; 20], "its header is said to have 18446744073709551615 bytes, more than any has"),
        (b"\x01\xe1\xf5\x05\0\0\0\0{", "its header is said to have 100000001 bytes, more than any has"),
        (b"\x09\0\0\0\0\0\0\0{\"a", "the file is cut: its header has 9 bytes, of which 3 are there"),
        (b"\x03\0\0\0\0\0\0\0{\xff}", "its header cannot be read, invalid utf-8"),
    ] {
        let error = read(bytes, "w.safetensors").unwrap_err();
        assert!(error.message().starts_with(&format!("w.safetensors: {expected}")), "{error}");
    }
    let error = Weights::from_bytes(
        to_bytes(named(), &metadata(&[])).unwrap(),
        "w",
        &Options { key: Some("model".to_owned()), ..Options::default() },
    );
    assert_eq!(error.unwrap_err().to_string(), "w: a safetensors file has no dict within a dict; leave `key:` out");
}

#[test]
fn cut_or_flipped_the_crate_agrees() {
    let bytes = to_bytes(named(), &metadata(&[("format", "pt")])).unwrap();
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length], "w.safetensors").is_err(), "{length}");
    }
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let header = bytes.len() - 60;
    let mut n_read = 0;
    for _ in 0..20_000 {
        let mut flipped = bytes.clone();
        for _ in 0..random.random_range(1..3) {
            let place = random.random_range(0..header);
            flipped[place] =
                if random.random() { random.random() } else { flipped[place] ^ (1 << random.random_range(0..8)) };
        }
        let found = read(&flipped, "w.safetensors").map(|weights| weights.len()).map_err(|error| error.kind());
        let theirs = SafeTensors::deserialize(&flipped);
        match found {
            Ok(n) => assert_eq!(n, theirs.unwrap().len()),
            Err(ErrorKind::Unsupported) => {}
            Err(_) => assert!(theirs.is_err()),
        }
        n_read += usize::from(found.is_ok());
    }
    assert!(n_read > 500, "{n_read}");
}
