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
    pub faults: Faults,
    /// Faults stop at this virtual time; from then on every round must commit and every run end.
    pub faults_ms: u64,
    /// Each world turns some faults off and takes a share of the others, so that no fault always hides another.
    pub varies: bool,
}

/// How unkind: shares of one, of what each says. To add a fault, see the crate's documentation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Faults {
    /// Of messages: lost.
    pub loss: f64,
    /// Of messages: delivered twice.
    pub duplication: f64,
    /// Of messages: delivered out of order.
    pub reordering: f64,
    /// Of messages: held up for up to a second.
    pub delay: f64,
    /// Of the coordinator's turns: it crashes before its journal is written, after, or amid its effects.
    pub coordinator_crash: f64,
    /// Of the moments at which something breaks: a worker crashes.
    pub worker_crash: f64,
    /// … a region is cut off.
    pub partition: f64,
    /// … a worker's stream breaks.
    pub stream_cut: f64,
    /// … a worker is drained, or no longer drained.
    pub drain: f64,
    /// … somebody gives a run other policies.
    pub swap: f64,
    /// … somebody stops a run.
    pub stop: f64,
    /// … a worker reports what it was never asked.
    pub lie: f64,
    /// Of assignments: declined.
    pub decline: f64,
    /// Of assignments: the trainer fails.
    pub fail: f64,
    /// Of assignments: training takes so long that a deadline may pass; of aggregations: a second or more.
    pub slow: f64,
    /// Of placement questions: the policy fails, declines or answers nonsense.
    pub placement: f64,
    /// Of aggregations: the policy fails, or gives what does not fit the round or its own traits.
    pub aggregation: f64,
    /// Of what built-in policies are asked: they fail too.
    pub builtin: f64,
}

impl Faults {
    pub const NONE: Self = Self {
        loss: 0.0,
        duplication: 0.0,
        reordering: 0.0,
        delay: 0.0,
        coordinator_crash: 0.0,
        worker_crash: 0.0,
        partition: 0.0,
        stream_cut: 0.0,
        drain: 0.0,
        swap: 0.0,
        stop: 0.0,
        lie: 0.0,
        decline: 0.0,
        fail: 0.0,
        slow: 0.0,
        placement: 0.0,
        aggregation: 0.0,
        builtin: 0.0,
    };

    /// Every fault there is, about as often as a round can bear.
    pub const ALL: Self = Self {
        loss: 0.15,
        duplication: 0.2,
        reordering: 0.3,
        delay: 0.1,
        coordinator_crash: 0.05,
        worker_crash: 0.4,
        partition: 0.2,
        stream_cut: 0.4,
        drain: 0.15,
        swap: 0.5,
        stop: 0.02,
        lie: 0.8,
        decline: 0.1,
        fail: 0.1,
        slow: 0.25,
        placement: 0.35,
        aggregation: 0.35,
        builtin: 0.1,
    };

    /// Each fault by name, to vary and to print.
    pub(crate) fn each_mut(&mut self) -> [(&'static str, &mut f64); 18] {
        [
            ("loss", &mut self.loss),
            ("duplication", &mut self.duplication),
            ("reordering", &mut self.reordering),
            ("delay", &mut self.delay),
            ("coordinator-crash", &mut self.coordinator_crash),
            ("worker-crash", &mut self.worker_crash),
            ("partition", &mut self.partition),
            ("stream-cut", &mut self.stream_cut),
            ("drain", &mut self.drain),
            ("swap", &mut self.swap),
            ("stop", &mut self.stop),
            ("lie", &mut self.lie),
            ("decline", &mut self.decline),
            ("fail", &mut self.fail),
            ("slow", &mut self.slow),
            ("placement", &mut self.placement),
            ("aggregation", &mut self.aggregation),
            ("builtin", &mut self.builtin),
        ]
    }
}

impl Plan {
    /// The world of the 500 seeds: up to seven workers, three runs, everything that can go wrong.
    #[must_use]
    pub fn unkind() -> Self {
        Self { workers_max: 7, runs_max: 3, rounds_max: 4, faults: Faults::ALL, faults_ms: 15_000, varies: true }
    }

    /// The same worlds with nothing going wrong.
    #[must_use]
    pub fn kind() -> Self {
        Self { faults: Faults::NONE, faults_ms: 0, ..Self::unkind() }
    }
}
