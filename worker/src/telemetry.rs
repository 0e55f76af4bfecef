//! How busy this machine is: sampled on a thread of its own, so that a driver that hangs holds up no heartbeat.

use std::sync::mpsc;
use std::time::Duration;

use polder_core::policy::{GpuLoad, WorkerLoad};
use tokio::sync::watch;

mod machine;
mod nvml;

pub use machine::Machine;
pub use nvml::Nvml;

/// How often the machine is looked at.
const EVERY: Duration = Duration::from_millis(500);
/// How long the first look may take before the worker goes on without.
const FIRST: Duration = Duration::from_secs(1);

/// Where GPUs are read from.
pub trait GpuSource: Send + 'static {
    /// One entry a GPU, by index.
    fn sample(&mut self) -> Result<Vec<GpuLoad>, GpuError>;
}

/// The GPUs could not be read this time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the GPUs cannot be read: {why}")]
pub struct GpuError {
    pub why: String,
}

/// A machine without GPUs.
#[derive(Clone, Copy, Debug)]
pub struct NoGpus;

impl GpuSource for NoGpus {
    fn sample(&mut self) -> Result<Vec<GpuLoad>, GpuError> {
        Ok(Vec::new())
    }
}

/// NVML where its library and driver are there; else no GPUs, and one line in the log that says why.
#[must_use]
pub fn gpus() -> Box<dyn GpuSource> {
    match Nvml::open() {
        Ok(nvml) => Box::new(nvml),
        Err(error) => {
            tracing::info!("no GPU telemetry: {}", error.why);
            Box::new(NoGpus)
        }
    }
}

/// The last sample. Sampling ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Telemetry {
    latest: watch::Receiver<WorkerLoad>,
    _stop: mpsc::Sender<()>,
}

impl Telemetry {
    /// Samples in the background, and waits a little for the first sample: a driver that hangs is not waited for.
    pub(crate) async fn start(gpus: Box<dyn GpuSource>) -> std::io::Result<Self> {
        let mut sampler = Sampler { machine: Machine::default(), gpus, trouble: None };
        let (publish, mut latest) = watch::channel(WorkerLoad::default());
        let (stop, stopped) = mpsc::channel();
        let run = move || {
            publish.send_replace(sampler.sample());
            while stopped.recv_timeout(EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                publish.send_replace(sampler.sample());
            }
        };
        std::thread::Builder::new().name("telemetry".into()).spawn(run)?;
        if tokio::time::timeout(FIRST, latest.changed()).await.is_err() {
            tracing::warn!("the machine's load is not known yet: its GPUs take long to answer");
        }
        Ok(Self { latest, _stop: stop })
    }

    pub(crate) fn latest(&self) -> WorkerLoad {
        self.latest.borrow().clone()
    }
}

struct Sampler {
    machine: Machine,
    gpus: Box<dyn GpuSource>,
    /// What was last said of the GPUs, so that it is said once.
    trouble: Option<GpuError>,
}

impl Sampler {
    fn sample(&mut self) -> WorkerLoad {
        let (cpu_utilization, memory_free_bytes) = self.machine.sample();
        let gpus = match self.gpus.sample() {
            Ok(gpus) => {
                self.trouble = None;
                gpus
            }
            Err(error) => {
                if self.trouble.as_ref() != Some(&error) {
                    tracing::warn!("{error}");
                    self.trouble = Some(error);
                }
                Vec::new()
            }
        };
        WorkerLoad { cpu_utilization, memory_free_bytes, gpus }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers in order, the last one for ever.
    struct Scripted(Vec<Result<Vec<GpuLoad>, GpuError>>);

    impl GpuSource for Scripted {
        fn sample(&mut self) -> Result<Vec<GpuLoad>, GpuError> {
            if self.0.len() > 1 { self.0.remove(0) } else { self.0[0].clone() }
        }
    }

    fn gpu() -> GpuLoad {
        GpuLoad { index: 0, name: "scripted".into(), utilization: Some(0.5), ..GpuLoad::default() }
    }

    #[test]
    fn a_gpu_that_comes_and_goes_is_reported_as_such() {
        let lost = GpuError { why: "lost".into() };
        let script = vec![Ok(vec![gpu()]), Err(lost.clone()), Ok(vec![gpu()])];
        let mut sampler = Sampler { machine: Machine::default(), gpus: Box::new(Scripted(script)), trouble: None };
        assert_eq!(sampler.sample().gpus, [gpu()]);
        assert_eq!(sampler.sample().gpus, []);
        assert_eq!(sampler.trouble, Some(lost));
        assert_eq!(sampler.sample().gpus, [gpu()]);
        assert_eq!(sampler.trouble, None);
    }

    #[tokio::test]
    async fn there_is_a_sample_from_the_start() {
        let telemetry = Telemetry::start(Box::new(Scripted(vec![Ok(vec![gpu()])]))).await.unwrap();
        assert_eq!(telemetry.latest().gpus, [gpu()]);
    }
}
