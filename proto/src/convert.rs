//! Wire to core and back. Everything from a peer is checked here once, with an error that names the field.

mod aggregation;

use std::collections::BTreeSet;

use polder_core::effect;
use polder_core::policy::{GpuLoad, WorkerLoad, tidy_reason};
use polder_core::round::{self, Task};
use polder_core::spec::TrainerSpec;
use polder_core::worker::Capacity;
use polder_core::{AssignmentId, Digest, RunId, Timestamp, WorkerName};

use crate::v1;

/// A peer said something that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}`: {problem}")]
pub struct Malformed {
    pub field: &'static str,
    pub problem: String,
}

impl From<Malformed> for tonic::Status {
    fn from(malformed: Malformed) -> Self {
        crate::unwelcome(tonic::Code::InvalidArgument, "malformed", malformed.to_string())
    }
}

/// Most GPUs taken from one report.
const GPUS_MAX: usize = 64;
/// Longest name taken from a GPU report, in bytes.
const GPU_NAME_BYTES_MAX: usize = 120;

fn malformed(field: &'static str, problem: impl ToString) -> Malformed {
    Malformed { field, problem: tidy_reason(&problem.to_string()) }
}

/// The value of a message field that must be there.
pub fn required<T>(field: &'static str, value: Option<T>) -> Result<T, Malformed> {
    value.ok_or_else(|| malformed(field, "is missing"))
}

/// A name, id or digest out of its text.
pub fn parsed<T>(field: &'static str, text: &str) -> Result<T, Malformed>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|problem: T::Err| malformed(field, problem))
}

/// The peer's own assignment: the worker's name comes from its certificate, never from the message.
pub fn assignment_id(id: Option<v1::AssignmentId>, worker: &WorkerName) -> Result<AssignmentId, Malformed> {
    let v1::AssignmentId { run, round } = required("assignment", id)?;
    Ok(AssignmentId { run: parsed::<RunId>("assignment.run", &run)?, round, worker: worker.clone() })
}

#[must_use]
pub fn assignment_id_to_wire(id: &AssignmentId) -> v1::AssignmentId {
    v1::AssignmentId { run: id.run.to_string(), round: id.round }
}

pub fn capacity(slots: u32, datasets: Vec<String>, trainers: Vec<String>) -> Result<Capacity, Malformed> {
    let names = |field, list: Vec<String>| -> Result<BTreeSet<String>, Malformed> {
        let checked = list.into_iter().map(|name| parsed::<RunId>(field, &name).map(String::from));
        checked.collect()
    };
    let capacity = Capacity { slots, datasets: names("datasets", datasets)?, trainers: names("trainers", trainers)? };
    capacity.check().map_err(|problem| malformed("hello", problem))?;
    Ok(capacity)
}

/// A load report; what is out of range is dropped rather than refused, as it decides nothing by itself.
#[must_use]
pub fn load(load: Option<v1::MachineLoad>) -> WorkerLoad {
    let load = load.unwrap_or_default();
    let share = |value: f64| if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.0 };
    let name = |text: String| text.chars().filter(|c| !c.is_control()).take(GPU_NAME_BYTES_MAX).collect();
    let gpus = load.gpus.into_iter().take(GPUS_MAX).map(|gpu| GpuLoad {
        index: gpu.index,
        name: name(gpu.name),
        uuid: name(gpu.uuid),
        memory_total_bytes: gpu.memory_total_bytes,
        memory_free_bytes: gpu.memory_free_bytes,
        utilization: gpu.utilization.map(share),
        power_watts: gpu.power_watts.filter(|watts| watts.is_finite() && *watts >= 0.0),
    });
    WorkerLoad {
        cpu_utilization: share(load.cpu_utilization),
        memory_free_bytes: load.memory_free_bytes,
        gpus: gpus.collect(),
    }
}

#[must_use]
pub fn load_to_wire(load: &WorkerLoad) -> v1::MachineLoad {
    let gpus = load.gpus.iter().map(|gpu| v1::Gpu {
        index: gpu.index,
        name: gpu.name.clone(),
        uuid: gpu.uuid.clone(),
        memory_total_bytes: gpu.memory_total_bytes,
        memory_free_bytes: gpu.memory_free_bytes,
        utilization: gpu.utilization,
        power_watts: gpu.power_watts,
    });
    v1::MachineLoad {
        cpu_utilization: load.cpu_utilization,
        memory_free_bytes: load.memory_free_bytes,
        gpus: gpus.collect(),
    }
}

pub fn evaluation(wire: v1::Evaluation) -> Result<round::Evaluation, Malformed> {
    let evaluation = round::Evaluation { examples: wire.examples, loss: wire.loss, accuracy: wire.accuracy };
    evaluation.check().map_err(|problem| malformed("evaluation", problem))?;
    Ok(evaluation)
}

#[must_use]
pub fn evaluation_to_wire(evaluation: &round::Evaluation) -> v1::Evaluation {
    v1::Evaluation { examples: evaluation.examples, loss: evaluation.loss, accuracy: evaluation.accuracy }
}

/// What an update's header claims.
pub fn receipt(header: v1::UpdateHeader) -> Result<round::UpdateReceipt, Malformed> {
    let receipt = round::UpdateReceipt {
        update: parsed::<Digest>("digest", &header.digest)?,
        bytes: header.bytes,
        examples: header.examples,
        loss: header.loss,
        accuracy: header.accuracy,
        evaluation: header.evaluation.map(evaluation).transpose()?,
        base_loss: header.base_loss,
        steps: header.steps,
        normalizer: header.normalizer,
        learning_rate: header.learning_rate,
    };
    receipt.check().map_err(|problem| malformed("header", problem))?;
    Ok(receipt)
}

/// An update's header with an offset of 0.
#[must_use]
pub fn receipt_to_wire(assignment: &AssignmentId, receipt: &round::UpdateReceipt) -> v1::UpdateHeader {
    v1::UpdateHeader {
        assignment: Some(assignment_id_to_wire(assignment)),
        digest: receipt.update.to_string(),
        bytes: receipt.bytes,
        offset: 0,
        examples: receipt.examples,
        loss: receipt.loss,
        accuracy: receipt.accuracy,
        evaluation: receipt.evaluation.as_ref().map(evaluation_to_wire),
        base_loss: receipt.base_loss,
        steps: receipt.steps,
        normalizer: receipt.normalizer,
        learning_rate: receipt.learning_rate,
    }
}

#[must_use]
pub fn assignment_to_wire(assignment: &effect::Assignment, now: Timestamp) -> v1::Assignment {
    v1::Assignment {
        assignment: Some(assignment_id_to_wire(&assignment.id)),
        task: match assignment.task {
            Task::Train => "train".into(),
            Task::Evaluate => "evaluate".into(),
        },
        model: assignment.model.to_string(),
        model_bytes: assignment.model_bytes,
        model_version: assignment.model_version,
        dataset: assignment.dataset.clone(),
        trainer: assignment.trainer.kind.clone(),
        trainer_settings: assignment.trainer.settings.to_string(),
        holdout: assignment.holdout,
        holdout_seed: assignment.holdout_seed,
        seed: assignment.seed,
        gpu: assignment.gpu,
        deadline_in_ms: assignment.deadline.ms_since(now),
        cohort: assignment.cohort,
        quorum: assignment.quorum,
        aggregation: Some(aggregation::policy_to_wire(&assignment.aggregation)),
        training: Some(aggregation::needs_to_wire(&assignment.training)),
        control_variate: assignment.control_variate.as_ref().map(aggregation::control_variate_to_wire),
    }
}

/// An assignment as the worker `worker` reads it. `now` is the worker's clock.
pub fn assignment(wire: v1::Assignment, worker: &WorkerName, now: Timestamp) -> Result<effect::Assignment, Malformed> {
    if !(0.0..1.0).contains(&wire.holdout) {
        return Err(malformed("holdout", format!("is {}; expected a share from 0 to below 1", wire.holdout)));
    }
    Ok(effect::Assignment {
        id: assignment_id(wire.assignment, worker)?,
        task: match wire.task.as_str() {
            "train" => Task::Train,
            "evaluate" => Task::Evaluate,
            other => return Err(malformed("task", format!("`{other}` is unknown to this worker; is it older?"))),
        },
        model: parsed("model", &wire.model)?,
        model_bytes: wire.model_bytes,
        model_version: wire.model_version,
        dataset: wire.dataset,
        trainer: TrainerSpec {
            kind: wire.trainer,
            settings: serde_json::from_str(&wire.trainer_settings)
                .map_err(|problem| malformed("trainer_settings", problem))?,
        },
        holdout: wire.holdout,
        holdout_seed: wire.holdout_seed,
        seed: wire.seed,
        gpu: wire.gpu,
        deadline: now.plus_ms(wire.deadline_in_ms),
        cohort: wire.cohort,
        quorum: wire.quorum,
        aggregation: aggregation::policy(required("aggregation", wire.aggregation)?)?,
        training: aggregation::needs(&wire.training.unwrap_or_default())?,
        control_variate: wire.control_variate.map(aggregation::control_variate).transpose()?,
    })
}

#[cfg(test)]
mod tests;
