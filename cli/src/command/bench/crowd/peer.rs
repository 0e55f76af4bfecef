//! One light worker: a session that it keeps up, and for every assignment a model fetched and an update sent.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::stream;
use polder_proto::v1::coordinator_message::Message as Told;
use polder_proto::v1::upload_update_request::Message as Part;
use polder_proto::v1::worker_message::Message as Said;
use polder_proto::v1::worker_service_client::WorkerServiceClient;
use polder_proto::v1::{
    Assignment, AssignmentAccepted, AssignmentFailed, Heartbeat, Hello, UpdateHeader, UploadUpdateRequest,
    WorkerMessage,
};
use polder_proto::{PROTOCOL_NEWEST, PROTOCOL_OLDEST};
use polder_security::{Connector, Credentials, Endpoint};
use tokio::sync::{OnceCell, mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::Attendance;
use super::update::{Skeleton, Update};
use crate::client::open_channel;
use crate::command::bench::round::DATASET;

/// Messages that may wait for the network.
const OUTBOX_MAX: usize = 16;
/// Waits between attempts grow from here to there, as a real worker's do.
const AWAIT_MIN: Duration = Duration::from_millis(100);
const AWAIT_MAX: Duration = Duration::from_secs(2);

pub(super) type Service = WorkerServiceClient<Channel>;

pub(super) struct Peer {
    index: u32,
    connector: Connector,
}

/// The way for models and updates: opened when it is first needed.
#[derive(Clone)]
struct Transfers {
    connector: Connector,
    endpoint: Endpoint,
    service: Arc<OnceCell<Service>>,
}

impl Transfers {
    async fn service(&self) -> Result<Service> {
        let open = || async { Ok(Service::new(open_channel(self.endpoint.clone(), self.connector.clone()).await?)) };
        self.service.get_or_try_init(open).await.cloned()
    }
}

/// The worker's end of an open stream.
struct Session {
    transfers: Transfers,
    outbox: mpsc::Sender<WorkerMessage>,
    inbound: Streaming<polder_proto::v1::CoordinatorMessage>,
    heartbeat: Interval,
}

/// Says that the worker is here, until it is dropped.
struct Present<'a>(&'a watch::Sender<Attendance>);

impl<'a> Present<'a> {
    fn now(attendance: &'a watch::Sender<Attendance>) -> Self {
        attendance.send_modify(|now| {
            now.present += 1;
            now.welcomed += 1;
        });
        Self(attendance)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|now| now.present -= 1);
    }
}

impl Peer {
    pub(super) fn new(index: u32, credentials: &Credentials) -> Result<Self> {
        Ok(Self { index, connector: Connector::new(credentials)? })
    }

    /// Keeps a session up for ever.
    pub(super) async fn run(self, endpoint: Endpoint, attendance: watch::Sender<Attendance>) {
        let mut failures = 0;
        loop {
            if let Ok(mut session) = self.open(&endpoint).await {
                let mut present = None;
                while step(&mut session, &attendance, &mut present).await.is_ok() {}
                if present.is_some() {
                    failures = 0;
                }
            }
            tokio::time::sleep(self.pause(failures)).await;
            failures += 1;
        }
    }

    /// Between half and all of a wait that grows, so that a thousand do not come back at once.
    fn pause(&self, failures: u32) -> Duration {
        let longest = AWAIT_MAX.min(AWAIT_MIN * 2_u32.pow(failures.min(10)));
        let scattered = self.index.wrapping_mul(2_654_435_761).wrapping_add(failures.wrapping_mul(40_503)) >> 16;
        longest.mul_f64(0.5 + f64::from(scattered % 1000) / 2000.0)
    }

    async fn open(&self, endpoint: &Endpoint) -> Result<Session> {
        let mut service = Service::new(open_channel(endpoint.clone(), self.connector.clone()).await?);
        let (outbox, messages) = mpsc::channel(OUTBOX_MAX);
        let _ = outbox.try_send(WorkerMessage { message: Some(Said::Hello(hello())) });
        let inbound = service.session(sent(messages)).await?.into_inner();
        // Until Welcome says how often.
        let transfers =
            Transfers { connector: self.connector.clone(), endpoint: endpoint.clone(), service: Arc::default() };
        Ok(Session { transfers, outbox, inbound, heartbeat: interval(AWAIT_MAX) })
    }
}

/// Takes one message, or says that it lives.
async fn step<'a>(
    session: &mut Session,
    attendance: &'a watch::Sender<Attendance>,
    present: &mut Option<Present<'a>>,
) -> Result<()> {
    let message = tokio::select! {
        message = session.inbound.message() => message?.ok_or_else(|| Status::unavailable("the stream ended"))?,
        _ = session.heartbeat.tick() => {
            let said = Said::Heartbeat(Heartbeat { load: None });
            return Ok(session.outbox.send(WorkerMessage { message: Some(said) }).await?);
        }
    };
    match message.message {
        Some(Told::Welcome(welcome)) => {
            session.heartbeat = interval(Duration::from_millis(welcome.heartbeat_ms.max(100).into()));
            session.heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            *present = Some(Present::now(attendance));
        }
        Some(Told::Assignment(assignment)) => {
            let accepted = AssignmentAccepted { assignment: assignment.assignment.clone() };
            session.outbox.send(WorkerMessage { message: Some(Said::Accepted(accepted)) }).await?;
            tokio::spawn(carry_out(session.transfers.clone(), assignment, session.outbox.clone()));
        }
        Some(Told::Cancel(_) | Told::Heartbeat(_)) | None => {}
    }
    Ok(())
}

fn hello() -> Hello {
    Hello {
        software_version: env!("CARGO_PKG_VERSION").into(),
        slots: 1,
        datasets: vec![DATASET.into()],
        trainers: vec!["synthetic".into()],
        holding: Vec::new(),
        load: None,
        protocol_min: PROTOCOL_OLDEST,
        protocol_max: PROTOCOL_NEWEST,
    }
}

fn sent(messages: mpsc::Receiver<WorkerMessage>) -> impl futures_util::Stream<Item = WorkerMessage> + Send + 'static {
    stream::unfold(messages, |mut messages| async move { messages.recv().await.map(|message| (message, messages)) })
}

/// One assignment, to its end; a failure is the coordinator's to judge.
async fn carry_out(transfers: Transfers, assignment: Assignment, outbox: mpsc::Sender<WorkerMessage>) {
    let id = assignment.assignment.clone();
    if let Err(error) = work(&transfers, assignment).await {
        let failed = AssignmentFailed { assignment: id, reason: error.to_string() };
        // Without a stream there is nobody to tell.
        let _ = outbox.send(WorkerMessage { message: Some(Said::Failed(failed)) }).await;
    }
}

async fn work(transfers: &Transfers, assignment: Assignment) -> Result<()> {
    let mut service = transfers.service().await?;
    let model = Skeleton::fetch(&mut service, &assignment).await?;
    let update = Update::of(model, assignment.seed);
    let (digest, update) = tokio::task::spawn_blocking(move || (update.digest(), update)).await?;
    let header = UpdateHeader {
        assignment: assignment.assignment,
        digest: digest.to_string(),
        bytes: update.bytes(),
        examples: 1,
        steps: Some(1),
        ..UpdateHeader::default()
    };
    let parts = std::iter::once(Part::Header(header)).chain(update.pieces().map(Part::Data));
    let messages = parts.map(|part| UploadUpdateRequest { message: Some(part) });
    service.upload_update(stream::iter(messages)).await?;
    Ok(())
}
