//! The memory budget of one instance. wasmtime's own limiter counts each linear memory for itself; this one counts them together,
//! and remembers what it refused, so that the trap that follows can be told from any other.

use wasmtime::ResourceLimiter;

use crate::{Limits, PolicyError};

pub(crate) struct Meter {
    limits: Limits,
    memory_bytes: u64,
    table_elements: u64,
    refused: Option<Refused>,
}

#[derive(Clone, Copy)]
enum Refused {
    Memory,
    TableElements,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { limits: limits.clone(), memory_bytes: 0, table_elements: 0, refused: None }
    }

    /// Linear memory in use; it never shrinks.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// What the guest was refused and may have failed for.
    pub(crate) fn refusal(&self) -> Option<PolicyError> {
        let limits = &self.limits;
        self.refused.map(|refused| match refused {
            Refused::Memory => PolicyError::OutOfMemory { limit_bytes: limits.memory_bytes_max },
            Refused::TableElements => PolicyError::OutOfRoom {
                reason: format!("more than {} table elements (table_elements_max)", limits.table_elements_max),
            },
        })
    }
}

/// Adds a growth to what is in use, unless that goes beyond `limit`.
fn grow(used: &mut u64, current: usize, desired: usize, limit: u64) -> bool {
    let after = used.saturating_sub(current as u64).saturating_add(desired as u64);
    if after > limit {
        return false;
    }
    *used = after;
    true
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let limit = self.limits.memory_bytes_max;
        // what the memory's own maximum forbids must not count as used
        let is_allowed = maximum.is_none_or(|maximum| desired <= maximum);
        let granted = is_allowed && grow(&mut self.memory_bytes, current, desired, limit);
        if !granted && (is_allowed || desired as u64 > limit) {
            self.refused = Some(Refused::Memory);
        }
        Ok(granted)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        // beyond 4 GiB, or this machine has no more
        self.refused = Some(Refused::Memory);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let limit = self.limits.table_elements_max.into();
        let is_allowed = maximum.is_none_or(|maximum| desired <= maximum);
        let granted = is_allowed && grow(&mut self.table_elements, current, desired, limit);
        if !granted && (is_allowed || desired as u64 > limit) {
            self.refused = Some(Refused::TableElements);
        }
        Ok(granted)
    }

    fn instances(&self) -> usize {
        self.limits.instances_max as usize
    }

    fn tables(&self) -> usize {
        self.limits.tables_max as usize
    }

    fn memories(&self) -> usize {
        self.limits.memories_max as usize
    }
}
