//! Safe functions over `bridge/bridge.cpp`: the few calls into libtorch that tch does not wrap.

use std::ffi::{CStr, c_char};
use std::os::raw::c_void;

use tch::Tensor;

use crate::{Result, TensorError};

unsafe extern "C" {
    fn retune_adam(
        parameters: *const *mut c_void,
        means: *const *mut c_void,
        variances: *const *mut c_void,
        count: usize,
        step: i64,
        learning_rate: f64,
        beta1: f64,
        beta2: f64,
        epsilon: f64,
        weight_decay: f64,
        decoupled: bool,
    ) -> *const c_char;

    fn retune_sgd(
        parameters: *const *mut c_void,
        momenta: *const *mut c_void,
        count: usize,
        learning_rate: f64,
        momentum: f64,
        weight_decay: f64,
        nesterov: bool,
    ) -> *const c_char;

    fn retune_rmsprop(
        parameters: *const *mut c_void,
        squares: *const *mut c_void,
        momenta: *const *mut c_void,
        count: usize,
        learning_rate: f64,
        decay: f64,
        momentum: f64,
        epsilon: f64,
        weight_decay: f64,
    ) -> *const c_char;

    fn retune_clip(parameters: *const *mut c_void, count: usize, longest: f64, length: *mut f64) -> *const c_char;

    fn retune_pull(
        parameters: *const *mut c_void,
        anchors: *const *mut c_void,
        count: usize,
        strength: f64,
    ) -> *const c_char;

    fn retune_lerp(
        averages: *const *mut c_void,
        values: *const *mut c_void,
        count: usize,
        weight: f64,
    ) -> *const c_char;

    fn retune_autocast(cuda: bool, on: bool) -> *const c_char;

    fn retune_channels_last(images: *const c_void, result: *mut *mut c_void) -> *const c_char;

    fn retune_scripted(
        path: *const c_char,
        list: *mut c_void,
        push: extern "C" fn(*mut c_void, *const c_char, *mut c_void),
    ) -> *const c_char;

    fn retune_deterministic() -> *const c_char;

    // libtorch's own.
    fn aoti_torch_abi_version() -> u64;
}

/// The hyperparameters of one step of Adam.
pub(crate) struct Adam {
    /// The number of the step, counted from 1.
    pub step: i64,
    /// The learning rate.
    pub learning_rate: f64,
    /// The decay of the mean and of the variance.
    pub betas: [f64; 2],
    /// Added to the standard deviation.
    pub epsilon: f64,
    /// The weight decay.
    pub weight_decay: f64,
    /// Whether the decay acts on the weights (AdamW) instead of the gradients.
    pub decoupled: bool,
}

/// Moves parameters by their gradients as Adam or AdamW, and takes the gradients away.
pub(crate) fn adam(
    parameters: &mut [Tensor],
    means: &mut [Tensor],
    variances: &mut [Tensor],
    adam: &Adam,
) -> Result<()> {
    same_number(parameters, means)?;
    same_number(parameters, variances)?;
    let (values, first, second) = (pointers(parameters), pointers(means), pointers(variances));
    // SAFETY: the pointers come from exclusively borrowed tensors that outlive the call, and each list has `values.len()` of them.
    checked(unsafe {
        retune_adam(
            values.as_ptr(),
            first.as_ptr(),
            second.as_ptr(),
            values.len(),
            adam.step,
            adam.learning_rate,
            adam.betas[0],
            adam.betas[1],
            adam.epsilon,
            adam.weight_decay,
            adam.decoupled,
        )
    })
}

/// The hyperparameters of one step of stochastic gradient descent with momentum.
pub(crate) struct Sgd {
    /// The learning rate.
    pub learning_rate: f64,
    /// The momentum.
    pub momentum: f64,
    /// Whether it is Nesterov's.
    pub nesterov: bool,
    /// The weight decay.
    pub weight_decay: f64,
}

/// Moves parameters by their gradients with momentum, and takes the gradients away.
pub(crate) fn sgd(parameters: &mut [Tensor], momenta: &mut [Tensor], sgd: &Sgd) -> Result<()> {
    same_number(parameters, momenta)?;
    let (values, buffers) = (pointers(parameters), pointers(momenta));
    // SAFETY: as in `adam`.
    checked(unsafe {
        retune_sgd(
            values.as_ptr(),
            buffers.as_ptr(),
            values.len(),
            sgd.learning_rate,
            sgd.momentum,
            sgd.weight_decay,
            sgd.nesterov,
        )
    })
}

/// The hyperparameters of one step of RMSprop.
pub(crate) struct Rmsprop {
    /// The learning rate.
    pub learning_rate: f64,
    /// The decay of the mean square.
    pub decay: f64,
    /// The momentum.
    pub momentum: f64,
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// The weight decay.
    pub weight_decay: f64,
}

/// Moves parameters by their gradients over the root of their mean square, and takes the gradients away.
pub(crate) fn rmsprop(
    parameters: &mut [Tensor],
    squares: &mut [Tensor],
    momenta: &mut [Tensor],
    rmsprop: &Rmsprop,
) -> Result<()> {
    same_number(parameters, squares)?;
    same_number(parameters, momenta)?;
    let (values, means, buffers) = (pointers(parameters), pointers(squares), pointers(momenta));
    // SAFETY: as in `adam`.
    checked(unsafe {
        retune_rmsprop(
            values.as_ptr(),
            means.as_ptr(),
            buffers.as_ptr(),
            values.len(),
            rmsprop.learning_rate,
            rmsprop.decay,
            rmsprop.momentum,
            rmsprop.epsilon,
            rmsprop.weight_decay,
        )
    })
}

/// Makes the gradients of all parameters together no longer than `longest`; gives their length before.
pub(crate) fn clip(parameters: &mut [Tensor], longest: f64) -> Result<f64> {
    let values = pointers(parameters);
    let mut length = 0.0;
    // SAFETY: as in `adam`; `length` outlives the call.
    checked(unsafe { retune_clip(values.as_ptr(), values.len(), longest, &raw mut length) })?;
    Ok(length)
}

/// Adds to each gradient `strength` times its parameter less its anchor.
pub(crate) fn pull(parameters: &mut [Tensor], anchors: &mut [Tensor], strength: f64) -> Result<()> {
    same_number(parameters, anchors)?;
    let (values, anchors) = (pointers(parameters), pointers(anchors));
    // SAFETY: as in `adam`.
    checked(unsafe { retune_pull(values.as_ptr(), anchors.as_ptr(), values.len(), strength) })
}

/// Moves averages by the share `weight` of the way to values.
pub(crate) fn lerp(averages: &mut [Tensor], values: &mut [Tensor], weight: f64) -> Result<()> {
    same_number(averages, values)?;
    let (averages, values) = (pointers(averages), pointers(values));
    // SAFETY: as in `adam`.
    checked(unsafe { retune_lerp(averages.as_ptr(), values.as_ptr(), averages.len(), weight) })
}

/// While it lives, filters and matrix products of this thread are computed with 16-bit floats of 8 bits of exponent.
pub(crate) struct Autocast {
    cuda: bool,
}

impl Autocast {
    /// Turns it on.
    pub fn new(cuda: bool) -> Result<Self> {
        // SAFETY: takes plain values.
        checked(unsafe { retune_autocast(cuda, true) })?;
        Ok(Self { cuda })
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // SAFETY: takes plain values. Turning it off cannot fail in a way that anybody could mend.
        let _ = checked(unsafe { retune_autocast(self.cuda, false) });
    }
}

/// The same images [rows, channels, height, width], with the channels of a pixel side by side in memory; where they lie so already, without a copy.
pub(crate) fn channels_last(images: &Tensor) -> Result<Tensor> {
    let mut result = std::ptr::null_mut();
    // SAFETY: the images are borrowed during the call; where it does not fail, the result is given away.
    checked(unsafe { retune_channels_last(images.as_ptr().cast(), &raw mut result) })?;
    // SAFETY: it is a new handle that nobody else owns.
    Ok(unsafe { Tensor::from_ptr(result.cast()) })
}

/// The parameters and buffers of a TorchScript file by name. Code in the file may run.
pub(crate) fn scripted(path: &CStr) -> Result<Vec<(String, Tensor)>> {
    extern "C" fn push(list: *mut c_void, name: *const c_char, tensor: *mut c_void) {
        // SAFETY: the list is the one below, which nothing else touches meanwhile; the name lives during the call; the tensor is given away.
        let (list, name, tensor) = unsafe {
            (&mut *list.cast::<Vec<(String, Tensor)>>(), CStr::from_ptr(name), Tensor::from_ptr(tensor.cast()))
        };
        list.push((name.to_string_lossy().into_owned(), tensor));
    }
    let mut list: Vec<(String, Tensor)> = Vec::new();
    // SAFETY: the path ends with a zero; the list outlives the call.
    checked(unsafe { retune_scripted(path.as_ptr(), (&raw mut list).cast(), push) })?;
    Ok(list)
}

/// The version of the libtorch that was loaded, which need not be the one that the headers were of.
pub(crate) fn version() -> String {
    // SAFETY: takes nothing; one byte each, from the top, for the parts of the version.
    let [major, minor, patch, ..] = unsafe { aoti_torch_abi_version() }.to_be_bytes();
    format!("{major}.{minor}.{patch}")
}

/// Makes libtorch take its deterministic algorithms, for the whole process.
pub(crate) fn deterministic() -> Result<()> {
    // SAFETY: takes nothing.
    checked(unsafe { retune_deterministic() })
}

fn pointers(tensors: &mut [Tensor]) -> Vec<*mut c_void> {
    tensors.iter_mut().map(|tensor| tensor.as_mut_ptr().cast()).collect()
}

fn same_number(parameters: &[Tensor], state: &[Tensor]) -> Result<()> {
    if parameters.len() == state.len() {
        return Ok(());
    }
    Err(TensorError::failed(format!("{} parameters have {} tensors of optimiser state", parameters.len(), state.len())))
}

fn checked(error: *const c_char) -> Result<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: not null, so it points to the text of this thread's last error, which lives until the next call.
    let text = unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned();
    Err(tch::TchError::Torch(text).into())
}
