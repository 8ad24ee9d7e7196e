//! Files by PyTorch. `tests/reference/files.py` makes them, and `expected.json`: what PyTorch says of each tensor.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{bytes_of, fixture, opened, read, unzipped, zip};
use indexmap::IndexMap;
use retune_weights::{Dtype, ErrorKind, Options, Weights};
use sha2::{Digest, Sha256};

/// Name, kind, shape and hexadecimal bytes.
type Expected = (String, String, Vec<usize>, String);

fn kind(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F64 => "float64",
        Dtype::F32 => "float32",
        Dtype::F16 => "float16",
        Dtype::BF16 => "bfloat16",
        Dtype::I64 => "int64",
        Dtype::I32 => "int32",
        Dtype::I16 => "int16",
        Dtype::I8 => "int8",
        Dtype::U8 => "uint8",
        Dtype::Bool => "bool",
    }
}

fn tensors(weights: &Weights) -> Vec<Expected> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let tensor = |(name, tensor): (&str, &retune_weights::Stored)| {
        (name.to_owned(), kind(tensor.dtype()).to_owned(), tensor.shape().to_vec(), hex(&tensor.bytes()))
    };
    weights.iter().map(tensor).collect()
}

#[test]
fn tensors_are_those_of_pytorch() {
    let expected: IndexMap<String, Vec<Expected>> = serde_json::from_slice(&bytes_of("expected.json")).unwrap();
    let mut n_compared = 0;
    for (file, expected) in
        expected.iter().filter(|(file, expected)| !expected.is_empty() && *file != "no-checksums.pt")
    {
        let weights = opened(file, None).unwrap();
        assert_eq!(tensors(&weights), *expected, "{file}");
        for (name, _, shape, _) in expected {
            assert_eq!(weights.get(name).unwrap().shape(), shape);
        }
        n_compared += expected.len();
    }
    assert_eq!(n_compared, 122);
}

#[test]
fn the_dict_of_tensors_is_found() {
    for (file, key, first, notes) in [
        ("module.pt", None, "0.weight", &[][..]),
        (
            "lightning.ckpt",
            None,
            "model.weight",
            &["took the 2 tensors under `state_dict`, and none of the 9 entries beside it"],
        ),
        ("lightning.ckpt", Some("state_dict"), "model.weight", &[]),
        // Its name has a dot.
        ("deep.pt", Some("run.1.model"), "weight", &[]),
        ("lightning.ckpt", Some("callbacks.ModelCheckpoint{'monitor': 'val_loss'}"), "best_model_score", &[]),
        ("timm.pt", None, "weight", &["took the 2 tensors under `model`, and none of the 8 entries beside it"]),
        ("several.pt", Some("ema"), "weight", &[]),
        (
            "python-dict-beside-tensors.pt",
            None,
            "weight",
            &["left out 4 entries that are no tensors: `epoch`, `note`, `raw`"],
        ),
    ] {
        let weights = opened(file, key).unwrap();
        assert_eq!(weights.iter().next().unwrap().0, first, "{file}");
        assert_eq!(weights.notes(), notes, "{file}");
    }
}

#[test]
fn where_it_is_not_clear_a_message_says_what_there_is() {
    for (file, key, expected) in [
        (
            "several.pt",
            None,
            "it holds several dicts of tensors: `state_dict` (2 tensors), `ema` (2 tensors); say which one by `key:`",
        ),
        (
            "unusual.pt",
            None,
            "its tensors are under keys that are not the usual ones: `detector` (2 tensors); say which one by `key:`, as in `key: detector`",
        ),
        (
            "deep.pt",
            None,
            "its tensors are under keys that are not the usual ones: `run.1.model` (2 tensors); say which one by `key:`, as in `key: run.1.model`",
        ),
        ("several.pt", Some("emma"), "there is no dict under the key `emma`; did you mean `ema`?"),
        (
            "unusual.pt",
            Some("model"),
            "there is no dict under the key `model`; tensors are under `detector` (2 tensors)",
        ),
        (
            "lightning.ckpt",
            Some("loops"),
            "there are no tensors under `loops`; tensors are under `state_dict` (2 tensors), `callbacks.ModelCheckpoint{\\'monitor\\': \\'val_loss\\'}` (2 tensors)",
        ),
        ("module.pt", Some("model"), "there is no dict under the key `model`; leave `key:` out"),
        (
            "nothing.pt",
            None,
            "there are no tensors in it: it holds a dict with `epoch`, `loss`; save `model.state_dict()`, or a dict of tensors",
        ),
        ("list.pt", None, "it holds a list, not a dict of tensors; save `model.state_dict()`, or a dict of tensors"),
        (
            "single-tensor.pt",
            None,
            "it holds a single tensor, not a dict of tensors; save `model.state_dict()`, or a dict of tensors",
        ),
    ] {
        assert_eq!(opened(file, key).unwrap_err(), format!("{file}: {expected}"));
    }
}

#[test]
fn what_is_not_read_is_said() {
    const ALONE: &str =
        "where the file was made, save the tensors alone: `torch.save(model.state_dict(), path)`, or as safetensors";
    const CONVERT: &str = "convert it where the file was made, or leave it out of the state dict";
    for (file, expected) in [
        ("evil.pt", format!("the pickle asks for `posix.system` at byte 177 of `data.pkl`, which could run code; nothing was run; {ALONE}")),
        ("evil-legacy.pt", format!("the pickle asks for `posix.system` at byte 328, which could run code; nothing was run; {ALONE}")),
        (
            "module-object.pt",
            format!("the pickle asks for `torch.nn.modules.linear.Linear` at byte 2 of `data.pkl`, which could run code; nothing was run; {ALONE}"),
        ),
        ("complex.pt", format!("tensor `weight`: it is complex64, a kind that is not read; {CONVERT}")),
        ("sparse.pt", format!("tensor `weight`: it is sparse, a kind that is not read; {CONVERT}")),
        ("quantised.pt", format!("tensor `weight`: it is quantised, a kind that is not read; {CONVERT}")),
        ("uint16.pt", format!("tensor `weight`: it is uint16, a kind that is not read; {CONVERT}")),
        ("negated.pt", format!("tensor `weight`: it is still to be negated or conjugated, a kind that is not read; {CONVERT}")),
        (
            "torchscript.pt",
            "it is TorchScript, which is a program and not only weights; if you trust whoever made it, say `trust: true`; \
             or save `module.state_dict()` where it was made"
                .to_owned(),
        ),
        (
            "array.npz",
            "it is a NumPy archive (npz); load it where it was made and save its tensors as safetensors".to_owned(),
        ),
        (
            "deflated.pt",
            "the record `data.pkl` is compressed or encrypted, which `torch.save` does not do; unpack the archive and pack \
             it again with `zip -0 -r`, or save it again"
                .to_owned(),
        ),
        (
            "no-checksums.pt",
            "the record `data.pkl` does not have its checksum; fetch or make the file again; one that was \
             saved without checksums is read with its `sha256:`"
                .to_owned(),
        ),
        ("none.pt", String::new()),
    ] {
        let message = opened(file, None).unwrap_err();
        if file == "none.pt" {
            assert_eq!(message, "no file none.pt; paths are relative to the working directory");
        } else {
            assert_eq!(message, format!("{file}: {expected}"));
        }
    }
    let kind = |file| Weights::open(&fixture(file), &Options::default()).unwrap_err().kind();
    assert_eq!(kind("torchscript.pt"), ErrorKind::TorchScript);
    assert_eq!(kind("evil.pt"), ErrorKind::Unsafe);
    assert_eq!(kind("none.pt"), ErrorKind::Read);
    assert_eq!(kind("deflated.pt"), ErrorKind::Unsupported);
    assert!(!std::path::Path::new("retune-was-here").exists());
}

#[test]
fn a_pinned_file_is_that_file() {
    let digest = |file| Sha256::digest(bytes_of(file)).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let open = |file, sha256: &str| {
        let options = Options { sha256: Some(sha256.to_owned()), ..Options::default() };
        Weights::open(&fixture(file), &options)
    };
    let right = digest("module.pt");
    assert_eq!(open("module.pt", &right.to_uppercase()).unwrap().len(), 9);
    let wrong = "0".repeat(64);
    let error = open("module.pt", &wrong).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Pin);
    assert!(error.message().ends_with(&format!("module.pt: its SHA-256 is {right} instead of {wrong}")), "{error}");
    assert_eq!(error.help(), Some("fetch the file that was pinned; if this one is meant, pin it"));
    let error = open("module.pt", "abc").unwrap_err();
    assert!(error.message().ends_with("`sha256: abc` is not 64 hexadecimal digits"), "{error}");
    // Checksums within the file add nothing to it.
    assert_eq!(tensors(&open("no-checksums.pt", &digest("no-checksums.pt")).unwrap()).len(), 2);
}

#[test]
fn records_must_be_there_once_and_whole() {
    let original = bytes_of("module.pt");
    let pickle = unzipped(&original, "data.pkl");
    let names = ["a/data.pkl", "a/data/0", "a/byteorder"];
    let content: [&[u8]; 3] = [&pickle, &[0; 48], b"little"];
    let with = |name: &'static str, content: &'static [u8]| (name, content);
    let records: Vec<(&str, &[u8])> = names.into_iter().zip(content).collect();
    for (records, expected) in [
        (vec![records[1]], "it is a zip archive without the `data.pkl` that PyTorch writes"),
        (vec![records[0]], "tensor `0.weight`: the record `data/0` is missing"),
        (vec![records[0], records[0]], "the record `a/data.pkl` is there twice"),
        (records.clone(), "tensor `0.bias`: the record `data/1` is missing"),
        (
            vec![records[0], with("a/data/0", &[0; 44])],
            "tensor `0.weight`: its storage `0` has 44 bytes instead of 12 elements of 4",
        ),
        (vec![records[0], with("a/byteorder", b"middle")], "`byteorder` says neither `little` nor `big`"),
        // The first record tells the folder.
        (vec![records[0], with("b/data/0", &[0; 48])], "tensor `0.weight`: the record `data/0` is missing"),
        (vec![records[0], with("a/code/x.py", b"")], "it is TorchScript, which is a program and not only weights"),
    ] {
        assert_eq!(read(&zip(&records), "a.pt").unwrap_err().message(), format!("a.pt: {expected}"));
    }
    // Flipped anywhere in a storage, which no other check would see.
    let place = original.windows(6).position(|window| window == b"data/0").unwrap() + 100;
    let mut flipped = original;
    flipped[place] ^= 1;
    let error = read(&flipped, "a.pt").unwrap_err();
    assert_eq!(error.message(), "a.pt: tensor `0.weight`: the record `data/0` does not have its checksum");
}
