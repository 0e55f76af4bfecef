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

/// Reads a status, by its stable word where it has one.
pub(crate) fn verdict(status: &Status) -> Verdict {
    match refusal_word(status) {
        Some("bad_offset" | "upload_busy" | "stalled" | STORAGE_FULL) => Verdict::Retry,
        Some("bad_update" | "wrong_size" | "wrong_digest" | "malformed" | "bad_report" | "denied") => Verdict::Fault,
        // round_closed, duplicate_update, not_in_cohort, seat_given_up, run_ended, not_assigned and what is to come.
        Some(_) => Verdict::Unwanted,
        None => match status.code() {
            Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented => {
                Verdict::Fault
            }
            _ => Verdict::Retry,
        },
    }
}

#[cfg(test)]
mod tests {
    use polder_proto::unwelcome;

    use super::*;

    #[test]
    fn words_go_before_codes() {
        let said = |code, word| verdict(&unwelcome(code, word, "no"));
        assert_eq!(said(Code::FailedPrecondition, "round_closed"), Verdict::Unwanted);
        assert_eq!(said(Code::AlreadyExists, "duplicate_update"), Verdict::Unwanted);
        assert_eq!(said(Code::PermissionDenied, "not_in_cohort"), Verdict::Unwanted);
        assert_eq!(said(Code::OutOfRange, "bad_offset"), Verdict::Retry);
        assert_eq!(said(Code::ResourceExhausted, "storage_full"), Verdict::Retry);
        assert_eq!(said(Code::InvalidArgument, "bad_update"), Verdict::Fault);
        assert_eq!(verdict(&Status::unavailable("gone")), Verdict::Retry);
        assert_eq!(verdict(&Status::internal("disk full")), Verdict::Retry);
        assert_eq!(verdict(&Status::permission_denied("no")), Verdict::Fault);
    }
}
