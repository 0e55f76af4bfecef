//! CUDA, approached with care: cudarc panics when asked for a library that is not there, and burn in a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::backend::cuda::CudaDevice;
use cudarc::driver::{result, sys};
use cudarc::nvrtc;

use super::{Device, DeviceProbe, toolkit};
use crate::engine::TrainError;

/// The first GPU, if everything that training on it needs is there; else what is missing, in a line.
pub(super) fn probe() -> Result<DeviceProbe, String> {
    if !driver_present() {
        return Err("no NVIDIA driver (libcuda.so.1) on this machine".to_owned());
    }
    result::init().map_err(|error| format!("the NVIDIA driver does not start ({error})"))?;
    let count = result::device::get_count().map_err(|error| format!("the NVIDIA driver counts no GPUs ({error})"))?;
    if count < 1 {
        return Err("the NVIDIA driver finds no GPU".to_owned());
    }
    if !compiler_present() {
        return Err("no NVRTC library (libnvrtc.so) on this machine; install the CUDA toolkit's".to_owned());
    }
    toolkit::headers(&toolkit::candidates(std::env::var_os("CUDA_PATH")))?;
    describe(0).map_err(|error| format!("the NVIDIA driver does not describe its GPU ({error})"))
}

fn describe(index: i32) -> Result<DeviceProbe, result::DriverError> {
    let device = result::device::get(index)?;
    let name = result::device::get_name(device)?;
    let memory_bytes = memory_bytes(device)?;
    Ok(DeviceProbe::Cuda { index: index as usize, name, memory_bytes })
}

#[allow(unsafe_code)]
fn driver_present() -> bool {
    // SAFETY: opens and closes the driver's library and reads nothing from it. Loading runs its initialisers, which
    // the system's administrator installed.
    unsafe { sys::is_culib_present() }
}

#[allow(unsafe_code)]
fn compiler_present() -> bool {
    // SAFETY: as for `driver_present`.
    unsafe { nvrtc::sys::is_culib_present() }
}

#[allow(unsafe_code)]
fn memory_bytes(device: sys::CUdevice) -> Result<u64, result::DriverError> {
    // SAFETY: `device` comes from the driver, which has been initialised.
    unsafe { result::device::total_mem(device) }.map(|bytes| bytes as u64)
}

pub(crate) fn burn_device(index: usize) -> CudaDevice {
    CudaDevice::new(index)
}

/// Runs `work` on a GPU that the probe finds usable. Below, a failing GPU (out of memory, lost from the bus) is a panic;
/// here it becomes an error, for it must cost a round and not the worker.
pub(crate) fn guarded<T>(device: Device, work: impl FnOnce() -> Result<T, TrainError>) -> Result<T, TrainError> {
    let fail = |why| TrainError::Device { device: device.to_string(), why };
    probe().map_err(fail)?;
    exists(device).map_err(fail)?;
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let why = panic.downcast_ref::<String>().cloned();
        let why = why.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        // A panic may quote data, and this error is told to others; so what it says stays on this machine.
        tracing::error!("{device} failed: {}", why.as_deref().unwrap_or("without a word"));
        Err(fail("the GPU's library gave up; the log of this machine says why".to_owned()))
    })
}

/// That CUDA counts this GPU. Whoever chose it may count otherwise: NVML sees every card, in the order of the bus.
fn exists(device: Device) -> Result<(), String> {
    let Device::Cuda { index } = device else { return Ok(()) };
    let count = result::device::get_count().map_err(|error| format!("the NVIDIA driver counts no GPUs ({error})"))?;
    if usize::try_from(count).is_ok_and(|count| index < count) {
        return Ok(());
    }
    Err(format!(
        "CUDA counts {count} here, from 0; leave CUDA_VISIBLE_DEVICES unset and set CUDA_DEVICE_ORDER=PCI_BUS_ID, so \
         that it counts as NVML does"
    ))
}
