//! Hostile policies. Each of `guests` does one thing that it should not, and has its own place here: what the host says to it
//! (`outcomes`, `bytes`), whether it gets in (`door`), how a run under it ends (`consequences`). `POLDER_REGENERATE=1 cargo test -p
//! polder-tests --test policies` builds the components from their sources again; `fuzzed` runs the targets of `fuzz/` for a moment.

mod asking;
mod builder;
mod bytes;
mod consequences;
mod door;
mod federation;
mod fuzzed;
mod outcomes;
mod regions;

#[path = "../../crates/policy/tests/policies/guest.rs"]
#[allow(dead_code)]
mod guest;
