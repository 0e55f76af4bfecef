//! The connection for models and updates, as those who transfer see it: there while a session is open.

use polder_proto::refusal_word;
use tokio::sync::watch;
use tonic::{Code, Status};

use crate::channel::Client;

/// A view on the current connection; none while the coordinator is away.
#[derive(Clone, Debug)]
pub(crate) struct Link(watch::Receiver<Option<Client>>);

impl Link {
    pub(crate) fn new() -> (watch::Sender<Option<Client>>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self(receiver))
    }

    /// Waits for a connection. When the session is over for good it waits for ever: whoever transfers is told to stop
    /// by other means.
    pub(crate) async fn client(&mut self) -> Client {
        if let Ok(client) = self.0.wait_for(Option::is_some).await
            && let Some(client) = client.clone()
        {
            return client;
        }
        std::future::pending().await
    }
}

/// What a failed request means for what it was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nobody's fault that lasts: the network, a coordinator that restarts or is busy.
    Retry,
    /// The coordinator has moved on and wants it no more.
    Unwanted,
    /// What was sent is not acceptable and never will be.
    Fault,
}

/// The coordinator takes nothing until there is room on its disk again.
const STORAGE_FULL: &str = "storage_full";

/// Whether the coordinator has no room for it now.
pub(crate) fn is_full(status: &Status) -> bool {
    refusal_word(status) == Some(STORAGE_FULL)
}

/// Reads a status, by its stable word where that is one we know, else by its code. Nothing is unwanted unless it is said to
/// be: an update that is thrown away for a word that we misunderstood is work lost in silence.
pub(crate) fn verdict(status: &Status) -> Verdict {
    let word = refusal_word(status);
    match word {
        Some("bad_offset" | "upload_busy" | "stalled" | STORAGE_FULL | "storage_away" | "spooled_corrupt") => {
            Verdict::Retry
        }
        Some("bad_update" | "wrong_size" | "wrong_digest" | "malformed" | "bad_report" | "denied") => Verdict::Fault,
        Some(
            "round_closed" | "duplicate_update" | "not_in_cohort" | "seat_given_up" | "run_ended" | "not_assigned"
            | "unknown_run" | "unknown_round",
        ) => Verdict::Unwanted,
        _ => match status.code() {
            Code::Unavailable | Code::Aborted | Code::ResourceExhausted | Code::DeadlineExceeded => Verdict::Retry,
            Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented => {
                Verdict::Fault
            }
            // Without a word it is the network or an accident; with one, somebody has decided something.
            _ if word.is_none() => Verdict::Retry,
            _ => Verdict::Fault,
        },
    }
}

#[cfg(test)]
mod tests;
