//! Answers as somebody's policy might give them; `src/answers.rs` says what must hold.

#![no_main]

#[path = "../src/answers.rs"]
mod answers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| answers::hold(bytes));
