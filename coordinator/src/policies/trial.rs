//! A dry run of a policy that somebody pushed: an ordinary question of its kind, under no parameters. A policy may say that
//! it will not have them, or that it has no answer; one that traps, takes too long or answers nonsense is not taken.

use polder_core::RunId;
use polder_core::id::NameError;
use polder_core::policy::{
    AggregationQuestion, AggregationShape, Demand, PlacementQuestion, PolicyKind, ReleaseBudget, ReleaseContext,
    ReleaseQuestion, Statistics, TensorShape, UpdateNumbers, UpdateSummary, WorkerLoad, WorkerSnapshot,
};
use polder_policy::{ChunkJob, Policy, PolicyError, PolicyHost, Span};

const PARAMETERS: &str = "{}";
/// Values in the model of the question, all in one tensor.
const VALUES: usize = 96;
/// Updates in the question, unless the policy wants more.
const UPDATES: u32 = 5;
/// A policy that wants more is not asked: rounds of that size are nobody's ordinary question.
const UPDATES_MAX: u32 = 1000;
const ROUND: u32 = 1;

/// What makes a component no policy to give a run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrialFailure {
    #[error("asked an ordinary question on trial, {0}")]
    Policy(#[from] PolicyError),
    #[error("asked an ordinary question on trial, the policy made {what} of finite values that is not finite")]
    NotFinite { what: &'static str },
}

/// Asks `policy` an ordinary question. Its own refusal of parameters or question is no failure.
pub(crate) fn try_out(host: &PolicyHost, policy: &Policy) -> Result<(), TrialFailure> {
    let tried = match policy.kind() {
        PolicyKind::Placement => place(host, policy),
        PolicyKind::Aggregation => aggregate(host, policy),
        PolicyKind::Release => review(host, policy),
    };
    match tried {
        Err(TrialFailure::Policy(PolicyError::Parameters { .. } | PolicyError::Refused { .. })) => Ok(()),
        tried => tried,
    }
}

fn place(host: &PolicyHost, policy: &Policy) -> Result<(), TrialFailure> {
    host.check_parameters(policy, PARAMETERS)?;
    let worker = |at: u32| -> Result<WorkerSnapshot, NameError> {
        let region = format!("region-{at}");
        Ok(WorkerSnapshot {
            name: format!("{region}-1").parse()?,
            region: region.parse()?,
            slots: 2,
            slots_free: 1 + at % 2,
            rounds_assigned: u64::from(at),
            latency_ms: (at > 0).then(|| 100.0 * f64::from(at)),
            load: WorkerLoad { cpu_utilization: 0.25 * f64::from(at), memory_free_bytes: 8 << 30, gpus: Vec::new() },
        })
    };
    let named = |error: NameError| PolicyError::Question { reason: error.to_string() };
    let workers = (0..3).map(worker).collect::<Result<Vec<_>, _>>().map_err(named)?;
    let run = RunId::new("trial").map_err(named)?;
    let candidates = workers.iter().map(|worker| worker.name.clone()).collect();
    let demand = Demand { run, round: ROUND, seats: 2, seats_min: 1, candidates };
    let question = PlacementQuestion { seed: 1, demands: vec![demand], workers, state: Vec::new() };
    host.place(policy, PARAMETERS, &question)?;
    Ok(())
}

fn aggregate(host: &PolicyHost, policy: &Policy) -> Result<(), TrialFailure> {
    let traits = host.describe(policy, PARAMETERS)?;
    let count = traits.updates_min.max(UPDATES);
    if count > UPDATES_MAX {
        return Ok(());
    }
    let rows: Vec<Vec<f32>> = (0..count).map(update).collect();
    let plan = host.weigh(policy, PARAMETERS, &question(&rows))?;
    let (is_columns, has_step) = (traits.shape == AggregationShape::Columns, traits.has_step);
    if !is_columns && !has_step {
        return Ok(());
    }
    let job = ChunkJob { round: ROUND, seed: 1, memo: plan.memo, parameters: PARAMETERS.into() };
    let mut chunks = host.chunks(policy, &job)?;
    let span = Span { tensor: 0, offset: 0 };
    let mut aggregate = vec![0.01_f32; VALUES];
    if is_columns {
        let counted = rows.iter().zip(&plan.weights).filter(|(_, weight)| **weight > 0.0);
        let (rows, weights): (Vec<&[f32]>, Vec<f32>) = counted.map(|(row, weight)| (row.as_slice(), *weight)).unzip();
        chunks.combine(span, &rows, &weights, &mut aggregate)?;
        finite("an aggregate", &aggregate)?;
    }
    if has_step {
        let mut model = update(count);
        let extra = vec![vec![0.01_f32; VALUES]; plan.extra_weights.len()];
        let extra: Vec<&[f32]> = extra.iter().map(Vec::as_slice).collect();
        let mut state = vec![vec![0.0_f32; VALUES]; traits.state_tensors as usize];
        let mut stepped: Vec<&mut [f32]> = state.iter_mut().map(Vec::as_mut_slice).collect();
        chunks.step(span, &mut model, &aggregate, &extra, &mut stepped)?;
        finite("a model", &model)?;
        state.iter().try_for_each(|tensor| finite("a state tensor", tensor))?;
    }
    Ok(())
}

fn finite(what: &'static str, values: &[f32]) -> Result<(), TrialFailure> {
    if values.iter().all(|value| value.is_finite()) { Ok(()) } else { Err(TrialFailure::NotFinite { what }) }
}

/// The update of number `at`: small values, other ones for each.
fn update(at: u32) -> Vec<f32> {
    let value = |index: usize| (((index as u32 * 31 + at * 17) % 23) as f32 - 11.0) / 256.0;
    (0..VALUES).map(value).collect()
}

fn question(rows: &[Vec<f32>]) -> AggregationQuestion {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let products: Vec<f64> = rows.iter().flat_map(|a| rows.iter().map(move |b| product(a, b))).collect();
    let norms = rows.iter().map(|row| product(row, row).sqrt()).collect();
    let summary = |at: usize| UpdateSummary {
        examples: 100 + at as u64,
        loss: Some(0.5),
        base_loss: Some(0.75),
        staleness: 0,
        steps: Some(10),
        normalizer: Some(10.0),
        learning_rate: Some(0.05),
    };
    AggregationQuestion {
        round: ROUND,
        seed: 1,
        parameters: VALUES as u64,
        tensors: vec![TensorShape { name: "weight".into(), shape: vec![VALUES as u64] }],
        population: rows.len() as u32,
        updates: (0..rows.len()).map(summary).collect(),
        statistics: Statistics { norms, products },
        state: Vec::new(),
    }
}

fn review(host: &PolicyHost, policy: &Policy) -> Result<(), TrialFailure> {
    host.check_parameters(policy, PARAMETERS)?;
    let update = UpdateNumbers {
        parameters: VALUES as u64,
        examples: 100,
        loss: Some(0.5),
        steps: Some(10),
        norm: 0.5,
        max_norm: 0.1,
    };
    let context = ReleaseContext {
        run: "trial".into(),
        round: ROUND,
        region: "region-0".into(),
        aggregation: "fedavg@1".into(),
        cohort: 5,
        quorum: 3,
    };
    let question = ReleaseQuestion { seed: 1, update, context, budget: ReleaseBudget::default(), state: Vec::new() };
    host.review(policy, PARAMETERS, &question)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use polder_policy::{Limits, builtins};

    use super::*;

    #[test]
    fn every_policy_of_ours_stands_its_trial() {
        let host = PolicyHost::new(Limits::default(), None).unwrap();
        for builtin in builtins() {
            let policy = host.load(builtin.bytes).unwrap();
            try_out(&host, &policy).unwrap_or_else(|error| panic!("{}: {error}", builtin.name));
        }
    }
}
