//! The one stream to the coordinator: opened, kept alive, opened again. What is carried out lives in
//! [`crate::assignment`] and goes on without it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use polder_proto::v1::coordinator_message::Message as Inbound;
use polder_proto::v1::worker_message::Message;
use polder_proto::v1::{CoordinatorMessage, Welcome, WorkerMessage};
use polder_proto::{negotiate, refusal_word, unwelcome};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use crate::assignment::{Assignments, REPORTS_MAX, ReportId};
use crate::backoff::Backoff;
use crate::channel::{self, Client};
use crate::config::now;
use crate::endpoints::Endpoints;
use crate::enrolment::Membership;
use crate::telemetry::Telemetry;
use crate::{State, WorkerError, outbound};

/// Messages that may wait for the network; a coordinator that does not read them is treated as gone.
const OUTBOX_MAX: usize = 256;
const _: () = assert!(OUTBOX_MAX > REPORTS_MAX, "every report that is held fits a new stream at once");
/// How long Hello may wait for its answer, and a silent coordinator for its first word.
const OPENING: Duration = Duration::from_secs(10);
/// A session that lasted this long was a good one: the next one is tried at once.
const GOOD: Duration = Duration::from_secs(2);
/// How often the certificate's age is looked at.
const RENEWAL: Duration = Duration::from_secs(3600);
/// The coordinator's word for a peer with which it has no version of the protocol in common.
const NO_COMMON_PROTOCOL: &str = "no_common_protocol";
/// Different reasons for having no session that are logged, each once.
const SAID_MAX: usize = 64;
/// How long the coordinator gets to see that the stream was closed in order.
const FAREWELL: Duration = Duration::from_millis(300);
/// What a coordinator may ask for, in milliseconds.
const HEARTBEAT_MS: std::ops::RangeInclusive<u32> = 10..=60_000;
const SILENCE_MS_MAX: u32 = 600_000;

/// Opens sessions for ever.
pub(crate) struct Session {
    pub(crate) member: Membership,
    pub(crate) endpoints: Endpoints,
    pub(crate) assignments: Assignments,
    pub(crate) telemetry: Telemetry,
    pub(crate) offer: Offer,
    /// Where those who transfer find their connection.
    pub(crate) link: watch::Sender<Option<Client>>,
    pub(crate) progress: mpsc::Receiver<Message>,
    pub(crate) state: watch::Sender<State>,
    /// A coordinator of our authority has welcomed us since the program started.
    pub(crate) is_welcome: bool,
}

/// What the worker says of itself.
pub(crate) struct Offer {
    pub(crate) slots: u32,
    pub(crate) datasets: std::collections::BTreeSet<String>,
    pub(crate) trainers: Vec<&'static str>,
}

/// Why a session is over.
enum End {
    Shutdown,
    /// Another one would end the same way.
    Fatal(WorkerError),
    /// The network or the coordinator went away.
    Broken(String),
}

impl Session {
    /// Keeps a session open until `shutdown`, or until the coordinator will not have us.
    pub(crate) async fn run(mut self, shutdown: &CancellationToken) -> Result<(), WorkerError> {
        let mut backoff = Backoff::default();
        let mut said = BTreeSet::new();
        loop {
            let started = Instant::now();
            let end = self.once(shutdown).await;
            self.link.send_replace(None);
            let reason = match end {
                End::Shutdown => return Ok(()),
                End::Fatal(error) => return Err(error),
                End::Broken(reason) => reason,
            };
            let was_connected = self.is_connected();
            if was_connected {
                said.clear();
            }
            if said.len() < SAID_MAX && said.insert(reason.clone()) {
                let coordinator = self.endpoints.current();
                tracing::warn!(%coordinator, "no session with the coordinator: {reason}; trying again");
            }
            self.state.send_replace(State::Away { reason });
            if started.elapsed() >= GOOD {
                backoff.reset();
            }
            // Whoever had us may be back at once; who did not answer is asked again when all others have been.
            let is_round = was_connected || self.endpoints.turn();
            let wait = if is_round { backoff.next() } else { Backoff::default().next() };
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn is_connected(&self) -> bool {
        matches!(*self.state.borrow(), State::Connected { .. })
    }

    /// One session, from the handshake to its end.
    async fn once(&mut self, shutdown: &CancellationToken) -> End {
        let opened = tokio::select! {
            biased;
            () = shutdown.cancelled() => return End::Shutdown,
            opened = self.open() => opened,
        };
        match opened {
            Ok(open) => {
                self.connected();
                Conversation::new(self, open).run(shutdown).await
            }
            Err(end) => end,
        }
    }

    async fn open(&self) -> Result<Open, End> {
        if let Err(expired) = self.member.must_hold() {
            return Err(End::Fatal(expired));
        }
        let mut client = match channel::dial(&self.member.connector, self.endpoints.current()).await {
            Ok(client) => client,
            Err(error) if error.is_final() && self.is_at_its_end() && !self.member.is_new => {
                return Err(End::Fatal(WorkerError::CannotConnect { sentence: error.sentence() }));
            }
            Err(error) => return Err(End::Broken(error.sentence())),
        };
        let (outbox, messages) = mpsc::channel(OUTBOX_MAX);
        // There is room: nothing was sent yet.
        let _ = outbox.try_send(WorkerMessage { message: Some(self.hello()) });
        let opened = tokio::time::timeout(OPENING, client.session(ReceiverStream::new(messages))).await;
        match opened {
            Ok(Ok(response)) => Ok(Open { client, outbox: Outbox(outbox), inbound: response.into_inner() }),
            Ok(Err(status)) => Err(self.refused(&status)),
            Err(_) => Err(End::Broken(format!("it did not answer our Hello within {} s", OPENING.as_secs()))),
        }
    }

    /// Nobody has welcomed us, and there is nobody else to try.
    fn is_at_its_end(&self) -> bool {
        !self.is_welcome && self.endpoints.is_only()
    }

    fn hello(&self) -> Message {
        let Offer { slots, datasets, trainers } = &self.offer;
        outbound::hello(*slots, datasets, trainers, &self.assignments.holding(), &self.telemetry.latest())
    }

    fn connected(&mut self) {
        self.assignments.reconnected();
        // Progress from before is nobody's news.
        while self.progress.try_recv().is_ok() {}
        let Membership { name, region, connector, .. } = &self.member;
        let endpoint = self.endpoints.current();
        self.link.send_replace(Some(channel::transfers(connector, endpoint)));
        self.state.send_replace(State::Connected { worker: name.clone(), region: region.clone() });
        tracing::info!(worker = %name, %region, coordinator = %endpoint, "connected");
    }

    /// What a status means for the session. A worker that was welcome before goes only when the coordinator says
    /// outright that it does not want it; everything else may pass.
    fn refused(&self, status: &Status) -> End {
        let word = refusal_word(status);
        let is_final = match word {
            Some("unknown_worker" | "denied") => true,
            Some("bad_capacity" | "malformed") => !self.is_welcome,
            // While coordinators are brought up to date, another may speak as we do.
            Some(NO_COMMON_PROTOCOL) => self.is_at_its_end(),
            Some(_) => false,
            None if self.is_welcome => false,
            None => matches!(status.code(), Code::Unimplemented | Code::PermissionDenied | Code::Unauthenticated),
        };
        if !is_final {
            return End::Broken(channel::said(status));
        }
        let said = status.message().to_owned();
        End::Fatal(match word {
            Some("unknown_worker") => self.member.unknown(said),
            _ => WorkerError::Refused { said },
        })
    }
}

/// The worker's end of the stream.
struct Outbox(mpsc::Sender<WorkerMessage>);

impl Outbox {
    fn push(&self, message: Message) -> Result<(), End> {
        let pushed = self.0.try_send(WorkerMessage { message: Some(message) });
        pushed.map_err(|_| End::Broken("the coordinator does not read its stream".into()))
    }
}

/// A stream that was just opened.
struct Open {
    client: Client,
    outbox: Outbox,
    inbound: Streaming<CoordinatorMessage>,
}

/// A session that is open.
struct Conversation<'a> {
    session: &'a mut Session,
    open: Open,
    heartbeat: Interval,
    /// How long the coordinator may be silent, and when it has been for too long.
    silence: Duration,
    silent_at: Instant,
    echoes: Echoes,
}

/// Tells what the coordinator has heard. It takes our messages one after the other, durably, and answers each heartbeat
/// when it comes to it; so the answer to a heartbeat says that everything before it was taken.
#[derive(Default)]
struct Echoes {
    heartbeats_sent: u64,
    heartbeats_answered: u64,
    /// Reports, each with the number of the heartbeat that follows it.
    unheard: VecDeque<(u64, ReportId)>,
}

impl Echoes {
    fn report_sent(&mut self, report: ReportId) {
        // Of so many the first have been dropped meanwhile, so it does not matter whether they were heard.
        if self.unheard.len() == 2 * REPORTS_MAX {
            self.unheard.pop_front();
        }
        self.unheard.push_back((self.heartbeats_sent + 1, report));
    }

    /// The reports that the next answer shows to have been heard.
    fn answered(&mut self) -> Vec<ReportId> {
        self.heartbeats_answered += 1;
        let heard = self.unheard.iter().take_while(|(heartbeat, _)| *heartbeat <= self.heartbeats_answered).count();
        self.unheard.drain(..heard).map(|(_, report)| report).collect()
    }
}

impl<'a> Conversation<'a> {
    fn new(session: &'a mut Session, open: Open) -> Self {
        // Until Welcome says how often.
        let heartbeat = interval(OPENING);
        let silent_at = Instant::now() + OPENING;
        Self { session, open, heartbeat, silence: OPENING, silent_at, echoes: Echoes::default() }
    }

    async fn run(mut self, shutdown: &CancellationToken) -> End {
        let mut renewal = interval(RENEWAL);
        loop {
            let spoken = tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.farewell().await,
                message = self.open.inbound.message() => match message {
                    Ok(Some(message)) => self.take(message.message),
                    Ok(None) => Err(End::Broken("the coordinator closed the stream".into())),
                    Err(status) => Err(self.session.refused(&status)),
                },
                () = sleep_until(self.silent_at) => Err(End::Broken(self.silent())),
                _ = self.heartbeat.tick() => {
                    self.echoes.heartbeats_sent += 1;
                    self.open.outbox.push(outbound::heartbeat(&self.session.telemetry.latest()))
                }
                () = self.session.assignments.reported() => self.report(),
                Some(progress) = self.session.progress.recv() => {
                    // Not worth a session: what finds no room is dropped.
                    let _ = self.open.outbox.push(progress);
                    Ok(())
                }
                _ = renewal.tick() => {
                    self.renew();
                    Ok(())
                }
            };
            if let Err(end) = spoken {
                return end;
            }
        }
    }

    fn silent(&self) -> String {
        format!("the coordinator said nothing for {} ms", self.silence.as_millis())
    }

    fn take(&mut self, message: Option<Inbound>) -> Result<(), End> {
        self.silent_at = Instant::now() + self.silence;
        match message {
            Some(Inbound::Welcome(welcome)) => self.welcome(&welcome)?,
            Some(Inbound::Assignment(assignment)) => {
                if let Some(answer) = self.session.assignments.offer(assignment) {
                    self.open.outbox.push(answer)?;
                }
            }
            Some(Inbound::Cancel(cancel)) => self.session.assignments.cancel(cancel),
            Some(Inbound::Heartbeat(_)) => {
                for report in self.echoes.answered() {
                    self.session.assignments.heard(&report);
                }
            }
            None => tracing::warn!("the coordinator said something this worker does not know; is the worker older?"),
        }
        Ok(())
    }

    /// Goes by the coordinator's rhythm, within reason, and hands over what happened while it was away.
    fn welcome(&mut self, welcome: &Welcome) -> Result<(), End> {
        // One that does not say goes by the first version.
        let protocol = negotiate(welcome.protocol, welcome.protocol).map_err(|error| {
            let text = format!("the coordinator cannot be understood: {error}");
            self.session.refused(&unwelcome(Code::FailedPrecondition, NO_COMMON_PROTOCOL, text))
        })?;
        self.session.is_welcome = true;
        self.session.endpoints.learn(&welcome.endpoints);
        let heartbeat_ms = welcome.heartbeat_ms.clamp(*HEARTBEAT_MS.start(), *HEARTBEAT_MS.end());
        let silence_ms = welcome.silence_ms.clamp(heartbeat_ms.saturating_mul(2), SILENCE_MS_MAX);
        self.heartbeat = interval(Duration::from_millis(heartbeat_ms.into()));
        self.heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.silence = Duration::from_millis(silence_ms.into());
        self.silent_at = Instant::now() + self.silence;
        tracing::debug!(heartbeat_ms, silence_ms, protocol, version = welcome.coordinator_version, "welcome");
        Ok(())
    }

    fn report(&mut self) -> Result<(), End> {
        for (id, report) in self.session.assignments.reports() {
            self.open.outbox.push(report)?;
            self.echoes.report_sent(id);
        }
        Ok(())
    }

    /// Gets a new certificate in the background when it is time.
    fn renew(&self) {
        if !self.session.member.needs_renewal() {
            return;
        }
        let (member, mut client) = (self.session.member.clone(), self.open.client.clone());
        tokio::spawn(async move {
            if let Err(error) = member.renew(&mut client).await {
                let expires_in_h = member.credentials().expires_at().ms_since(now()) / 3_600_000;
                let error = channel::chain(&error);
                tracing::warn!(expires_in_h, "the certificate could not be renewed and will be tried again: {error}");
            }
        });
    }

    /// Ends our side of the stream and waits a little for the coordinator to end its own.
    async fn farewell(self) -> End {
        let Open { outbox, mut inbound, .. } = self.open;
        drop(outbox);
        let ended = async { while let Ok(Some(_)) = inbound.message().await {} };
        // Whether it does or not, we go.
        let _ = tokio::time::timeout(FAREWELL, ended).await;
        End::Shutdown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_was_heard_when_a_later_heartbeat_is_answered() {
        let mut echoes = Echoes { heartbeats_sent: 1, ..Echoes::default() };
        echoes.report_sent(ReportId::for_test(1));
        echoes.heartbeats_sent += 1;
        echoes.report_sent(ReportId::for_test(2));
        // The answer to the heartbeat before both.
        assert!(echoes.answered().is_empty());
        assert_eq!(echoes.answered(), [ReportId::for_test(1)]);
        echoes.heartbeats_sent += 1;
        assert_eq!(echoes.answered(), [ReportId::for_test(2)]);
        assert!(echoes.answered().is_empty());
    }

    #[test]
    fn what_an_unanswered_stream_remembers_is_bounded() {
        let mut echoes = Echoes::default();
        for serial in 0..=2 * REPORTS_MAX as u64 {
            echoes.report_sent(ReportId::for_test(serial));
        }
        let heard = echoes.answered();
        assert_eq!((heard.len(), &heard[0]), (2 * REPORTS_MAX, &ReportId::for_test(1)));
    }
}
