//! The part of LightGBM's C API that boosting needs, made safe.
//!
//! It links to the library of LightGBM's Python wheel. The crate `lightgbm3` would build the same from source, which takes CMake, libclang and four minutes, and has no
//! call for the initial scores that warm starts need.
//!
//! LightGBM keeps the number of threads in a variable of the process and sizes buffers by it, so that two calls that set it differently at the same
//! time could write beyond a buffer. [`Threads`] keeps such calls apart.

use std::ffi::{CStr, CString, c_char, c_double, c_float, c_int, c_void};
use std::ops::Range;
use std::ptr;
use std::sync::{Condvar, Mutex, PoisonError};

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use retune_stage::{Result, StageError};

mod api {
    #![allow(non_snake_case)]
    use super::{c_char, c_double, c_int, c_void};

    pub type Handle = *mut c_void;

    unsafe extern "C" {
        pub fn LGBM_GetLastError() -> *const c_char;
        pub fn LGBM_RegisterLogCallback(callback: extern "C" fn(*const c_char)) -> c_int;
        pub fn LGBM_DatasetCreateFromMat(
            data: *const c_void,
            data_type: c_int,
            n_rows: i32,
            n_columns: i32,
            row_major: c_int,
            parameters: *const c_char,
            reference: Handle,
            out: *mut Handle,
        ) -> c_int;
        pub fn LGBM_DatasetCreateFromSampledColumn(
            values: *mut *mut c_double,
            places: *mut *mut c_int,
            n_columns: i32,
            lens: *const c_int,
            n_sampled: i32,
            n_local: i32,
            n_rows: i64,
            parameters: *const c_char,
            out: *mut Handle,
        ) -> c_int;
        pub fn LGBM_DatasetPushRows(
            dataset: Handle,
            data: *const c_void,
            data_type: c_int,
            n_rows: i32,
            n_columns: i32,
            first: i32,
        ) -> c_int;
        pub fn LGBM_DatasetSetField(
            dataset: Handle,
            name: *const c_char,
            data: *const c_void,
            len: c_int,
            data_type: c_int,
        ) -> c_int;
        pub fn LGBM_DatasetFree(dataset: Handle) -> c_int;
        pub fn LGBM_BoosterCreate(train: Handle, parameters: *const c_char, out: *mut Handle) -> c_int;
        pub fn LGBM_BoosterAddValidData(booster: Handle, validation: Handle) -> c_int;
        pub fn LGBM_BoosterUpdateOneIter(booster: Handle, finished: *mut c_int) -> c_int;
        pub fn LGBM_BoosterGetEvalCounts(booster: Handle, out: *mut c_int) -> c_int;
        pub fn LGBM_BoosterGetEval(booster: Handle, data: c_int, len: *mut c_int, out: *mut c_double) -> c_int;
        pub fn LGBM_BoosterGetCurrentIteration(booster: Handle, out: *mut c_int) -> c_int;
        pub fn LGBM_BoosterGetNumFeature(booster: Handle, out: *mut c_int) -> c_int;
        pub fn LGBM_BoosterNumModelPerIteration(booster: Handle, out: *mut c_int) -> c_int;
        pub fn LGBM_BoosterMerge(booster: Handle, other: Handle) -> c_int;
        pub fn LGBM_BoosterSaveModelToString(
            booster: Handle,
            first: c_int,
            iterations: c_int,
            importance: c_int,
            capacity: i64,
            len: *mut i64,
            out: *mut c_char,
        ) -> c_int;
        pub fn LGBM_BoosterLoadModelFromString(text: *const c_char, iterations: *mut c_int, out: *mut Handle) -> c_int;
        pub fn LGBM_BoosterPredictForMat(
            booster: Handle,
            data: *const c_void,
            data_type: c_int,
            n_rows: i32,
            n_columns: i32,
            row_major: c_int,
            kind: c_int,
            first: c_int,
            iterations: c_int,
            parameters: *const c_char,
            len: *mut i64,
            out: *mut c_double,
        ) -> c_int;
        pub fn LGBM_BoosterFeatureImportance(
            booster: Handle,
            iterations: c_int,
            kind: c_int,
            out: *mut c_double,
        ) -> c_int;
        pub fn LGBM_BoosterFree(booster: Handle) -> c_int;
    }

    pub const FLOAT32: c_int = 0;
    pub const FLOAT64: c_int = 1;
}

/// What a prediction gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Probabilities or values.
    Response = 0,
    /// Sums of leaves, before the link function.
    Raw = 1,
    /// What each feature contributes to them, and last what all rows have in common, for the first output, then for the second ...
    Contributions = 3,
}

/// What the use of a column is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Its splits.
    Splits = 0,
    /// How much its splits improve the objective.
    Gain = 1,
}

/// Columns that are read by pieces, so that they need not be a matrix.
pub trait Columns: Sync {
    /// How many rows there are.
    fn n_rows(&self) -> usize;

    /// How many columns there are.
    fn n_columns(&self) -> usize;

    /// The values of a column in some rows.
    fn at(&self, column: usize, rows: &[usize]) -> Vec<f64>;

    /// The values of all columns in a range of rows, one row after the other.
    fn block(&self, rows: Range<usize>) -> Vec<f64>;
}

/// Values that are no farther from it are zero to LightGBM (`kZeroThreshold`).
const ZERO: f64 = 1e-35_f32 as f64;

/// Cells of a block of rows that is binned at a time: 32 MiB.
const BLOCK_CELLS: usize = 1 << 22;

/// Rows as LightGBM keeps them: binned.
pub(crate) struct Dataset(api::Handle);

// SAFETY: LightGBM ties nothing of a data set to a thread, and a `Dataset` is only ever used through `&mut` or by the booster that owns it.
unsafe impl Send for Dataset {}

impl Dataset {
    /// Bins rows [rows, features], by the bins of `reference` where there is one.
    pub(crate) fn new(
        features: ArrayView2<f64>,
        parameters: &CStr,
        reference: Option<&Self>,
        _threads: &Threads,
    ) -> Result<Self> {
        let features = features.as_standard_layout();
        let (n_rows, n_columns) = shape(features.view())?;
        let mut handle = ptr::null_mut();
        let reference = reference.map_or(ptr::null_mut(), |reference| reference.0);
        // SAFETY: the data are `n_rows * n_columns` contiguous floats, which LightGBM copies.
        check(unsafe {
            api::LGBM_DatasetCreateFromMat(
                features.as_ptr().cast(),
                api::FLOAT64,
                n_rows,
                n_columns,
                1,
                parameters.as_ptr(),
                reference,
                &raw mut handle,
            )
        })?;
        Ok(Self(handle))
    }

    /// Bins columns block by block, in bins learned from the rows of `sample`: with all of them, those of [`Dataset::new`].
    pub(crate) fn of_columns(
        columns: &dyn Columns,
        sample: &[usize],
        parameters: &CStr,
        _threads: &Threads,
    ) -> Result<Self> {
        let fit = |len: usize| i32::try_from(len).map_err(|_| too_large());
        let (n_rows, n_columns, n_sampled) = (columns.n_rows(), columns.n_columns(), fit(sample.len())?);
        // Zeros are counted from what is left out.
        let told = |column: usize| -> (Vec<c_int>, Vec<f64>) {
            let values = columns.at(column, sample).into_iter().zip(0..n_sampled);
            values
                .filter(|(value, _)| value.is_nan() || value.abs() > ZERO)
                .map(|(value, place)| (place, value))
                .unzip()
        };
        let mut told: Vec<(Vec<c_int>, Vec<f64>)> = (0..n_columns).into_par_iter().map(told).collect();
        let lens = told.iter().map(|(places, _)| fit(places.len())).collect::<Result<Vec<_>>>()?;
        let (mut places, mut values): (Vec<*mut c_int>, Vec<*mut f64>) =
            told.iter_mut().map(|(places, values)| (places.as_mut_ptr(), values.as_mut_ptr())).unzip();
        let mut handle = ptr::null_mut();
        // SAFETY: there are `n_columns` lists of values and of places, each of the length in `lens`, which LightGBM only reads.
        check(unsafe {
            api::LGBM_DatasetCreateFromSampledColumn(
                values.as_mut_ptr(),
                places.as_mut_ptr(),
                fit(n_columns)?,
                lens.as_ptr(),
                n_sampled,
                fit(n_rows)?,
                n_rows as i64,
                parameters.as_ptr(),
                &raw mut handle,
            )
        })?;
        let dataset = Self(handle);
        drop(told);
        let height = (BLOCK_CELLS / n_columns.max(1)).max(1);
        for first in (0..n_rows).step_by(height) {
            let rows = first..n_rows.min(first + height);
            let (first, len) = (fit(first)?, fit(rows.len())?);
            let block = columns.block(rows);
            if block.len() != len as usize * n_columns {
                return Err(StageError::failed("a block of rows for LightGBM has another size than announced"));
            }
            let data = block.as_ptr().cast();
            // SAFETY: the block holds `len * n_columns` floats, which LightGBM bins before it returns.
            check(unsafe { api::LGBM_DatasetPushRows(dataset.0, data, api::FLOAT64, len, fit(n_columns)?, first) })?;
        }
        Ok(dataset)
    }

    /// The target: label codes or values.
    pub(crate) fn set_target(&mut self, target: &[f32]) -> Result<()> {
        self.set(c"label", target.as_ptr().cast(), target.len(), api::FLOAT32)
    }

    /// The weights of rows.
    pub(crate) fn set_weights(&mut self, weights: &[c_float]) -> Result<()> {
        self.set(c"weight", weights.as_ptr().cast(), weights.len(), api::FLOAT32)
    }

    /// What boosting starts from: the raw scores of all rows for the first output, then for the second ...
    pub(crate) fn set_start(&mut self, scores: &[f64]) -> Result<()> {
        self.set(c"init_score", scores.as_ptr().cast(), scores.len(), api::FLOAT64)
    }

    fn set(&mut self, name: &CStr, data: *const c_void, len: usize, data_type: c_int) -> Result<()> {
        let len = c_int::try_from(len).map_err(|_| too_large())?;
        // SAFETY: every caller passes a slice of `len` elements of `data_type`, which LightGBM copies.
        check(unsafe { api::LGBM_DatasetSetField(self.0, name.as_ptr(), data, len, data_type) })
    }
}

impl Drop for Dataset {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and is used by nobody else: boosters own their data sets and are dropped first.
        unsafe { api::LGBM_DatasetFree(self.0) };
    }
}

/// A booster in training, with the rows it learns from and those it is judged by.
pub(crate) struct Training {
    // Dropped before the data sets that it refers to.
    booster: Booster,
    _train: Dataset,
    validation: Option<Dataset>,
}

impl Training {
    pub(crate) fn new(
        train: Dataset,
        validation: Option<Dataset>,
        parameters: &CStr,
        _threads: &Threads,
    ) -> Result<Self> {
        let mut handle = ptr::null_mut();
        // SAFETY: both data sets live as long as the booster, which stands before them in the structure.
        check(unsafe { api::LGBM_BoosterCreate(train.0, parameters.as_ptr(), &raw mut handle) })?;
        let booster = Booster(handle);
        if let Some(validation) = &validation {
            // SAFETY: as above.
            check(unsafe { api::LGBM_BoosterAddValidData(booster.0, validation.0) })?;
        }
        Ok(Self { booster, _train: train, validation })
    }

    /// Adds a tree for each output; whether no split was worth while, so that nothing was added and nothing will be.
    pub(crate) fn update(&mut self, _threads: &Threads) -> Result<bool> {
        let mut finished = 0;
        // SAFETY: the handle is valid.
        check(unsafe { api::LGBM_BoosterUpdateOneIter(self.booster.0, &raw mut finished) })?;
        Ok(finished != 0)
    }

    /// The loss on the validation rows; `None` where there are none.
    pub(crate) fn validation_loss(&self, _threads: &Threads) -> Result<Option<f64>> {
        if self.validation.is_none() {
            return Ok(None);
        }
        let mut len = 0;
        // SAFETY: the handle is valid.
        check(unsafe { api::LGBM_BoosterGetEvalCounts(self.booster.0, &raw mut len) })?;
        let mut losses = vec![f64::NAN; usize::try_from(len).unwrap_or(0).max(1)];
        // SAFETY: there is room for as many losses as were announced; data set 0 is the training rows.
        check(unsafe { api::LGBM_BoosterGetEval(self.booster.0, 1, &raw mut len, losses.as_mut_ptr()) })?;
        Ok(Some(losses[0]))
    }

    /// The booster with its first iterations.
    pub(crate) fn finish(&self, iterations: usize) -> Result<Booster> {
        Booster::from_text(&self.booster.text(Some(iterations))?)
    }

    pub(crate) fn iterations(&self) -> Result<usize> {
        self.booster.iterations()
    }

    /// The booster with all iterations so far.
    pub(crate) fn booster(&self) -> &Booster {
        &self.booster
    }
}

/// A trained booster.
pub(crate) struct Booster(api::Handle);

// SAFETY: LightGBM guards a booster by a lock of its own; the calls behind `&self` only read.
unsafe impl Send for Booster {}
// SAFETY: as above.
unsafe impl Sync for Booster {}

impl Booster {
    /// Reads LightGBM's text format.
    pub(crate) fn from_text(text: &str) -> Result<Self> {
        silence();
        let text = CString::new(text).map_err(|_| StageError::failed("the boosted trees' text holds a zero byte"))?;
        let (mut iterations, mut handle) = (0, ptr::null_mut());
        // SAFETY: the text ends with a zero byte.
        check(unsafe { api::LGBM_BoosterLoadModelFromString(text.as_ptr(), &raw mut iterations, &raw mut handle) })?;
        Ok(Self(handle))
    }

    /// LightGBM's text format, without the parameters it was trained with: they name the number of threads and would make equal trees unequal.
    pub(crate) fn text(&self, iterations: Option<usize>) -> Result<String> {
        let iterations = iterations.map_or(-1, |iterations| c_int::try_from(iterations).unwrap_or(c_int::MAX));
        let mut buffer: Vec<u8> = vec![0; 1 << 20];
        let mut len = 0_i64;
        for _ in 0..2 {
            // SAFETY: the buffer has the capacity that is given; what does not fit is not written, only counted.
            check(unsafe {
                api::LGBM_BoosterSaveModelToString(
                    self.0,
                    0,
                    iterations,
                    0,
                    buffer.len() as i64,
                    &raw mut len,
                    buffer.as_mut_ptr().cast(),
                )
            })?;
            let needed = usize::try_from(len).unwrap_or(0);
            if needed <= buffer.len() {
                buffer.truncate(needed.saturating_sub(1));
                break;
            }
            buffer.resize(needed, 0);
        }
        let text =
            String::from_utf8(buffer).map_err(|_| StageError::failed("LightGBM wrote a model that is not UTF-8"))?;
        Ok(without_parameters(&text))
    }

    /// How much each feature is used.
    pub(crate) fn importance(&self, counted_by: Use) -> Result<Vec<f64>> {
        let mut importance = vec![0.0; self.features()?];
        // SAFETY: there is room for a number of each feature.
        check(unsafe { api::LGBM_BoosterFeatureImportance(self.0, -1, counted_by as c_int, importance.as_mut_ptr()) })?;
        Ok(importance)
    }

    /// The trees of `first` followed by those of `second`.
    pub(crate) fn joined(first: &Self, second: &Self) -> Result<Self> {
        let joined = Self::from_text(&second.text(None)?)?;
        // SAFETY: both handles are valid; LightGBM copies the other's trees and puts them in front.
        check(unsafe { api::LGBM_BoosterMerge(joined.0, first.0) })?;
        // What merging keeps of the state of training ends here.
        Self::from_text(&joined.text(None)?)
    }

    pub(crate) fn iterations(&self) -> Result<usize> {
        self.count(api::LGBM_BoosterGetCurrentIteration)
    }

    pub(crate) fn features(&self) -> Result<usize> {
        self.count(api::LGBM_BoosterGetNumFeature)
    }

    pub(crate) fn outputs(&self) -> Result<usize> {
        self.count(api::LGBM_BoosterNumModelPerIteration)
    }

    fn count(&self, call: unsafe extern "C" fn(api::Handle, *mut c_int) -> c_int) -> Result<usize> {
        let mut count = 0;
        // SAFETY: the handle is valid, and each of these calls writes one number.
        check(unsafe { call(self.0, &raw mut count) })?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Predictions [rows, outputs].
    pub(crate) fn predict(&self, features: ArrayView2<f64>, output: Output, threads: &Threads) -> Result<Array2<f64>> {
        let n_outputs = self.outputs()?;
        let expected = self.features()?;
        if features.ncols() != expected {
            return Err(StageError::data(format!(
                "the rows have {} features, but the trees were grown on {expected}",
                features.ncols()
            )));
        }
        let width = if output == Output::Contributions { n_outputs * (expected + 1) } else { n_outputs };
        let mut predictions = Array2::zeros((features.nrows(), width));
        if predictions.is_empty() {
            return Ok(predictions);
        }
        let features = features.as_standard_layout();
        let (n_rows, n_columns) = shape(features.view())?;
        let parameters = c_string(&format!("num_threads={} verbosity=-1", threads.count))?;
        let mut len = 0;
        // SAFETY: the data are `n_rows * n_columns` contiguous floats, and there is room for all outputs of every row.
        check(unsafe {
            api::LGBM_BoosterPredictForMat(
                self.0,
                features.as_ptr().cast(),
                api::FLOAT64,
                n_rows,
                n_columns,
                1,
                output as c_int,
                0,
                -1,
                parameters.as_ptr(),
                &raw mut len,
                predictions.as_mut_ptr(),
            )
        })?;
        if usize::try_from(len).ok() != Some(predictions.len()) {
            return Err(StageError::failed(format!(
                "LightGBM gave {len} predictions where {} were expected",
                predictions.len()
            )));
        }
        Ok(predictions)
    }
}

impl Drop for Booster {
    fn drop(&mut self) {
        // SAFETY: the handle is ours.
        unsafe { api::LGBM_BoosterFree(self.0) };
    }
}

/// The right to call LightGBM with a number of threads. Calls with the same number run side by side; others wait until those are done.
pub(crate) struct Threads {
    pub(crate) count: usize,
}

/// The number of threads in use and how many use it.
static IN_USE: Mutex<(usize, usize)> = Mutex::new((0, 0));
static FREED: Condvar = Condvar::new();

impl Threads {
    /// Waits until nobody uses another number.
    pub(crate) fn exactly(count: usize) -> Self {
        silence();
        let count = count.max(1);
        let in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut in_use = FREED
            .wait_while(in_use, |(current, users)| *users > 0 && *current != count)
            .unwrap_or_else(PoisonError::into_inner);
        *in_use = (count, in_use.1 + 1);
        Self { count }
    }

    /// Takes the number that is in use, or else `count`: for calls whose result does not depend on it and that should not wait.
    pub(crate) fn about(count: usize) -> Self {
        silence();
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        let count = if in_use.1 > 0 { in_use.0 } else { count.max(1) };
        *in_use = (count, in_use.1 + 1);
        Self { count }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        IN_USE.lock().unwrap_or_else(PoisonError::into_inner).1 -= 1;
        FREED.notify_all();
    }
}

pub(crate) fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|error| StageError::failed(error.to_string()))
}

/// What LightGBM says of itself would end up between the lines of the report. It keeps the callback for each thread.
fn silence() {
    extern "C" fn ignore(_message: *const c_char) {}
    // SAFETY: the function lives as long as the program.
    unsafe { api::LGBM_RegisterLogCallback(ignore) };
}

fn check(code: c_int) -> Result<()> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: LightGBM returns a string that ends with a zero byte and is this thread's until its next call.
    let message = unsafe { CStr::from_ptr(api::LGBM_GetLastError()) };
    Err(StageError::failed(format!("LightGBM: {}", message.to_string_lossy())))
}

fn shape(features: ArrayView2<f64>) -> Result<(i32, i32)> {
    let fit = |len: usize| i32::try_from(len).map_err(|_| too_large());
    Ok((fit(features.nrows())?, fit(features.ncols())?))
}

fn too_large() -> StageError {
    StageError::data("gradient_boosting takes at most 2,147,483,647 rows times labels")
}

fn without_parameters(text: &str) -> String {
    const END: &str = "end of parameters\n";
    match (text.find("\nparameters:"), text.find(END)) {
        (Some(start), Some(end)) if start < end => format!("{}{}", &text[..start], &text[end + END.len()..]),
        _ => text.to_owned(),
    }
}
