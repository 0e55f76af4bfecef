//! A call to the coordinator that brought no answer, in one sentence.

use std::error::Error;
use std::time::Duration;

use polder_security::explain;
use tonic::{Code, Status};

use crate::failure::Exit;
use crate::home::ProfileError;
use crate::output::plain;

/// Why a call failed. Every message is a whole sentence that says what to do where that is known.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error("TLS cannot be set up")]
    Tls(#[from] polder_security::tls::TlsSetupError),
    #[error("{sentence}")]
    Unreachable { sentence: String },
    #[error("the coordinator did not answer within {} s; it may be overloaded: its log says what it does", limit.as_secs())]
    TimedOut { limit: Duration },
    /// The coordinator, or the service behind it, said no.
    #[error("{sentence}")]
    Refused {
        sentence: String,
        code: Code,
        /// Stable, for programs: `bad_spec`, `unknown_run`, …
        word: Option<String>,
    },
    #[error("the coordinator's answer cannot be understood; use its version of `polder`")]
    Answer(#[source] Box<dyn Error + Send + Sync>),
}

impl CallError {
    pub(super) fn answer(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Answer(error.into())
    }

    /// What the coordinator, or the way to it, made of a call.
    pub(super) fn of_status(status: &Status) -> Self {
        if let Some(sentence) = explain(status) {
            return Self::Unreachable { sentence };
        }
        let message = plain(status.message());
        let said = if message.is_empty() { format!("it gave no reason ({:?})", status.code()) } else { message };
        // A status with a cause was made on this side, of a connection that failed.
        let is_ours = status.source().is_some();
        match status.code() {
            Code::Unavailable | Code::Unknown | Code::Internal if is_ours => {
                Self::Unreachable { sentence: "the connection to the coordinator broke".into() }
            }
            // It is there, and says why it cannot serve for now.
            Code::Unavailable if polder_proto::refusal_word(status).is_some() => Self::Unreachable { sentence: said },
            Code::Unavailable => {
                Self::Unreachable { sentence: format!("the connection to the coordinator broke: {said}") }
            }
            code => {
                let word = polder_proto::refusal_word(status).map(ToOwned::to_owned);
                Self::Refused { sentence: said, code, word }
            }
        }
    }

    /// A connection that did not come about.
    pub(super) fn of_transport(error: &tonic::transport::Error) -> Self {
        let sentence = explain(error).unwrap_or_else(|| {
            let causes: Vec<String> = std::iter::successors(Some(error as &dyn Error), |&cause| cause.source())
                .map(ToString::to_string)
                .collect();
            format!("the coordinator cannot be reached: {}", causes.join(": "))
        });
        Self::Unreachable { sentence }
    }

    /// Whether the same call may go well in a moment: the way to the coordinator failed, not the call.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            // What a stream says when its connection dies under it.
            Self::Refused { code, word: None, .. } => matches!(code, Code::Cancelled | Code::Unknown | Code::Aborted),
            _ => false,
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Profile(_) => Exit::BadInput,
            Self::Unreachable { .. } | Self::TimedOut { .. } => Exit::Refused,
            Self::Refused { code: Code::NotFound, .. } => Exit::NotFound,
            Self::Refused { code: Code::Internal | Code::DataLoss | Code::Unknown, .. } => Exit::Failed,
            Self::Refused { .. } => Exit::Refused,
            Self::Tls(_) | Self::Answer(_) => Exit::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_keep_their_sentence_and_word() {
        let refusal = polder_proto::unwelcome(Code::NotFound, "unknown_run", "there is no run `x`");
        let error = CallError::of_status(&refusal);
        assert_eq!(error.to_string(), "there is no run `x`");
        assert!(matches!(&error, CallError::Refused { word: Some(word), .. } if word == "unknown_run"));
        assert_eq!(error.exit(), Exit::NotFound);
        assert!(!error.is_passing());
    }

    #[test]
    fn what_a_dying_connection_says_may_pass() {
        for (status, exit) in [
            (Status::unavailable("the coordinator is stopping"), Exit::Refused),
            (Status::unknown("h2 protocol error: error reading a body from connection"), Exit::Failed),
        ] {
            let error = CallError::of_status(&status);
            assert!(error.is_passing(), "{error:?}");
            assert_eq!(error.exit(), exit);
        }
        assert!(!CallError::of_status(&Status::permission_denied("no")).is_passing());
        assert!(!CallError::of_status(&Status::internal("no")).is_passing());
    }

    #[test]
    fn a_coordinator_whose_intake_is_stopped_says_so_itself() {
        let stalled = polder_proto::unwelcome(Code::Unavailable, "stalled", "intake is stopped: no space left");
        let error = CallError::of_status(&stalled);
        assert_eq!(error.to_string(), "intake is stopped: no space left");
        assert!(error.is_passing());
    }

    #[test]
    fn a_status_without_words_still_says_something() {
        let error = CallError::of_status(&Status::new(Code::Unimplemented, ""));
        assert_eq!(error.to_string(), "it gave no reason (Unimplemented)");
    }
}
