//! Who says what to whom, and everything that can come due in a world.

use polder_core::effect::Assignment;
use polder_core::round::{Evaluation, UpdateReceipt};
use polder_core::{AssignmentId, Digest, Event};

/// A worker's place in the world's list.
pub(crate) type At = usize;

/// From a worker to the coordinator.
#[derive(Clone, Debug)]
pub(crate) enum Up {
    /// Opens a stream; `dial` tells this attempt from the worker's others.
    Hello {
        dial: u64,
        slots: u32,
        holding: Vec<AssignmentId>,
    },
    Accepted {
        assignment: AssignmentId,
    },
    Declined {
        assignment: AssignmentId,
    },
    Failed {
        assignment: AssignmentId,
    },
    /// A call of its own, as uploads are: it needs no stream.
    Update {
        assignment: AssignmentId,
        receipt: UpdateReceipt,
    },
    Evaluated {
        assignment: AssignmentId,
        evaluation: Evaluation,
    },
}

/// From the coordinator to a worker.
#[derive(Clone, Debug)]
pub(crate) enum Down {
    Welcome {
        dial: u64,
        session: u64,
    },
    Assign(Box<Assignment>),
    Cancel {
        assignment: AssignmentId,
    },
    /// The answer to a report: it counts, or the stable word of the refusal.
    Answer {
        assignment: AssignmentId,
        refused: Option<&'static str>,
    },
}

/// Whoever waits for the outcome of an event.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) worker: At,
    pub(crate) assignment: AssignmentId,
    /// The update whose receipt is wanted; none for an evaluation.
    pub(crate) update: Option<Digest>,
}

/// Something in the coordinator's inbox.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) event: Event,
    pub(crate) asker: Option<Asker>,
}

/// Something that comes due. Happenings of a process name its `boot`: they die with it.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    ToCoordinator {
        from: At,
        session: u64,
        message: Up,
    },
    ToWorker {
        to: At,
        session: u64,
        message: Down,
    },
    /// The coordinator's own work is done: a policy's answer, an aggregation.
    Answered {
        boot: u64,
        event: Box<Event>,
    },
    /// The coordinator takes what is in its inbox.
    Turn {
        boot: u64,
    },
    /// The coordinator's timer.
    Wake {
        boot: u64,
    },
    CoordinatorStarts,
    /// The coordinator notices that a stream is gone.
    StreamGone {
        boot: u64,
        worker: At,
        session: u64,
    },
    WorkerStarts {
        worker: At,
    },
    /// The worker notices that its stream is gone.
    LinkGone {
        worker: At,
        boot: u64,
        session: u64,
    },
    Dial {
        worker: At,
        boot: u64,
    },
    TrainingDone {
        worker: At,
        boot: u64,
        assignment: AssignmentId,
    },
    /// The worker has had no answer to its report yet.
    Resend {
        worker: At,
        boot: u64,
        assignment: AssignmentId,
    },
    Submit {
        run: usize,
    },
    /// Something may break.
    FaultDue,
    RegionHeals {
        region: usize,
    },
    FaultsStop,
}
