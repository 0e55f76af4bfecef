//! What a worker takes on: assignments as they are sent, and what an earlier worker left of them.

use std::time::Duration;

use polder_core::effect::Assignment;
use polder_core::policy::TrainingNeeds;
use polder_core::round::Task;
use polder_core::spec::{DEADLINE_MS_MAX, TRAINER_SETTINGS_BYTES_MAX};
use polder_proto::{convert, v1};
use tokio::time::Instant;

use super::{Equipment, HELD_EXTRA, Shared};
use crate::channel::chain;
use crate::config::now;
use crate::kept::KeptUpdate;

impl Shared {
    pub(super) fn read(&self, wire: v1::Assignment) -> Result<Assignment, String> {
        if wire.trainer_settings.len() > TRAINER_SETTINGS_BYTES_MAX {
            return Err(format!("the trainer's settings have more than {TRAINER_SETTINGS_BYTES_MAX} bytes"));
        }
        convert::assignment(wire, &self.equipment.worker, now()).map_err(|malformed| malformed.to_string())
    }

    /// Whether an update that an earlier worker made may still be sent.
    pub(super) fn check_update(&self, kept: &KeptUpdate) -> Result<(), String> {
        if kept.released_by != self.equipment.release.mark() {
            return Err("the region's release policy is another now".into());
        }
        Ok(())
    }

    /// What this worker will do; the error is the reason to decline.
    pub(super) fn check(&self, assignment: &Assignment) -> Result<(), String> {
        let Equipment { slots, model_bytes_max, allow_list, datasets, trainers, .. } = &self.equipment;
        if now() >= assignment.deadline {
            return Err("the round's deadline has passed".into());
        }
        allow_list.admit(&assignment.aggregation)?;
        let held = self.lock().assignments.values().filter(|entry| entry.report.is_none()).count();
        if held >= 2 * *slots as usize + HELD_EXTRA {
            return Err(format!("{held} assignments are held already and there are {slots} slots"));
        }
        if assignment.model_bytes > *model_bytes_max {
            let bytes = assignment.model_bytes;
            return Err(format!("the model has {bytes} bytes; this worker takes {model_bytes_max} at most"));
        }
        if let Some(variate) = &assignment.control_variate
            && variate.bytes != assignment.model_bytes
        {
            let (bytes, model) = (variate.bytes, assignment.model_bytes);
            return Err(format!(
                "the control variate has {bytes} bytes and the model {model}; they must have one layout"
            ));
        }
        let data = datasets.get(&assignment.dataset);
        let data = data.ok_or_else(|| format!("this worker has no data set `{}`", assignment.dataset))?;
        let kind = &assignment.trainer.kind;
        let trainer = trainers.get(kind).ok_or_else(|| format!("this worker has no trainer `{kind}`"))?;
        let settings = &assignment.trainer.settings;
        trainer.check(settings, data).map_err(|error| chain(&error))?;
        if assignment.task == Task::Train && assignment.training != TrainingNeeds::default() {
            trainer.adapts(settings, &assignment.training).map_err(|error| chain(&error))?;
        }
        Ok(())
    }

    /// What an earlier worker left and nobody goes on with.
    pub(super) fn drop_left(&self, assignment: &Assignment, reason: &str) {
        let (run, round) = (&assignment.id.run, assignment.id.round);
        tracing::warn!(%run, round, "what was done before the worker ended is dropped: {reason}");
        self.equipment.kept.place(assignment).clear();
    }
}

pub(super) fn summary(assignment: &Assignment) -> String {
    let Assignment { task, dataset, trainer, model_version, .. } = assignment;
    format!("{task:?} model version {model_version} on `{dataset}` with the {} trainer", trainer.kind)
}

/// When the round will be over. The coordinator sent a duration, and its clock was running already.
pub(super) fn deadline(assignment: &Assignment) -> Instant {
    let left = assignment.deadline.ms_since(now()).min(DEADLINE_MS_MAX);
    Instant::now() + Duration::from_millis(left)
}
