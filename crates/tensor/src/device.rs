//! Where tensors are computed, and with how many threads.

use std::sync::{Mutex, OnceLock, PoisonError};

use retune_stage::Device;

use crate::{Result, TensorError, bridge};

/// libtorch's name of a device. Fails where this machine does not have it.
pub fn resolve(device: Device) -> Result<tch::Device> {
    let Device::Cuda(number) = device else {
        return Ok(tch::Device::Cpu);
    };
    let count = if tch::Cuda::is_available() { tch::Cuda::device_count() } else { 0 };
    if (number as i64) < count {
        return Ok(tch::Device::Cuda(number));
    }
    let reason = match count {
        0 if !tch::utils::has_cuda() => "this libtorch was built without CUDA".to_owned(),
        0 => "no CUDA device was found".to_owned(),
        count => format!("this machine has {count}: cuda:0 to cuda:{}", count - 1),
    };
    let help = if tch::utils::has_cuda() {
        "check `nvidia-smi`, or use `--device cpu`"
    } else {
        "run `just setup cuda` and build again, or use `--device cpu`"
    };
    Err(TensorError::failed(format!("the device {device} is not there; {reason}")).help(help))
}

/// The libtorch that runs: its version, whether it was built for CUDA, and the devices that it can use. Computes something, since a library that was built for
/// another processor shows it only then.
pub fn libtorch() -> Result<(String, bool, usize)> {
    let _ = tch::Tensor::f_from_slice(&[1.0_f32, 2.0])?.f_dot(&tch::Tensor::f_from_slice(&[3.0_f32, 4.0])?)?;
    let devices = if tch::Cuda::is_available() { tch::Cuda::device_count() } else { 0 };
    Ok((bridge::version(), tch::utils::has_cuda(), usize::try_from(devices).unwrap_or(0)))
}

/// Sets how many threads libtorch uses for work that the calling thread gives it, and makes it take deterministic algorithms.
///
/// The number belongs to the calling thread, but a thread that computes for the first time takes the one that was set last anywhere. This
/// function waits for that moment, so that trainings with different numbers can run side by side.
pub fn set_threads(threads: usize) -> Result<()> {
    static SETTING: Mutex<()> = Mutex::new(());
    static DETERMINISTIC: OnceLock<()> = OnceLock::new();
    if DETERMINISTIC.get().is_none() {
        bridge::deterministic()?;
        let _ = DETERMINISTIC.set(());
    }
    let threads = i32::try_from(threads.max(1)).unwrap_or(i32::MAX);
    let _setting = SETTING.lock().unwrap_or_else(PoisonError::into_inner);
    tch::set_num_threads(threads);
    // Asking is what makes a new thread take its number.
    tch::get_num_threads();
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_named() {
        let error = resolve(Device::Cuda(99)).unwrap_err().0;
        assert!(error.message.starts_with("the device cuda:99 is not there; "), "{error}");
        assert!(error.help.unwrap().contains("--device cpu"));
        assert_eq!(resolve(Device::Cpu).unwrap(), tch::Device::Cpu);
    }

    #[test]
    fn each_thread_keeps_its_number() {
        set_threads(2).unwrap();
        std::thread::spawn(|| set_threads(1).unwrap()).join().unwrap();
        assert_eq!(tch::get_num_threads(), 2);
    }
}
