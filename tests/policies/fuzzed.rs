//! What the fuzzer runs for hours (`fuzz/`), here for a moment and always the same way, so that it cannot rot.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestRunner};

use crate::builder::{built, names};

#[path = "../../fuzz/src/answers.rs"]
mod answers;
#[path = "../../fuzz/src/upload.rs"]
mod upload;

fn runner(cases: u32) -> TestRunner {
    let config = Config {
        cases,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(7),
        ..Config::default()
    };
    TestRunner::new(config)
}

#[test]
fn uploads_of_every_guest() {
    names().iter().for_each(|name| upload::hold(&built(name)));
}

/// One change somewhere in a guest.
#[derive(Clone, Debug)]
enum Change {
    Flip { at: usize, bit: u8 },
    Set { at: usize, byte: u8 },
    Cut { from: usize, bytes: usize },
    Repeat { from: usize, bytes: usize },
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<usize>(), 0..8u8).prop_map(|(at, bit)| Change::Flip { at, bit }),
        4 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Set { at, byte }),
        1 => (any::<usize>(), 1..64usize).prop_map(|(from, bytes)| Change::Cut { from, bytes }),
        1 => (any::<usize>(), 1..64usize).prop_map(|(from, bytes)| Change::Repeat { from, bytes }),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let length = bytes.len();
    let span = |from: usize, count: usize| from % length..(from % length + count).min(length);
    match *change {
        Change::Flip { at, bit } => bytes[at % length] ^= 1 << bit,
        Change::Set { at, byte } => bytes[at % length] = byte,
        Change::Cut { from, bytes: count } if length > 64 => drop(bytes.drain(span(from, count))),
        Change::Cut { .. } => {}
        Change::Repeat { from, bytes: count } => {
            let span = span(from, count);
            let again = bytes[span.clone()].to_vec();
            bytes.splice(span.start..span.start, again);
        }
    }
}

#[test]
fn uploads_of_altered_guests() {
    let guests: Vec<_> = names().iter().filter(|name| !name.starts_with("loop-")).map(|name| built(name)).collect();
    let altered = (any::<prop::sample::Index>(), prop::collection::vec(change(), 1..4));
    let held = runner(2000).run(&altered, |(index, changes)| {
        let mut bytes = index.get(&guests).clone();
        changes.iter().for_each(|change| apply(&mut bytes, change));
        upload::hold(&bytes);
        Ok(())
    });
    held.unwrap();
}

#[test]
fn answers_of_all_kinds() {
    let recipe = prop::collection::vec(any::<u8>(), 0..200);
    let held = runner(5000).run(&recipe, |recipe| {
        answers::hold(&recipe);
        Ok(())
    });
    held.unwrap();
}
