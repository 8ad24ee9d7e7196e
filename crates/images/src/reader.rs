//! Batches read ahead: while a network computes, the next images are decoded and changed on other threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use retune_spec::images::{ImageInput, ImageMode, OnBadImage};

use crate::decode::{Limits, decode, read};
use crate::mix::{Mixing, Share};
use crate::picture::Picture;
use crate::transforms::Transforms;

/// Batches under way at the same time, so that threads which find no image left in one go on with the next.
const LANES: usize = 2;

/// How many bad rows a message names.
const SHOWN_ROWS: usize = 5;

/// Where pictures come from.
pub trait Pictures: Send + Sync {
    /// How many rows.
    fn len(&self) -> usize;

    /// The picture of a row; why there is none, where it is missing or cannot be decoded.
    fn get(&self, row: usize) -> Result<Arc<Picture>, String>;

    /// Whether there is no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Image files by their paths.
#[derive(Clone, Debug)]
pub struct Files {
    paths: Vec<String>,
    root: Option<String>,
    mode: ImageMode,
    limits: Limits,
}

impl Files {
    /// Those of a network's input, which says where paths start and how large files may be.
    pub fn new(paths: Vec<String>, input: &ImageInput) -> Self {
        Self { paths, root: input.root.clone(), mode: input.mode, limits: Limits::of(input) }
    }
}

impl Pictures for Files {
    fn len(&self) -> usize {
        self.paths.len()
    }

    fn get(&self, row: usize) -> Result<Arc<Picture>, String> {
        let path = self.paths.get(row).ok_or_else(|| format!("there are only {} images", self.paths.len()))?;
        let bytes = read(path, self.root.as_deref(), &self.limits)?;
        decode(&bytes, self.mode, &self.limits).map(Arc::new)
    }
}

/// A row whose picture cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadImage {
    /// From 0; messages count from 1.
    pub row: usize,
    /// Why.
    pub reason: String,
}

/// The rows whose pictures cannot be used, in order; decodes all of them, on the threads of the current rayon pool. With a [`crate::Cache`] this is the first epoch's work.
pub fn bad_images(pictures: &dyn Pictures) -> Vec<BadImage> {
    let bad = |row| pictures.get(row).err().map(|reason| BadImage { row, reason });
    (0..pictures.len()).into_par_iter().filter_map(bad).collect()
}

/// What is read, in which order, and what it depends on.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The rows of the epoch in their order.
    pub order: Vec<usize>,
    /// Rows of a batch, 1 or more; the last batch has what is left.
    pub batch_size: usize,
    /// Where to begin: a run that was interrupted goes on with the batches that it would have seen.
    pub first_batch: usize,
    /// What is drawn depends on this, on the epoch and on the row, or the batch that is mixed; not on threads.
    pub seed: u64,
    /// From 0.
    pub epoch: u64,
    /// Threads that decode, 1 or more.
    pub threads: usize,
    /// What is done about a picture that cannot be used: an error, or its row is left out of the batch.
    pub on_error: OnBadImage,
    /// Mixes whole batches.
    pub mixing: Option<Mixing>,
}

/// The numbers of some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Its place in the epoch, from 0.
    pub number: usize,
    /// Its rows; without those left out.
    pub rows: Vec<usize>,
    /// Rows, channels, height and width of `pixels`.
    pub shape: [usize; 4],
    /// The numbers that the network sees.
    pub pixels: Vec<f32>,
    /// How rows were mixed, if they were.
    pub shares: Option<Vec<Share>>,
    /// Rows left out, and why.
    pub bad: Vec<BadImage>,
}

/// Why no more batches come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// Pictures of a batch that cannot be used, where `on_error` is `fail`.
    Bad(Vec<BadImage>),
    /// A defect of the program, met at a row.
    Panicked(BadImage),
    /// Threads could not be started, or the plan makes no sense.
    Failed(String),
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bad(bad) => {
                let told = |bad: &BadImage| format!("row {}: {}", bad.row + 1, bad.reason);
                let mut told: Vec<String> = bad.iter().take(SHOWN_ROWS).map(told).collect();
                match bad.len() - told.len() {
                    0 => {}
                    1 => told.push("and 1 row more".to_owned()),
                    more => told.push(format!("and {more} rows more")),
                }
                write!(f, "no usable image in {}", told.join("\n  "))
            }
            Self::Panicked(bad) => write!(f, "the image of row {} met a defect: {}", bad.row + 1, bad.reason),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for ReadError {}

/// An iterator over the batches of a [`Plan`]. At most two batches wait ahead; dropping it stops its threads after the images that they are at. Nothing comes after an
/// error.
pub struct Reader {
    work: Arc<Work>,
    /// Batch `number` comes from lane `number % LANES`.
    lanes: Vec<Receiver<Result<Batch, ReadError>>>,
    threads: Vec<JoinHandle<()>>,
    next: usize,
}

impl Reader {
    /// Starts to read. Fails where the plan has no threads, empty batches or rows that do not exist, or threads cannot be started.
    pub fn new(pictures: Arc<dyn Pictures>, transforms: Arc<Transforms>, plan: Plan) -> Result<Self, ReadError> {
        let failed = |reason: String| Err(ReadError::Failed(reason));
        if plan.batch_size == 0 || plan.threads == 0 {
            return failed("batches need at least one row, and reading at least one thread".to_owned());
        }
        if let Some(row) = plan.order.iter().find(|row| **row >= pictures.len()) {
            return failed(format!("there is no row {} among {} images", row + 1, pictures.len()));
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(plan.threads)
            .thread_name(|thread| format!("images {thread}"))
            .build()
            .map_err(|error| ReadError::Failed(format!("threads could not be started: {error}")))?;
        let next = plan.first_batch;
        let work = Arc::new(Work {
            pictures,
            transforms,
            plan,
            pool,
            stopped: AtomicBool::new(false),
            spare: Mutex::new(Vec::new()),
        });
        let mut reader = Self { work, lanes: Vec::new(), threads: Vec::new(), next };
        for lane in 0..LANES {
            let (sender, receiver) = sync_channel(0);
            let work = Arc::clone(&reader.work);
            let thread = std::thread::Builder::new()
                .name(format!("batches {lane}"))
                .spawn(move || work.run(lane, &sender))
                .map_err(|error| ReadError::Failed(format!("threads could not be started: {error}")))?;
            reader.threads.push(thread);
            reader.lanes.push(receiver);
        }
        Ok(reader)
    }

    /// How many batches the epoch has, those before `first_batch` included.
    pub fn n_batches(&self) -> usize {
        self.work.n_batches()
    }

    /// Takes the numbers of a batch that is done with back, so that the memory serves another.
    pub fn recycle(&self, pixels: Vec<f32>) {
        self.work.spare().push(pixels);
    }
}

impl Iterator for Reader {
    type Item = Result<Batch, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.n_batches() {
            return None;
        }
        let received = self.lanes[self.next % LANES].recv();
        self.next += 1;
        let batch = received.unwrap_or_else(|_| Err(ReadError::Failed("reading ended early".to_owned())));
        if batch.is_err() {
            self.next = usize::MAX;
        }
        Some(batch)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.work.stopped.store(true, Ordering::Relaxed);
        // Whoever waits to hand over a batch wakes up.
        self.lanes.clear();
        for thread in self.threads.drain(..) {
            // It catches what panics.
            let _ = thread.join();
        }
    }
}

/// What all threads share.
struct Work {
    pictures: Arc<dyn Pictures>,
    transforms: Arc<Transforms>,
    plan: Plan,
    pool: ThreadPool,
    stopped: AtomicBool,
    /// The memory of batches that are done with.
    spare: Mutex<Vec<Vec<f32>>>,
}

/// Why a row was not written.
enum Lost {
    Bad(BadImage),
    Panicked(BadImage),
    Stopped,
}

impl Work {
    fn n_batches(&self) -> usize {
        self.plan.order.len().div_ceil(self.plan.batch_size)
    }

    fn spare(&self) -> std::sync::MutexGuard<'_, Vec<Vec<f32>>> {
        // A list of buffers is as good after a panic as before.
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads every batch of a lane, until the reader is dropped or a batch fails.
    fn run(&self, lane: usize, sender: &SyncSender<Result<Batch, ReadError>>) {
        for number in (self.plan.first_batch..self.n_batches()).filter(|number| number % LANES == lane) {
            let Some(batch) = self.batch(number) else { return };
            let failed = batch.is_err();
            if sender.send(batch).is_err() || failed {
                return;
            }
        }
    }

    /// `None` if reading was stopped.
    fn batch(&self, number: usize) -> Option<Result<Batch, ReadError>> {
        let first = number * self.plan.batch_size;
        let rows = &self.plan.order[first..(first + self.plan.batch_size).min(self.plan.order.len())];
        let length = self.transforms.len();
        let spare = self.spare().pop();
        // Fresh memory is zero already.
        let mut pixels = spare.unwrap_or_else(|| vec![0.0; rows.len() * length]);
        pixels.resize(rows.len() * length, 0.0);
        let written: Vec<Result<(), Lost>> = self.pool.install(|| {
            let places = pixels.par_chunks_mut(length).zip(rows).with_max_len(1);
            places.map(|(out, row)| self.write(*row, out)).collect()
        });
        let mut batch = Batch { number, rows: Vec::new(), shape: [0; 4], pixels, shares: None, bad: Vec::new() };
        for (place, (row, written)) in rows.iter().zip(written).enumerate() {
            match written {
                Ok(()) => {
                    // Closes the gaps that rows left out would leave.
                    let to = batch.rows.len() * length;
                    batch.pixels.copy_within(place * length..(place + 1) * length, to);
                    batch.rows.push(*row);
                }
                Err(Lost::Bad(bad)) => batch.bad.push(bad),
                Err(Lost::Panicked(bad)) => return Some(Err(ReadError::Panicked(bad))),
                Err(Lost::Stopped) => return None,
            }
        }
        if self.plan.on_error == OnBadImage::Fail && !batch.bad.is_empty() {
            return Some(Err(ReadError::Bad(batch.bad)));
        }
        batch.pixels.truncate(batch.rows.len() * length);
        let [n_channels, height, width] = self.transforms.shape();
        batch.shape = [batch.rows.len(), n_channels, height, width];
        Some(self.mixed(batch))
    }

    fn mixed(&self, mut batch: Batch) -> Result<Batch, ReadError> {
        if let Some(mixing) = &self.plan.mixing {
            let mut rng = self.generator(Drawn::Batch, batch.number);
            batch.shares = Some(mixing.mix(&mut batch.pixels, batch.shape, &mut rng).map_err(ReadError::Failed)?);
        }
        Ok(batch)
    }

    fn write(&self, row: usize, out: &mut [f32]) -> Result<(), Lost> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(Lost::Stopped);
        }
        let write = || {
            let picture = self.pictures.get(row)?;
            self.transforms.apply(&picture, &mut self.generator(Drawn::Picture, row), out)
        };
        match catch_unwind(AssertUnwindSafe(write)) {
            Ok(written) => written.map_err(|reason| Lost::Bad(BadImage { row, reason })),
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                Err(Lost::Panicked(BadImage { row, reason: text.unwrap_or_else(|| "a panic".to_owned()) }))
            }
        }
    }

    fn generator(&self, drawn: Drawn, place: usize) -> ChaCha8Rng {
        let mut key = [0; 32];
        let words = [self.plan.seed, self.plan.epoch, place as u64, drawn as u64];
        for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }
}

/// What a generator is for.
#[derive(Clone, Copy)]
enum Drawn {
    Picture,
    Batch,
}
