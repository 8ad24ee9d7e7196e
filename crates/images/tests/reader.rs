//! Batches read ahead: the same whatever the threads, from any batch on, and no hanging.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::numbered;
use retune_images::{
    BadImage, Batch, Cache, Files, Mixing, Picture, Pictures, Plan, ReadError, Reader, Transforms, bad_images,
};
use retune_spec::images::{Augmentation, ImageInput, OnBadImage};
use serde_json::{Value, json};

/// Pictures made on the spot; some rows have none, and one is a defect.
#[derive(Default)]
struct Made {
    n_rows: usize,
    bad: Vec<usize>,
    defect: Option<usize>,
    wait: Duration,
    asked: AtomicUsize,
}

impl Pictures for Made {
    fn len(&self) -> usize {
        self.n_rows
    }

    fn get(&self, row: usize) -> Result<Arc<Picture>, String> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(self.wait);
        assert!(Some(row) != self.defect, "a defect");
        if self.bad.contains(&row) {
            return Err(format!("bad {row}"));
        }
        Ok(Arc::new(numbered(10 + row % 3, 12, 3, row)))
    }
}

fn made(n_rows: usize) -> Made {
    Made { n_rows, ..Made::default() }
}

fn plan(n_rows: usize) -> Plan {
    Plan {
        order: (0..n_rows).rev().collect(),
        batch_size: 8,
        first_batch: 0,
        seed: 1,
        epoch: 0,
        threads: 2,
        on_error: OnBadImage::Fail,
        mixing: None,
    }
}

fn augmentations() -> Vec<Augmentation> {
    let list: Value = json!([{ "random_resized_crop": {} }, { "horizontal_flip": {} }, { "rand_augment": {} }, { "random_erasing": {} }, { "mixup": {} }, { "cutmix": {} }]);
    serde_json::from_value(list).unwrap()
}

fn reader(pictures: impl Pictures + 'static, plan: Plan) -> Result<Reader, ReadError> {
    let input: ImageInput = serde_json::from_value(json!({ "size": [8, 8] })).unwrap();
    let transforms = Transforms::new(&input, &augmentations(), true).unwrap();
    Reader::new(Arc::new(pictures), Arc::new(transforms), plan)
}

fn batches(pictures: impl Pictures + 'static, plan: Plan) -> Vec<Batch> {
    reader(pictures, plan).unwrap().map(Result::unwrap).collect()
}

#[test]
fn batches_do_not_depend_on_threads_or_where_reading_began() {
    let mixing = Mixing::new(&augmentations()).unwrap();
    let plan = Plan { mixing, ..plan(43) };
    let expected = batches(made(43), plan.clone());
    assert_eq!(expected.iter().map(|batch| batch.rows.len()).collect::<Vec<_>>(), [8, 8, 8, 8, 8, 3]);
    assert_eq!(expected.iter().flat_map(|batch| batch.rows.clone()).collect::<Vec<_>>(), plan.order);
    assert!(expected.iter().all(|batch| batch.shape[1..] == [3, 8, 8] && batch.shares.is_some()));
    for threads in [1, 3, 16] {
        assert!(batches(made(43), Plan { threads, ..plan.clone() }) == expected, "{threads} threads");
    }
    for first_batch in [1, 4, 5, 6, 9] {
        let resumed = batches(made(43), Plan { first_batch, ..plan.clone() });
        assert!(resumed == expected[first_batch.min(6)..], "from batch {first_batch}");
    }
    // Nor on what is kept in memory, all or some of it.
    for budget in [0, 5000, 1 << 20] {
        assert!(batches(Cache::new(made(43), budget), plan.clone()) == expected, "{budget} bytes");
    }
    for other in [Plan { seed: 2, ..plan.clone() }, Plan { epoch: 1, ..plan.clone() }] {
        assert!(batches(made(43), other) != expected);
    }
    // Rows draw for themselves: another order gives the same pixels to each.
    let forward = batches(made(43), Plan { order: (0..43).collect(), batch_size: 43, mixing: None, ..plan.clone() });
    let backward = batches(made(43), Plan { batch_size: 1, mixing: None, ..plan });
    for batch in backward {
        assert_eq!(batch.pixels, forward[0].pixels[batch.rows[0] * 192..][..192], "row {}", batch.rows[0]);
    }
}

#[test]
fn memory_that_was_used_before_leaves_no_trace() {
    let expected = batches(made(43), plan(43));
    let mut reader = reader(made(43), plan(43)).unwrap();
    for expected in expected {
        let batch = reader.next().unwrap().unwrap();
        assert!(batch == expected);
        reader.recycle(vec![7.0; batch.pixels.len() + 100]);
    }
    assert!(reader.next().is_none());
}

#[test]
fn bad_images_fail_or_are_left_out() {
    let bad = vec![3, 9, 11, 12, 13, 14, 15, 20];
    let source = || Made { bad: bad.clone(), ..made(24) };
    let told: Vec<BadImage> = bad_images(&source());
    assert_eq!(told, bad.iter().map(|row| BadImage { row: *row, reason: format!("bad {row}") }).collect::<Vec<_>>());
    assert_eq!(
        ReadError::Bad(told).to_string(),
        "no usable image in row 4: bad 3\n  row 10: bad 9\n  row 12: bad 11\n  row 13: bad 12\n  row 14: bad 13\n  and 3 rows more"
    );
    let whole = batches(made(24), plan(24));
    for on_error in [OnBadImage::Drop, OnBadImage::Quarantine] {
        let read = batches(source(), Plan { on_error, ..plan(24) });
        assert_eq!(read[0].rows, [23, 22, 21, 19, 18, 17, 16]);
        assert_eq!(read[1].bad.iter().map(|bad| bad.row).collect::<Vec<_>>(), [15, 14, 13, 12, 11, 9]);
        for (batch, whole) in read.iter().zip(&whole) {
            assert_eq!(batch.pixels.len(), batch.rows.len() * 192);
            for (place, row) in batch.rows.iter().enumerate() {
                let at = whole.rows.iter().position(|other| other == row).unwrap();
                assert_eq!(batch.pixels[place * 192..][..192], whole.pixels[at * 192..][..192], "row {row}");
            }
        }
    }
    let read: Vec<Result<Batch, ReadError>> = reader(source(), plan(24)).unwrap().collect();
    assert!(matches!(read.as_slice(), [Err(ReadError::Bad(bad))] if bad.len() == 1), "{read:?}");
}

#[test]
fn a_defect_becomes_an_error_and_ends_reading() {
    let source = Made { defect: Some(5), ..made(40) };
    let read: Vec<Result<Batch, ReadError>> = reader(source, plan(40)).unwrap().collect();
    let errors: Vec<String> = read.iter().filter_map(|batch| batch.as_ref().err()).map(ToString::to_string).collect();
    assert_eq!((read.len(), errors), (5, vec!["the image of row 6 met a defect: a defect".to_owned()]));
}

#[test]
fn reading_is_bounded_and_stops_when_dropped() {
    let source = Arc::new(Made { wait: Duration::from_millis(5), ..made(10_000) });
    struct Shared(Arc<Made>);
    impl Pictures for Shared {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn get(&self, row: usize) -> Result<Arc<Picture>, String> {
            self.0.get(row)
        }
    }
    let mut reader = reader(Shared(Arc::clone(&source)), plan(10_000)).unwrap();
    assert_eq!(reader.n_batches(), 1250);
    assert!(reader.next().unwrap().is_ok());
    std::thread::sleep(Duration::from_millis(300));
    // The batch taken, and two ahead.
    assert!(source.asked.load(Ordering::Relaxed) <= 24, "{}", source.asked.load(Ordering::Relaxed));
    let start = Instant::now();
    drop(reader);
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    let asked = source.asked.load(Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(source.asked.load(Ordering::Relaxed), asked);
}

#[test]
fn kept_pictures_are_decoded_once() {
    let source = Arc::new(Cache::new(made(20), 1 << 20));
    let input: ImageInput = serde_json::from_value(json!({ "size": [8, 8] })).unwrap();
    let transforms = Arc::new(Transforms::new(&input, &[], true).unwrap());
    for epoch in 0..3 {
        let pictures: Arc<dyn Pictures> = source.clone();
        let reader = Reader::new(pictures, Arc::clone(&transforms), Plan { epoch, ..plan(20) }).unwrap();
        assert_eq!(reader.map(Result::unwrap).count(), 3);
    }
    assert_eq!(source.n_kept(), 20);
    // 10 x 12 x 3 bytes are 360, a row of three; what does not fit is left, what is smaller may still fit.
    let small = Cache::new(made(20), 1000);
    assert!(bad_images(&small).is_empty() && small.n_kept() == 2);
}

#[test]
fn plans_that_make_no_sense_are_refused() {
    for (plan, message) in [
        (Plan { batch_size: 0, ..plan(4) }, "batches need at least one row, and reading at least one thread"),
        (Plan { threads: 0, ..plan(4) }, "batches need at least one row, and reading at least one thread"),
        (Plan { order: vec![0, 4], ..plan(4) }, "there is no row 5 among 4 images"),
    ] {
        assert_eq!(reader(made(4), plan).err().unwrap().to_string(), message);
    }
    assert!(batches(made(0), plan(0)).is_empty());
    let files = Files::new(vec!["no such file.png".to_owned()], &ImageInput::default());
    assert_eq!(bad_images(&files)[0].reason, "no such file.png: No such file or directory (os error 2)");
}
