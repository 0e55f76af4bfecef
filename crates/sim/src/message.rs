//! Who says what to whom, and everything that can come due in a world.

use polder_core::effect::Assignment;
use polder_core::round::{Evaluation, UpdateReceipt};
use polder_core::worker::Capacity;
use polder_core::{AssignmentId, Digest, Event, Timestamp, TokenId};

/// A worker's place in the world's list.
pub(crate) type At = usize;

/// A coordinator's place in the world's list.
pub(crate) type Who = usize;

/// A worker's stream, as both ends know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    /// The coordinator that the worker dialled: the leader, or one that passes everything on to it.
    pub(crate) via: Who,
    /// The leader's term, and the stream's number in it.
    pub(crate) epoch: u64,
    pub(crate) session: u64,
}

/// From a worker to the coordinator.
#[derive(Clone, Debug)]
pub(crate) enum Up {
    /// Opens a stream; `dial` tells this attempt from the worker's others.
    Hello {
        dial: u64,
        capacity: Capacity,
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
        stream: Stream,
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

/// What a coordinator with a full disk says to an update; the worker keeps it and tries again.
pub(crate) const STORAGE_FULL: &str = "storage_full";

/// Whoever waits for the outcome of an event.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) worker: At,
    pub(crate) via: Who,
    pub(crate) assignment: AssignmentId,
    /// The update whose receipt is wanted; none for an evaluation.
    pub(crate) update: Option<Digest>,
}

/// Something in a leader's inbox.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) event: Event,
    pub(crate) asker: Option<Asker>,
}

/// What a leader wants to be in the journal, on its way to the database: it arrives even if its sender died meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Append {
    pub(crate) who: Who,
    pub(crate) boot: u64,
    pub(crate) epoch: u64,
    pub(crate) attempt: u32,
    /// The newest entry that the leader knows of: what it writes comes right after it.
    pub(crate) after: usize,
    pub(crate) entries: Vec<(Timestamp, String)>,
}

/// What the database answers to an [`Append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    Done,
    /// Another leads.
    Fenced,
    /// It could not be reached, or it was and nobody knows what came of it: worth trying again.
    Unknown,
}

/// What a coordinator's process does next. Steps of a leader name its term: they end with it.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Looks at the lease, and takes it if it is free.
    Look,
    Renew {
        epoch: u64,
    },
    /// Takes what is in the inbox.
    Turn {
        epoch: u64,
    },
    Append {
        epoch: u64,
        attempt: u32,
    },
    Appended {
        epoch: u64,
        attempt: u32,
        outcome: Appended,
    },
    /// Carries out effects from this one on, then answers.
    Act {
        epoch: u64,
        from: usize,
    },
    Wake {
        epoch: u64,
    },
    /// A policy's answer, an aggregation: its own work is done.
    Answered {
        epoch: u64,
        event: Box<Event>,
    },
    /// Notices that a stream is gone.
    StreamGone {
        epoch: u64,
        worker: At,
        session: u64,
    },
    /// A snapshot was written out, and goes to the database.
    Snapshot {
        epoch: u64,
        seq: usize,
        state: String,
    },
    /// Lets the lease go and stops, to be started again.
    Stop,
}

/// Something that comes due. Happenings of a process name its `boot`: they die with it.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    ToCoordinator {
        from: At,
        via: Who,
        stream: Option<Stream>,
        message: Up,
    },
    ToWorker {
        to: At,
        via: Who,
        stream: Option<Stream>,
        message: Down,
    },
    Process {
        who: Who,
        boot: u64,
        step: Step,
    },
    AtDatabase(Box<Append>),
    CoordinatorStarts {
        who: Who,
    },
    WorkerStarts {
        worker: At,
    },
    /// The worker notices that its stream is gone.
    LinkGone {
        worker: At,
        boot: u64,
        stream: Stream,
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
    /// Somebody comes with a token.
    Redeem {
        token: TokenId,
        key: String,
        worker: String,
        region: usize,
    },
    /// Something may break.
    FaultDue,
    RegionHeals {
        region: usize,
    },
    FaultsStop,
}
