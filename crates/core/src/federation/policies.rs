//! Policies get names, once and for good; runs get other policies, from their next round on.

use std::collections::BTreeSet;

use super::{Effects, Federation, Refusal, StoredPolicy};
use crate::id::{PolicyId, PolicyName, PolicyVersion, RunId};
use crate::policy::{AggregationTraits, PolicyChoice, PolicyKind, PolicyRef};
use crate::round::RoundEvent;
use crate::run::{Run, RunStatus};
use crate::spec::CohortSpec;

/// States of placement policies that are kept though no run may be at them any more.
const PLACEMENT_STATES_MAX: usize = 64;

impl Federation {
    /// The same bytes under the same name and version again say nothing new, but a first signature is kept.
    pub(super) fn policy_pushed(
        &mut self,
        id: PolicyId,
        policy: StoredPolicy,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        if self.policies_removed.contains(&id) {
            return Err(Refusal::PolicyRemoved { policy: id });
        }
        let signer =
            policy.signature.as_ref().map_or_else(|| "unsigned".into(), |by| format!("signed by {}", by.signer));
        match self.policies.get_mut(&id) {
            Some(known) if known.digest != policy.digest => {
                return Err(Refusal::PolicyExists { policy: id, digest: known.digest, pushed: policy.digest });
            }
            Some(known) if known.signature.is_some() || policy.signature.is_none() => {}
            Some(known) => {
                known.signature = policy.signature;
                effects.announce(None, None, None, "policy-signed", format!("{id} is now {signer}"));
            }
            None => {
                let text = format!("{id} pushed: {}, {}, {} bytes, {signer}", policy.kind, policy.digest, policy.bytes);
                effects.announce(None, None, None, "policy-pushed", text);
                self.policies.insert(id, policy);
            }
        }
        Ok(())
    }

    pub(super) fn policy_removed(&mut self, id: PolicyId, effects: &mut Effects) -> Result<(), Refusal> {
        let Some(removed) = self.policies.remove(&id) else { return Err(Refusal::UnknownPolicy { policy: id }) };
        let text = format!("{id} removed: {}, {}", removed.kind, removed.digest);
        effects.announce(None, None, None, "policy-removed", text);
        self.policies_removed.insert(id);
        Ok(())
    }

    /// The version that a push under `name` alone gets: one more than the highest whole number it ever had, from 1.
    #[must_use]
    pub fn next_version(&self, name: &PolicyName) -> Option<PolicyVersion> {
        let ever = self.policies.keys().chain(&self.policies_removed).filter(|id| id.name == *name);
        let highest = ever.filter_map(|id| id.version.as_str().parse::<u64>().ok()).max();
        PolicyVersion::new(highest.unwrap_or(0).checked_add(1)?.to_string()).ok()
    }

    /// What `name` alone stands for: the version that was pushed last.
    #[must_use]
    pub fn newest(&self, name: &PolicyName) -> Option<(&PolicyId, &StoredPolicy)> {
        let versions = self.policies.iter().filter(|(id, _)| id.name == *name);
        versions.max_by_key(|(id, policy)| (policy.pushed_at, id.version.as_str().parse::<u64>().ok(), *id))
    }

    /// Lets go of what placement policies returned as their state, if it is many that did: of those that no run is at.
    pub(super) fn forget_placement_states(&mut self) {
        if self.placement_state.len() <= PLACEMENT_STATES_MAX {
            return;
        }
        let running = self.runs.values().filter(|run| run.status == RunStatus::Running);
        let wanted: BTreeSet<_> = running.flat_map(Run::blobs).collect();
        self.placement_state.retain(|policy, _| wanted.contains(policy));
    }

    pub(super) fn policies_set(
        &mut self,
        id: &RunId,
        placement: Option<PolicyRef>,
        aggregation: Option<(PolicyRef, AggregationTraits)>,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let cohort = self.running(id)?.spec.cohort;
        if let Some((policy, traits)) = &aggregation {
            check_fit(policy, traits, &cohort)?;
        }
        let Some(run) = self.runs.get_mut(id) else { return Err(Refusal::UnknownRun { run: id.clone() }) };
        let mut changes = Vec::new();
        if let Some(placement) = placement.filter(|new| *new != run.placement) {
            changes.push(format!("placement: {} instead of {}", placement, run.placement));
            run.placement = placement;
        }
        if let Some((aggregation, traits)) =
            aggregation.filter(|new| (&new.0, &new.1) != (&run.aggregation, &run.traits))
        {
            changes.push(format!("aggregation: {} instead of {}", aggregation, run.aggregation));
            (run.aggregation, run.traits) = (aggregation, traits);
        }
        if !changes.is_empty() {
            let next = run.round.as_ref().map_or(1, |round| round.number.saturating_add(1));
            let text = format!("from round {next} on, {}", changes.join("; "));
            effects.announce(Some(id), None, None, "policies-set", text);
        }
        Ok(())
    }

    /// A policy failed and the run wants the one before it: for this round, and for those to come if the one that
    /// failed is still in force.
    pub(super) fn go_back(&mut self, id: &RunId, kind: PolicyKind, reason: String, effects: &mut Effects) {
        let Some(run) = self.runs.get_mut(id) else { return };
        let Some(round) = &run.round else { return };
        let (number, failed) = match kind {
            PolicyKind::Aggregation => (round.number, round.aggregation.clone()),
            PolicyKind::Placement | PolicyKind::Release => (round.number, round.placement.clone()),
        };
        let PolicyChoice::Pinned(failed) = failed else { return };
        let (event, rolled_back) = match kind {
            PolicyKind::Aggregation => {
                let by = run.aggregated_by.before(|(last, _)| last.decides_like(&failed));
                let rolled_back = by.clone().and_then(|by| roll_back_aggregation(run, &failed, by));
                (RoundEvent::AggregationReplaced { reason, by }, rolled_back)
            }
            PolicyKind::Placement | PolicyKind::Release => {
                let by = run.placed_by.before(|last| last.decides_like(&failed));
                let rolled_back = by.clone().and_then(|by| roll_back_placement(run, &failed, by));
                (RoundEvent::PlacementReplaced { reason, by }, rolled_back)
            }
        };
        let _ = self.pass_on_without_turning(id, event, effects);
        if let Some(to) = rolled_back {
            let text = format!("{kind} goes back from {failed} to {to}, for this round and those to come");
            effects.announce(Some(id), Some(number), None, "policy-rolled-back", text);
        }
    }
}

fn roll_back_placement(run: &mut Run, failed: &PolicyRef, to: PolicyRef) -> Option<String> {
    if !run.placement.decides_like(failed) {
        return None;
    }
    run.placement = to;
    Some(run.placement.to_string())
}

fn roll_back_aggregation(run: &mut Run, failed: &PolicyRef, to: (PolicyRef, AggregationTraits)) -> Option<String> {
    if !run.aggregation.decides_like(failed) {
        return None;
    }
    (run.aggregation, run.traits) = to;
    Some(run.aggregation.to_string())
}

/// Whether a run with such cohorts can be aggregated by a policy that says this of itself.
pub(super) fn check_fit(policy: &PolicyRef, traits: &AggregationTraits, cohort: &CohortSpec) -> Result<(), Refusal> {
    let unfit = |problem| Refusal::Unfit { policy: policy.to_string(), problem };
    traits.check(cohort.quorum).map_err(unfit)?;
    // A late update was corrected by the `c` or `h` of its own round, and would be counted with that of another.
    if traits.training.correction.is_some() && cohort.staleness_max > 0 {
        let problem = "it corrects local gradients, which is only right in rounds that wait for their own updates; set `cohort.staleness_max` to 0";
        return Err(unfit(problem.into()));
    }
    Ok(())
}
