//! Many worlds at a time, and what is left of a failure once all that does not matter to it is taken away.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::plan::{Faults, Plan};
use crate::report::{Failure, Report};

/// Lives through the worlds of `seeds` on all cores. `each` hears of every world as it ends, in no order.
pub fn explore(seeds: Range<u64>, plan: &Plan, each: impl Fn(Result<Report, Failure>) + Sync) {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds.end) {
                    each(crate::run(seed, plan));
                }
            });
        }
    });
}

/// A failure that needs less to go wrong.
#[derive(Clone, Debug)]
pub struct Shrunk {
    pub plan: Plan,
    /// Faults that it does without.
    pub without: Vec<&'static str>,
    pub failure: Failure,
}

/// Takes away one fault after the other, then time, as long as the same invariant still breaks under the same seed.
#[must_use]
pub fn shrink(failure: Failure, plan: &Plan) -> Shrunk {
    let mut shrunk = Shrunk { plan: *plan, without: Vec::new(), failure };
    for name in Faults::NAMES {
        let Some(faults) = shrunk.plan.faults.without(name) else { continue };
        if shrunk.still_fails(Plan { faults, ..shrunk.plan }) {
            shrunk.without.push(name);
        }
    }
    let (mut least_ms, mut most_ms) = (0, shrunk.plan.faults_ms);
    while most_ms - least_ms > 100 {
        let faults_ms = least_ms.midpoint(most_ms);
        if shrunk.still_fails(Plan { faults_ms, ..shrunk.plan }) {
            most_ms = faults_ms;
        } else {
            least_ms = faults_ms;
        }
    }
    shrunk
}

impl Shrunk {
    fn still_fails(&mut self, plan: Plan) -> bool {
        match crate::run(self.failure.seed, &plan) {
            Err(failure) if failure.invariant == self.failure.invariant => {
                (self.plan, self.failure) = (plan, failure);
                true
            }
            _ => false,
        }
    }
}
