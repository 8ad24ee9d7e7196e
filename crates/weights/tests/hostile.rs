//! Files that were made to do harm, and files that were damaged: an error, never a panic, and no more memory than the file is worth.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{LEGACY_HEAD, bytes_of, legacy, read, unzipped, zip};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retune_weights::ErrorKind;

/// Counts what is held, and the most that was.
struct Counting;

/// Held by the tests that look at it, which are those that hold much.
static ALONE: Mutex<()> = Mutex::new(());

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const SOUND: [&str; 12] = [
    "module.pt",
    "module-legacy.pt",
    "module-protocol-4.pt",
    "module-protocol-5-legacy.pt",
    "kinds.pt",
    "kinds-legacy.pt",
    "kinds-big-endian.pt",
    "views.pt",
    "views-legacy.pt",
    "parameters.pt",
    "lightning.ckpt",
    "timm.pt",
];

/// All that a reader may touch; the error's message, if there is one.
fn all_of(bytes: &[u8], file: &str) -> Option<String> {
    match read(bytes, file) {
        Ok(weights) => {
            for (_, tensor) in weights.iter() {
                assert_eq!(tensor.bytes().len(), tensor.n_bytes());
            }
            None
        }
        Err(error) => Some(error.to_string()),
    }
}

/// As [`all_of`], and the bytes that it took.
fn with_memory(bytes: &[u8], file: &str) -> (Option<String>, usize) {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let found = all_of(bytes, file);
    (found, PEAK.load(Ordering::Relaxed).saturating_sub(before))
}

#[test]
fn nothing_is_run() {
    // As `asked` at the byte within the pickle.
    let cases: [(&[u8], &str, usize); 24] = [
        (b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.", "`os.system`", 2),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.", "`posix.system`", 17),
        // Names of Python 3, of Python 2, and within what is allowed.
        (b"\x80\x02cbuiltins\neval\nX\x01\0\0\0\x31\x85R.", "`builtins.eval`", 2),
        (b"\x80\x02c__builtin__\nexec\n.", "`__builtin__.exec`", 2),
        (b"\x80\x02cbuiltins\ngetattr\n.", "`builtins.getattr`", 2),
        (
            b"\x80\x04\x8c\x0ctorch._utils\x8c\x24_rebuild_tensor_v2.__globals__.items\x93.",
            "`torch._utils._rebuild_tensor_v2.__globals__.items`",
            54,
        ),
        (b"\x80\x02ctorch.storage\n_load_from_bytes\n.", "`torch.storage._load_from_bytes`", 2),
        (b"\x80\x02ctorch\nload\n.", "`torch.load`", 2),
        (b"\x80\x02ctorch.jit\nload\n.", "`torch.jit.load`", 2),
        (b"\x80\x02ctorch._utils\n_import_dotted_name\n.", "`torch._utils._import_dotted_name`", 2),
        (b"\x80\x02ctorch\nXStorage\n.", "`torch.XStorage`", 2),
        (b"\x80\x02cnumpy\nload\n.", "`numpy.load`", 2),
        (b"\x80\x02ca\tb\nc\x1b[2J\n.", r"`a\tb.c\u{1b}[2J`", 2),
        // The opcodes that look a name up or call by other ways.
        (b"\x80\x02(X\x02\0\0\0idios\nsystem\n.", "`os.system`", 10),
        (b"\x80\x02(ccollections\nOrderedDict\no.", "the opcode OBJ", 28),
        (b"\x80\x02\x82\x01.", "the opcode EXT1", 2),
        (b"\x80\x02\x83\x01\0.", "the opcode EXT2", 2),
        (b"\x80\x02\x84\x01\0\0\0.", "the opcode EXT4", 2),
        (b"\x80\x02Pid\n.", "the opcode PERSID", 2),
        (b"\x80\x05\x97.", "the opcode NEXT_BUFFER", 2),
        (b"\x80\x02X\x01\0\0\0a)R.", "a call of what is no function", 9),
        (b"\x80\x02ctorch\nFloatStorage\n)\x81.", "a call of a type that is only named in weights", 23),
        // Attributes of a function or a list.
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b.", "the opcode BUILD on what is no dict", 36),
        (b"\x80\x02]}b.", "the opcode BUILD on what is no dict", 4),
    ];
    for (pickle, asked, at) in cases {
        for (file, at) in [
            (zip(&[("a/data.pkl", pickle)]), format!("byte {at} of `data.pkl`")),
            (legacy(pickle), format!("byte {}", at + LEGACY_HEAD.len())),
        ] {
            let error = read(&file, "a.pt").unwrap_err();
            assert_eq!(
                error.message(),
                format!("a.pt: the pickle asks for {asked} at {at}, which could run code; nothing was run")
            );
            assert_eq!(error.kind(), ErrorKind::Unsafe);
            assert!(error.help().is_some());
        }
    }
    // So is what comes before the object in an older file.
    let early = [&LEGACY_HEAD[..15], b"\x80\x02cos\nsystem\n."].concat();
    assert_eq!(read(&early, "a.pt").unwrap_err().kind(), ErrorKind::Unsafe);
}

#[test]
fn a_broken_pickle_is_said_to_be_one() {
    for (pickle, expected) in [
        (&b""[..], "the pickle is cut: it has 0 bytes and goes on at byte 0"),
        (b"\x80\x02}", "the pickle is cut: it has 3 bytes and goes on at byte 3"),
        (b"\x80\x02\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", "the pickle is cut: it has 12 bytes and goes on at byte 11"),
        (b"\x80\x02X\xff\xff\xff\xff.", "the pickle is cut: it has 8 bytes and goes on at byte 7"),
        (b"cos", "the pickle is cut: it has 3 bytes and goes on at byte 3"),
        (b"X\x02\0\0\0\xff\xff.", "the pickle has text that is not UTF-8 at byte 0"),
        (b"\xff.", "the pickle has 0xff, which is no opcode, at byte 0"),
        (b"S'text'\n.", "the pickle has the opcode `S` at byte 0, which PyTorch does not write"),
        (b".", "the pickle takes more than there is at byte 0"),
        (b"N\x86.", "the pickle takes more than there is at byte 1"),
        // What lies below a mark is not there for others.
        (b"N(\x85.", "the pickle takes more than there is at byte 2"),
        (b"t.", "the pickle goes back to a mark that is not there at byte 0"),
        (b"h\x05.", "the pickle recalls what it did not remember at byte 0"),
        (b"}Na.", "the pickle appends to what is no list at byte 2"),
        (b"]NNs.", "the pickle sets items of what is no dict at byte 3"),
        (b"}(Nu.", "the pickle sets items of what is no dict at byte 3"),
        (b"](N\x90.", "the pickle adds to what is no set at byte 3"),
        (b"NN\x93.", "the pickle asks for a name that is no text at byte 2"),
        (b"ctorch\nSize\nNR.", "the pickle calls with arguments that are no tuple, or too many, at byte 13"),
        (b"ccollections\nOrderedDict\nK\x01\x85R.", "the pickle makes a dict of what are no pairs at byte 28"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R.", "the pickle rebuilds a tensor of what is none at byte 34"),
        (b"NQ.", "the pickle names a storage in a way that is not known at byte 1"),
    ] {
        let error = read(&zip(&[("a/data.pkl", pickle)]), "a.pt").unwrap_err();
        assert_eq!(error.message().replace(" of `data.pkl`", ""), format!("a.pt: {expected}"));
    }
}

/// A dict of one tensor `w` of 32-bit floats in a storage of `n` elements, of which 4 are there.
fn tensor(n: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let int = |number: &i64| [&b"\x8a\x08"[..], &number.to_le_bytes()].concat();
    let ints = |numbers: &[i64]| [&b"("[..], &numbers.iter().flat_map(int).collect::<Vec<_>>(), b"t"].concat();
    [
        &b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n("[..],
        b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0\x30X\x03\0\0\0cpu",
        &int(&n),
        b"tQ",
        &int(&offset),
        &ints(shape),
        &ints(strides),
        b"\x89NtRs.",
    ]
    .concat()
}

#[test]
fn no_tensor_reaches_beyond_its_storage() {
    const MAX: i64 = i64::MAX;
    let outside = |offset: i64, shape: &[i64], strides: &[i64]| {
        format!("offset {offset}, shape {shape:?} and strides {strides:?} reach beyond its storage of 4 elements")
    };
    let wrong = "the pickle rebuilds a tensor of what is no storage, offset, size and stride at byte";
    for (n, offset, shape, strides, expected) in [
        (4, 0, &[2, 2][..], &[2, 1][..], None),
        (4, 3, &[], &[], None),
        (4, 0, &[4, 3], &[1, 0], None),
        (4, MAX, &[0, 5], &[MAX, 1], None),
        (4, 1, &[2, 2], &[2, 1], Some(outside(1, &[2, 2], &[2, 1]))),
        (4, 0, &[2, 2], &[3, 1], Some(outside(0, &[2, 2], &[3, 1]))),
        (4, 4, &[], &[], Some(outside(4, &[], &[]))),
        (4, MAX, &[1], &[1], Some(outside(MAX, &[1], &[1]))),
        (4, 0, &[3], &[MAX], Some(outside(0, &[3], &[MAX]))),
        (4, 0, &[MAX, MAX, MAX], &[0, 0, 0], Some(outside(0, &[MAX, MAX, MAX], &[0, 0, 0]))),
        // Within the storage, and larger than memory.
        (4, 0, &[1 << 40], &[0], Some("with it, the tensors have more than 64 times the bytes of the file".to_owned())),
        (5, 0, &[1], &[1], Some("its storage `0` has 16 bytes instead of 5 elements of 4".to_owned())),
        (MAX, 0, &[1], &[1], Some(format!("its storage `0` has 16 bytes instead of {MAX} elements of 4"))),
        (4, -1, &[1], &[1], Some(wrong.to_owned())),
        (4, 0, &[-1], &[1], Some(wrong.to_owned())),
        (4, 3, &[2], &[-1], Some(wrong.to_owned())),
        (-1, 0, &[1], &[1], Some("the pickle names a storage in a way that is not known at byte".to_owned())),
        (4, 0, &[1, 1], &[1], Some("the pickle rebuilds a tensor of 2 axes with 1 strides at byte".to_owned())),
        (4, 0, &[1; 65], &[1; 65], Some(wrong.to_owned())),
    ] {
        let file = zip(&[("a/data.pkl", &tensor(n, offset, shape, strides)), ("a/data/0", &[1; 16])]);
        let found = all_of(&file, "a.pt");
        match expected {
            None => assert_eq!(found, None, "{offset} {shape:?} {strides:?}"),
            Some(expected) => {
                let found = found.unwrap().replace("tensor `w`: ", "");
                assert!(found.starts_with(&format!("a.pt: {expected}")), "{found}");
            }
        }
    }
}

#[test]
fn memory_and_stack_are_bounded_by_the_file() {
    let _alone = ALONE.lock().unwrap();
    let repeated = |part: &[u8], n: usize| part.repeat(n);
    // Each calls OrderedDict on the same list of 1000 pairs, which would be kept each time.
    let pairs = [
        &b"]q\0("[..],
        &repeated(b"NN\x86", 1000),
        b"e",
        &repeated(b"ccollections\nOrderedDict\nh\0\x85R", 5000),
        b".",
    ]
    .concat();
    // Each level holds the one before twice.
    let doubled = [
        &b"}q\0"[..],
        &(0..40u8)
            .flat_map(|i| [b"}q", &[i + 1][..], b"(\x8c\x01ah", &[i], b"\x8c\x01bh", &[i], b"u"].concat())
            .collect::<Vec<_>>(),
        b".",
    ]
    .concat();
    let cases: [(Vec<u8>, &str); 8] = [
        ([&repeated(b"]", 1_000_000)[..], b"."].concat(), "it holds a list"),
        ([b"N", &repeated(b"\x85", 1_000_000)[..], b"."].concat(), "it holds a tuple"),
        ([&repeated(b"(", 1_000_000)[..], b"]."].concat(), "it holds a list"),
        (
            [&b"N"[..], &repeated(b"}\x8c\x01a", 1_000_000)[..], &repeated(b"s", 1_000_000), b"."].concat(),
            "the pickle ",
        ),
        (pairs, "the pickle makes more of itself than it holds"),
        (doubled, "there are no tensors in it: it holds a dict"),
        // A dict that holds itself, and a memo with a gap.
        (b"}q\0X\x01\0\0\0ah\0s.".to_vec(), "there are no tensors in it: it holds a dict with `a`"),
        (b"]r\xff\xff\xff\xff0.".to_vec(), "the pickle has the opcode `0` at byte 6"),
    ];
    for (pickle, expected) in cases {
        let file = zip(&[("a/data.pkl", &pickle)]);
        let (found, used) = with_memory(&file, "a.pt");
        let found = found.unwrap();
        assert!(found.starts_with(&format!("a.pt: {expected}")), "{found}");
        // A value, a node and room to grow for each opcode.
        assert!(used < 200 * file.len() + (1 << 20), "{expected}: {used} bytes for a file of {}", file.len());
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for name in SOUND {
        let bytes = bytes_of(name);
        assert_eq!(all_of(&bytes, name), None);
        for length in 0..bytes.len() {
            assert!(all_of(&bytes[..length], name).is_some(), "{name} cut to {length} bytes");
        }
    }
}

#[test]
fn flipped_bytes_never_do_harm() {
    let _alone = ALONE.lock().unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    // Checksums keep flips out of the pickles in zip archives, so these are read as well without them.
    let mut files: Vec<(String, Vec<u8>)> = SOUND.iter().map(|name| ((*name).to_owned(), bytes_of(name))).collect();
    for name in ["module.pt", "module-protocol-4.pt", "lightning.ckpt", "timm.pt", "parameters.pt", "sparse.pt"] {
        files.push((format!("pickle of {name}"), legacy(&unzipped(&bytes_of(name), "data.pkl"))));
    }
    let (mut n_read, mut n_refused) = (0, 0);
    for (name, bytes) in files {
        for _ in 0..3000 {
            let mut flipped = bytes.clone();
            for _ in 0..random.random_range(1..4) {
                let place = random.random_range(0..flipped.len());
                flipped[place] =
                    if random.random() { random.random() } else { flipped[place] ^ (1 << random.random_range(0..8)) };
            }
            let (refused, used) = with_memory(&flipped, "flipped");
            *(if refused.is_some() { &mut n_refused } else { &mut n_read }) += 1;
            // The elements of a storage may be repeated up to some 16 MiB.
            assert!(used < 20 << 20, "{name}: {used} bytes");
        }
    }
    // Flips in values, in names and where nothing is read of older files are not seen; most others are.
    assert!(n_read > 1000 && n_refused > 20_000, "{n_read} read, {n_refused} refused");
}
