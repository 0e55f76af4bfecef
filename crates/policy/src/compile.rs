//! Compiling a stranger's component, on a thread of its own and under a deadline.

use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::{NotAPolicy, PolicyError};

/// Compiles one component at a time. The compiler cannot be interrupted, so one that overruns keeps its turn until it ends; that
/// bounds what uploads can cost to one overrunning compilation.
#[derive(Default)]
pub(crate) struct Compiler {
    turn: Arc<Turn>,
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
    /// Compiles `bytes`.
    ///
    /// # Errors
    /// [`NotAPolicy::Malformed`] if they do not validate, [`PolicyError::CompileTimedOut`] after `limit_ms`.
    pub(crate) fn compile(&self, engine: &Engine, bytes: &[u8], limit_ms: u64) -> Result<Component, PolicyError> {
        let timed_out = PolicyError::CompileTimedOut { limit_ms };
        let limit = Duration::from_millis(limit_ms);
        // a limit beyond what the clock can count is none
        let deadline =
            Instant::now().checked_add(limit).unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400));
        if !self.turn.take(deadline) {
            return Err(timed_out);
        }
        let taken = Taken(Arc::clone(&self.turn));
        let (engine, bytes) = (engine.clone(), bytes.to_vec());
        let (sender, receiver) = mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("policy-compiler".into())
            .spawn(move || {
                let component = Component::from_binary(&engine, &bytes);
                drop(taken);
                // nobody listens any more after the deadline
                let _ = sender.send(component);
            })
            .map_err(|error| PolicyError::Host { reason: format!("no thread for the compiler: {error}") })?;
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Ok(component)) => Ok(component),
            Ok(Err(error)) => Err(NotAPolicy::Malformed { reason: malformed(&error) }.into()),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(timed_out),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                Err(PolicyError::Host { reason: "the compiler ended without a result".into() })
            }
        }
    }
}

/// The compiler's own word: its last cause says what is wrong and where.
fn malformed(error: &wasmtime::Error) -> String {
    polder_core::policy::tidy_reason(&error.root_cause().to_string())
}
