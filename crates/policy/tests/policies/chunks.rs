//! Chunks through `combine` and `step`: what goes in and out, what is refused, and whose time it takes.

use polder_policy::{ChunkJob, Chunks, Limits, Nonsense, PolicyError, PolicyHost, Span};

use crate::guest::{self, Aggregator};
use crate::questions::host;

const SPAN: Span = Span { tensor: 3, offset: 640 };

fn job() -> ChunkJob {
    ChunkJob { round: 5, seed: 1 << 40, memo: vec![9; 4], parameters: "{}".into() }
}

/// Answers a list at `at` of `len` floats.
fn list(at: &str, len: &str) -> String {
    format!("(i32.store (i32.const 2052) {at}) (i32.store (i32.const 2056) {len}) (i32.const 2048)")
}

/// Answers the first row, whose place and length are where `rows` points.
fn first_row() -> String {
    list("(i32.load (local.get $rows))", "(i32.load offset=4 (local.get $rows))")
}

/// Answers the model it was given and `state` lists of state as long as the model, at `at`.
fn stepping(state: u32, at: &str) -> String {
    format!(
        "(i32.store (i32.const 2052) (local.get $aggregate)) (i32.store (i32.const 2056) (local.get $aggregate_len))
         (i32.store (i32.const 2060) {at}) (i32.store (i32.const 2064) (i32.const {state})) (i32.const 2048)"
    )
}

/// Loads a guest, starts it on a round, and has it do something.
fn with<R>(host: &PolicyHost, guest: &Aggregator<'_>, run: impl FnOnce(&mut Chunks<'_>) -> R) -> R {
    let policy = host.load(&guest.build()).unwrap();
    let job = job();
    run(&mut host.chunks(&policy, &job).unwrap())
}

#[test]
fn rows_go_in_and_the_aggregate_comes_out() {
    let (host, combine) = (host(), first_row());
    with(host, &Aggregator { combine: &combine, ..Aggregator::default() }, |chunks| {
        for length in [0, 1, 5, 1000] {
            let row: Vec<f32> = (0..length).map(|value| value as f32 - 0.5).collect();
            let other = vec![7.0; row.len()];
            let mut aggregate = vec![f32::NAN; row.len()];
            chunks.combine(SPAN, &[&row, &other], &[0.25, 0.75], &mut aggregate).unwrap();
            assert_eq!(aggregate, row);
        }
        assert_eq!(chunks.usage().memory_bytes, 1 << 20);
    });
}

#[test]
fn a_step_changes_model_and_state_in_place() {
    // the aggregate becomes the model, and the two states change places
    let step = format!(
        "(i64.store (i32.const 8192) (i64.load offset=8 (local.get $state)))
         (i64.store (i32.const 8200) (i64.load (local.get $state))) {}",
        stepping(2, "(i32.const 8192)")
    );
    let host = host();
    with(host, &Aggregator { step: &step, ..Aggregator::default() }, |chunks| {
        let (mut model, mut first, mut second) = ([1.0, 2.0], [3.0, 4.0], [5.0, 6.0]);
        chunks.step(SPAN, &mut model, &[-1.0, -2.0], &[&[0.5, 0.5]], &mut [&mut first, &mut second]).unwrap();
        assert_eq!((model, first, second), ([-1.0, -2.0], [5.0, 6.0], [3.0, 4.0]));
    });
}

#[test]
fn the_guest_is_told_round_seed_place_memo_and_parameters() {
    // answers (round, tensor, offset, memo's first byte, length of parameters, weight of the second row) as floats
    let combine = format!(
        "(f32.store (i32.const 4096) (f32.convert_i32_u (local.get $round)))
         (f32.store (i32.const 4100) (f32.convert_i32_u (local.get $tensor)))
         (f32.store (i32.const 4104) (f32.convert_i64_u (local.get $offset)))
         (f32.store (i32.const 4108) (f32.convert_i32_u (i32.load8_u (local.get $memo))))
         (f32.store (i32.const 4112) (f32.convert_i32_u (local.get $parameters_len)))
         (f32.store (i32.const 4116) (f32.load offset=4 (local.get $weights)))
         (f32.store (i32.const 4120) (f32.convert_i64_u (local.get $seed))) {}",
        list("(i32.const 4096)", "(i32.const 7)")
    );
    let host = host();
    with(host, &Aggregator { combine: &combine, ..Aggregator::default() }, |chunks| {
        let mut told = [0.0; 7];
        chunks.combine(SPAN, &[&[0.0; 7], &[0.0; 7]], &[0.25, 0.75], &mut told).unwrap();
        assert_eq!(told, [5.0, 3.0, 640.0, 9.0, 2.0, 0.75, (1u64 << 40) as f32]);
    });
}

#[test]
fn an_aggregate_of_another_length_is_refused() {
    let host = host();
    for length in [0, 3, 5] {
        let combine = list("(i32.const 4096)", &format!("(i32.const {length})"));
        with(host, &Aggregator { combine: &combine, ..Aggregator::default() }, |chunks| {
            let error = chunks.combine(SPAN, &[&[1.0; 4]], &[1.0], &mut [0.0; 4]).unwrap_err();
            let expected =
                format!("the policy's answer makes no sense: its aggregate for a chunk of 4 values has {length}");
            assert_eq!(error.to_string(), expected);
        });
    }
}

#[test]
fn lists_outside_memory_are_seen_through() {
    let host = host();
    for (at, length, expected) in [
        ("(i32.const 1048572)", 4, "out of bounds"),
        ("(i32.const -4)", 4, "out of bounds"),
        ("(i32.const 4096)", -1, "out of bounds"),
        ("(i32.const 4098)", 4, "not aligned"),
    ] {
        let combine = list(at, &format!("(i32.const {length})"));
        with(host, &Aggregator { combine: &combine, ..Aggregator::default() }, |chunks| {
            let error = chunks.combine(SPAN, &[&[1.0; 4]], &[1.0], &mut [0.0; 4]).unwrap_err();
            assert!(matches!(error, PolicyError::Nonsense(Nonsense::Unreadable { .. })), "{error:?}");
            assert!(error.to_string().contains(expected), "{error}");
        });
    }
}

#[test]
fn state_tensors_must_be_as_many_and_as_long_as_before() {
    let host = host();
    for (count, words) in [
        (0, "it gives back 0 state tensors of 2"),
        (1, "it gives back 1 state tensors of 2"),
        (3, "it gives back 3 state tensors of 2"),
        // of each state nothing but a length, which is that of zeros
        (2, "its state for a chunk of 4 values has 0"),
    ] {
        let step = stepping(count, "(i32.const 8192)");
        with(host, &Aggregator { step: &step, ..Aggregator::default() }, |chunks| {
            let (mut first, mut second) = ([0.0; 4], [0.0; 4]);
            let error = chunks.step(SPAN, &mut [1.0; 4], &[1.0; 4], &[], &mut [&mut first, &mut second]).unwrap_err();
            assert!(error.to_string().ends_with(words), "{error}");
        });
    }
}

#[test]
fn ten_million_lists_of_state_do_not_fill_the_host() {
    let step = stepping(120_000, "(i32.const 0)");
    let limits = Limits { output_bytes_max: 100_000, question_ms_max: 60_000, ..Limits::default() };
    let host = PolicyHost::new(limits, None).unwrap();
    with(&host, &Aggregator { step: &step, ..Aggregator::default() }, |chunks| {
        let error = chunks.step(SPAN, &mut [1.0; 4], &[1.0; 4], &[], &mut []).unwrap_err();
        assert!(matches!(error, PolicyError::OutputTooLarge { limit_bytes: 100_000 }), "{error:?}");
    });
}

#[test]
fn chunks_larger_than_the_output_limit_pass() {
    // what comes back is as long as what went in, and so is bounded already
    let limits = Limits { output_bytes_max: 1000, question_ms_max: 60_000, ..Limits::default() };
    let host = PolicyHost::new(limits, None).unwrap();
    let combine = first_row();
    with(&host, &Aggregator { combine: &combine, ..Aggregator::default() }, |chunks| {
        let row = vec![1.5; 1 << 16];
        let mut aggregate = vec![0.0; row.len()];
        chunks.combine(SPAN, &[&row], &[1.0], &mut aggregate).unwrap();
        assert_eq!(aggregate, row);
    });
}

#[test]
fn arguments_of_different_lengths_are_not_asked() {
    let host = host();
    with(host, &Aggregator { combine: "unreachable", step: "unreachable", ..Aggregator::default() }, |chunks| {
        let mut place = [0.0; 2];
        let questions = [
            chunks.combine(SPAN, &[&[1.0]], &[1.0], &mut place),
            chunks.combine(SPAN, &[&[1.0; 2]], &[1.0; 2], &mut place),
            chunks.step(SPAN, &mut place, &[1.0; 3], &[], &mut []),
            chunks.step(SPAN, &mut place, &[1.0; 2], &[&[1.0]], &mut []),
            chunks.step(SPAN, &mut place, &[1.0; 2], &[], &mut [&mut [1.0]]),
        ];
        for question in questions {
            assert!(matches!(question, Err(PolicyError::Question { .. })), "{question:?}");
        }
    });
}

#[test]
fn a_policys_own_no_and_its_traps_are_told_apart() {
    let host = host();
    let no = guest::words(2048, &[1, 1, 4096, 2]);
    let guest = Aggregator { combine: "(i32.const 2048)", step: "unreachable", items: &no, ..Aggregator::default() };
    with(host, &guest, |chunks| {
        let error = chunks.combine(SPAN, &[&[1.0]], &[1.0], &mut [0.0]).unwrap_err();
        assert!(matches!(error, PolicyError::Refused { .. }), "{error:?}");
        let error = chunks.step(SPAN, &mut [1.0], &[1.0], &[], &mut []).unwrap_err();
        assert!(matches!(error, PolicyError::Trapped { .. }), "{error:?}");
        let error = chunks.combine(SPAN, &[&[1.0]], &[1.0], &mut [0.0]).unwrap_err();
        assert!(matches!(error, PolicyError::Trapped { .. }), "a guest that trapped answers again: {error:?}");
    });
}

#[test]
fn a_chunk_has_a_time_of_its_own() {
    let limits = Limits { chunk_ms_max: 50, question_ms_max: 60_000, ..Limits::default() };
    let host = PolicyHost::new(limits, None).unwrap();
    with(&host, &Aggregator { combine: "(loop $l (br $l)) unreachable", ..Aggregator::default() }, |chunks| {
        let error = chunks.combine(SPAN, &[&[1.0]], &[1.0], &mut [0.0]).unwrap_err();
        assert!(matches!(error, PolicyError::ChunkTimedOut { limit_ms: 50 }), "{error:?}");
    });
}

#[test]
fn a_rounds_chunks_share_their_time() {
    let limits = Limits { round_ms_max: 60, chunk_ms_max: 60_000, question_ms_max: 60_000, ..Limits::default() };
    let host = PolicyHost::new(limits, None).unwrap();
    let combine = "(loop $l (br $l)) unreachable";
    let policy = host.load(&Aggregator { combine, ..Aggregator::default() }.build()).unwrap();
    let (job, budget) = (job(), host.round_budget());
    for _ in 0..2 {
        // the second instance finds nothing left
        let mut chunks = host.chunks_within(&policy, &job, &budget).unwrap();
        let error = chunks.combine(SPAN, &[&[1.0]], &[1.0], &mut [0.0]).unwrap_err();
        assert!(matches!(error, PolicyError::RoundTimedOut { limit_ms: 60 }), "{error:?}");
    }
    assert!(budget.spent_micros() >= 60_000, "{} us", budget.spent_micros());
    let mut chunks = host.chunks(&policy, &job).unwrap();
    let error = chunks.combine(SPAN, &[&[1.0]], &[1.0], &mut [0.0]).unwrap_err();
    assert!(matches!(error, PolicyError::RoundTimedOut { .. }), "{error:?}");
}

#[test]
fn instances_on_several_threads_do_not_meet() {
    let combine = first_row();
    let host = host();
    let policy = host.load(&Aggregator { combine: &combine, ..Aggregator::default() }.build()).unwrap();
    let job = job();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (host, policy, job) = (&host, &policy, &job);
            scope.spawn(move || {
                let mut chunks = host.chunks(policy, job).unwrap();
                for turn in 0..100 {
                    let row = [thread as f32, turn as f32, 0.0];
                    let mut aggregate = [f32::NAN; 3];
                    chunks.combine(SPAN, &[&row], &[1.0], &mut aggregate).unwrap();
                    assert_eq!(aggregate, row);
                }
            });
        }
    });
}
