//! The test world: a coordinator that does as it is told, a trainer that does as it is told, and a worker between them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use polder_core::policy::GpuLoad;
use polder_core::{Region, WorkerName};
use polder_security::Identity;
use polder_tensor::{Layout, Parameters, TensorSpec};
use polder_worker::telemetry::{GpuError, GpuSource};
use polder_worker::trainer::Synthetic;
use polder_worker::{Config, Parts, State, Trainers, Worker, WorkerError};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) mod coordinator;
pub(crate) mod session;
pub(crate) mod trainer;

pub(crate) use coordinator::FakeCoordinator;
pub(crate) use session::Session;
pub(crate) use trainer::{Gate, Scripted};

/// Longer than anything here takes; only a failing test ever waits for it.
pub(crate) const FOREVER: Duration = Duration::from_secs(30);

/// Waits for what another task brings about.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(FOREVER, future).await {
        Ok(value) => value,
        Err(_) => panic!("it never came about: {what}"),
    }
}

/// A model of `parameters` values, none of them zero.
pub(crate) fn model(parameters: usize) -> Parameters {
    let layout = Layout::new(vec![TensorSpec::new("weight", [parameters])]).unwrap();
    let values = (1..=parameters).map(|value| value as f32 / 8.0).collect();
    Parameters::new(Arc::new(layout), values).unwrap()
}

pub(crate) fn identity(name: &str) -> Identity {
    Identity::Worker { name: WorkerName::new(name).unwrap(), region: Region::new("eu-west").unwrap() }
}

/// One GPU that is always the same.
struct OneGpu;

impl GpuSource for OneGpu {
    fn sample(&mut self) -> Result<Vec<GpuLoad>, GpuError> {
        Ok(vec![GpuLoad { index: 0, name: "scripted".into(), utilization: Some(0.25), ..GpuLoad::default() }])
    }
}

/// A worker that runs, or ended.
pub(crate) struct Running {
    pub(crate) dir: TempDir,
    pub(crate) gate: Arc<Gate>,
    pub(crate) state: watch::Receiver<State>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), WorkerError>>,
}

/// The worker `w` with the data set `numbers`, one slot, and the trainers `scripted` and `synthetic`.
pub(crate) fn config(dir: &TempDir) -> Config {
    let mut config = Config::new(dir.path());
    config.datasets = BTreeMap::from([("numbers".to_owned(), None)]);
    config
}

pub(crate) fn parts(gate: &Arc<Gate>) -> Parts {
    let trainers = Trainers::default().with(Synthetic).with(Scripted::new(gate));
    Parts { trainers, gpus: Box::new(OneGpu) }
}

/// A worker in a runtime of its own, so that it can be killed as a process is: it does no more of whatever it was at. Only its
/// trainers' threads stay, as long as they like.
pub(crate) struct Mortal {
    dir: Option<TempDir>,
    pub(crate) gate: Arc<Gate>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Mortal {
    pub(crate) fn start(coordinator: &FakeCoordinator, change: impl FnOnce(Config) -> Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        coordinator.write_credentials(&dir, &identity("w"));
        Self::start_in(dir, change)
    }

    pub(crate) fn start_in(dir: TempDir, change: impl FnOnce(Config) -> Config) -> Self {
        let config = change(config(&dir));
        let gate = Arc::new(Gate::default());
        let deadline = std::time::Instant::now() + FOREVER;
        let worker = loop {
            match Worker::build_with(config.clone(), parts(&gate)) {
                Ok(worker) => break worker,
                // The one that was killed is on its way out.
                Err(WorkerError::InUse { .. }) if std::time::Instant::now() < deadline => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(worker.run(CancellationToken::new()));
        Self { dir: Some(dir), gate, runtime: Some(runtime) }
    }

    pub(crate) fn dir(&self) -> &TempDir {
        self.dir.as_ref().unwrap()
    }

    pub(crate) fn kill(mut self) -> TempDir {
        self.dir.take().unwrap()
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What a worker keeps of assignments, by file name.
pub(crate) fn kept(dir: &TempDir) -> Vec<String> {
    let below = ["updates", "checkpoints"].map(|below| dir.path().join(below));
    let entries = below.iter().filter_map(|below| std::fs::read_dir(below).ok()).flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits until a worker keeps just this.
pub(crate) async fn until_kept(dir: &TempDir, expected: &[&str]) {
    soon(&format!("{expected:?} is kept"), async {
        while kept(dir) != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

impl Running {
    /// An enrolled worker.
    pub(crate) fn start(coordinator: &FakeCoordinator) -> Self {
        Self::start_with(coordinator, |config| config)
    }

    pub(crate) fn start_with(coordinator: &FakeCoordinator, change: impl FnOnce(Config) -> Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        coordinator.write_credentials(&dir, &identity("w"));
        let config = change(config(&dir));
        Self::build(dir, config).unwrap()
    }

    pub(crate) fn build(dir: TempDir, config: Config) -> Result<Self, WorkerError> {
        let gate = Arc::new(Gate::default());
        let worker = Worker::build_with(config, parts(&gate))?;
        let state = worker.state();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(worker.run(shutdown.clone()));
        Ok(Self { dir, gate, state, shutdown, task })
    }

    /// How it ended by itself.
    pub(crate) async fn ended(self) -> Result<(), WorkerError> {
        soon("the worker ends", self.task).await.unwrap()
    }

    pub(crate) async fn stop(self) -> (TempDir, Result<(), WorkerError>) {
        self.shutdown.cancel();
        (self.dir, soon("the worker stops", self.task).await.unwrap())
    }
}
