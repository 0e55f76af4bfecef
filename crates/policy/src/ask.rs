//! One question to one fresh instance, and what its failure means.

use std::time::Instant;

use polder_core::policy::tidy_reason;
use wasmtime::{Store, Trap, WasmBacktrace};

use crate::bindings::placement::polder::policy::types::Error as Answered;
use crate::engine::{Clock, Ticking};
use crate::meter::Meter;
use crate::{Limits, Nonsense, PolicyError};

/// A store with its budgets set, and the clock ticking.
pub(crate) struct Question<'a> {
    pub(crate) store: Store<Meter>,
    limits: &'a Limits,
    budget: Budget,
    started: Instant,
    _ticking: Ticking<'a>,
}

/// Which time budget the guest is running on.
#[derive(Clone, Copy)]
pub(crate) enum Budget {
    /// A whole question.
    Question,
    /// One chunk.
    Chunk { limit_ms: u64 },
    /// What is left for all chunks of a round, which is less than a chunk may take.
    Round { left_ms: u64, limit_ms: u64 },
}

/// What answering took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Wall-clock time, the fresh instance included, in microseconds.
    pub micros: u64,
    /// Linear memory of the instance at its end, in bytes; memory never shrinks, so this is its peak.
    pub memory_bytes: u64,
}

impl<'a> Question<'a> {
    pub(crate) fn new(engine: &wasmtime::Engine, clock: &'a Clock, limits: &'a Limits) -> Self {
        let mut store = Store::new(engine, Meter::new(limits));
        store.limiter(|meter| meter);
        store.set_epoch_deadline(Clock::ticks(limits.question_ms_max));
        // What the host copies out of the guest for an answer; the guest may point every string at the same bytes.
        store.set_hostcall_fuel(Limits::clamped(limits.output_bytes_max));
        Self { store, limits, budget: Budget::Question, started: Instant::now(), _ticking: clock.tick() }
    }

    pub(crate) fn limits(&self) -> &'a Limits {
        self.limits
    }

    /// Gives the next call a time budget of its own.
    pub(crate) fn allow(&mut self, budget: Budget) {
        let ms = match budget {
            Budget::Question => self.limits.question_ms_max,
            Budget::Chunk { limit_ms } => limit_ms,
            Budget::Round { left_ms, .. } => left_ms,
        };
        self.budget = budget;
        self.store.set_epoch_deadline(Clock::ticks(ms));
    }

    pub(crate) fn usage(&self) -> Usage {
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        Usage { micros, memory_bytes: self.store.data().memory_bytes() }
    }

    /// What it means that making the instance failed.
    pub(crate) fn instance_failed(&self, error: &wasmtime::Error) -> PolicyError {
        if error.is::<Trap>() {
            return self.call_failed(error);
        }
        if let Some(refusal) = self.store.data().refusal() {
            return refusal;
        }
        let reason = format!("{error:#}");
        match reason.split_once(TOO_MANY) {
            Some((_, which)) => {
                PolicyError::OutOfRoom { reason: format!("{which} (instances_max, tables_max, memories_max)") }
            }
            None => PolicyError::Host { reason },
        }
    }

    /// What it means that a call into the guest failed.
    pub(crate) fn call_failed(&self, error: &wasmtime::Error) -> PolicyError {
        let limits = self.limits;
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => match self.budget {
                Budget::Question => PolicyError::TimedOut { limit_ms: limits.question_ms_max },
                Budget::Chunk { limit_ms } => PolicyError::ChunkTimedOut { limit_ms },
                Budget::Round { limit_ms, .. } => PolicyError::RoundTimedOut { limit_ms },
            },
            Some(Trap::StackOverflow) => PolicyError::StackOverflow { limit_bytes: limits.stack_bytes_max },
            // A guest that is refused memory traps or aborts, which looks like any other trap.
            Some(trap) => self.store.data().refusal().unwrap_or_else(|| trapped(*trap, error)),
            None => self.answer_failed(error),
        }
    }

    /// The call went well, but what it returned could not be read.
    fn answer_failed(&self, error: &wasmtime::Error) -> PolicyError {
        let reason = tidy_reason(&error.root_cause().to_string());
        if reason.contains(OUTPUT_TOO_LARGE) {
            return PolicyError::OutputTooLarge { limit_bytes: self.limits.output_bytes_max };
        }
        Nonsense::Unreadable { reason }.into()
    }
}

/// How wasmtime says that there are more instances, tables or memories than [`Meter`] allows; that error has no type.
const TOO_MANY: &str = "resource limit exceeded: ";

/// How wasmtime says that an answer used its fuel up; its error type is private.
const OUTPUT_TOO_LARGE: &str = "fuel allocated for hostcalls has been exhausted";

/// The trap, and the function it happened in where the component still has names.
fn trapped(trap: Trap, error: &wasmtime::Error) -> PolicyError {
    let text = trap.to_string();
    let mut reason = text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned();
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
    if let Some(name) = frames.iter().find_map(|frame| frame.func_name()) {
        reason = format!("{reason}, in {name}");
    }
    PolicyError::Trapped { reason: tidy_reason(&reason) }
}

/// The policy's own no.
pub(crate) fn refused(error: &Answered) -> PolicyError {
    match error {
        Answered::Parameters(message) => PolicyError::Parameters { message: tidy_reason(message) },
        Answered::Question(message) => PolicyError::Refused { message: tidy_reason(message) },
    }
}

/// A reason as it is shown; policies owe one, and its lack is said.
pub(crate) fn reason(text: &str) -> String {
    let tidy = tidy_reason(text);
    if tidy.trim().is_empty() { "the policy gave no reason".into() } else { tidy }
}
