use std::collections::BTreeMap;
use std::path::Path;

use polder_proto::unwelcome;

use super::*;

/// What every word means that a coordinator may answer a transfer with. Those of the core that only an operator ever gets are
/// here too, as whoever reads a source cannot tell.
const WORDS: [(&str, Verdict); 38] = [
    ("bad_offset", Verdict::Retry),
    ("spooled_corrupt", Verdict::Retry),
    ("stalled", Verdict::Retry),
    ("storage_away", Verdict::Retry),
    ("storage_full", Verdict::Retry),
    ("upload_busy", Verdict::Retry),
    ("duplicate_update", Verdict::Unwanted),
    ("not_assigned", Verdict::Unwanted),
    ("not_in_cohort", Verdict::Unwanted),
    ("round_closed", Verdict::Unwanted),
    ("run_ended", Verdict::Unwanted),
    ("seat_given_up", Verdict::Unwanted),
    ("unknown_round", Verdict::Unwanted),
    ("unknown_run", Verdict::Unwanted),
    ("bad_capacity", Verdict::Fault),
    ("bad_certificate_request", Verdict::Fault),
    ("bad_report", Verdict::Fault),
    ("bad_spec", Verdict::Fault),
    ("bad_update", Verdict::Fault),
    ("bad_weight", Verdict::Fault),
    ("denied", Verdict::Fault),
    ("enrolment_refused", Verdict::Fault),
    ("malformed", Verdict::Fault),
    ("nothing_new", Verdict::Fault),
    ("policy_exists", Verdict::Fault),
    ("policy_removed", Verdict::Fault),
    ("run_exists", Verdict::Fault),
    ("stale_question", Verdict::Fault),
    ("stale_session", Verdict::Fault),
    ("token_exists", Verdict::Fault),
    ("unfit_policy", Verdict::Fault),
    ("unknown_blob", Verdict::Fault),
    ("unknown_policy", Verdict::Fault),
    ("unknown_worker", Verdict::Fault),
    ("wrong_digest", Verdict::Fault),
    ("wrong_size", Verdict::Fault),
    ("wrong_task", Verdict::Fault),
    // Not said by any coordinator yet.
    ("some_word_to_come", Verdict::Fault),
];

/// The words that a source says along with a code, and the code.
fn said_in(source: &str) -> Vec<(String, Code)> {
    let after = source.split("Code::").skip(1);
    let said = after.filter_map(|rest| {
        let (code, rest) = rest.split_once(',')?;
        let (word, _) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
        Some((word.to_owned(), code_named(code)?))
    });
    said.collect()
}

fn code_named(name: &str) -> Option<Code> {
    (0..17).map(Code::from_i32).find(|code| format!("{code:?}") == name)
}

/// Every word in the sources of what answers a transfer.
fn said() -> BTreeMap<String, Code> {
    let read =
        |path: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap();
    let coordinator = [
        "api.rs",
        "api/authorize.rs",
        "api/transfer.rs",
        "api/worker.rs",
        "api/worker/upload.rs",
        "api/worker/uploads.rs",
        "handle.rs",
    ];
    let of_coordinator = coordinator.map(|file| said_in(&read(&format!("coordinator/src/{file}"))));
    let core = read("crates/core/src/federation/refusal.rs");
    let (_, core) = core.split_once("pub fn code").unwrap();
    let of_core = core.split('"').skip(1).step_by(2).map(|word| (word.to_owned(), Code::FailedPrecondition));
    of_coordinator.into_iter().flatten().chain(of_core).collect()
}

#[test]
fn every_word_that_a_coordinator_says_has_its_verdict() {
    let said = said();
    for (word, code) in &said {
        let (word, expected) = WORDS
            .iter()
            .find(|(known, _)| known == word)
            .unwrap_or_else(|| panic!("`{word}` ({code:?}) is new: say in `verdict` what it means for an update"));
        assert_eq!(verdict(&unwelcome(*code, word, "no")), *expected, "{word} ({code:?})");
    }
    let unsaid: Vec<_> = WORDS.iter().map(|(word, _)| *word).filter(|word| !said.contains_key(*word)).collect();
    assert_eq!(unsaid, ["some_word_to_come"], "no coordinator says these");
}

#[test]
fn what_passes_is_tried_again_whatever_the_word() {
    for code in [Code::Unavailable, Code::Aborted, Code::ResourceExhausted, Code::DeadlineExceeded] {
        assert_eq!(verdict(&unwelcome(code, "some_word_to_come", "no")), Verdict::Retry, "{code:?}");
        assert_eq!(verdict(&Status::new(code, "no")), Verdict::Retry, "{code:?}");
    }
}

#[test]
fn a_word_that_is_not_known_never_drops_an_update() {
    for code in (0..17).map(Code::from_i32) {
        assert_ne!(verdict(&unwelcome(code, "some_word_to_come", "no")), Verdict::Unwanted, "{code:?}");
    }
}

#[test]
fn without_a_word_the_code_tells() {
    assert_eq!(verdict(&Status::unavailable("gone")), Verdict::Retry);
    assert_eq!(verdict(&Status::internal("disk full")), Verdict::Retry);
    assert_eq!(verdict(&Status::permission_denied("no")), Verdict::Fault);
}
