//! Bytes as somebody might upload them; `src/upload.rs` says what must hold.

#![no_main]

#[path = "../src/upload.rs"]
mod upload;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| upload::hold(bytes));
