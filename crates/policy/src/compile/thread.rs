//! Compiling on a thread of this process.

use std::sync::mpsc;
use std::time::Instant;

use wasmtime::Engine;
use wasmtime::component::Component;

use super::{Taken, malformed};
use crate::{Limits, NotAPolicy, PolicyError};

pub(super) fn compile(
    taken: Taken,
    engine: &Engine,
    bytes: &[u8],
    deadline: Instant,
    limits: &Limits,
) -> Result<Component, PolicyError> {
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
        Err(mpsc::RecvTimeoutError::Timeout) => Err(PolicyError::CompileTimedOut { limit_ms: limits.compile_ms_max }),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            Err(PolicyError::Host { reason: "the compiler ended without a result".into() })
        }
    }
}
