//! What a world is like: how large, how unkind, for how long.

/// One kind of world. A seed picks one world of that kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Most workers; a world has at least two.
    pub workers_max: usize,
    /// Most runs at a time; a world has at least one.
    pub runs_max: usize,
    /// Most rounds a run asks for.
    pub rounds_max: u32,
    /// Most coordinators over one database; a world has at least one.
    pub coordinators_max: usize,
    pub faults: Faults,
    /// Faults stop at this virtual time; from then on every round must commit and every run end.
    pub faults_ms: u64,
    /// Each world turns some faults off and takes a share of the others, so that no fault always hides another.
    pub varies: bool,
    /// One crash at a stated place of the journal.
    pub crash: Option<CrashAt>,
}

/// The leader dies around the writing of one entry, and starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashAt {
    /// The entry's number; the first one is 1.
    pub entry: usize,
    pub point: CrashPoint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// It was applied, and is not in the journal.
    BeforeAppend,
    /// It is in the journal; this many effects of its batch were carried out, and nobody was answered.
    AfterEffects(usize),
    /// It is in the journal and all that follows is done: only memory is lost.
    AfterAnswers,
}

/// Declares the faults, so that none is forgotten where all of them are gone through.
macro_rules! faults {
    ($($(#[$doc:meta])* $field:ident = $name:literal: $all:literal,)*) => {
        /// How unkind: shares of one, of what each says. To add a fault, see the crate's documentation.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct Faults {
            $($(#[$doc])* pub $field: f64,)*
        }

        impl Faults {
            pub const NONE: Self = Self { $($field: 0.0,)* };

            /// Every fault there is, about as often as a round can bear.
            pub const ALL: Self = Self { $($field: $all,)* };

            /// Every fault by name, in the order of their declaration.
            pub const NAMES: &[&str] = &[$($name,)*];

            /// Each share by name, to vary and to print.
            pub fn each_mut(&mut self) -> Vec<(&'static str, &mut f64)> {
                vec![$(($name, &mut self.$field),)*]
            }
        }
    };
}

faults! {
    /// Of messages: lost.
    loss = "loss": 0.12,
    /// Of messages: delivered twice.
    duplication = "duplication": 0.2,
    /// Of messages: delivered out of order.
    reordering = "reordering": 0.3,
    /// Of messages: held up for up to a second.
    delay = "delay": 0.1,
    /// Of the moments at which something breaks: a region is cut off, both ways.
    partition = "partition": 0.15,
    /// … a region is cut off one way: it hears and is not heard, or the other way round.
    one_way = "one-way-partition": 0.15,
    /// … a worker's stream breaks.
    stream_cut = "stream-cut": 0.4,
    /// Of a leader's turns: it dies before its journal is written, after, or amid its effects.
    coordinator_crash = "coordinator-crash": 0.03,
    /// Of the moments at which something breaks: a coordinator is stopped in order and started again.
    coordinator_restart = "coordinator-restart": 0.08,
    /// … a coordinator stands still, for longer than its lease or not, and wakes up believing what it believed. Often this
    /// befalls it amid a turn: just before its journal is written, or just after and with nothing done.
    pause = "pause": 0.2,
    /// Of starts of a coordinator: its clock is off, before or behind.
    clock_skew = "clock-skew": 0.5,
    /// Of the moments at which something breaks: a coordinator does not reach the database for a while.
    database_cut = "database-cut": 0.15,
    /// … nobody can write to the database for a while: its disk is full.
    database_full = "database-full": 0.12,
    /// Of appends: the answer is lost, and nobody knows whether it was written.
    unknown_append = "unknown-append": 0.08,
    /// Of appends: they reach the database late, perhaps when their writer leads no more.
    slow_append = "slow-append": 0.05,
    /// Of snapshots: not written.
    snapshot = "snapshot": 0.3,
    /// Of uploads: the spool takes none for want of space.
    spool_full = "spool-full": 0.1,
    /// Of spooled updates: damaged on disk; for one in three the other copy is damaged too.
    spool_corrupt = "spool-corrupt": 0.06,
    /// Of aggregations: a model or an update cannot be read for a while, or not at all.
    blob_read = "blob-read": 0.1,
    /// Of the moments at which something breaks: a worker crashes, and keeps what it had on disk.
    worker_crash = "worker-crash": 0.3,
    /// … a worker crashes and loses everything but its name.
    worker_wiped = "worker-wiped": 0.15,
    /// … a worker is drained, or no longer drained.
    drain = "drain": 0.15,
    /// … somebody gives a run other policies.
    swap = "swap": 0.4,
    /// … somebody stops a run.
    stop = "stop": 0.02,
    /// … tokens are made and used: twice, by two at a time, too late, for a name or a region that is not theirs.
    enrolment = "enrolment": 0.2,
    /// … a worker reports what it was never asked: for runs, rounds or cohorts that are not its own, or a second time.
    lie = "lie": 0.6,
    /// … a worker reports, for an assignment that it has, what cannot be true.
    absurd = "absurd-report": 0.3,
    /// Of hellos: the worker claims to hold what it does not, or to be what nobody is.
    false_claim = "false-claim": 0.1,
    /// Of assignments: declined.
    decline = "decline": 0.1,
    /// Of assignments: the trainer fails.
    fail = "failed-training": 0.1,
    /// Of assignments: training takes so long that a deadline may pass; of aggregations: a second or more.
    slow = "slow": 0.2,
    /// Of placement questions: the policy fails, takes too long, declines or answers nonsense.
    placement = "placement-policy": 0.3,
    /// Of aggregations: the policy fails, or gives what does not fit the round or its own traits.
    aggregation = "aggregation-policy": 0.3,
    /// Of what built-in policies are asked: they fail too.
    builtin = "built-in-policy": 0.1,
}

impl Faults {
    /// The same without the fault of that name; none if there is no such fault.
    #[must_use]
    pub fn without(mut self, name: &str) -> Option<Self> {
        let (_, share) = self.each_mut().into_iter().find(|(known, _)| *known == name)?;
        *share = 0.0;
        Some(self)
    }
}

impl Plan {
    /// The world of the seeds: up to seven workers, three runs, three coordinators, everything that can go wrong.
    #[must_use]
    pub fn unkind() -> Self {
        Self {
            workers_max: 7,
            runs_max: 3,
            rounds_max: 4,
            coordinators_max: 3,
            faults: Faults::ALL,
            faults_ms: 15_000,
            varies: true,
            crash: None,
        }
    }

    /// The same worlds with nothing going wrong.
    #[must_use]
    pub fn kind() -> Self {
        Self { faults: Faults::NONE, faults_ms: 0, ..Self::unkind() }
    }
}
