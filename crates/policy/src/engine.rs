//! The engines' settings and the clock that ends questions.
//!
//! There are two engines for the same code. A pool saves `mmap` and `munmap` for every fresh instance, which threads of one process wait
//! for each other with, but its slots have a size; so components that fit are pooled, and the others, and whoever finds all slots taken,
//! get their memory on demand.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::{Limits, PolicyError};

/// How often the clock looks; a question overruns its time by at most about this much.
const TICK_MS: u64 = 10;

/// How much address space a linear memory gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reservation {
    /// All that 32 bits can address, and a guard: no access needs a check. Address space is free where nobody counts it.
    Full,
    /// What the memory holds: every access is checked, which costs up to a quarter of the time.
    Small,
}

impl Reservation {
    /// Small where the process may not have all the address space there is (`ulimit -v`).
    pub(crate) fn of_this_machine() -> Self {
        match rustix::process::getrlimit(rustix::process::Resource::As).current {
            Some(_) => Self::Small,
            None => Self::Full,
        }
    }
}

/// The settings that code depends on: the same question gives the same bytes on every machine, and nothing runs for ever.
pub(crate) fn settings(reservation: Reservation) -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    // Determinism. NaN bits and fused multiply-adds differ between CPU makers; threads are not compiled in at all.
    config.cranelift_nan_canonicalization(true);
    config.wasm_relaxed_simd(false);
    // Not used by any guest toolchain of ours: less to attack.
    config.wasm_memory64(false);
    if reservation == Reservation::Small {
        config.memory_reservation(0).memory_guard_size(0).memory_reservation_for_growth(1 << 20);
    }
    config
}

/// The engine that takes every policy: an instance gets its memory when it is made.
pub(crate) fn on_demand(limits: &Limits) -> Result<Engine, PolicyError> {
    let mut config = settings(Reservation::of_this_machine());
    config.max_wasm_stack(Limits::clamped(limits.stack_bytes_max));
    Engine::new(&config).map_err(|error| PolicyError::Host { reason: format!("{error:#}") })
}

/// Core instances inside one pooled instance; wit-component makes three of a module.
const POOLED_CORES_MAX: u32 = 8;
/// Tables of one pooled instance.
const POOLED_TABLES_MAX: u32 = 4;

/// The engine whose instances are pooled, for components that fit its slots. It runs the same code. None where it is not wanted or the
/// machine does not give it the address space: 4 GiB and a guard an instance, of which nothing is memory until it is touched.
pub(crate) fn pooled(limits: &Limits) -> Option<Engine> {
    let count = limits.pooled_instances_max;
    if count == 0 || Reservation::of_this_machine() == Reservation::Small {
        return None;
    }
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(count)
        .max_core_instances_per_component(POOLED_CORES_MAX)
        .total_core_instances(count.saturating_mul(POOLED_CORES_MAX))
        .max_memories_per_component(1)
        .total_memories(count)
        .max_memory_size(Limits::clamped(limits.memory_bytes_max.min(1 << 32)))
        .max_tables_per_component(POOLED_TABLES_MAX)
        .max_tables_per_module(POOLED_TABLES_MAX)
        .total_tables(count.saturating_mul(POOLED_TABLES_MAX))
        .table_elements(limits.table_elements_max as usize);
    let mut config = settings(Reservation::Full);
    config.max_wasm_stack(Limits::clamped(limits.stack_bytes_max));
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    match Engine::new(&config) {
        Ok(engine) => Some(engine),
        Err(error) => {
            let error = format!("{error:#}");
            tracing::warn!(%error, "no pool for policy instances; each gets its memory when it is made");
            None
        }
    }
}

/// Raises the engines' epochs every [`TICK_MS`] while questions are being asked, and sleeps otherwise.
pub(crate) struct Clock {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    asking: usize,
    stopped: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Two counters cannot be left half-changed by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, engines: &[Engine]) {
        let mut state = self.state();
        while !state.stopped {
            if state.asking == 0 {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let tick = Duration::from_millis(TICK_MS);
            let (after, waited) = self.changed.wait_timeout(state, tick).unwrap_or_else(PoisonError::into_inner);
            state = after;
            if waited.timed_out() {
                engines.iter().for_each(Engine::increment_epoch);
            }
        }
    }
}

impl Clock {
    pub(crate) fn start(engines: Vec<Engine>) -> Result<Self, PolicyError> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let ticking = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("policy-clock".into())
            .spawn(move || ticking.run(&engines))
            .map_err(|error| PolicyError::Host { reason: format!("no thread for the clock: {error}") })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// The clock ticks as long as what this returns lives.
    pub(crate) fn tick(&self) -> Ticking<'_> {
        let mut state = self.shared.state();
        state.asking += 1;
        if state.asking == 1 {
            self.shared.changed.notify_one();
        }
        Ticking { shared: &self.shared }
    }

    /// How many ticks give a question at least `ms`: the first tick may come at once.
    pub(crate) fn ticks(ms: u64) -> u64 {
        ms.div_ceil(TICK_MS).saturating_add(1)
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // a panic of the clock has been printed by then
            let _ = thread.join();
        }
    }
}

/// A question is being asked.
pub(crate) struct Ticking<'a> {
    shared: &'a Shared,
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.shared.state().asking -= 1;
    }
}
