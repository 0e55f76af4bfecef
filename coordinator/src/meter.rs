//! Where a coordinator's time goes: how often each step of a round was taken since the program started, and how long it took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use polder_core::view::StepView;

/// What a round takes on the coordinator's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Asking the placement policy.
    Placement,
    /// Bringing entries to the journal, durably.
    Journal,
    /// Encrypting, decrypting, and the sockets' system calls.
    Tls,
    /// Reading models for workers.
    Read,
    /// Checking and copying updates as they come in.
    Copy,
    /// Making a whole update durable in the spool.
    Spool,
    /// Asking the aggregation policy, with the statistics that it wants.
    Weigh,
    /// Walking the parameter axis: reading, summing, hashing, writing.
    Sum,
    /// Making the new model durable.
    Store,
}

const STEPS: [(Step, &str); 9] = [
    (Step::Placement, "placement"),
    (Step::Journal, "journal"),
    (Step::Tls, "tls"),
    (Step::Read, "read"),
    (Step::Copy, "copy"),
    (Step::Spool, "spool"),
    (Step::Weigh, "weigh"),
    (Step::Sum, "sum"),
    (Step::Store, "store"),
];

struct Counter {
    times: AtomicU64,
    nanos: AtomicU64,
}

/// One program runs one coordinator; where tests run several in one process they share what is only read by people.
static COUNTERS: [Counter; STEPS.len()] =
    [const { Counter { times: AtomicU64::new(0), nanos: AtomicU64::new(0) } }; STEPS.len()];

/// Counts what `step` took, from now until this is dropped.
#[must_use]
pub(crate) struct Taking {
    step: Step,
    since: Instant,
}

pub(crate) fn taking(step: Step) -> Taking {
    Taking { step, since: Instant::now() }
}

impl Drop for Taking {
    fn drop(&mut self) {
        took(self.step, self.since.elapsed());
    }
}

fn took(step: Step, time: Duration) {
    let counter = &COUNTERS[step as usize];
    counter.times.fetch_add(1, Ordering::Relaxed);
    counter.nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// Everything so far.
pub(crate) fn steps() -> Vec<StepView> {
    let view = |((_, name), counter): (&(Step, &str), &Counter)| StepView {
        step: (*name).to_owned(),
        times: counter.times.load(Ordering::Relaxed),
        micros: counter.nanos.load(Ordering::Relaxed) / 1000,
    };
    STEPS.iter().zip(&COUNTERS).map(view).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_lie_where_they_are_named() {
        for (place, (step, _)) in STEPS.iter().enumerate() {
            assert_eq!(*step as usize, place);
        }
    }

    #[test]
    fn what_a_step_took_is_added_up() {
        let placement = || steps().into_iter().find(|view| view.step == "placement").unwrap();
        let before = placement();
        took(Step::Placement, Duration::from_millis(3));
        drop(taking(Step::Placement));
        let after = placement();
        assert!(after.times >= before.times + 2);
        assert!(after.micros >= before.micros + 3000);
    }
}
