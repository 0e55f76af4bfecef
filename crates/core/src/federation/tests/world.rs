//! A federation that tests play with: nouns, then an assertion. Every event that is taken is checked against all
//! invariants; every refusal, that nothing changed.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::enrolment::{Applicant, Grant};
use crate::federation::Refusal;
use crate::id::{AssignmentId, PolicyName, QuestionId, Region, RoundNumber, RunId, TokenId, WorkerName};
use crate::policy::{
    AggregationTraits, Declined, OnFailure, Placed, PlacementAnswer, PlacementQuestion, PolicyChoice, PolicyRef,
};
use crate::round::{AggregateReceipt, Round, SeatState, UpdateReceipt};
use crate::run::Run;
use crate::spec::{CohortSpec, Deadlines, ModelSpec, RunSpec, TrainerSpec};
use crate::worker::Capacity;
use crate::{Effect, Event, Federation, Timestamp, invariants};

pub(super) const ROUND_MS: u64 = 10_000;
pub(super) const SELECTION_MS: u64 = 500;
pub(super) const GRACE_MS: u64 = 2_000;

pub(super) struct World {
    pub(super) federation: Federation,
    pub(super) now: Timestamp,
    /// The effects of the last event.
    pub(super) effects: Vec<Effect>,
    journal: Vec<(Timestamp, Event)>,
    sessions: u64,
}

pub(super) fn worker(name: &str) -> WorkerName {
    WorkerName::new(name).unwrap()
}

pub(super) fn run(name: &str) -> RunId {
    RunId::new(name).unwrap()
}

pub(super) fn region(name: &str) -> Region {
    Region::new(name).unwrap()
}

pub(super) fn policy(name: &str) -> PolicyRef {
    let digest = Digest::sha256([name.as_bytes()[0]; 32]);
    PolicyRef::new(PolicyName::new(name).unwrap(), digest)
}

pub(super) fn policy_with(name: &str, on_failure: OnFailure) -> PolicyRef {
    PolicyRef { on_failure, ..policy(name) }
}

/// A run of two rounds that wants `size` updates and needs `quorum`.
pub(super) fn wants(size: u32, quorum: u32) -> RunSpec {
    RunSpec {
        name: "digits".into(),
        model: ModelSpec { digest: Digest::blake3([0; 32]), bytes: 400, parameters: 100 },
        dataset: "digits".into(),
        trainer: TrainerSpec { kind: "mlp".into(), settings: serde_json::json!({"rate": 0.1}) },
        rounds: 2,
        cohort: CohortSpec { size, over_selection: 0, quorum, staleness_max: 0, standbys: 0 },
        deadlines: Deadlines { selection_ms: SELECTION_MS, round_ms: ROUND_MS },
        evaluation: None,
        target: None,
        retention: crate::spec::RetentionSpec::default(),
        placement: policy("least-loaded"),
        aggregation: policy("fedavg"),
        seed: 1,
    }
}

pub(super) fn capacity(slots: u32) -> Capacity {
    Capacity { slots, datasets: BTreeSet::from(["digits".into()]), trainers: BTreeSet::from(["mlp".into()]) }
}

pub(super) fn update_of(name: &str) -> UpdateReceipt {
    let update = Digest::blake3([name.as_bytes()[0]; 32]);
    UpdateReceipt { loss: Some(0.5), ..UpdateReceipt::new(update, 400, 10) }
}

impl World {
    /// Workers that are enrolled in regions of their own name and connected, with one slot each.
    pub(super) fn with(workers: &[&str]) -> Self {
        let federation = Federation::new();
        let mut world =
            Self { federation, now: Timestamp(1_000), effects: Vec::new(), journal: Vec::new(), sessions: 0 };
        for name in workers {
            world = world.enrolled(name).connected(name);
        }
        world
    }

    pub(super) fn try_event(&mut self, event: Event) -> Result<(), Refusal> {
        let before = self.federation.clone();
        match self.federation.apply(self.now, event.clone()) {
            Ok(effects) => {
                self.effects = effects;
                self.journal.push((self.now, event));
                assert_eq!(invariants::check(&self.federation), []);
                let wake = self.federation.next_wake();
                assert!(wake.is_none_or(|wake| wake > self.now), "woken at {wake:?} at {:?}: a hot loop", self.now);
                Ok(())
            }
            Err(refusal) => {
                assert_eq!(self.federation, before, "a refused event changed something");
                Err(refusal)
            }
        }
    }

    #[track_caller]
    pub(super) fn event(mut self, event: Event) -> Self {
        if let Err(refusal) = self.try_event(event.clone()) {
            panic!("{event:?} was refused: {refusal}");
        }
        self
    }

    /// The event is refused, with this code, and changes nothing.
    #[track_caller]
    pub(super) fn refuses(mut self, event: Event, code: &str) -> Self {
        let refusal = self.try_event(event.clone()).expect_err("this must be refused");
        assert_eq!(refusal.code(), code, "{refusal}");
        self
    }

    #[track_caller]
    pub(super) fn enrolled(self, name: &str) -> Self {
        let token = TokenId::new(format!("token-{name}")).unwrap();
        let expires_at = self.now.plus_ms(60_000);
        let grant = Grant::Worker { region: region(name) };
        let applicant = Applicant {
            secret_hash: "s".into(),
            key_hash: format!("key-{name}"),
            worker: Some((worker(name), Some(region(name)))),
        };
        self.event(Event::TokenCreated { token: token.clone(), secret_hash: "s".into(), grant, expires_at })
            .event(Event::TokenRedeemed { token, applicant })
    }

    #[track_caller]
    pub(super) fn connected(self, name: &str) -> Self {
        self.connected_with(name, 1, &[])
    }

    /// `holding` are names of runs whose open round the worker still works for.
    #[track_caller]
    pub(super) fn connected_with(mut self, name: &str, slots: u32, holding: &[&str]) -> Self {
        self.sessions += 1;
        let session = self.sessions;
        let holding = holding.iter().map(|run| self.assignment(run, name)).collect();
        self.event(Event::WorkerConnected { worker: worker(name), session, capacity: capacity(slots), holding })
    }

    #[track_caller]
    pub(super) fn disconnected(self, name: &str) -> Self {
        use crate::worker::Presence::Connected;
        let Connected { session, .. } = self.federation.workers[&worker(name)].presence else {
            panic!("{name} is not connected");
        };
        let reason = "its stream broke".into();
        self.event(Event::WorkerDisconnected { worker: worker(name), session, grace_ms: GRACE_MS, reason })
    }

    #[track_caller]
    pub(super) fn lost(self, name: &str) -> Self {
        self.disconnected(name).after_ms(GRACE_MS)
    }

    #[track_caller]
    pub(super) fn submitted(self, name: &str, spec: RunSpec) -> Self {
        self.event(Event::RunSubmitted { run: run(name), spec: Box::new(spec), traits: AggregationTraits::default() })
    }

    #[track_caller]
    pub(super) fn after_ms(mut self, ms: u64) -> Self {
        self.now = self.now.plus_ms(ms);
        self.event(Event::TimePassed)
    }

    /// The question that the last event asked.
    #[track_caller]
    /// Waits out the pause that follows an abandoned round.
    pub(super) fn rested(self, name: &str) -> Self {
        let until = self.round(name).quiet_until.expect("a new round rests after an abandoned one");
        assert!(!self.asks(), "nobody is asked during the pause");
        assert!(self.run(name).waiting_for().unwrap().contains("a pause after the round that was abandoned"));
        let ms = until.ms_since(self.now);
        self.after_ms(ms)
    }

    pub(super) fn asked(&self) -> (QuestionId, PolicyChoice, PlacementQuestion) {
        let asked = self.effects.iter().find_map(|effect| match effect {
            Effect::AskPlacement { question, policy, ask } => Some((*question, policy.clone(), ask.clone())),
            _ => None,
        });
        asked.expect("the last event asks the placement policy")
    }

    pub(super) fn asks(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::AskPlacement { .. }))
    }

    /// The policy that was just asked answers with these workers by run.
    #[track_caller]
    pub(super) fn chosen(self, chosen: &[(&str, &[&str])]) -> Self {
        let (question, ..) = self.asked();
        self.answered(question, chosen)
    }

    #[track_caller]
    pub(super) fn answered(self, question: QuestionId, chosen: &[(&str, &[&str])]) -> Self {
        let placed = |name: &str, chosen: &&str| Placed {
            run: run(name),
            worker: worker(chosen),
            gpu: None,
            reason: "it is free".into(),
        };
        let assignments = chosen.iter().flat_map(|(name, workers)| workers.iter().map(move |w| placed(name, w)));
        let answer = PlacementAnswer { assignments: assignments.collect(), ..PlacementAnswer::default() };
        self.event(Event::PlacementAnswered { question, policy: Digest::sha256([1; 32]), answer })
    }

    #[track_caller]
    pub(super) fn policy_declines(self, name: &str) -> Self {
        let (question, ..) = self.asked();
        let declined = vec![Declined { run: run(name), reason: "power is dear".into() }];
        let answer = PlacementAnswer { declined, ..PlacementAnswer::default() };
        self.event(Event::PlacementAnswered { question, policy: Digest::sha256([1; 32]), answer })
    }

    #[track_caller]
    pub(super) fn policy_fails(self) -> Self {
        let (question, ..) = self.asked();
        self.event(Event::PlacementFailed { question, reason: "trap: unreachable".into() })
    }

    #[track_caller]
    pub(super) fn reported(self, name: &str, by: &str) -> Self {
        let event = self.report(name, by);
        self.event(event)
    }

    pub(super) fn report(&self, name: &str, by: &str) -> Event {
        Event::UpdateReceived { assignment: self.assignment(name, by), receipt: update_of(by) }
    }

    #[track_caller]
    pub(super) fn aggregated(self, name: &str) -> Self {
        let round = self.round(name);
        let model = Digest::blake3([u8::try_from(round.number).unwrap(); 32]);
        let weights = vec![0.5; round.reported() as usize];
        let receipt = AggregateReceipt::new(model, 400, model, weights, "by examples".into());
        let round = round.number;
        self.event(Event::Aggregated { run: run(name), round, receipt })
    }

    pub(super) fn run(&self, name: &str) -> &Run {
        &self.federation.runs[&run(name)]
    }

    #[track_caller]
    pub(super) fn round(&self, name: &str) -> &Round {
        self.run(name).round.as_ref().expect("the run has an open round")
    }

    pub(super) fn assignment(&self, name: &str, by: &str) -> AssignmentId {
        let round: RoundNumber = self.run(name).round.as_ref().map_or(1, |round| round.number);
        AssignmentId { run: run(name), round, worker: worker(by) }
    }

    #[track_caller]
    pub(super) fn phase_is(self, name: &str, phase: &str) -> Self {
        let round = self.round(name);
        assert_eq!(round.phase.name(), phase, "round {} has reasons {:#?}", round.number, round.reasons);
        self
    }

    #[track_caller]
    pub(super) fn seat_is(self, name: &str, of: &str, state: &str) -> Self {
        assert_eq!(self.seat(name, of).name(), state);
        self
    }

    #[track_caller]
    pub(super) fn seat(&self, name: &str, of: &str) -> &SeatState {
        &self.round(name).seats[&worker(of)].state
    }

    /// Runs that the last event sent `to` assignments of.
    pub(super) fn sent(&self, to: &str) -> Vec<&str> {
        let sent = self.effects.iter().filter_map(|effect| match effect {
            Effect::SendAssignment(assignment) if assignment.id.worker == worker(to) => {
                Some(assignment.id.run.as_str())
            }
            _ => None,
        });
        sent.collect()
    }

    /// Reasons with which the last event cancelled assignments of `of`.
    pub(super) fn cancelled(&self, of: &str) -> Vec<&str> {
        let cancelled = self.effects.iter().filter_map(|effect| match effect {
            Effect::CancelAssignment { assignment, reason } if assignment.worker == worker(of) => Some(reason.as_str()),
            _ => None,
        });
        cancelled.collect()
    }

    /// Replays the journal from scratch, as the store keeps it, and finds the same federation.
    #[track_caller]
    pub(super) fn replays(self) -> Self {
        let mut again = Federation::new();
        for (at, event) in &self.journal {
            let text = serde_json::to_string(event).unwrap();
            again.apply(*at, serde_json::from_str(&text).unwrap()).unwrap();
        }
        assert_eq!(again, self.federation);
        self
    }
}
