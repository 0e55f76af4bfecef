//! What a federation holds in memory, and writes into snapshots, does not grow with the rounds that go by.

use super::world::{World, run, wants, worker};
use crate::digest::Digest;
use crate::enrolment::Grant;
use crate::id::TokenId;
use crate::policy::{AggregationTraits, Placed, PlacementAnswer};
use crate::round::{AggregateReceipt, Evaluation, Kept, Phase, StateTensor, Task, UpdateReceipt};
use crate::spec::{CohortSpec, EvaluationSpec, RetentionSpec, RunSpec};
use crate::{AssignmentId, Effect, Event, Federation, Timestamp, invariants};

fn digest(kind: u8, number: u64) -> Digest {
    let mut bytes = [kind; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Digest::blake3(bytes)
}

/// Plays one run's rounds, with everything that could pile up: evaluations, a policy that keeps tensors, a worker that is
/// always late, tokens that nobody uses.
struct Play {
    federation: Federation,
    now: Timestamp,
    archived: u64,
    removed: Vec<Digest>,
}

impl Play {
    fn event(&mut self, event: Event) -> Vec<Effect> {
        self.now = self.now.plus_ms(1);
        let effects = self.federation.apply(self.now, event).unwrap();
        for effect in &effects {
            match effect {
                Effect::ArchiveRound { run, round } => {
                    assert!(self.federation.runs[run].round(*round).is_some_and(|round| !round.is_open()));
                    self.archived += 1;
                }
                Effect::RemoveBlobs { digests, .. } => self.removed.extend(digests),
                _ => {}
            }
        }
        effects
    }

    /// From the question under way to the commit of the round.
    fn round(&mut self, mut effects: Vec<Effect>) -> Vec<Effect> {
        let is_question = |effect: &Effect| matches!(effect, Effect::AskPlacement { .. });
        if !effects.iter().any(is_question) {
            self.now = self.now.plus_ms(1_000);
            effects = self.event(Event::TimePassed);
        }
        let asked = effects.into_iter().find_map(|effect| match effect {
            Effect::AskPlacement { question, ask, .. } => Some((question, ask)),
            _ => None,
        });
        let (question, ask) = asked.expect("every round asks for workers");
        let demand = &ask.demands[0];
        let placed = |worker: &crate::WorkerName| Placed {
            run: demand.run.clone(),
            worker: worker.clone(),
            gpu: None,
            reason: "it is free".into(),
        };
        let assignments = demand.candidates.iter().take(demand.seats as usize).map(placed).collect();
        let answer = PlacementAnswer { assignments, state: vec![7; 100], ..PlacementAnswer::default() };
        self.event(Event::PlacementAnswered { question, policy: Digest::sha256([1; 32]), answer });
        self.report_and_commit()
    }

    fn report_and_commit(&mut self) -> Vec<Effect> {
        let open = self.federation.runs[&run("r")].round.clone().unwrap();
        let number = open.number;
        let active = open.seats.iter().filter(|(_, seat)| seat.is_active());
        let mut active = active.map(|(name, seat)| (open.origin(seat), name.clone()));
        let (origin, slow) = active.next().unwrap();
        let mut others: Vec<_> = active.collect();
        others.push((origin, slow.clone()));
        for (round, worker) in others {
            if !matches!(self.federation.runs[&run("r")].round.as_ref().unwrap().phase, Phase::Aggregation { .. }) {
                self.report(AssignmentId { run: run("r"), round, worker });
            }
        }
        let reported = self.federation.runs[&run("r")].round.as_ref().unwrap().reported();
        let tensor = StateTensor { digest: digest(2, u64::from(number)), bytes: 400 };
        let receipt = AggregateReceipt {
            kept: Kept { tensors: vec![tensor], state: vec![1; 64] },
            ..AggregateReceipt::new(
                digest(1, u64::from(number)),
                400,
                Digest::sha256([2; 32]),
                vec![1.0; reported as usize],
                "equal".into(),
            )
        };
        let effects = self.event(Event::Aggregated { run: run("r"), round: number, receipt });
        let late = AssignmentId { run: run("r"), round: origin, worker: slow };
        if number.is_multiple_of(3) && self.federation.admit(&late, Task::Train).is_ok() {
            self.report(late);
        }
        effects
    }

    fn report(&mut self, assignment: AssignmentId) {
        let accuracy = f64::from(assignment.round % 1_000) / 1_000.0;
        let receipt = UpdateReceipt {
            evaluation: Some(Evaluation { examples: 10, loss: 1.0 - accuracy, accuracy }),
            ..UpdateReceipt::new(digest(3, u64::from(assignment.round)), 400, 10)
        };
        self.event(Event::UpdateReceived { assignment, receipt });
    }
}

fn played(rounds: u32) -> Play {
    let spec = RunSpec {
        rounds: rounds + 1_000,
        cohort: CohortSpec { size: 2, over_selection: 1, quorum: 2, staleness_max: 2, standbys: 2 },
        evaluation: Some(EvaluationSpec { holdout: 0.1 }),
        retention: RetentionSpec { models: 3 },
        ..wants(2, 2)
    };
    let traits = AggregationTraits { has_step: true, state_tensors: 1, ..AggregationTraits::default() };
    let world = World::with(&["a", "b", "c", "d"]);
    let submitted = Event::RunSubmitted { run: run("r"), spec: Box::new(spec), traits };
    let world = world.event(submitted);
    Play { federation: world.federation, now: world.now, archived: 0, removed: Vec::new() }
}

#[test]
fn twenty_thousand_rounds_leave_the_state_as_small_as_a_thousand_did() {
    let mut play = played(20_000);
    let mut effects = vec![];
    let question = play.federation.is_asking();
    assert!(question, "the first round asks at once");
    // The question was asked while the world was made: ask it again, as after a restart.
    effects.extend(play.event(Event::CoordinatorStarted { grace_ms: 1_000_000_000 }));
    for name in ["a", "b", "c", "d"] {
        let capacity = super::world::capacity(1);
        let session = 100;
        effects.extend(play.event(Event::WorkerConnected { worker: worker(name), session, capacity, holding: vec![] }));
    }
    let mut sizes = Vec::new();
    for number in 1..=20_000_u64 {
        effects = play.round(effects);
        if number.is_multiple_of(10) {
            let token = TokenId::new(format!("t{number}")).unwrap();
            let grant = Grant::Operator { name: "ann".into() };
            let expires_at = play.now.plus_ms(1);
            play.now = play.now.plus_ms(60_000_000);
            effects.extend(play.event(Event::TokenCreated { token, secret_hash: "s".into(), grant, expires_at }));
        }
        if number.is_multiple_of(1_000) {
            assert_eq!(invariants::check(&play.federation), []);
            sizes.push(serde_json::to_vec(&play.federation).unwrap().len());
        }
    }
    let run = &play.federation.runs[&run("r")];
    assert_eq!((run.rounds_committed(), play.archived), (20_000, 20_000));
    // Numbers get longer, and a worker may be late in one round and not in another: no more than that.
    let (early, late) = (sizes[1], sizes[19]);
    assert!(late < early + early / 10, "{sizes:?}");
    assert!(late < 400_000, "{late} bytes");
    // Every model that went by was let go once, and none that is kept.
    let models: Vec<Digest> =
        play.removed.iter().filter(|gone| (1..=20_000).any(|n| **gone == digest(1, n))).copied().take(5).collect();
    assert_eq!(models[0], digest(1, 1));
    assert!(run.blobs().all(|kept| !play.removed.contains(&kept)));
    let (kept, gone) = (run.models.len(), play.removed.len());
    assert_eq!(kept + gone, 20_000 + 19_999, "models and state tensors");
}

#[test]
fn a_federation_survives_being_written_and_read() {
    let mut play = played(50);
    play.event(Event::CoordinatorStarted { grace_ms: 1_000_000_000 });
    let mut effects = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let capacity = super::world::capacity(1);
        effects.extend(play.event(Event::WorkerConnected {
            worker: worker(name),
            session: 100,
            capacity,
            holding: vec![],
        }));
    }
    for _ in 0..50 {
        effects = play.round(effects);
        let text = serde_json::to_string(&play.federation).unwrap();
        let again: Federation = serde_json::from_str(&text).unwrap();
        assert_eq!(again, play.federation);
    }
}
