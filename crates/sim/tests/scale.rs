//! Ten thousand workers on one federation, with rounds going on: what a round costs the core, and what a worker weighs.

use std::collections::BTreeSet;
use std::time::Instant;

use polder_core::enrolment::{Applicant, Grant};
use polder_core::policy::{AggregationTraits, Placed, PlacementAnswer, PlacementQuestion, PolicyRef};
use polder_core::round::{AggregateReceipt, UpdateReceipt};
use polder_core::spec::{CohortSpec, Deadlines, ModelSpec, RetentionSpec, RunSpec, TrainerSpec};
use polder_core::worker::Capacity;
use polder_core::{
    AssignmentId, Digest, Effect, Event, Federation, PolicyName, Region, RunId, Timestamp, TokenId, WorkerName,
    invariants,
};

const WORKERS: u32 = 10_000;

struct Crowd {
    federation: Federation,
    now: Timestamp,
    events: u64,
}

fn digest(seed: u64) -> Digest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Digest::blake3(bytes)
}

fn worker(at: u32) -> WorkerName {
    WorkerName::new(format!("worker-{at:05}")).unwrap()
}

fn spec(cohort: u32, rounds: u32) -> RunSpec {
    let policy = |name: &str| PolicyRef::new(PolicyName::new(name).unwrap(), digest(7));
    RunSpec {
        name: "crowd".into(),
        model: ModelSpec { digest: digest(1), bytes: 400, parameters: 100 },
        dataset: "digits".into(),
        trainer: TrainerSpec { kind: "mlp".into(), settings: serde_json::Value::Null },
        rounds,
        cohort: CohortSpec {
            size: cohort,
            over_selection: 0,
            quorum: cohort.div_ceil(2),
            standbys: 0,
            staleness_max: 0,
        },
        deadlines: Deadlines { selection_ms: 1_000, round_ms: 60_000 },
        evaluation: None,
        target: None,
        retention: RetentionSpec { models: 3 },
        placement: policy("least-loaded"),
        aggregation: policy("fedavg"),
        seed: 7,
    }
}

impl Crowd {
    fn gather() -> Self {
        let mut crowd = Self { federation: Federation::new(), now: Timestamp(1_000_000), events: 0 };
        for at in 0..WORKERS {
            let (name, token) = (worker(at), TokenId::new(format!("token-{at}")).unwrap());
            let region = Region::new(format!("region-{}", at % 100)).unwrap();
            crowd.tell(Event::TokenCreated {
                token: token.clone(),
                secret_hash: "secret".into(),
                grant: Grant::Worker { region },
                expires_at: crowd.now.plus_ms(1_000),
            });
            let worker = Some((name.clone(), None));
            let applicant = Applicant { secret_hash: "secret".into(), key_hash: format!("key-{at}"), worker };
            crowd.tell(Event::TokenRedeemed { token, applicant });
            let capacity = Capacity {
                slots: 2,
                datasets: BTreeSet::from(["digits".into()]),
                trainers: BTreeSet::from(["mlp".into()]),
            };
            crowd.tell(Event::WorkerConnected { worker: name, session: 1, capacity, holding: Vec::new() });
        }
        crowd
    }

    fn tell(&mut self, event: Event) -> Vec<Effect> {
        self.events += 1;
        self.now = self.now.plus_ms(1);
        let effects = self.federation.apply(self.now, event).unwrap();
        let _ = self.federation.next_wake();
        effects
    }

    /// Answers whatever is asked until no run is open.
    fn live(&mut self, mut effects: Vec<Effect>) {
        while let Some(effect) = effects.pop() {
            let more = match effect {
                Effect::AskPlacement { question, ask, .. } => {
                    let answer = first_that_are_free(&ask);
                    self.tell(Event::PlacementAnswered { question, policy: digest(7), answer })
                }
                Effect::SendAssignment(assignment) => self.train(assignment.id),
                Effect::Aggregate(task) => {
                    let weights = vec![1.0; task.inputs.len()];
                    let model = digest(u64::from(task.round) + 100);
                    let receipt = AggregateReceipt::new(model, 400, digest(7), weights, "the mean".into());
                    self.tell(Event::Aggregated { run: task.run, round: task.round, receipt })
                }
                _ => Vec::new(),
            };
            effects.extend(more);
        }
    }

    fn train(&mut self, assignment: AssignmentId) -> Vec<Effect> {
        let mut effects = self.tell(Event::AssignmentAccepted { assignment: assignment.clone() });
        let receipt = UpdateReceipt::new(digest(3), 400, 100);
        effects.extend(self.tell(Event::UpdateReceived { assignment, receipt }));
        effects
    }
}

fn first_that_are_free(ask: &PlacementQuestion) -> PlacementAnswer {
    let demand = &ask.demands[0];
    let chosen = demand.candidates.iter().take(demand.seats as usize);
    let placed = chosen.map(|worker| Placed {
        run: demand.run.clone(),
        worker: worker.clone(),
        gpu: None,
        reason: "it is free".into(),
    });
    PlacementAnswer { assignments: placed.collect(), ..PlacementAnswer::default() }
}

#[test]
#[expect(clippy::print_stderr, reason = "its figures are what it is for")]
fn ten_thousand_workers_take_part_in_rounds() {
    let began = Instant::now();
    let mut crowd = Crowd::gather();
    let state = serde_json::to_string(&crowd.federation).unwrap().len();
    eprintln!("{WORKERS} workers joined in {:?}: {} bytes of state each", began.elapsed(), state / WORKERS as usize);
    for (cohort, rounds) in [(100, 20), (1_000, 5), (WORKERS, 2)] {
        let id = RunId::new(format!("cohort-{cohort}")).unwrap();
        let (began, before) = (Instant::now(), crowd.events);
        let (spec, traits) = (Box::new(spec(cohort, rounds)), AggregationTraits::default());
        let effects = crowd.tell(Event::RunSubmitted { run: id.clone(), spec, traits });
        crowd.live(effects);
        let run = &crowd.federation.runs[&id];
        assert_eq!((run.status.name(), run.rounds_committed()), ("completed", u64::from(rounds)));
        assert_eq!(invariants::check(&crowd.federation), []);
        let (events, each) = (crowd.events - before, began.elapsed() / rounds);
        let per_event = began.elapsed() / u32::try_from(events).unwrap();
        eprintln!("cohorts of {cohort}: {each:?} a round, {per_event:?} an event ({events} events)");
    }
}
