//! Compiling a stranger's component, under a deadline, one at a time.
//!
//! wasmtime's compiler cannot be interrupted and allocates what it likes, so a service compiles in a child process: the own program,
//! started again with the arguments that make it call [`compiler_main`], can be held to a limit of memory and killed at its deadline.
//! What it writes is native code, which is trusted as far as the program itself is: it comes from a child of this process by a pipe,
//! and from nowhere else. Tests and short-lived tools compile on a thread.

mod child;
mod thread;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::{Limits, PolicyError};

pub use child::compiler_main;

/// Where components are compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CompileIn {
    /// On a thread: one that overruns its time keeps its turn until it ends, and its memory is not bounded.
    #[default]
    Thread,
    /// In a child process that ends in [`compiler_main`]: usually the own program with a subcommand of its own.
    Process { program: PathBuf, arguments: Vec<OsString> },
}

/// Compiles one component at a time, which bounds what uploads can cost.
pub(crate) struct Compiler {
    turn: Arc<Turn>,
    place: CompileIn,
}

#[derive(Default)]
struct Turn {
    taken: Mutex<bool>,
    free: Condvar,
}

impl Turn {
    /// Waits for the turn until `deadline`.
    fn take(&self, deadline: Instant) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            taken = self.free.wait_timeout(taken, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken = true;
        true
    }
}

/// Gives the turn back, after a panic too.
struct Taken(Arc<Turn>);

impl Drop for Taken {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.free.notify_one();
    }
}

impl Compiler {
    pub(crate) fn new(place: CompileIn) -> Self {
        Self { turn: Arc::default(), place }
    }

    /// Compiles `bytes`.
    ///
    /// # Errors
    /// [`NotAPolicy::Malformed`](crate::NotAPolicy::Malformed) if they do not validate, [`PolicyError::CompileTimedOut`] and
    /// [`PolicyError::CompileOutOfMemory`] beyond the limits.
    pub(crate) fn compile(&self, engine: &Engine, bytes: &[u8], limits: &Limits) -> Result<Component, PolicyError> {
        let limit = Duration::from_millis(limits.compile_ms_max);
        // a limit beyond what the clock can count is none
        let deadline =
            Instant::now().checked_add(limit).unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400));
        if !self.turn.take(deadline) {
            return Err(PolicyError::CompileTimedOut { limit_ms: limits.compile_ms_max });
        }
        let taken = Taken(Arc::clone(&self.turn));
        match &self.place {
            CompileIn::Thread => thread::compile(taken, engine, bytes, deadline, limits),
            CompileIn::Process { program, arguments } => {
                let code = child::compile(program, arguments, bytes, deadline, limits)?;
                child::load(engine, &code)
            }
        }
    }
}

/// What was compiled, for another engine that takes the same code. None if the engine has no room for it.
#[allow(unsafe_code)]
pub(crate) fn again(engine: &Engine, component: &Component) -> Option<Component> {
    let code = component.serialize().ok()?;
    // SAFETY: `Component::deserialize` wants bytes that `Component::serialize` made, unaltered.
    unsafe { Component::deserialize(engine, &code) }.ok()
}

/// The compiler's own word: its last cause says what is wrong and where.
fn malformed(error: &wasmtime::Error) -> String {
    polder_core::policy::tidy_reason(&error.root_cause().to_string())
}
