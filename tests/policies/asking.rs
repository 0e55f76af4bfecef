//! Questions, and how long their answers may take.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use polder_core::policy::{
    AggregationQuestion, Demand, PlacementQuestion, PolicyKind, ReleaseContext, ReleaseQuestion, TensorShape,
    UpdateNumbers, UpdateSummary, WorkerLoad, WorkerSnapshot,
};
use polder_core::{Region, RunId, WorkerName};
use polder_policy::{ChunkJob, Limits, Policy, PolicyError, PolicyHost, Span};

/// What a hostile policy of the table is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Nothing: it must not get in.
    Load,
    Check,
    Place,
    Describe,
    Weigh,
    Combine,
    Step,
    Review,
}

/// Short enough that a test of every guest ends soon, long enough for an honest answer on a machine that is busy: what counts is ticks of
/// the host's clock, and that needs the processor too.
pub(crate) const LIMIT_MS: u64 = 200;

pub(crate) fn limits() -> Limits {
    Limits { question_ms_max: LIMIT_MS, chunk_ms_max: LIMIT_MS, ..Limits::default() }
}

pub(crate) fn host() -> PolicyHost {
    PolicyHost::new(limits(), None).unwrap()
}

/// Puts the question to the policy; [`Ask::Load`] has none and gets an answer by being asked at all.
pub(crate) fn put(host: &PolicyHost, policy: &Policy, ask: Ask) -> Result<(), PolicyError> {
    match ask {
        Ask::Load => Ok(()),
        Ask::Check => host.check_parameters(policy, "{}"),
        Ask::Place => host.place(policy, "{}", &placement(3)).map(drop),
        Ask::Describe => host.describe(policy, "{}").map(drop),
        Ask::Weigh => host.weigh(policy, "{}", &aggregation(3)).map(drop),
        Ask::Combine => combine(host, policy).map(drop),
        Ask::Step => step(host, policy).map(drop),
        Ask::Review => host.review(policy, "{}", &release()).map(drop),
    }
}

/// The question of its kind that decides a round.
pub(crate) fn main_question(kind: PolicyKind) -> Ask {
    match kind {
        PolicyKind::Placement => Ask::Place,
        PolicyKind::Aggregation => Ask::Weigh,
        PolicyKind::Release => Ask::Review,
    }
}

/// The aggregate of three rows of seven values.
pub(crate) fn combine(host: &PolicyHost, policy: &Policy) -> Result<Vec<f32>, PolicyError> {
    let (rows, job) = ([[1.0; 7], [2.0; 7], [6.0; 7]], job());
    let rows: Vec<&[f32]> = rows.iter().map(<[f32; 7]>::as_slice).collect();
    let mut aggregate = vec![0.0; 7];
    host.chunks(policy, &job)?.combine(Span::default(), &rows, &[1.0; 3], &mut aggregate)?;
    Ok(aggregate)
}

/// The next seven values of a model, with as much state as the policy says that it keeps.
pub(crate) fn step(host: &PolicyHost, policy: &Policy) -> Result<Vec<f32>, PolicyError> {
    let (mut model, job) = (vec![1.0; 7], job());
    let mut state = vec![vec![0.0; 7]; host.describe(policy, "{}")?.state_tensors as usize];
    let mut state: Vec<&mut [f32]> = state.iter_mut().map(Vec::as_mut_slice).collect();
    host.chunks(policy, &job)?.step(Span::default(), &mut model, &[0.5; 7], &[], &mut state)?;
    Ok(model)
}

fn job() -> ChunkJob {
    ChunkJob { round: 1, seed: 7, memo: Vec::new(), parameters: "{}".into() }
}

/// One round that wants all of `count` workers.
pub(crate) fn placement(count: usize) -> PlacementQuestion {
    let names: Vec<_> = (0..count).map(|index| WorkerName::new(format!("worker-{index}")).unwrap()).collect();
    let worker = |name: &WorkerName| WorkerSnapshot {
        name: name.clone(),
        region: Region::new("eu-west").unwrap(),
        slots: 1,
        slots_free: 1,
        rounds_assigned: 0,
        latency_ms: None,
        load: WorkerLoad::default(),
    };
    let workers = names.iter().map(worker).collect();
    let seats = count as u32;
    let demand = Demand { run: RunId::new("digits").unwrap(), round: 1, seats, seats_min: 1, candidates: names };
    PlacementQuestion { seed: 7, demands: vec![demand], workers, state: Vec::new() }
}

/// A round of a model of 1000 parameters.
pub(crate) fn aggregation(updates: usize) -> AggregationQuestion {
    let update = UpdateSummary { examples: 10, loss: Some(0.5), ..UpdateSummary::default() };
    AggregationQuestion {
        round: 1,
        seed: 7,
        parameters: 1000,
        tensors: vec![TensorShape { name: "weight".into(), shape: vec![10, 100] }],
        population: updates as u32,
        updates: vec![update; updates],
        ..AggregationQuestion::default()
    }
}

pub(crate) fn release() -> ReleaseQuestion {
    let context = ReleaseContext {
        run: "digits".into(),
        round: 1,
        region: "eu-west".into(),
        aggregation: "fedavg@1".into(),
        cohort: 3,
        quorum: 2,
    };
    let update = UpdateNumbers { parameters: 1000, examples: 10, norm: 3.0, max_norm: 0.5, ..UpdateNumbers::default() };
    ReleaseQuestion { seed: 7, update, context, ..ReleaseQuestion::default() }
}

/// How long something took, and how much of that the machine owes to what else it does: a second thread meanwhile does nothing but wait as
/// the host's clock waits, and counts by how much each wait was too long.
pub(crate) fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration, Duration) {
    let tick = Duration::from_millis(10);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut late = Duration::ZERO;
            while !ended.load(Ordering::Relaxed) {
                let since = Instant::now();
                std::thread::sleep(tick);
                late += since.elapsed().saturating_sub(tick);
            }
            late
        });
        let since = Instant::now();
        let answer = what();
        let took = since.elapsed();
        ended.store(true, Ordering::Relaxed);
        (answer, took, waiting.join().unwrap())
    })
}
