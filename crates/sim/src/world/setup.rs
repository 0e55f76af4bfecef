//! Who is there and what they want: thrown first, so that worlds of one seed are alike whatever goes wrong in them.

use polder_core::enrolment::{Applicant, Grant};
use polder_core::policy::{OnFailure, PolicyRef};
use polder_core::spec::{CohortSpec, Deadlines, EvaluationSpec, Metric, ModelSpec, RunSpec, Target, TrainerSpec};
use polder_core::{Event, Region, RunId, Timestamp, TokenId};

use super::World;
use super::coordinator::Coordinator;
use super::database::Database;
use super::network::Network;
use super::term::json;
use super::worker::Worker;
use crate::dice::Dice;
use crate::digests::{digest, traits_of};
use crate::history::History;
use crate::message::Happening;
use crate::plan::{Faults, Plan};
use crate::queue::Queue;
use crate::report::Counts;

/// Names that this crate makes itself are always well formed.
pub(super) fn name<T>(made: Result<T, polder_core::id::NameError>) -> T {
    made.unwrap_or_else(|error| unreachable!("a name that the simulation made: {error}"))
}

pub(super) fn worker_name(at: usize) -> polder_core::WorkerName {
    name(polder_core::WorkerName::new(format!("worker-{at}")))
}

impl World {
    pub(crate) fn of(seed: u64, plan: &Plan) -> Self {
        let mut dice = Dice::of(seed);
        let count = usize::try_from(dice.between(2, plan.workers_max as u64)).unwrap_or(2);
        let regions = usize::try_from(dice.between(1, 3)).unwrap_or(1);
        let grace_ms = dice.between(100, 1_500);
        let workers = (0..count).map(|at| Worker::new(worker_name(at), at % regions, dice.between(1, 2)));
        let workers: Vec<Worker> = workers.collect();
        let runs = (0..dice.between(1, plan.runs_max as u64)).map(|at| a_run(at, count as u64, plan, &mut dice));
        let runs: Vec<_> = runs.collect();
        let coordinators = usize::try_from(dice.between(1, plan.coordinators_max.max(1) as u64)).unwrap_or(1);
        let (ttl_ms, snapshot_every) = (dice.between(300, 3_000), dice.index(40) + 3);
        let faults = faults(plan, &mut dice);
        let mut world = Self {
            seed,
            plan: *plan,
            faults,
            dice,
            queue: Queue::default(),
            now: 0,
            regions,
            grace_ms,
            ttl_ms,
            snapshot_every,
            declining_until: 0,
            network: Network::new(regions),
            workers,
            runs,
            coordinators: (0..coordinators).map(Coordinator::new).collect(),
            database: Database::default(),
            spool: std::collections::BTreeMap::new(),
            models: std::collections::BTreeSet::new(),
            tokens_made: 0,
            has_crashed: false,
            history: History::default(),
            counts: Counts::default(),
            log: Vec::new(),
        };
        world.note(format!(
            "seed {seed}: {coordinators} coordinators, leases of {ttl_ms} ms, {count} workers in {regions} regions, {} runs, {faults:?}",
            world.runs.len()
        ));
        world.begin();
        world
    }

    fn begin(&mut self) {
        for at in 0..self.workers.len() {
            self.enrol(at);
            let ms = self.dice.between(0, 300);
            self.after(ms, Happening::WorkerStarts { worker: at });
        }
        for run in 0..self.runs.len() {
            let ms = self.dice.between(0, 1_000);
            self.after(ms, Happening::Submit { run });
        }
        for who in 0..self.coordinators.len() {
            let ms = if who == 0 { 0 } else { self.dice.between(0, 500) };
            self.after(ms, Happening::CoordinatorStarts { who });
        }
        if self.plan.faults_ms > 0 {
            self.after(200, Happening::FaultDue);
        }
        self.after(self.plan.faults_ms, Happening::FaultsStop);
    }

    /// Puts the worker's enrolment into the journal: that was before this story begins.
    fn enrol(&mut self, at: usize) {
        let worker = &self.workers[at];
        let token = name(TokenId::new(format!("token-{at}")));
        let region = name(Region::new(format!("region-{}", worker.region)));
        let applicant = Applicant {
            secret_hash: "secret".into(),
            key_hash: format!("key-{at}"),
            worker: Some((worker.name.clone(), Some(region.clone()))),
        };
        let created = Event::TokenCreated {
            token: token.clone(),
            secret_hash: "secret".into(),
            grant: Grant::Worker { region },
            expires_at: Timestamp(1),
        };
        for event in [created, Event::TokenRedeemed { token, applicant }] {
            let entry = (Timestamp(0), json(&event));
            let known = self.history.journaled(0, 0, std::slice::from_ref(&entry));
            debug_assert!(known.is_ok(), "what was before this story begins: {known:?}");
            self.database.journal.push(entry);
        }
    }

    /// The operator submits until the journal has it.
    pub(super) fn submit(&mut self, run: usize) {
        let (id, spec) = self.runs[run].clone();
        if self.history.federation.runs.contains_key(&id) {
            return;
        }
        let traits = traits_of(&spec.aggregation);
        self.models.insert(spec.model.digest);
        self.tell(Event::RunSubmitted { run: id, spec: Box::new(spec), traits });
        self.after(500, Happening::Submit { run });
    }
}

fn faults(plan: &Plan, dice: &mut Dice) -> Faults {
    let mut faults = plan.faults;
    if plan.varies {
        for (_, share) in faults.each_mut() {
            let is_off = dice.chance(0.3);
            *share *= if is_off { 0.0 } else { dice.share() };
        }
    }
    faults
}

fn a_run(at: u64, workers: u64, plan: &Plan, dice: &mut Dice) -> (RunId, RunSpec) {
    let small = |value: u64| u32::try_from(value).unwrap_or(1);
    // A buffered run closes its rounds while many are still at it.
    let is_buffered = dice.chance(0.4);
    let size = dice.between(1, if is_buffered { workers.div_ceil(2) } else { workers });
    let over_selection = dice.between(0, (workers - size).min(if is_buffered { 4 } else { 2 }));
    let quorum = dice.between(1, size);
    let staleness_max = if is_buffered { small(dice.between(1, 3)) } else { 0 };
    let has_evaluation = dice.chance(0.5);
    let has_target = has_evaluation && dice.chance(0.3);
    let (placement, aggregation) = (a_placement(dice), an_aggregation(dice));
    // Corrected gradients need rounds that wait for their own updates; the federation refuses others.
    let is_corrected = traits_of(&aggregation).training.correction.is_some();
    let staleness_max = if is_corrected { 0 } else { staleness_max };
    let spec = RunSpec {
        name: "digits".into(),
        model: ModelSpec { digest: digest(&[b"first", &at.to_le_bytes()]), bytes: 400, parameters: 100 },
        dataset: "digits".into(),
        trainer: TrainerSpec { kind: "mlp".into(), settings: serde_json::Value::Null },
        rounds: small(dice.between(1, u64::from(plan.rounds_max))),
        cohort: CohortSpec {
            size: small(size),
            over_selection: small(over_selection),
            quorum: small(quorum),
            staleness_max,
            standbys: small(dice.between(0, 2)),
        },
        deadlines: Deadlines { selection_ms: dice.between(0, 300), round_ms: dice.between(1_500, 4_000) },
        evaluation: has_evaluation.then_some(EvaluationSpec { holdout: 0.2 }),
        target: has_target.then_some(Target { metric: Metric::Accuracy, value: 0.8 }),
        retention: polder_core::spec::RetentionSpec { models: 1 + small(at % 3) },
        placement,
        aggregation,
        seed: dice.number(),
    };
    (name(RunId::new(format!("digits-{at}"))), spec)
}

pub(super) fn a_placement(dice: &mut Dice) -> PolicyRef {
    let called = if dice.chance(0.7) { "least-loaded" } else { "greedy" };
    policy(called, dice)
}

pub(super) fn an_aggregation(dice: &mut Dice) -> PolicyRef {
    const ALL: [&str; 4] = ["fedavg", "fedadam", "fedadam", "scaffold"];
    let called = ALL[dice.index(ALL.len())];
    policy(called, dice)
}

/// Of each name there are two versions.
fn policy(called: &str, dice: &mut Dice) -> PolicyRef {
    const ALL: [OnFailure; 5] =
        [OnFailure::Builtin, OnFailure::Previous, OnFailure::Previous, OnFailure::Retry, OnFailure::Abandon];
    let version = if dice.chance(0.5) { "1" } else { "2" };
    let digest = digest(&[b"policy", called.as_bytes(), version.as_bytes()]);
    let on_failure = ALL[dice.index(ALL.len())];
    let version = Some(name(polder_core::PolicyVersion::new(version)));
    PolicyRef { version, on_failure, ..PolicyRef::new(name(polder_core::PolicyName::new(called)), digest) }
}
