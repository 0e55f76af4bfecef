//! Answers that arrive, and cannot be used.

use polder_policy::{Nonsense, PolicyError};

use crate::guest::{aggregation, assignment, placement, placement_in, weights};
use crate::questions::{self, ask, host, refuse};

#[test]
fn weights_must_be_one_an_update_finite_not_negative_and_not_all_zero() {
    let host = host();
    refuse(host, &weights(&[1.0, f32::NAN, 0.0]), "weight 1 is NaN; weights are finite and not negative");
    refuse(host, &weights(&[1.0, 0.0, f32::INFINITY]), "weight 2 is inf");
    refuse(host, &weights(&[-0.5, 1.0, 0.5]), "weight 0 is -0.5");
    refuse(host, &weights(&[0.0, -0.0, 0.0]), "all 3 weights are 0");
    refuse(host, &weights(&[0.5, 0.5]), "2 weights for 3 updates");
    refuse(host, &weights(&[0.25; 4]), "4 weights for 3 updates");
    refuse(host, &weights(&[]), "0 weights for 3 updates");
    ask(host, &weights(&[0.0, 0.0, 1.0])).unwrap();
}

#[test]
fn minus_zero_becomes_zero_and_a_missing_reason_is_said() {
    let host = host();
    let policy = host.load(&weights(&[1.0, -0.0])).unwrap();
    let plan = host.weigh(&policy, "{}", &questions::aggregation(&[1, 1])).unwrap();
    assert_eq!(plan.weights.iter().map(|weight| weight.to_bits()).collect::<Vec<_>>(), [1.0f32.to_bits(), 0]);
    assert_eq!(plan.reason, "the policy gave no reason");
}

#[test]
fn indices_must_exist() {
    let host = host();
    refuse(host, &assignment(1, 0, None), "demand 1 is named, and there are 1");
    refuse(host, &assignment(0, 3, None), "worker 3 is named, and there are 3");
    refuse(host, &assignment(u32::MAX, u32::MAX, None), "demand 4294967295 is named");
    refuse(host, &assignment(0, 2, Some(1)), "GPU 1 is named, which worker worker-002 does not have");
    ask(host, &assignment(0, 2, Some(0))).unwrap();
}

#[test]
fn no_more_is_assigned_than_there_are_seats() {
    let four = r#"(data (i32.const 2052) "\00\10\00\00\04\00\00\00")"#;
    refuse(host(), &placement_in(16, "(i32.const 2048)", four), "4 assignments are named, and there are at most 3");
    let two = r#"(data (i32.const 2060) "\00\10\00\00\02\00\00\00")"#;
    refuse(host(), &placement_in(16, "(i32.const 2048)", two), "2 declined demands are named, and there are at most 1");
}

#[test]
fn the_state_is_bounded() {
    let state = |len: u32| placement(&format!("(i32.store (i32.const 2072) (i32.const {len})) (i32.const 2048)"));
    let error = refuse(host(), &state(65_537), "its state has 65537 bytes, and at most 65536 are kept");
    assert!(matches!(error, PolicyError::Nonsense(Nonsense::State { bytes: 65_537 })), "{error:?}");
    ask(host(), &state(65_536)).unwrap();
}

#[test]
fn the_state_comes_back_with_the_next_question() {
    // answers the state it was asked with, and one byte more
    let grows = r#"(i32.store8 (i32.add (local.get $state) (local.get $state_len)) (i32.const 7))
        (i32.store (i32.const 2068) (local.get $state))
        (i32.store (i32.const 2072) (i32.add (local.get $state_len) (i32.const 1)))
        (i32.const 2048)"#;
    let host = host();
    let policy = host.load(&placement(grows)).unwrap();
    let mut question = questions::placement(3);
    for round in 1..4 {
        question.state = host.place(&policy, "{}", &question).unwrap().state;
        assert_eq!(question.state, vec![7; round]);
    }
}

#[test]
fn lies_about_lengths_and_places_are_seen_through() {
    let host = host();
    let lies = [
        // a state at the end of memory, and one that is all of a 32-bit address space
        (
            "(i32.store (i32.const 2068) (i32.const 1048570)) (i32.store (i32.const 2072) (i32.const 100)) (i32.const 2048)",
            "out of bounds",
        ),
        ("(i32.store (i32.const 2072) (i32.const -1)) (i32.const 2048)", "out of bounds"),
        // 200 million assignments, and a number of them whose size overflows
        ("(i32.store (i32.const 2056) (i32.const 200000000)) (i32.const 2048)", "out of bounds"),
        ("(i32.store (i32.const 2056) (i32.const -1)) (i32.const 2048)", "out of bounds"),
        // an answer outside memory, or across a word
        ("(i32.const -4)", "out of bounds"),
        ("(i32.const 2049)", "not aligned"),
        // a result that is neither ok nor error
        ("(i32.store8 (i32.const 2048) (i32.const 9)) (i32.const 2048)", "discriminant"),
    ];
    for (body, words) in lies {
        let error = refuse(host, &placement(body), words);
        assert!(matches!(error, PolicyError::Nonsense(Nonsense::Unreadable { .. })), "{error:?}");
    }
}

#[test]
fn text_must_be_utf8() {
    let body = r#"(i32.store8 (i32.const 4096) (i32.const 255)) (i32.store (i32.const 2092) (i32.const 4096))
        (i32.store (i32.const 2096) (i32.const 1)) (i32.const 2048)"#;
    let plan = aggregation(body, "");
    refuse(host(), &plan, "invalid utf-8");
}

/// A placement policy that answers with an error: parameters (0) or question (1).
fn says_no(which: u8) -> Vec<u8> {
    let data = format!(
        r#"(data (i32.const 2048) "\01\00\00\00\{which:02x}\00\00\00\00\10\00\00\0a\00\00\00") (data (i32.const 4096) "not\0a\1b[31m!")"#
    );
    placement_in(16, "(i32.const 2048)", &data)
}

#[test]
fn a_policys_own_no_is_passed_on_in_its_words() {
    let host = host();
    let error = refuse(host, &says_no(0), "the policy refuses its parameters: not  [31m!");
    assert!(matches!(error, PolicyError::Parameters { .. }), "{error:?}");
    let error = refuse(host, &says_no(1), "the policy has no answer: not  [31m!");
    assert!(matches!(error, PolicyError::Refused { .. }), "{error:?}");
}
