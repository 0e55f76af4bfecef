//! Whatever happens, in whatever order: nothing panics, every invariant holds, a refused event changes nothing, time
//! alone never keeps a shell busy, and the journal alone gives the same federation again.

#[path = "properties/strategies.rs"]
mod strategies;

use std::collections::BTreeSet;

use polder_core::effect::AggregationTask;
use polder_core::enrolment::{Applicant, Grant};
use polder_core::policy::{AggregationTraits, Declined, Placed, PlacementAnswer, PlacementQuestion};
use polder_core::round::{AggregateReceipt, Evaluation, Kept, UpdateReceipt};
use polder_core::spec::{CohortSpec, RunSpec};
use polder_core::worker::Capacity;
use polder_core::{
    AssignmentId, Digest, Effect, Event, Federation, QuestionId, Region, RunId, Timestamp, TokenId, WorkerName,
    invariants,
};
use proptest::prelude::*;
use proptest::sample::Index;

use self::strategies::{a_move, a_spec};

const WORKERS: [&str; 5] = ["a", "b", "c", "d", "nobody"];
const RUNS: [&str; 4] = ["r", "s", "t", "nowhere"];
const WORKERS_ENROLLED: usize = 4;
const RUNS_SUBMITTED: usize = 3;

/// Something that happens: either an event as it is, or one that fits what the federation is doing just then.
#[derive(Clone, Debug)]
enum Move {
    Event(Event),
    /// The policy asked last chooses the candidates whose bits are set, or nonsense.
    Answer {
        chosen: u8,
        twice: bool,
    },
    QuestionFails,
    /// The worker reports for its seat in the open round of a run.
    Report {
        run: Index,
        worker: Index,
        receipt: UpdateReceipt,
    },
    Evaluate {
        run: Index,
        worker: Index,
        evaluation: Evaluation,
    },
    Accept {
        run: Index,
        worker: Index,
    },
    Decline {
        run: Index,
        worker: Index,
    },
    Fail {
        run: Index,
        worker: Index,
    },
    /// The aggregation asked last ends; `weights` more or fewer than it had inputs.
    Aggregate {
        weights: i8,
        weight: f32,
        kept: Kept,
        has_notes: bool,
    },
    AggregationFails,
    Connect {
        worker: Index,
        slots: u32,
        holds: u8,
    },
    Disconnect {
        worker: Index,
        grace_ms: u64,
    },
    Restart,
    /// The shell sleeps until it is to be woken.
    Wake,
}

#[derive(Default)]
struct Play {
    federation: Federation,
    now: Timestamp,
    question: Option<(QuestionId, PlacementQuestion)>,
    aggregation: Option<AggregationTask>,
    journal: Vec<(Timestamp, Event)>,
    sessions: u64,
}

fn worker(index: &Index) -> WorkerName {
    WorkerName::new(*index.get(&WORKERS)).unwrap()
}

fn run(index: &Index) -> RunId {
    RunId::new(*index.get(&RUNS)).unwrap()
}

fn digest(seed: u8) -> Digest {
    Digest::blake3([seed; 32])
}

impl Play {
    /// Workers enrolled and connected, runs submitted: random moves from nothing would rarely come this far.
    fn begin(specs: Vec<RunSpec>, slots: &[u32]) -> Self {
        let mut play = Self { now: Timestamp(1_000_000), ..Self::default() };
        for (name, slots) in WORKERS.iter().zip(slots).take(WORKERS_ENROLLED) {
            let token = TokenId::new(format!("t-{name}")).unwrap();
            let grant = Grant::Worker { region: Region::new("north").unwrap() };
            let expires_at = play.now.plus_ms(1_000);
            let worker = WorkerName::new(*name).unwrap();
            let applicant =
                Applicant { secret_hash: "s".into(), key_hash: "k".into(), worker: Some((worker.clone(), None)) };
            play.take(Event::TokenCreated { token: token.clone(), secret_hash: "s".into(), grant, expires_at });
            play.take(Event::TokenRedeemed { token, applicant });
            let connect = play.connect(worker, *slots, 0);
            play.take(connect);
        }
        for (name, spec) in RUNS.iter().zip(specs).take(RUNS_SUBMITTED) {
            play.take(Event::RunSubmitted {
                run: RunId::new(*name).unwrap(),
                spec: Box::new(spec),
                traits: AggregationTraits::default(),
            });
        }
        play
    }

    fn assignment(&self, run_index: &Index, worker_index: &Index) -> AssignmentId {
        let run = run(run_index);
        let open = self.federation.runs.get(&run).and_then(|run| run.round.as_ref());
        let worker = worker(worker_index);
        let origin = open.and_then(|round| Some(round.origin(round.seats.get(&worker)?)));
        let round = origin.or(open.map(|round| round.number)).unwrap_or(1);
        AssignmentId { run, round, worker }
    }

    fn connect(&mut self, worker: WorkerName, slots: u32, holds: u8) -> Event {
        self.sessions += 1;
        let capacity =
            Capacity { slots, datasets: BTreeSet::from(["digits".into()]), trainers: BTreeSet::from(["mlp".into()]) };
        let seats = self.federation.runs.values().filter_map(|run| {
            let open = run.round.as_ref()?;
            let round = open.seats.get(&worker).map_or(open.number, |seat| open.origin(seat));
            Some(AssignmentId { run: run.id.clone(), round, worker: worker.clone() })
        });
        let holding = seats.enumerate().filter(|(at, _)| holds >> at & 1 == 1).map(|(_, seat)| seat).collect();
        Event::WorkerConnected { worker, session: self.sessions, capacity, holding }
    }

    /// The event that `what` is now, if it can be one.
    fn event(&mut self, what: Move) -> Option<Event> {
        Some(match what {
            Move::Event(event) => event,
            Move::Answer { chosen, twice } => {
                let (question, ask) = self.question.clone()?;
                let mut assignments = Vec::new();
                let mut declined = Vec::new();
                for (at, demand) in ask.demands.iter().enumerate() {
                    let bits = chosen.rotate_left(u32::try_from(at).unwrap());
                    let picked = demand.candidates.iter().enumerate().filter(|(at, _)| bits >> (at % 8) & 1 == 1);
                    assignments.extend(picked.map(|(_, worker)| Placed {
                        run: demand.run.clone(),
                        worker: worker.clone(),
                        gpu: None,
                        reason: "why not".into(),
                    }));
                    declined.push(Declined { run: demand.run.clone(), reason: "rather not".into() });
                }
                if twice {
                    assignments.extend(assignments.first().cloned());
                }
                let answer = PlacementAnswer { assignments, declined, state: vec![chosen] };
                Event::PlacementAnswered { question, policy: digest(1), answer }
            }
            Move::QuestionFails => {
                Event::PlacementFailed { question: self.question.as_ref()?.0, reason: "trap".into() }
            }
            Move::Report { run, worker, receipt } => {
                Event::UpdateReceived { assignment: self.assignment(&run, &worker), receipt }
            }
            Move::Evaluate { run, worker, evaluation } => {
                Event::EvaluationReceived { assignment: self.assignment(&run, &worker), evaluation }
            }
            Move::Accept { run, worker } => Event::AssignmentAccepted { assignment: self.assignment(&run, &worker) },
            Move::Decline { run, worker } => {
                Event::AssignmentDeclined { assignment: self.assignment(&run, &worker), reason: "no".into() }
            }
            Move::Fail { run, worker } => {
                Event::AssignmentFailed { assignment: self.assignment(&run, &worker), reason: "oom".into() }
            }
            Move::Aggregate { weights, weight, kept, has_notes } => {
                let task = self.aggregation.clone()?;
                let count = task.inputs.len().saturating_add_signed(weights.into());
                let receipt = AggregateReceipt::new(
                    digest(u8::try_from(task.round % 200).unwrap()),
                    400,
                    digest(2),
                    vec![weight; count],
                    "by examples".into(),
                );
                // As many tensors as this policy promised, unless there are none to begin with.
                let tensors = self.federation.runs[&task.run].traits.state_tensors as usize;
                let kept = Kept { tensors: kept.tensors.into_iter().cycle().take(tensors).collect(), ..kept };
                let notes = vec!["as the others".into(); if has_notes { count } else { 0 }];
                let receipt = AggregateReceipt { kept, notes, ..receipt };
                Event::Aggregated { run: task.run, round: task.round, receipt }
            }
            Move::AggregationFails => {
                let task = self.aggregation.clone()?;
                Event::AggregationFailed { run: task.run, round: task.round, reason: "time limit".into() }
            }
            Move::Connect { worker: index, slots, holds } => self.connect(worker(&index), slots, holds),
            Move::Disconnect { worker: index, grace_ms } => {
                use polder_core::worker::Presence::Connected;
                let worker = worker(&index);
                let known = self.federation.workers.get(&worker)?;
                let Connected { session, .. } = known.presence else { return None };
                Event::WorkerDisconnected { worker, session, grace_ms, reason: "eof".into() }
            }
            Move::Restart => {
                (self.question, self.aggregation) = (None, None);
                Event::CoordinatorStarted { grace_ms: 500 }
            }
            Move::Wake => {
                self.now = self.now.max(self.federation.next_wake()?);
                Event::TimePassed
            }
        })
    }

    fn take(&mut self, event: Event) {
        let before = self.federation.clone();
        let Ok(effects) = self.federation.apply(self.now, event.clone()) else {
            assert_eq!(self.federation, before, "{event:?} was refused and changed something");
            return;
        };
        assert_eq!(invariants::check(&self.federation), [], "after {event:?}");
        let wake = self.federation.next_wake();
        assert!(wake.is_none_or(|wake| wake > self.now), "woken at {wake:?}, at {:?}, after {event:?}", self.now);
        for effect in effects {
            match effect {
                Effect::AskPlacement { question, ask, .. } => self.question = Some((question, ask)),
                Effect::Aggregate(task) => self.aggregation = Some(*task),
                _ => {}
            }
        }
        self.journal.push((self.now, event));
    }

    /// The journal, as the store keeps it: JSON.
    fn replayed(&self) -> Federation {
        let mut again = Federation::new();
        for (at, event) in &self.journal {
            let text = serde_json::to_string(event).expect("every accepted event can be written");
            let event = serde_json::from_str(&text).expect("and read");
            again.apply(*at, event).expect("what was accepted once is accepted again");
        }
        again
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_happens_breaks_the_federation(
        specs in proptest::collection::vec(a_spec(), 1..=RUNS_SUBMITTED),
        slots in proptest::collection::vec(1..3_u32, WORKERS_ENROLLED),
        moves in proptest::collection::vec((prop_oneof![4 => 0..50_u64, 1 => 0..3_000_u64], a_move()), 1..120),
    ) {
        let mut play = Play::begin(specs, &slots);
        for (later_ms, what) in moves {
            play.now = play.now.plus_ms(later_ms);
            if let Some(event) = play.event(what) {
                play.take(event);
            }
        }
        prop_assert_eq!(play.replayed(), play.federation.clone());
        let text = serde_json::to_string(&play.federation).unwrap();
        prop_assert_eq!(serde_json::from_str::<Federation>(&text).unwrap(), play.federation);
    }
}

/// The property above is worth something only if its moves reach the far ends.
#[test]
fn random_moves_reach_commits_and_ends() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let moves = proptest::collection::vec(a_move(), 150);
    let (mut commits, mut abandoned, mut ended, mut stale) = (0, 0, 0, 0);
    for play in 0..300 {
        let specs = proptest::collection::vec(a_spec(), RUNS_SUBMITTED).new_tree(&mut runner).unwrap().current();
        // Every other federation buffers: a round closes with the first update and the others are late.
        let buffers = |mut spec: RunSpec| {
            spec.cohort = CohortSpec { size: 1, over_selection: 2, quorum: 1, staleness_max: 3, standbys: 0 };
            spec
        };
        let specs = if play % 2 == 0 { specs } else { specs.into_iter().map(buffers).collect() };
        let mut play = Play::begin(specs, &[2; WORKERS_ENROLLED]);
        for what in moves.new_tree(&mut runner).unwrap().current() {
            play.now = play.now.plus_ms(20);
            if let Some(event) = play.event(what) {
                play.take(event);
            }
        }
        for run in play.federation.runs.values() {
            let committed = run.history.iter().filter(|round| round.committed().is_some());
            let seats = committed.flat_map(|round| round.seats.values().map(move |seat| (round, seat)));
            let counted = seats.filter(|(round, seat)| seat.receipt().is_some() && round.staleness(seat) > 0);
            stale += counted.count();
            commits += run.rounds_committed();
            abandoned += run.history.len() as u64 - run.rounds_committed();
            ended += u64::from(run.status.ended().is_some());
        }
    }
    assert!(stale > 5, "{stale} updates counted that were behind");
    assert!(commits > 30 && abandoned > 30 && ended > 20, "{commits} commits, {abandoned} abandoned, {ended} ended");
}
