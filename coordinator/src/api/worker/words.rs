//! Refusals in words that the worker knows.

use polder_proto::{refusal_word, unwelcome};
use tonic::{Code, Status};

/// What protocol 1 has for everything that passes by itself.
const PASSES: &str = "stalled";

/// The refusal as a worker of `protocol` takes it for what it is; none is a worker without a session. Those of protocol 1
/// throw an update away for any word that they do not know, also for one that says to wait.
pub(super) fn known_to(protocol: Option<u32>, refusal: Status) -> Status {
    let passes = matches!(refusal.code(), Code::Unavailable | Code::Aborted | Code::ResourceExhausted);
    let is_new = !matches!(refusal_word(&refusal), None | Some("bad_offset" | "upload_busy" | PASSES));
    if passes && is_new && protocol.is_none_or(|protocol| protocol < 2) {
        return unwelcome(refusal.code(), PASSES, refusal.message());
    }
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a worker of polder 0.1.0 takes for a reason to try again.
    fn is_tried_again_by_0_1_0(refusal: &Status) -> bool {
        match refusal_word(refusal) {
            Some(word) => ["bad_offset", "upload_busy", "stalled"].contains(&word),
            None => true,
        }
    }

    #[test]
    fn workers_of_the_first_protocol_try_again_what_passes() {
        let passing = [
            (Code::ResourceExhausted, "storage_full"),
            (Code::Unavailable, "storage_away"),
            (Code::Aborted, "spooled_corrupt"),
            (Code::Aborted, "upload_busy"),
            (Code::Unavailable, "stalled"),
        ];
        for (code, word) in passing {
            for protocol in [None, Some(1)] {
                let said = known_to(protocol, unwelcome(code, word, "a reason"));
                assert!(is_tried_again_by_0_1_0(&said), "{said}");
                assert_eq!((said.code(), said.message()), (code, "a reason"));
            }
            let said = known_to(Some(2), unwelcome(code, word, "a reason"));
            assert_eq!(refusal_word(&said), Some(word));
        }
    }

    #[test]
    fn what_does_not_pass_keeps_its_word() {
        for (code, word) in [(Code::FailedPrecondition, "round_closed"), (Code::InvalidArgument, "bad_update")] {
            assert_eq!(refusal_word(&known_to(Some(1), unwelcome(code, word, "no"))), Some(word));
        }
        assert_eq!(refusal_word(&known_to(Some(1), Status::unavailable("gone"))), None);
    }
}
