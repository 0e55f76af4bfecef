//! Every hostile guest against the host: its own error, in time, and nobody else notices.

use std::time::{Duration, Instant};

use polder_core::policy::PolicyKind;
use polder_policy::NotAPolicy::{CoreModule, Imports, Malformed, OtherTypes, OtherVersion, OtherWorld, TwoWorlds};
use polder_policy::PolicyError::{
    ChunkTimedOut, NotAPolicy, OutOfMemory, OutOfRoom, OutputTooLarge, Refused, StackOverflow, TimedOut, Trapped,
};
use polder_policy::{ImpossibleTraits, Nonsense, PolicyError, PolicyHost};

use crate::asking::{Ask, LIMIT_MS, host, main_question, put, timed};
use crate::builder::{built, names};

/// A guest, the question at which it shows what it is, the kind of error that it gets, and words that the message holds.
type Case = (&'static str, Ask, fn(&PolicyError) -> bool, &'static str);

macro_rules! is {
    ($($pattern:tt)+) => { |error| matches!(error, $($pattern)+) };
}

/// An answer whose form is wrong.
macro_rules! nonsense {
    ($($pattern:tt)+) => { |error| matches!(error, PolicyError::Nonsense(Nonsense::$($pattern)+)) };
}

macro_rules! traits {
    ($($pattern:tt)+) => { nonsense!(Traits(ImpossibleTraits::$($pattern)+)) };
}

const FOR_EVER: &[Case] = &[
    (
        "loop-in-start",
        Ask::Load,
        is!(TimedOut { limit_ms: LIMIT_MS }),
        "did not answer within 200 ms (question_ms_max)",
    ),
    ("loop-in-check", Ask::Check, is!(TimedOut { .. }), "did not answer within 200 ms"),
    ("loop-in-place", Ask::Place, is!(TimedOut { .. }), "did not answer within 200 ms"),
    ("loop-in-describe", Ask::Describe, is!(TimedOut { .. }), "did not answer within 200 ms"),
    ("loop-in-weigh", Ask::Weigh, is!(TimedOut { .. }), "did not answer within 200 ms"),
    ("loop-in-review", Ask::Review, is!(TimedOut { .. }), "did not answer within 200 ms"),
    ("loop-in-allocator", Ask::Weigh, is!(TimedOut { .. }), "did not answer within 200 ms"),
    ("loop-with-work", Ask::Weigh, is!(TimedOut { .. }), "did not answer within 200 ms"),
    (
        "loop-in-combine",
        Ask::Combine,
        is!(ChunkTimedOut { limit_ms: LIMIT_MS }),
        "a chunk within 200 ms (chunk_ms_max)",
    ),
    ("loop-after-answer", Ask::Combine, is!(ChunkTimedOut { .. }), "a chunk within 200 ms"),
    ("loop-in-step", Ask::Step, is!(ChunkTimedOut { .. }), "a chunk within 200 ms"),
];

const TOO_MUCH: &[Case] = &[
    ("recurse", Ask::Place, is!(StackOverflow { .. }), "its stack of 524288 bytes was full (stack_bytes_max)"),
    ("recurse-in-turns", Ask::Weigh, is!(StackOverflow { .. }), "its stack of 524288 bytes was full"),
    ("recurse-on-shadow-stack", Ask::Weigh, is!(Trapped { .. }), "out of bounds memory access, in deep"),
    ("memory-bomb", Ask::Place, is!(OutOfMemory { .. }), "more than 134217728 bytes of memory (memory_bytes_max)"),
    ("memory-bomb-in-weigh", Ask::Weigh, is!(OutOfMemory { .. }), "more than 134217728 bytes of memory"),
    ("memory-bomb-in-combine", Ask::Combine, is!(OutOfMemory { .. }), "more than 134217728 bytes of memory"),
    ("memory-from-the-start", Ask::Load, is!(OutOfMemory { .. }), "more than 134217728 bytes of memory"),
    (
        "memories",
        Ask::Load,
        is!(OutOfRoom { .. }),
        "memory count too high at 21 (instances_max, tables_max, memories_max)",
    ),
    ("memories-together", Ask::Load, is!(OutOfMemory { .. }), "more than 134217728 bytes of memory"),
    ("table-from-the-start", Ask::Load, is!(OutOfRoom { .. }), "more than 100000 table elements (table_elements_max)"),
    ("table-bomb", Ask::Place, is!(OutOfRoom { .. }), "more than 100000 table elements"),
    ("state-of-gigabytes", Ask::Place, is!(OutputTooLarge { .. }), "larger than 4194304 bytes (output_bytes_max)"),
    ("reasons-of-gigabytes", Ask::Place, is!(OutputTooLarge { .. }), "larger than 4194304 bytes"),
    ("notes-of-gigabytes", Ask::Weigh, is!(OutputTooLarge { .. }), "larger than 4194304 bytes"),
    ("weights-of-gigabytes", Ask::Weigh, is!(OutputTooLarge { .. }), "larger than 4194304 bytes"),
    ("stepped-of-gigabytes", Ask::Step, is!(OutputTooLarge { .. }), "larger than 4194304 bytes"),
];

const TRAPS: &[Case] = &[
    ("unreachable-in-start", Ask::Load, is!(Trapped { .. }), "wasm `unreachable` instruction executed, in fail"),
    ("unreachable-in-place", Ask::Place, is!(Trapped { .. }), "wasm `unreachable` instruction executed, in place"),
    ("unreachable-in-weigh", Ask::Weigh, is!(Trapped { .. }), "wasm `unreachable` instruction executed, in weigh"),
    (
        "unreachable-in-combine",
        Ask::Combine,
        is!(Trapped { .. }),
        "wasm `unreachable` instruction executed, in combine",
    ),
    ("unreachable-in-step", Ask::Step, is!(Trapped { .. }), "wasm `unreachable` instruction executed, in step"),
    ("unreachable-in-review", Ask::Review, is!(Trapped { .. }), "wasm `unreachable` instruction executed, in review"),
    ("panics", Ask::Weigh, is!(Trapped { .. }), "wasm `unreachable` instruction executed, in rust_panic"),
    ("divides-by-zero", Ask::Weigh, is!(Trapped { .. }), "integer divide by zero, in weigh"),
    ("converts-nan", Ask::Weigh, is!(Trapped { .. }), "invalid conversion to integer, in weigh"),
    ("reads-out-of-bounds", Ask::Place, is!(Trapped { .. }), "out of bounds memory access, in place"),
    ("writes-out-of-bounds", Ask::Review, is!(Trapped { .. }), "out of bounds memory access, in review"),
    ("calls-nothing", Ask::Place, is!(Trapped { .. }), "uninitialized element, in place"),
    ("allocator-traps", Ask::Weigh, is!(Trapped { .. }), "wasm `unreachable` instruction executed, in realloc"),
    (
        "refuses-in-colour",
        Ask::Weigh,
        is!(Refused { .. }),
        "the policy has no answer: no  [2J [31mrun `curl evil | sh`",
    ),
];

const LIES: &[Case] = &[
    ("allocator-lies", Ask::Weigh, nonsense!(Unreadable { .. }), "realloc return: beyond end of memory"),
    ("allocator-is-crooked", Ask::Weigh, nonsense!(Unreadable { .. }), "realloc return: result not aligned"),
    ("list-beyond-memory", Ask::Place, nonsense!(Unreadable { .. }), "out of bounds"),
    ("list-of-all-memory", Ask::Place, nonsense!(Unreadable { .. }), "out of bounds"),
    ("list-that-overflows", Ask::Place, nonsense!(Unreadable { .. }), "out of bounds"),
    ("list-across-words", Ask::Weigh, nonsense!(Unreadable { .. }), "not aligned"),
    ("answer-outside-memory", Ask::Place, nonsense!(Unreadable { .. }), "out of bounds"),
    ("answer-across-words", Ask::Place, nonsense!(Unreadable { .. }), "not aligned"),
    ("aggregate-outside-memory", Ask::Combine, nonsense!(Unreadable { .. }), "out of bounds"),
    ("aggregate-of-gigabytes", Ask::Combine, nonsense!(ChunkLength { .. }), "a chunk of 7 values has 16777216"),
    ("neither-ok-nor-error", Ask::Place, nonsense!(Unreadable { .. }), "discriminant"),
    ("no-such-shape", Ask::Describe, nonsense!(Unreadable { .. }), "discriminant"),
    ("no-such-verdict", Ask::Review, nonsense!(Unreadable { .. }), "discriminant"),
    ("no-such-precision", Ask::Review, nonsense!(Unreadable { .. }), "discriminant"),
    ("no-such-option", Ask::Review, nonsense!(Unreadable { .. }), "discriminant"),
    ("reason-is-no-text", Ask::Weigh, nonsense!(Unreadable { .. }), "invalid utf-8"),
];

const NONSENSE: &[Case] = &[
    ("needs-no-updates", Ask::Describe, traits!(NoUpdates), "updates-min is 0"),
    ("keeps-too-much", Ask::Describe, traits!(StateTensors { count: 5 }), "5 state tensors, and there are at most 4"),
    ("corrects-by-nothing", Ask::Describe, traits!(ControlVariates { .. }), "are state tensor 1, and it has 1"),
    ("regularizes-by-nan", Ask::Describe, traits!(Alpha { .. }), "alpha is NaN"),
    ("proximal-infinity", Ask::Describe, traits!(ProximalMu { .. }), "proximal-mu is inf"),
    ("sums-that-want-norms", Ask::Describe, traits!(StatisticsForSums), "its shape is sums, which sees none"),
    ("needs-no-updates", Ask::Weigh, traits!(NoUpdates), "updates-min is 0"),
    ("weights-nan", Ask::Weigh, nonsense!(Weight { index: 1, .. }), "weight 1 is NaN; weights are finite"),
    ("weights-infinite", Ask::Weigh, nonsense!(Weight { index: 2, .. }), "weight 2 is inf"),
    (
        "weights-negative",
        Ask::Weigh,
        nonsense!(Weight { index: 0, .. }),
        "weight 0 is -0.5; weights are finite and not neg",
    ),
    ("weights-zero", Ask::Weigh, nonsense!(AllZero { count: 3 }), "all 3 weights are 0"),
    ("weights-minus-zero", Ask::Weigh, nonsense!(AllZero { count: 3 }), "all 3 weights are 0"),
    ("weights-few", Ask::Weigh, nonsense!(WeightCount { .. }), "2 weights for 3 updates"),
    ("weights-many", Ask::Weigh, nonsense!(WeightCount { .. }), "4 weights for 3 updates"),
    ("weights-none", Ask::Weigh, nonsense!(WeightCount { .. }), "0 weights for 3 updates"),
    ("extra-too-many", Ask::Weigh, nonsense!(ExtraSums { count: 3 }), "wants 3 weighted sums"),
    (
        "extra-too-short",
        Ask::Weigh,
        nonsense!(ExtraWeightCount { .. }),
        "list 0 of its extra weights holds 1 for 3 updates",
    ),
    ("extra-nan", Ask::Weigh, nonsense!(ExtraWeight { .. }), "extra weight 0 of list 0 is NaN"),
    ("memo-too-large", Ask::Weigh, nonsense!(Memo { bytes: 65_537 }), "its memo has 65537 bytes"),
    ("state-too-large", Ask::Weigh, nonsense!(State { bytes: 65_537 }), "its state has 65537 bytes"),
    ("notes-miscounted", Ask::Weigh, nonsense!(NoteCount { .. }), "it holds 1 notes for 3 updates"),
    ("aggregate-short", Ask::Combine, nonsense!(ChunkLength { .. }), "its aggregate for a chunk of 7 values has 6"),
    ("aggregate-long", Ask::Combine, nonsense!(ChunkLength { .. }), "its aggregate for a chunk of 7 values has 8"),
    ("stepped-short", Ask::Step, nonsense!(ChunkLength { .. }), "its model for a chunk of 7 values has 6"),
    ("stepped-without-state", Ask::Step, nonsense!(StateTensors { .. }), "it gives back 0 state tensors of 1"),
    ("stepped-with-short-state", Ask::Step, nonsense!(ChunkLength { .. }), "its state for a chunk of 7 values has 6"),
    ("worker-unknown", Ask::Place, nonsense!(OutOfRange { index: 3, .. }), "worker 3 is named, and there are 3"),
    ("demand-unknown", Ask::Place, nonsense!(OutOfRange { index: 1, .. }), "demand 1 is named, and there are 1"),
    ("gpu-unknown", Ask::Place, nonsense!(NoSuchGpu { gpu: 4096, .. }), "which worker worker-0 does not have"),
    ("seats-too-many", Ask::Place, nonsense!(TooMany { .. }), "4 assignments are named, and there are at most 3"),
    (
        "declines-too-many",
        Ask::Place,
        nonsense!(TooMany { .. }),
        "2 declined demands are named, and there are at most 1",
    ),
    ("placement-state-too-large", Ask::Place, nonsense!(State { bytes: 65_537 }), "its state has 65537 bytes"),
    ("clip-negative", Ask::Review, nonsense!(Clip { .. }), "clip is -1"),
    ("clip-zero", Ask::Review, nonsense!(Clip { .. }), "clip is 0"),
    ("clip-nan", Ask::Review, nonsense!(Clip { .. }), "clip is NaN"),
    ("clip-infinite", Ask::Review, nonsense!(Clip { .. }), "clip is inf"),
    ("noise-nan", Ask::Review, nonsense!(Noise { .. }), "noise is NaN"),
    ("noise-negative", Ask::Review, nonsense!(Noise { .. }), "noise is -0.5"),
    ("noise-infinite", Ask::Review, nonsense!(Noise { .. }), "noise is inf"),
    ("release-state-too-large", Ask::Review, nonsense!(State { bytes: 65_537 }), "its state has 65537 bytes"),
];

const NO_POLICIES: &[Case] = &[
    (
        "imports-wasi",
        Ask::Load,
        is!(NotAPolicy(Imports { .. })),
        "the function now of wasi:clocks/monotonic-clock@0.2.0",
    ),
    (
        "imports-wasi-files",
        Ask::Load,
        is!(NotAPolicy(Imports { .. })),
        "the function get-directories of wasi:filesystem/preopens@0.2.0",
    ),
    (
        "imports-unknown-interface",
        Ask::Load,
        is!(NotAPolicy(Imports { .. })),
        "the function send of evil:corp/exfiltration, and policies import no function at all",
    ),
    ("imports-function", Ask::Load, is!(NotAPolicy(Imports { .. })), "it imports the function log, and"),
    ("imports-resource", Ask::Load, is!(NotAPolicy(Imports { .. })), "it imports files, and"),
    ("imports-resource-of-interface", Ask::Load, is!(NotAPolicy(Imports { .. })), "it imports file of a:b/c, and"),
    ("imports-module", Ask::Load, is!(NotAPolicy(Imports { .. })), "it imports code, and"),
    ("exports-nothing", Ask::Load, is!(NotAPolicy(OtherWorld { .. })), "nor releaser, but nothing"),
    ("exports-another-world", Ask::Load, is!(NotAPolicy(OtherWorld { .. })), "but polder:policy/weather@0.2.0"),
    (
        "exports-two-worlds",
        Ask::Load,
        is!(NotAPolicy(TwoWorlds { first: PolicyKind::Placement, second: PolicyKind::Aggregation })),
        "not one policy but two",
    ),
    ("exports-types-of-its-own", Ask::Load, is!(NotAPolicy(OtherTypes { .. })), "its functions have other types"),
    (
        "made-for-0.1",
        Ask::Load,
        is!(NotAPolicy(OtherVersion { .. })),
        "made for polder:policy@0.1.0, and this host takes",
    ),
    (
        "made-for-0.2.1",
        Ask::Load,
        is!(NotAPolicy(OtherVersion { .. })),
        "made for polder:policy@0.2.1, and this host takes",
    ),
    (
        "made-for-9",
        Ask::Load,
        is!(NotAPolicy(OtherVersion { .. })),
        "made for polder:policy@9.0.0, and this host takes",
    ),
    ("core-module", Ask::Load, is!(NotAPolicy(CoreModule)), "this is a core module; wrap it into a component"),
    ("relaxed-simd", Ask::Load, is!(NotAPolicy(Malformed { .. })), "relaxed SIMD support is not enabled"),
    ("shared-memory", Ask::Load, is!(NotAPolicy(Malformed { .. })), "threads must be enabled for shared memories"),
    ("memory-of-64-bits", Ask::Load, is!(NotAPolicy(Malformed { .. })), "memory64 must be enabled"),
];

/// Results that are well formed and not finite: the host hands them on, and the aggregation refuses the round.
const HANDED_ON: &[&str] = &["aggregate-nan", "stepped-nan"];

const TABLES: [&[Case]; 6] = [FOR_EVER, TOO_MUCH, TRAPS, LIES, NONSENSE, NO_POLICIES];

/// Puts the case's question to its guest and holds the outcome to the case. Then the same host must answer for an honest policy.
fn hold(host: &PolicyHost, case: &Case, compiling: Duration) {
    let (guest, ask, is_expected, words) = *case;
    let bytes = built(guest);
    let outcome = || host.load(&bytes).and_then(|policy| put(host, &policy, ask));
    // A machine may stand still for a moment; a host that overruns does so each time.
    let mut overruns = Vec::new();
    for _ in 0..5 {
        let (outcome, took, late) = timed(outcome);
        let error = outcome.expect_err(&format!("{guest} got an answer through"));
        let message = error.to_string();
        assert!(is_expected(&error), "{guest}: {error:?}");
        assert!(message.contains(words), "{guest}: `{message}` does not say `{words}`");
        assert!(!message.contains(|c: char| c.is_control()), "{guest}: `{message:?}` is more than a sentence");
        assert!(message.len() < 1000, "{guest}: {message}");
        // a loop has its limit; everything else is found out at once
        let limit = if matches!(error, TimedOut { .. } | ChunkTimedOut { .. }) { LIMIT_MS } else { 0 };
        let allowed = Duration::from_millis(limit + 100) + compiling + 2 * late;
        if took <= allowed {
            overruns.clear();
            break;
        }
        overruns.push((took, allowed));
    }
    assert!(overruns.is_empty(), "{guest} took longer than it may, each time: {overruns:?}");
    for kind in [PolicyKind::Placement, PolicyKind::Aggregation, PolicyKind::Release] {
        let honest = host.load(&built(&format!("honest-{kind}"))).unwrap();
        put(host, &honest, main_question(kind)).unwrap_or_else(|error| panic!("after {guest}: {error}"));
    }
}

/// Holds a table to its word, with a host that compiled the honest policies before; what that took, several times over, is what
/// compiling a guest may take.
fn hold_all(cases: &[Case]) {
    let host = host();
    let since = Instant::now();
    for kind in [PolicyKind::Placement, PolicyKind::Aggregation, PolicyKind::Release] {
        host.load(&built(&format!("honest-{kind}"))).unwrap();
    }
    let compiling = 3 * since.elapsed();
    cases.iter().for_each(|case| hold(&host, case, compiling));
}

#[test]
fn what_loops_is_stopped_by_the_clock() {
    hold_all(FOR_EVER);
}

#[test]
fn what_takes_too_much_is_stopped_at_its_limit() {
    hold_all(TOO_MUCH);
}

#[test]
fn what_fails_says_how() {
    hold_all(TRAPS);
}

#[test]
fn what_lies_is_seen_through() {
    hold_all(LIES);
}

#[test]
fn what_answers_nonsense_is_told_which() {
    hold_all(NONSENSE);
}

#[test]
fn what_is_no_policy_does_not_get_in() {
    hold_all(NO_POLICIES);
}

#[test]
fn the_honest_ones_get_their_answers_through() {
    let host = host();
    let ask = |guest: &str, ask| put(&host, &host.load(&built(guest)).unwrap(), ask).unwrap();
    ask("honest-placement", Ask::Check);
    ask("honest-placement", Ask::Place);
    ask("honest-release", Ask::Check);
    ask("honest-release", Ask::Review);
    for question in [Ask::Describe, Ask::Weigh, Ask::Combine, Ask::Step] {
        ask("honest-aggregation", question);
    }
    let honest = host.load(&built("honest-aggregation")).unwrap();
    assert_eq!(crate::asking::combine(&host, &honest).unwrap(), [3.0; 7], "the mean of 1, 2 and 6");
    assert_eq!(crate::asking::step(&host, &honest).unwrap(), [1.5; 7], "1 and 0.5");
    let nan = crate::asking::combine(&host, &host.load(&built("aggregate-nan")).unwrap()).unwrap();
    assert!(nan[0].is_nan() && nan[1..] == [3.0; 6], "{nan:?}");
    let infinite = crate::asking::step(&host, &host.load(&built("stepped-nan")).unwrap()).unwrap();
    assert_eq!(infinite[0], f32::INFINITY);
}

/// A guest that nobody asks proves nothing.
#[test]
fn every_guest_has_its_case() {
    let held: Vec<_> = TABLES.concat().iter().map(|case| case.0).collect();
    for name in names() {
        let is_elsewhere = ["later-", "honest-", "echo-"].iter().any(|prefix| name.starts_with(prefix));
        let is_held = held.contains(&name.as_str()) || HANDED_ON.contains(&name.as_str());
        assert!(is_held || is_elsewhere, "{name} is in no table");
    }
    for name in held {
        assert!(names().iter().any(|known| known == name), "{name} has no source");
    }
}
