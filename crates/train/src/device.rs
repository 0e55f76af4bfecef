//! Where to train: the CPU, or a GPU if driver, compiler library and headers are all there.

use std::fmt;

#[cfg(not(feature = "cuda"))]
use crate::engine::TrainError;

#[cfg(feature = "cuda")]
pub(crate) mod cuda;
#[cfg(any(test, feature = "cuda"))]
mod toolkit;

/// What training runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Device {
    /// One thread of it.
    #[default]
    Cpu,
    /// The NVIDIA GPU that the driver counts as `index`.
    Cuda { index: usize },
}

/// What this machine offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceProbe {
    /// Training runs on the CPU; `why` says in a line what keeps it from a GPU.
    Cpu { why: String },
    /// A GPU can be used.
    Cuda { index: usize, name: String, memory_bytes: u64 },
}

impl Device {
    /// Looks for a GPU that can be trained on. Safe to call anywhere: nothing of CUDA is touched before everything that
    /// it needs has been found.
    #[must_use]
    pub fn probe() -> DeviceProbe {
        #[cfg(feature = "cuda")]
        return cuda::probe().unwrap_or_else(|why| DeviceProbe::Cpu { why });
        #[cfg(not(feature = "cuda"))]
        return DeviceProbe::Cpu { why: NOT_BUILT.to_owned() };
    }

    #[cfg(not(feature = "cuda"))]
    pub(crate) fn not_built(self) -> TrainError {
        TrainError::Device { device: self.to_string(), why: NOT_BUILT.to_owned() }
    }
}

#[cfg(not(feature = "cuda"))]
const NOT_BUILT: &str = "this binary was built without the `cuda` feature";

impl DeviceProbe {
    /// The device to train on.
    #[must_use]
    pub fn device(&self) -> Device {
        match self {
            Self::Cpu { .. } => Device::Cpu,
            Self::Cuda { index, .. } => Device::Cuda { index: *index },
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda { index } => write!(f, "cuda:{index}"),
        }
    }
}

impl fmt::Display for DeviceProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu { why } => write!(f, "training on the CPU: {why}"),
            Self::Cuda { index, name, memory_bytes } => {
                write!(f, "training on GPU {index}, {name} with {} MiB", memory_bytes >> 20)
            }
        }
    }
}

#[cfg(test)]
mod tests;
