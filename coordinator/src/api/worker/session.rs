//! A worker's stream: Hello, then whatever either side has to say, until it breaks or falls silent.

use std::time::Duration;

use futures_util::StreamExt;
use polder_core::policy::tidy_reason;
use polder_core::{AssignmentId, Event, Region, WorkerName};
use polder_proto::v1::coordinator_message::Message as Outbound;
use polder_proto::v1::worker_message::Message as Inbound;
use polder_proto::v1::{CoordinatorMessage, Heartbeat, Hello, Welcome, WorkerMessage};
use polder_proto::{convert, negotiate, unwelcome};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use super::Answers;
use crate::api::Services;
use crate::driver::millis;
use crate::handle::{CoordinatorHandle, HandleError};

/// Assignments a worker may say it still holds.
const HOLDING_MAX: usize = 2048;
/// Reports of a worker that may wait for the driver; one that brings more waits with them.
const REPORTS_MAX: usize = 256;
/// How long the first message may take.
const HELLO: Duration = Duration::from_secs(10);

pub(super) async fn open(
    services: &Services,
    worker: WorkerName,
    region: Region,
    mut inbound: Streaming<WorkerMessage>,
) -> Result<Answers<CoordinatorMessage>, Status> {
    let hello = hello(&mut inbound).await?;
    let protocol = negotiate(hello.protocol_min, hello.protocol_max)
        .map_err(|error| unwelcome(Code::FailedPrecondition, "no_common_protocol", error.to_string()))?;
    let capacity = convert::capacity(hello.slots, hello.datasets, hello.trainers)?;
    if hello.holding.len() > HOLDING_MAX {
        let text = format!("more than {HOLDING_MAX} assignments held");
        return Err(unwelcome(Code::InvalidArgument, "malformed", text));
    }
    let held = hello.holding.into_iter().map(|id| convert::assignment_id(Some(id), &worker));
    let holding: Vec<AssignmentId> = held.collect::<Result<_, _>>()?;

    let load = convert::load(hello.load);
    let (opened, answer) = oneshot::channel();
    let services = services.clone();
    // A task of its own: this request may be dropped at any moment, and a session that opened must be seen to its end.
    tokio::spawn(async move {
        let session = services.sessions.open(&worker, load, protocol);
        let (id, end) = (session.id, session.end.clone());
        // Welcome goes first; the assignments that `WorkerConnected` brings follow it.
        services.sessions.send(&worker, Outbound::Welcome(welcome(&services, protocol)));
        let connected = Event::WorkerConnected { worker: worker.clone(), session: id, capacity, holding };
        let connected = services.handle.apply(connected).await;
        let is_connected = connected.is_ok();
        let is_unsure = matches!(connected, Err(HandleError::Stalled { .. }));
        // Whoever asked may have left; the reader will notice.
        let _ = opened.send(connected.map(|()| session));
        if is_connected {
            let reader = Reader { services: services.clone(), worker: worker.clone(), region, session: id };
            reader.run(inbound, end).await;
        } else {
            services.sessions.close(&worker, id);
        }
        if is_unsure {
            // The journal may still take it: then the worker came, and has gone.
            let reason = "the coordinator could not take it".into();
            let grace_ms = millis(services.times.return_after_break);
            services.handle.tell(Event::WorkerDisconnected { worker, session: id, grace_ms, reason }).await;
        }
    });
    let session = answer.await.map_err(|_| Status::unavailable("the coordinator is stopping"))??;
    // The stream ends with the session, however that ends.
    Ok(Box::pin(ReceiverStream::new(session.outbox).take_until(session.end.cancelled_owned())))
}

async fn hello(inbound: &mut Streaming<WorkerMessage>) -> Result<Hello, Status> {
    let malformed = |text| unwelcome(Code::InvalidArgument, "malformed", text);
    match tokio::time::timeout(HELLO, inbound.message()).await {
        Ok(Ok(Some(WorkerMessage { message: Some(Inbound::Hello(hello)) }))) => Ok(hello),
        Ok(Ok(_)) => Err(malformed("the first message of a session must be Hello")),
        Ok(Err(status)) => Err(status),
        Err(_) => Err(malformed("no Hello came within 10 s")),
    }
}

/// Says Welcome again to everybody when coordinators come or go, for ever: who came in the first second of a term may have been
/// told of its leader alone, and must find the others when that one dies.
pub(crate) async fn tell_of_coordinators(services: Services) {
    let mut members = services.members.clone();
    let mut known = members.endpoints();
    loop {
        known = members.endpoints_other_than(&known).await;
        for (worker, protocol) in services.sessions.all() {
            services.sessions.send(&worker, Outbound::Welcome(welcome(&services, protocol)));
        }
    }
}

fn welcome(services: &Services, protocol: u32) -> Welcome {
    let short = |duration: Duration| u32::try_from(millis(duration)).unwrap_or(u32::MAX);
    Welcome {
        coordinator_version: env!("CARGO_PKG_VERSION").into(),
        heartbeat_ms: short(services.times.heartbeat),
        silence_ms: short(services.times.silence),
        protocol,
        endpoints: services.members.endpoints(),
    }
}

struct Reader {
    services: Services,
    worker: WorkerName,
    region: Region,
    session: u64,
}

impl Reader {
    /// Listens until the stream ends, then tells the driver why.
    async fn run(self, inbound: Streaming<WorkerMessage>, end: CancellationToken) {
        let times = self.services.times;
        let (reports, waiting) = mpsc::channel(REPORTS_MAX);
        let passing_on = tokio::spawn(pass_on(self.services.handle.clone(), self.worker.clone(), waiting));
        let (reason, grace) = tokio::select! {
            ended = self.listen(inbound, &reports) => ended,
            () = end.cancelled() => ("its stream was closed".into(), times.return_after_break),
        };
        self.services.sessions.close(&self.worker, self.session);
        end.cancel();
        // What it said before it went comes first.
        drop(reports);
        let _ = passing_on.await;
        let grace_ms = millis(grace);
        let Self { services, worker, session, .. } = self;
        services.handle.tell(Event::WorkerDisconnected { worker, session, grace_ms, reason }).await;
    }

    async fn listen(&self, mut inbound: Streaming<WorkerMessage>, reports: &mpsc::Sender<Event>) -> (String, Duration) {
        let times = self.services.times;
        loop {
            match tokio::time::timeout(times.silence, inbound.message()).await {
                Ok(Ok(Some(WorkerMessage { message }))) => {
                    if let Err(reason) = self.take(message, reports).await {
                        return (reason, times.return_after_break);
                    }
                }
                Ok(Ok(None)) => return ("it closed its stream".into(), times.return_after_break),
                Ok(Err(_)) => return ("its connection broke".into(), times.return_after_break),
                Err(_) => {
                    let reason = format!("it said nothing for {} ms", millis(times.silence));
                    return (reason, times.return_after_silence);
                }
            }
        }
    }

    async fn take(&self, message: Option<Inbound>, reports: &mpsc::Sender<Event>) -> Result<(), String> {
        let id = |id| convert::assignment_id(id, &self.worker).map_err(|malformed| malformed.to_string());
        let event = match message {
            Some(Inbound::Heartbeat(heartbeat)) => {
                self.services.sessions.report_load(&self.worker, convert::load(heartbeat.load));
                self.services.sessions.send(&self.worker, Outbound::Heartbeat(Heartbeat { load: None }));
                return Ok(());
            }
            Some(Inbound::Progress(progress)) => {
                self.services.sessions.report_progress(&self.worker, &self.region, progress);
                return Ok(());
            }
            Some(Inbound::Accepted(accepted)) => Event::AssignmentAccepted { assignment: id(accepted.assignment)? },
            Some(Inbound::Declined(declined)) => {
                let reason = tidy_reason(&declined.reason);
                Event::AssignmentDeclined { assignment: id(declined.assignment)?, reason }
            }
            Some(Inbound::Failed(failed)) => {
                let reason = tidy_reason(&failed.reason);
                Event::AssignmentFailed { assignment: id(failed.assignment)?, reason }
            }
            Some(Inbound::Evaluation(report)) => {
                let evaluation = convert::required("evaluation", report.evaluation).and_then(convert::evaluation);
                let evaluation = evaluation.map_err(|malformed| malformed.to_string())?;
                Event::EvaluationReceived { assignment: id(report.assignment)?, evaluation }
            }
            Some(Inbound::Hello(_)) => return Err("it said Hello twice".into()),
            None => return Err("it said something this coordinator does not know; is it newer?".into()),
        };
        reports.send(event).await.map_err(|_| "the coordinator is stopping".to_owned())
    }
}

/// Hands on what a worker reports, in order and beside its stream: heartbeats go on though the journal takes nothing.
async fn pass_on(handle: CoordinatorHandle, worker: WorkerName, mut reports: mpsc::Receiver<Event>) {
    while let Some(event) = reports.recv().await {
        // Nothing follows from a word that it is at it, so nobody waits for that.
        if let Event::AssignmentAccepted { .. } = event {
            handle.tell(event).await;
            continue;
        }
        match handle.deliver(event).await {
            Ok(()) => {}
            Err(HandleError::Refused(refusal)) => {
                tracing::info!(%worker, code = refusal.code(), %refusal, "a report was refused");
            }
            Err(_) => return,
        }
    }
}
