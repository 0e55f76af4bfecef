//! What users are shown: `run list|show`, `round show`, `worker list`, `policy list|show`, each with its reasons. These are the JSON
//! documents that the operator API returns and `--json` prints; fields are only ever added.

mod coordinator;
mod policies;

use serde::{Deserialize, Serialize};

pub use coordinator::{CoordinatorView, IntakeView, MemberView, StepView};
pub use policies::{LimitView, PolicyDetails, PolicyView};

use crate::digest::Digest;
use crate::federation::Federation;
use crate::id::{Region, RoundNumber, RunId, WorkerName};
use crate::policy::{AggregationTraits, PolicyRef};
use crate::round::{Evaluation, ModelVersion, Round, Seat, Task};
use crate::run::{CommittedModel, Run};
use crate::time::Timestamp;
use crate::worker::{Presence, Worker};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    pub run: RunId,
    pub name: String,
    pub status: String,
    /// Why it ended, once it has.
    pub reason: Option<String>,
    /// What it waits for, while it runs; since when, and when time alone ends that, if it does.
    pub waiting_for: Option<String>,
    #[serde(default)]
    pub waiting_since: Option<Timestamp>,
    #[serde(default)]
    pub waiting_until: Option<Timestamp>,
    pub dataset: String,
    pub rounds: u32,
    pub rounds_committed: u64,
    pub rounds_abandoned: u64,
    pub submitted_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub model: ModelVersion,
    /// The policies in force; a round that is open may have begun with those before them.
    pub placement: PolicyRef,
    pub aggregation: PolicyRef,
    /// What the aggregation policy says of itself.
    #[serde(default)]
    pub traits: AggregationTraits,
    pub seed: u64,
    /// Federated evaluation by model version, oldest first.
    pub evaluations: Vec<VersionEvaluation>,
    /// The newest round.
    pub round: Option<RoundView>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionEvaluation {
    pub version: u64,
    #[serde(flatten)]
    pub evaluation: Evaluation,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundView {
    pub run: RunId,
    pub round: RoundNumber,
    pub task: Task,
    pub phase: String,
    pub waiting_for: Option<String>,
    #[serde(default)]
    pub waiting_since: Option<Timestamp>,
    #[serde(default)]
    pub waiting_until: Option<Timestamp>,
    pub opened_at: Timestamp,
    pub deadline: Option<Timestamp>,
    pub base: ModelVersion,
    pub cohort: Vec<SeatView>,
    /// Every decision and its reason, oldest first.
    pub reasons: Vec<String>,
    /// Who decides placement, as `name@version (digest)`, and the component that did.
    pub placement: String,
    #[serde(default)]
    pub placement_policy: Option<Digest>,
    pub aggregation: String,
    /// The model this round committed.
    pub committed: Option<Digest>,
    pub aggregation_policy: Option<Digest>,
    pub evaluation: Option<Evaluation>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeatView {
    pub worker: WorkerName,
    pub region: Option<Region>,
    pub gpu: Option<u32>,
    pub chosen_because: String,
    pub state: String,
    /// Why it gave up, if it did.
    pub reason: Option<String>,
    pub examples: Option<u64>,
    pub loss: Option<f64>,
    pub accuracy: Option<f64>,
    pub update: Option<Digest>,
    pub update_bytes: Option<u64>,
    /// How much its update counted.
    pub weight: Option<f32>,
    /// Why it counted so, if the policy says.
    #[serde(default)]
    pub note: Option<String>,
    /// Model versions its update was behind.
    #[serde(default)]
    pub staleness: u32,
    /// The earlier round that assigned it, if it was carried over from one.
    #[serde(default)]
    pub assigned_in: Option<RoundNumber>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerView {
    pub worker: WorkerName,
    pub region: Region,
    pub state: String,
    pub reason: Option<String>,
    pub since: Option<Timestamp>,
    pub is_draining: bool,
    pub slots: u32,
    pub slots_taken: u32,
    pub datasets: Vec<String>,
    pub trainers: Vec<String>,
    pub rounds_assigned: u64,
    /// How long its updates take from assignment to arrival, in milliseconds.
    #[serde(default)]
    pub latency_ms: Option<f64>,
    /// What the worker last reported of its machine; filled in by the coordinator.
    pub load: Option<crate::policy::WorkerLoad>,
}

/// A committed model of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelView {
    pub run: RunId,
    pub version: u64,
    /// The round that committed it; 0 for the submitted one.
    pub round: RoundNumber,
    pub digest: Digest,
    pub bytes: u64,
    /// Why it is kept: `submitted`, `newest`, `best` (evaluated) or `recent`, as many as the run's retention says.
    #[serde(default)]
    pub kept_as: String,
}

impl RunView {
    #[must_use]
    pub fn of(run: &Run, federation: &Federation) -> Self {
        let ended = run.status.ended();
        let waits = run.waits();
        Self {
            run: run.id.clone(),
            name: run.spec.name.clone(),
            status: run.status.name().into(),
            reason: ended.map(|(_, reason)| reason.into()),
            waiting_since: waits.as_ref().map(|wait| wait.since),
            waiting_until: waits.as_ref().and_then(|wait| wait.until),
            waiting_for: waits.map(|wait| wait.reason),
            dataset: run.spec.dataset.clone(),
            rounds: run.spec.rounds,
            rounds_committed: run.rounds_committed(),
            rounds_abandoned: run.history.abandoned(),
            submitted_at: run.submitted_at,
            ended_at: ended.map(|(at, _)| at),
            model: run.model.clone(),
            placement: run.placement.clone(),
            aggregation: run.aggregation.clone(),
            traits: run.traits.clone(),
            seed: run.spec.seed,
            evaluations: run
                .evaluations
                .iter()
                .map(|(version, evaluation)| VersionEvaluation { version: *version, evaluation: *evaluation })
                .collect(),
            round: run.round.as_ref().or(run.history.last()).map(|round| RoundView::of(run, round, federation)),
        }
    }
}

impl RoundView {
    #[must_use]
    pub fn of(run: &Run, round: &Round, federation: &Federation) -> Self {
        let receipt = round.committed();
        let waits = round.waits(&run.terms());
        let mut weights = receipt.map(|receipt| receipt.weights.iter().copied()).into_iter().flatten();
        let mut notes = receipt.map(|receipt| receipt.notes.iter().cloned()).into_iter().flatten();
        let cohort = round.seats.iter().map(|(worker, seat)| {
            let counted = seat.receipt().map(|_| (weights.next(), notes.next()));
            SeatView::of(worker, (round, seat), counted.unwrap_or_default(), federation)
        });
        Self {
            run: run.id.clone(),
            round: round.number,
            task: round.task,
            phase: round.phase.name().into(),
            waiting_since: waits.as_ref().map(|wait| wait.since),
            waiting_until: waits.as_ref().and_then(|wait| wait.until),
            waiting_for: waits.map(|wait| wait.reason),
            opened_at: round.opened_at,
            deadline: round.deadline,
            base: round.base.clone(),
            cohort: cohort.collect(),
            reasons: round.reasons.clone(),
            placement: round.placement.to_string(),
            placement_policy: round.placed_by,
            aggregation: round.aggregation.to_string(),
            committed: receipt.map(|receipt| receipt.model),
            aggregation_policy: receipt.map(|receipt| receipt.policy),
            evaluation: round.evaluation(),
        }
    }
}

impl SeatView {
    fn of(
        worker: &WorkerName,
        (round, seat): (&Round, &Seat),
        counted: (Option<f32>, Option<String>),
        federation: &Federation,
    ) -> Self {
        let (weight, note) = counted;
        use crate::round::SeatState::{Declined, Failed, Lost};
        let reason = match &seat.state {
            Declined { reason } | Failed { reason } | Lost { reason } => Some(reason.clone()),
            _ => None,
        };
        let receipt = seat.receipt();
        // In an evaluation round the metrics are the model's on held-out rows.
        let evaluated = if receipt.is_none() { seat.evaluation() } else { None };
        Self {
            worker: worker.clone(),
            region: federation.workers.get(worker).map(|worker| worker.region.clone()),
            gpu: seat.gpu,
            chosen_because: seat.reason.clone(),
            state: seat.state.name().into(),
            reason,
            examples: receipt.map(|receipt| receipt.examples).or(evaluated.map(|held_out| held_out.examples)),
            loss: receipt.and_then(|receipt| receipt.loss).or(evaluated.map(|held_out| held_out.loss)),
            accuracy: receipt.and_then(|receipt| receipt.accuracy).or(evaluated.map(|held_out| held_out.accuracy)),
            update: receipt.map(|receipt| receipt.update),
            update_bytes: receipt.map(|receipt| receipt.bytes),
            weight,
            note,
            staleness: round.staleness(seat),
            assigned_in: seat.carried.map(|carried| carried.round),
        }
    }
}

impl WorkerView {
    #[must_use]
    pub fn of(worker: &Worker, federation: &Federation) -> Self {
        let (state, since, reason) = match &worker.presence {
            Presence::Enrolled => ("enrolled", None, None),
            Presence::Connected { since, .. } => ("connected", Some(*since), None),
            Presence::Away { since, reason, .. } => ("away", Some(*since), Some(reason.clone())),
            Presence::Lost { since, reason } => ("lost", Some(*since), Some(reason.clone())),
        };
        let names = |which: fn(&crate::worker::Capacity) -> &std::collections::BTreeSet<String>| {
            worker.capacity.as_ref().map(|capacity| which(capacity).iter().cloned().collect()).unwrap_or_default()
        };
        Self {
            worker: worker.name.clone(),
            region: worker.region.clone(),
            state: state.into(),
            reason,
            since,
            is_draining: worker.is_draining,
            slots: worker.slots(),
            slots_taken: federation.slots_taken().get(&worker.name).copied().unwrap_or(0),
            datasets: names(|capacity| &capacity.datasets),
            trainers: names(|capacity| &capacity.trainers),
            rounds_assigned: worker.rounds_assigned,
            latency_ms: worker.latency_ms,
            load: None,
        }
    }
}

impl ModelView {
    /// The submitted model and every committed one that is kept, oldest first.
    pub fn all_of(run: &Run) -> impl Iterator<Item = Self> + '_ {
        let kept_as = move |version| match version {
            _ if run.best == Some(version) => "best",
            _ if run.model.version == version => "newest",
            0 => "submitted",
            _ => "recent",
        };
        let view = move |version, round, digest, bytes| {
            let kept_as = kept_as(version).into();
            Self { run: run.id.clone(), version, round, digest, bytes, kept_as }
        };
        let first = view(0, 0, run.spec.model.digest, run.spec.model.bytes);
        let committed = run
            .models
            .iter()
            .map(move |CommittedModel { model, round }| view(model.version, *round, model.digest, model.bytes));
        std::iter::once(first).chain(committed)
    }
}
