//! One region's agent: holds a session with the coordinator, trains on the region's data, sends updates.
//!
//! | module | holds |
//! | --- | --- |
//! | [`config`] | what a worker needs to know to start |
//! | [`enrolment`] | who it is: credentials, and the token that becomes them |
//! | `session` | the one stream: Hello, heartbeats, assignments in, answers out; for ever |
//! | `assignment` | a worker's side of a round: fetch, train, deliver |
//! | [`allow_list`] | which aggregation policies the region accepts |
//! | [`release`] | the release guard: what may leave, decided by the region's own policy |
//! | `kept` | what of an assignment outlives the worker: its update, where training stood |
//! | `correction` | what SCAFFOLD and FedDyn keep in the region between rounds |
//! | `model`, `link`, `channel`, `endpoints` | models on their way in; the connections, and where they lead |
//! | [`trainer`] | the seam to what trains, and the trainers that come with the program |
//! | [`datasets`] | the region's data sets |
//! | [`telemetry`] | how busy the machine and its GPUs are |
//! | [`outbound`] | everything that leaves a region, listed |

pub mod allow_list;
mod assignment;
mod backoff;
mod channel;
pub mod config;
mod correction;
pub mod datasets;
mod durable;
mod endpoints;
pub mod enrolment;
mod error;
mod kept;
mod link;
mod lock;
mod model;
pub mod outbound;
pub mod release;
mod session;
pub mod telemetry;
pub mod trainer;

use std::sync::Arc;

use polder_core::{Region, WorkerName};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use config::{Config, ConfigError, RawConfig};
pub use error::WorkerError;
pub use trainer::{Trainer, Trainers};

use crate::assignment::{Assignments, Equipment};
use crate::correction::Corrections;
use crate::datasets::DataSets;
use crate::endpoints::{ENDPOINTS_FILE, Endpoints};
use crate::enrolment::{Membership, Standing};
use crate::kept::{Bond, Kept};
use crate::link::Link;
use crate::release::ReleaseGuard;
use crate::session::{Offer, Session};
use crate::telemetry::{GpuSource, Telemetry};

/// Progress reports between trainers and session; what finds no room is dropped.
const PROGRESS_MAX: usize = 64;

/// Where a worker stands, for whoever started it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not connected yet; it may have to enrol first.
    Starting,
    /// It has a session, as this worker.
    Connected { worker: WorkerName, region: Region },
    /// The session broke; another is tried.
    Away { reason: String },
}

/// What a worker is put together from beside its configuration; tests choose others.
pub struct Parts {
    pub trainers: Trainers,
    pub gpus: Box<dyn GpuSource>,
}

impl Parts {
    /// The trainers that come with the program, and NVML where there is one.
    #[must_use]
    pub fn builtin() -> Self {
        Self { trainers: Trainers::builtin(), gpus: telemetry::gpus() }
    }
}

/// A worker that is ready to connect: its data sets were read, its release policy was compiled, its directory is its own.
pub struct Worker {
    config: Config,
    standing: Standing,
    datasets: DataSets,
    release: ReleaseGuard,
    parts: Parts,
    state: watch::Sender<State>,
    lock: lock::DirectoryLock,
}

impl Worker {
    /// Puts a worker together and refuses what would only fail later. Blocks while data sets are read; no connection is
    /// made yet.
    pub fn build(config: Config) -> Result<Self, WorkerError> {
        Self::build_with(config, Parts::builtin())
    }

    /// The same with other parts.
    pub fn build_with(config: Config, parts: Parts) -> Result<Self, WorkerError> {
        let lock = lock::DirectoryLock::take(&config.dir)?;
        let standing = Standing::of(&config)?;
        let release = ReleaseGuard::open(&config.release, &config.dir)?;
        let datasets = DataSets::open(&config.datasets)?;
        Ok(Self { config, standing, datasets, release, parts, state: watch::Sender::new(State::Starting), lock })
    }

    /// Follows where the worker stands.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Enrols if need be, then works until `shutdown`, or until the coordinator will not have it. On shutdown it takes
    /// nothing more, tells trainers to stop, closes its stream and returns within two seconds.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        let Self { config, standing, datasets, release, parts, state, lock } = self;
        let member = match standing {
            Standing::Member(member) => member,
            Standing::Newcomer(newcomer) => tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                member = newcomer.enrol() => member?,
            },
        };
        member.save_endpoint()?;
        let span = tracing::info_span!("worker", worker = %member.name, region = %member.region);
        let result = work(config, member, Domain { datasets, release }, parts, state, &shutdown).instrument(span).await;
        // The directory is ours until nothing writes to it any more.
        drop(lock);
        result
    }
}

/// What is the region's own: its data, and who decides what leaves.
struct Domain {
    datasets: DataSets,
    release: ReleaseGuard,
}

async fn work(
    config: Config,
    member: Membership,
    domain: Domain,
    parts: Parts,
    state: watch::Sender<State>,
    shutdown: &CancellationToken,
) -> Result<(), WorkerError> {
    let (Parts { trainers, gpus }, Domain { datasets, release }) = (parts, domain);
    let telemetry = Telemetry::start(gpus).await.map_err(WorkerError::Thread)?;
    let (connection, link) = Link::new();
    let (report, progress) = mpsc::channel(PROGRESS_MAX);
    let offer = Offer { slots: config.slots, datasets: datasets.names(), trainers: trainers.kinds() };
    let bond = Bond { authority: member.credentials().fingerprint().to_string(), worker: member.name.clone() };
    let kept = Arc::new(Kept::at(&config.dir, bond, config.kept_bytes_max));
    let assignments = Assignments::new(Equipment {
        worker: member.name.clone(),
        region: member.region.clone(),
        slots: config.slots,
        model_bytes_max: config.model_bytes_max,
        allow_list: config.allow_list,
        release,
        corrections: Corrections::at(config.dir.join("corrections")),
        datasets,
        trainers,
        link,
        kept: kept.clone(),
        checkpoint_every: config.checkpoint_every,
        trainer_silence: config.trainer_silence,
        shares_trainer_output: config.shares_trainer_output,
        progress: report,
    });
    let left = tokio::task::spawn_blocking(move || kept.left()).await;
    assignments.go_on(left.unwrap_or_default());
    let endpoints = Endpoints::open(member.endpoint.clone(), config.dir.join(ENDPOINTS_FILE));
    let session = Session {
        member,
        endpoints,
        assignments: assignments.clone(),
        telemetry,
        offer,
        link: connection,
        progress,
        state,
        is_welcome: false,
    };
    let ended = tokio::select! {
        ended = session.run(shutdown) => ended,
        () = assignments.overrun() => Err(WorkerError::TrainersHang),
    };
    assignments.stop(config::STOP).await;
    tracing::info!("worker is down");
    ended
}
