//! NVIDIA's management library. It is opened when the program runs, so nothing of NVIDIA is needed to build.

use std::ffi::OsStr;

use nvml_wrapper::Nvml as Library;
use nvml_wrapper::error::NvmlError;
use polder_core::policy::GpuLoad;

use super::{GpuError, GpuSource};

/// An open library. Opening is slow, so it is done once.
#[derive(Debug)]
pub struct Nvml(Library);

impl Nvml {
    /// Opens the library where the driver puts it; the error says in a line what is missing.
    pub fn open() -> Result<Self, GpuError> {
        Library::init().map(Self).map_err(|error| missing(&error))
    }

    /// Opens the library at `path`.
    pub fn open_at(path: &OsStr) -> Result<Self, GpuError> {
        Library::builder().lib_path(path).init().map(Self).map_err(|error| missing(&error))
    }

    /// What a card or its driver cannot tell is left out.
    fn load(&self, index: u32) -> Result<GpuLoad, NvmlError> {
        let device = self.0.device_by_index(index)?;
        let memory = device.memory_info().ok();
        Ok(GpuLoad {
            index,
            name: device.name().unwrap_or_default(),
            uuid: device.uuid().unwrap_or_default(),
            memory_total_bytes: memory.as_ref().map(|memory| memory.total),
            memory_free_bytes: memory.as_ref().map(|memory| memory.free),
            utilization: device.utilization_rates().ok().map(|rates| f64::from(rates.gpu) / 100.0),
            power_watts: device.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1000.0),
        })
    }
}

impl GpuSource for Nvml {
    fn sample(&mut self) -> Result<Vec<GpuLoad>, GpuError> {
        let unreadable = |error: NvmlError| GpuError { why: error.to_string() };
        let count = self.0.device_count().map_err(unreadable)?;
        // A card that fell off the bus is missing from the list; the others are still there.
        Ok((0..count).filter_map(|index| self.load(index).ok()).collect())
    }
}

fn missing(error: &NvmlError) -> GpuError {
    let why = match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => {
            "NVIDIA's management library (libnvidia-ml.so.1) is not on this machine".into()
        }
        NvmlError::DriverNotLoaded => "NVIDIA's driver is not loaded".into(),
        other => format!("NVIDIA's management library does not start: {other}"),
    };
    GpuError { why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_one_clear_line() {
        let error = Nvml::open_at(OsStr::new("/nonexistent/libnvidia-ml.so.1")).unwrap_err();
        assert_eq!(error.why, "NVIDIA's management library (libnvidia-ml.so.1) is not on this machine");
        assert_eq!(missing(&NvmlError::DriverNotLoaded).why, "NVIDIA's driver is not loaded");
    }
}
