//! The only way in: events to be applied and questions about the federation. Channels stay behind it.

use polder_core::federation::Refusal;
use polder_core::{Event, Federation};
use tokio::sync::{mpsc, oneshot, watch};

use crate::driver::Details;
use crate::driver::standing::{self, Standing};
use crate::retention::Claims;

/// Requests that may wait for the driver; whoever brings more waits with them.
pub(crate) const INBOX_MAX: usize = 1024;

pub(crate) type Query = Box<dyn FnOnce(&Federation) + Send>;

/// What reaches the driver.
pub(crate) enum Request {
    /// Apply, journal, act, and then say so.
    Event { event: Box<Event>, reply: Option<oneshot::Sender<Result<(), Refusal>>> },
    /// Look at the federation as the journal has it.
    Query(Query),
}

/// Why an event did not take effect.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the coordinator is stopping; try again when it is back")]
    Stopping,
    /// What was asked for may still happen, once the journal takes it.
    #[error("intake is stopped: {reason}")]
    Stalled { reason: String },
}

/// A cheap handle on the running coordinator.
#[derive(Clone, Debug)]
pub struct CoordinatorHandle {
    inbox: mpsc::Sender<Request>,
    log_lines: watch::Receiver<u64>,
    standing: watch::Receiver<Standing>,
    details: Details,
    claims: Claims,
}

impl CoordinatorHandle {
    pub(crate) fn new(
        inbox: mpsc::Sender<Request>,
        log_lines: watch::Receiver<u64>,
        standing: watch::Receiver<Standing>,
    ) -> Self {
        Self { inbox, log_lines, standing, details: Details::default(), claims: Claims::default() }
    }

    /// Applies `event`. When this returns, the event is in the journal and its effects are under way. If the journal takes
    /// nothing for longer than a moment this says so, and the event may still take effect.
    pub async fn apply(&self, event: Event) -> Result<(), HandleError> {
        self.unless_stalled(self.deliver(event)).await
    }

    /// Applies `event`, however long the journal takes.
    pub(crate) async fn deliver(&self, event: Event) -> Result<(), HandleError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Event { event: Box::new(event), reply: Some(reply) };
        self.inbox.send(request).await.map_err(|_| HandleError::Stopping)?;
        Ok(answer.await.map_err(|_| HandleError::Stopping)??)
    }

    /// Hands `event` over without waiting for what becomes of it; for facts whose refusal changes nothing for the sender.
    pub async fn tell(&self, event: Event) {
        // A driver that is gone has told everybody else already.
        let _ = self.inbox.send(Request::Event { event: Box::new(event), reply: None }).await;
    }

    /// Asks about the federation, as it is after everything that was handed over before. If the journal takes nothing for
    /// longer than a moment this says so: what it does not have, nobody is told.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Federation) -> T + Send + 'static,
    ) -> Result<T, HandleError> {
        self.unless_stalled(self.find_out(question)).await
    }

    async fn unless_stalled<T>(&self, answer: impl Future<Output = Result<T, HandleError>>) -> Result<T, HandleError> {
        tokio::select! {
            biased;
            answer = answer => answer,
            reason = standing::stalled(self.standing.clone()) => Err(HandleError::Stalled { reason }),
        }
    }

    async fn find_out<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Federation) -> T + Send + 'static,
    ) -> Result<T, HandleError> {
        let (reply, answer) = oneshot::channel();
        let query: Query = Box::new(move |federation| {
            // Whoever asked may have left.
            let _ = reply.send(question(federation));
        });
        self.inbox.send(Request::Query(query)).await.map_err(|_| HandleError::Stopping)?;
        answer.await.map_err(|_| HandleError::Stopping)
    }

    /// Changes whenever lines were added to the log.
    pub(crate) fn log_lines(&self) -> watch::Receiver<u64> {
        self.log_lines.clone()
    }

    /// How the coordinator stands, without a question to the driver.
    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Whether the disk has room for new work; if not, why.
    pub(crate) fn room(&self) -> Result<(), String> {
        self.standing.borrow().full.as_ref().map_or(Ok(()), |stop| Err(stop.reason.clone()))
    }

    pub(crate) fn details(&self) -> &Details {
        &self.details
    }

    pub(crate) fn claims(&self) -> &Claims {
        &self.claims
    }
}

impl From<HandleError> for tonic::Status {
    fn from(error: HandleError) -> Self {
        match error {
            HandleError::Refused(refusal) => polder_proto::refused(&refusal),
            HandleError::Stopping => Self::unavailable(error.to_string()),
            HandleError::Stalled { .. } => {
                polder_proto::unwelcome(tonic::Code::Unavailable, "stalled", error.to_string())
            }
        }
    }
}
