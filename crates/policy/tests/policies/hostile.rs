//! Guests that run: for ever, too deep, too large, or into the wall. Each ends by its limit, with its own words.

use polder_policy::{Limits, PolicyError, PolicyHost};

use crate::guest::{aggregation, placement, placement_in};
use crate::questions::{self, host, impatient, refuse};

#[test]
fn an_endless_loop_times_out() {
    let host = impatient();
    let error = refuse(&host, &placement("(loop $l (br $l)) (unreachable)"), "did not answer within 500 ms");
    assert!(matches!(error, PolicyError::TimedOut { limit_ms: 500 }), "{error:?}");
    refuse(&host, &aggregation("(loop $l (br $l)) (unreachable)", ""), "did not answer within 500 ms");
}

#[test]
fn an_endless_start_function_times_out_when_it_is_loaded() {
    let guest = placement_in(16, "(i32.const 1024)", "(func $spin (loop $l (br $l))) (start $spin)");
    let error = impatient().load(&guest).unwrap_err();
    assert!(matches!(error, PolicyError::TimedOut { .. }), "{error:?}");
}

#[test]
fn endless_recursion_fills_its_own_stack_only() {
    let guest = placement_in(
        16,
        "(call $deep (i32.const 0))",
        "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))",
    );
    let error = refuse(host(), &guest, "its stack of 524288 bytes was full (stack_bytes_max)");
    assert!(matches!(error, PolicyError::StackOverflow { .. }), "{error:?}");
}

#[test]
fn a_memory_bomb_stops_at_its_limit() {
    let bomb = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";
    let error = refuse(host(), &placement(bomb), "more than 134217728 bytes of memory (memory_bytes_max)");
    assert!(matches!(error, PolicyError::OutOfMemory { .. }), "{error:?}");
    // all that there is, at once
    for pages in [4096, 65_520, 65_535] {
        let bomb = format!(
            "(if (i32.eq (memory.grow (i32.const {pages})) (i32.const -1)) (then (unreachable))) (i32.const 1024)"
        );
        refuse(host(), &placement(&bomb), "more than 134217728 bytes of memory");
    }
}

#[test]
fn a_guest_that_copes_with_refused_memory_may_go_on() {
    let copes = "(drop (memory.grow (i32.const 60000))) (i32.const 1024)";
    questions::ask(host(), &placement(copes)).unwrap();
}

#[test]
fn memory_wanted_from_the_start_counts() {
    let error = host().load(&placement_in(4000, "(i32.const 1024)", "")).unwrap_err();
    assert!(matches!(error, PolicyError::OutOfMemory { .. }), "{error:?}");
}

#[test]
fn several_memories_share_one_limit() {
    let limits = Limits { memory_bytes_max: 3 << 20, ..Limits::default() };
    let host = PolicyHost::new(limits, None).unwrap();
    host.load(&placement_in(16, "(i32.const 1024)", "(memory $second 16)")).unwrap();
    let error = host.load(&placement_in(16, "(i32.const 1024)", "(memory $second 40)")).unwrap_err();
    assert!(matches!(error, PolicyError::OutOfMemory { limit_bytes: 3_145_728 }), "{error:?}");
}

#[test]
fn tables_are_limited_in_number_and_size() {
    let host = host();
    let error = host.load(&placement_in(16, "(i32.const 1024)", "(table 1000000 funcref)")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the policy asked for more than it may have: more than 100000 table elements (table_elements_max)"
    );
    let error = host.load(&placement_in(16, "(i32.const 1024)", &"(table 1 funcref)".repeat(80))).unwrap_err();
    assert!(matches!(error, PolicyError::OutOfRoom { .. }), "{error:?}");
    assert!(error.to_string().contains("table count too high"), "{error}");
    let bomb = r#"(loop $l (br_if $l (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) (unreachable)"#;
    refuse(host, &placement_in(16, bomb, "(table $t 1 funcref)"), "more than 100000 table elements");
}

#[test]
fn memories_are_limited_in_number() {
    let error = host().load(&placement_in(1, "(i32.const 1024)", &"(memory 0)".repeat(20))).unwrap_err();
    assert!(error.to_string().contains("memory count too high"), "{error}");
}

#[test]
fn traps_say_what_happened_and_where() {
    let host = host();
    let error = refuse(host, &placement("(unreachable)"), "trapped: wasm `unreachable` instruction executed, in place");
    assert!(matches!(error, PolicyError::Trapped { .. }), "{error:?}");
    refuse(host, &placement("(i32.load (i32.const -8))"), "trapped: out of bounds memory access");
    refuse(host, &placement("(i32.div_u (i32.const 1) (i32.const 0))"), "trapped: integer divide by zero");
    refuse(
        host,
        &placement_in(16, "(call_indirect $t (result i32) (i32.const 0))", "(table $t 1 funcref)"),
        "trapped: uninitialized element",
    );
}

#[test]
fn a_trap_leaves_nothing_behind() {
    // counts in its memory, and traps if it finds that it was asked before
    let counts = "(if (i32.load (i32.const 8192)) (then (unreachable))) (i32.store (i32.const 8192) (i32.const 1)) (i32.const 1024)";
    let host = host();
    let policy = host.load(&placement(counts)).unwrap();
    for _ in 0..3 {
        host.place(&policy, "{}", &questions::placement(3)).unwrap();
    }
}

#[test]
fn an_answer_of_gigabytes_is_cut_off() {
    let host = host();
    // a state of 64 MiB
    let large = placement_in(1100, "(i32.store (i32.const 2072) (i32.const 67108864)) (i32.const 2048)", "");
    let error = refuse(host, &large, "larger than 4194304 bytes (output_bytes_max)");
    assert!(matches!(error, PolicyError::OutputTooLarge { .. }), "{error:?}");
    // 2,000 assignments whose reasons are all the same mebibyte
    let aliased = r#"(local $at i32) (local $end i32)
        (memory.fill (i32.const 262144) (i32.const 97) (i32.const 1048576))
        (local.set $at (i32.const 65536))
        (local.set $end (i32.const 113536))
        (loop $l
            (i32.store offset=16 (local.get $at) (i32.const 262144))
            (i32.store offset=20 (local.get $at) (i32.const 1048576))
            (local.set $at (i32.add (local.get $at) (i32.const 24)))
            (br_if $l (i32.lt_u (local.get $at) (local.get $end))))
        (i32.store (i32.const 2052) (i32.const 65536))
        (i32.store (i32.const 2056) (i32.const 2000))
        (i32.const 2048)"#;
    refuse(host, &placement_in(32, aliased, ""), "larger than 4194304 bytes (output_bytes_max)");
}

#[test]
fn many_guests_at_once_disturb_nobody() {
    let host = impatient();
    let spins = host.load(&placement("(loop $l (br $l)) (unreachable)")).unwrap();
    let ours = host.builtin(polder_core::policy::PolicyKind::Placement).unwrap();
    let question = questions::placement(20);
    let expected = host.place(&ours, "{}", &question).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                assert!(matches!(host.place(&spins, "{}", &question), Err(PolicyError::TimedOut { .. })));
            });
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(host.place(&ours, "{}", &question).unwrap(), expected);
                }
            });
        }
    });
}
