//! A start from a snapshot and what came after it finds what a start from the first entry finds, wherever a crash fell.

mod stalls;

use std::collections::BTreeSet;
use std::time::Duration;

use polder_core::effect::{AggregationTask, Effect};
use polder_core::enrolment::{Applicant, Grant};
use polder_core::policy::{AggregationTraits, Placed, PlacementAnswer, PlacementQuestion, PolicyRef};
use polder_core::round::{AggregateReceipt, UpdateReceipt};
use polder_core::spec::{CohortSpec, Deadlines, ModelSpec, RetentionSpec, RunSpec, TrainerSpec};
use polder_core::worker::Capacity;
use polder_core::{AssignmentId, Digest, Event, Federation, PolicyName, QuestionId, RunId, Timestamp, WorkerName};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::recover::{Past, archived};
use super::snapshots::{self, Snapshots};
use super::*;
use crate::store::{Member, Prune, Snapshot, StoreConfig};

const WORKERS: [&str; 4] = ["a", "b", "c", "d"];
const RUNS: [&str; 3] = ["r", "s", "t"];

/// A federation at random, and the journal that it makes.
struct Play {
    federation: Federation,
    now: Timestamp,
    journal: Vec<(JournalEntry, Vec<ArchivedRound>)>,
    question: Option<(QuestionId, PlacementQuestion)>,
    aggregation: Option<AggregationTask>,
    sessions: u64,
    dice: StdRng,
}

fn digest(number: u64) -> Digest {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Digest::blake3(bytes)
}

fn spec(staleness_max: u32) -> RunSpec {
    let policy = |name| PolicyRef::new(PolicyName::new(name).unwrap(), Digest::sha256([1; 32]));
    RunSpec {
        name: "digits".into(),
        model: ModelSpec { digest: digest(0), bytes: 400, parameters: 100 },
        dataset: "digits".into(),
        trainer: TrainerSpec { kind: "mlp".into(), settings: serde_json::json!({"rate": 0.1}) },
        rounds: 1000,
        cohort: CohortSpec { size: 2, over_selection: 1, quorum: 1, staleness_max, standbys: 0 },
        deadlines: Deadlines { selection_ms: 50, round_ms: 400 },
        evaluation: None,
        target: None,
        retention: RetentionSpec { models: 2 },
        placement: policy("least-loaded"),
        aggregation: policy("fedavg"),
        seed: 3,
    }
}

impl Play {
    fn begin(seed: u64) -> Self {
        let mut play = Self {
            federation: Federation::new(),
            now: Timestamp(1_000_000),
            journal: Vec::new(),
            question: None,
            aggregation: None,
            sessions: 0,
            dice: StdRng::seed_from_u64(seed),
        };
        for name in WORKERS {
            let token: polder_core::TokenId = format!("t-{name}").parse().unwrap();
            let grant = Grant::Worker { region: "north".parse().unwrap() };
            let expires_at = play.now.plus_ms(1_000);
            let worker = Some((name.parse().unwrap(), None));
            play.take(Event::TokenCreated { token: token.clone(), secret_hash: "s".into(), grant, expires_at });
            let applicant = Applicant { secret_hash: "s".into(), key_hash: "k".into(), worker };
            play.take(Event::TokenRedeemed { token, applicant });
            play.connect(name);
        }
        for (at, name) in RUNS.iter().enumerate() {
            let spec = Box::new(spec(u32::try_from(at).unwrap()));
            let run = name.parse().unwrap();
            play.take(Event::RunSubmitted { run, spec, traits: AggregationTraits::default() });
        }
        play
    }

    fn take(&mut self, event: Event) {
        let event_json = serde_json::to_string(&event).unwrap();
        let kind = event.kind().into();
        let Ok(effects) = self.federation.apply(self.now, event) else { return };
        let rounds = archived(&self.federation, &effects);
        self.journal.push((JournalEntry { at_ms: self.now.0, kind, event_json }, rounds));
        for effect in effects {
            match effect {
                Effect::AskPlacement { question, ask, .. } => self.question = Some((question, ask)),
                Effect::Aggregate(task) => self.aggregation = Some(*task),
                _ => {}
            }
        }
    }

    fn connect(&mut self, name: &str) {
        self.sessions += 1;
        let set = |name: &str| BTreeSet::from([name.to_owned()]);
        let capacity = Capacity { slots: 2, datasets: set("digits"), trainers: set("mlp") };
        let worker = name.parse().unwrap();
        self.take(Event::WorkerConnected { worker, session: self.sessions, capacity, holding: vec![] });
    }

    fn step(&mut self) {
        self.now = self.now.plus_ms(self.dice.random_range(1..80));
        match self.dice.random_range(0..10) {
            0 => {
                let at = self.dice.random_range(0..WORKERS.len());
                self.connect(WORKERS[at]);
            }
            1 => self.take(Event::CoordinatorStarted { grace_ms: 500 }),
            2 => self.take(Event::TimePassed),
            3..6 => self.answer(),
            6..9 => self.report(),
            _ => self.aggregate(),
        }
    }

    fn answer(&mut self) {
        let Some((question, ask)) = self.question.take() else { return };
        let placed = |run: &RunId, worker: &WorkerName| Placed {
            run: run.clone(),
            worker: worker.clone(),
            gpu: None,
            reason: "free".into(),
        };
        let mut assignments: Vec<Placed> = Vec::new();
        for demand in &ask.demands {
            for worker in demand.candidates.iter().take(demand.seats as usize) {
                if assignments.iter().filter(|placed| placed.worker == *worker).count() == 0 {
                    assignments.push(placed(&demand.run, worker));
                }
            }
        }
        let answer = PlacementAnswer { assignments, state: vec![1, 2, 3], ..PlacementAnswer::default() };
        self.take(Event::PlacementAnswered { question, policy: Digest::sha256([1; 32]), answer });
    }

    fn report(&mut self) {
        let open = self.federation.runs.values().filter_map(|run| Some((run.id.clone(), run.round.as_ref()?)));
        let seats = open.flat_map(|(run, round)| {
            let active = round.seats.iter().filter(|(_, seat)| seat.is_active());
            let id = move |(worker, seat): (&WorkerName, &polder_core::round::Seat)| AssignmentId {
                run: run.clone(),
                round: round.origin(seat),
                worker: worker.clone(),
            };
            active.map(id).collect::<Vec<_>>()
        });
        let seats: Vec<AssignmentId> = seats.collect();
        if seats.is_empty() {
            return;
        }
        let assignment = seats[self.dice.random_range(0..seats.len())].clone();
        let loss = Some(self.dice.random::<f64>());
        let receipt = UpdateReceipt { loss, ..UpdateReceipt::new(digest(self.dice.random()), 400, 10) };
        self.take(Event::UpdateReceived { assignment, receipt });
    }

    fn aggregate(&mut self) {
        let Some(task) = self.aggregation.take() else { return };
        let weights = task.inputs.iter().map(|_| self.dice.random::<f32>()).collect();
        let model = digest(self.dice.random());
        let receipt = AggregateReceipt::new(model, 400, Digest::sha256([1; 32]), weights, "by chance".into());
        self.take(Event::Aggregated { run: task.run, round: task.round, receipt });
    }
}

fn played(seed: u64, steps: usize) -> Play {
    let mut play = Play::begin(seed);
    for _ in 0..steps {
        play.step();
    }
    let committed: u64 = play.federation.runs.values().map(polder_core::run::Run::rounds_committed).sum();
    assert!(committed > 3, "{committed} commits say little");
    play
}

#[test]
fn state_written_at_any_entry_and_the_entries_after_it_give_the_same_federation() {
    for seed in 0..4 {
        let play = played(seed, 400);
        let mut at = Federation::new();
        for (n, (entry, _)) in play.journal.iter().enumerate() {
            at.apply(Timestamp(entry.at_ms), serde_json::from_str(&entry.event_json).unwrap()).unwrap();
            if n % 23 != 0 {
                continue;
            }
            let mut again = snapshots::decode(&snapshots::encode(&at).unwrap()).unwrap();
            assert_eq!(again, at, "seed {seed}, entry {n}");
            for (entry, _) in &play.journal[n + 1..] {
                again.apply(Timestamp(entry.at_ms), serde_json::from_str(&entry.event_json).unwrap()).unwrap();
            }
            assert_eq!(again, play.federation, "seed {seed}, after entry {n}");
        }
    }
}

async fn opened(dir: &std::path::Path) -> (Arc<Store>, Term) {
    let store = Store::open(&StoreConfig::local(dir)).await.unwrap();
    let me = Member { id: "me".into(), endpoint: "e:1".into(), peer: "p:1".into(), version: "0".into() };
    let term = store.try_lead(&me, Duration::from_secs(60)).await.unwrap().unwrap();
    (Arc::new(store), term)
}

async fn finds(dir: &std::path::Path, expected: &Federation, from_snapshot: u64, step: &str) -> (Arc<Store>, Term) {
    let (store, term) = opened(dir).await;
    let past = Past::read(&store).await.unwrap();
    assert_eq!(past.federation, *expected, "{step}");
    assert_eq!(past.snapshot_seq, from_snapshot, "{step}");
    (store, term)
}

#[tokio::test]
async fn a_crash_anywhere_between_a_snapshot_and_what_it_prunes_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let play = played(11, 600);
    let (store, term) = opened(dir.path()).await;
    let snapshots_at = [play.journal.len() / 3, play.journal.len() / 2, play.journal.len() - 7];
    let mut at = Federation::new();
    let mut taken = Vec::new();
    for (n, (entry, rounds)) in play.journal.iter().enumerate() {
        let seq = store.append(term, std::slice::from_ref(entry), &[], rounds).await.unwrap();
        at.apply(Timestamp(entry.at_ms), serde_json::from_str(&entry.event_json).unwrap()).unwrap();
        if snapshots_at.contains(&n) {
            let state = snapshots::encode(&at).unwrap().into();
            taken.push(Snapshot { seq, at_ms: entry.at_ms, rules: polder_core::federation::RULES, state });
        }
    }
    drop(store);
    // Each block ends as a crash would: everything is opened anew.
    let (mut store, mut term) = finds(dir.path(), &play.federation, 0, "no snapshot").await;
    for snapshot in &taken {
        store.write_snapshot(term, snapshot).await.unwrap();
        drop(store);
        (store, term) = finds(dir.path(), &play.federation, snapshot.seq, "written, not pruned").await;
        let prune = Prune { journal_before_seq: snapshot.seq + 1, log_keep_lines: 1, rounds_keep_per_run: 1_000 };
        store.prune(term, &prune).await.unwrap();
        drop(store);
        (store, term) = finds(dir.path(), &play.federation, snapshot.seq, "pruned").await;
    }
    // What left memory is in the archive, as it was when it closed.
    for run in play.federation.runs.values() {
        for number in 1..=run.history.closed() {
            let record = store.archived_round(&run.id, number).await.unwrap().expect("every closed round is archived");
            let round: polder_core::round::Round = serde_json::from_str(&record).unwrap();
            assert_eq!(round.number, number);
            assert!(run.round(number).is_none_or(|remembered| *remembered == round));
        }
    }
}

#[tokio::test]
async fn snapshots_come_by_the_count_of_entries_and_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let play = played(5, 300);
    let (store, term) = opened(dir.path()).await;
    let housekeeping =
        Housekeeping { snapshot_every: Some(50), journal_entries: 10, log_lines: 5, ..Housekeeping::default() };
    let (standing, stands) = watch::channel(Standing::default());
    let mut snapshots = Snapshots::new(store.clone(), term, housekeeping, standing);
    let mut at = Federation::new();
    let mut clock = Timestamp(0);
    for (entry, rounds) in &play.journal {
        let seq = store.append(term, std::slice::from_ref(entry), &[], rounds).await.unwrap();
        clock = Timestamp(entry.at_ms);
        at.apply(clock, serde_json::from_str(&entry.event_json).unwrap()).unwrap();
        snapshots.count(1, entry.event_json.len() as u64);
        snapshots.begin_if_due(&at, clock, seq);
        tokio::task::yield_now().await;
    }
    let last = play.journal.len() as u64;
    snapshots.finish(at, clock, last).await;
    assert_eq!(stands.borrow().snapshot_seq, last);
    assert_eq!(stands.borrow().violations, 0);
    drop(store);
    let (store, _) = finds(dir.path(), &play.federation, last, "after an orderly end").await;
    let past = Past::read(&store).await.unwrap();
    assert_eq!((past.replayed, past.seq), (0, last));
}
