//! The policies that decide a round, and what happens when one fails: as the run's `on_failure` says, at most
//! [`ATTEMPTS_MAX`] times in a row, and never past the built-in one.

use super::{Round, RoundEffect, RoundRefusal, StateTensor};
use crate::policy::{ATTEMPTS_MAX, AggregationTraits, OnFailure, PolicyChoice, PolicyKind, PolicyRef};

/// What a round begins with; a failure may put others in their place.
#[derive(Clone, Debug, PartialEq)]
pub struct Policies {
    pub placement: PolicyRef,
    pub aggregation: PolicyRef,
    pub traits: AggregationTraits,
    /// SCAFFOLD's `c` as the cohort is to use it.
    pub control_variate: Option<StateTensor>,
}

impl Round {
    pub(super) fn policy_failed(&mut self, kind: PolicyKind, reason: &str, effects: &mut Vec<RoundEffect>) {
        let PolicyChoice::Pinned(policy) = self.decider(kind).clone() else {
            return self.abandon(format!("{kind} failed: {reason}"), effects);
        };
        let failures = self.failures_mut(kind);
        *failures += 1;
        let attempt = *failures + 1;
        match policy.on_failure {
            OnFailure::Retry if attempt <= ATTEMPTS_MAX => {
                let next = format!("it is asked again, attempt {attempt} of {ATTEMPTS_MAX}");
                self.say_failed(kind, reason, &next, effects);
                self.ask_again(kind, effects);
            }
            OnFailure::Retry | OnFailure::Abandon => {
                self.say_failed(kind, reason, "the round is abandoned", effects);
                self.abandon(format!("{kind} by {policy} failed: {reason}"), effects);
            }
            OnFailure::Builtin => self.fall_back(kind, reason, effects),
            // Only the run knows which policy that is; it answers at once.
            OnFailure::Previous => effects.push(RoundEffect::AskPrevious { kind, reason: reason.into() }),
        }
    }

    pub(super) fn replace_placement(
        &mut self,
        reason: &str,
        by: Option<PolicyRef>,
        effects: &mut Vec<RoundEffect>,
    ) -> Result<(), RoundRefusal> {
        self.open_phase()?;
        let Some(by) = by else {
            self.fall_back(PolicyKind::Placement, reason, effects);
            return Ok(());
        };
        let next = format!("{by}, which decided before, decides this round");
        self.say_failed(PolicyKind::Placement, reason, &next, effects);
        self.placement = PolicyChoice::Pinned(by);
        self.placement_failures = 0;
        Ok(())
    }

    pub(super) fn replace_aggregation(
        &mut self,
        reason: &str,
        by: Option<(PolicyRef, AggregationTraits)>,
        effects: &mut Vec<RoundEffect>,
    ) -> Result<(), RoundRefusal> {
        self.open_phase()?;
        let Some((by, traits)) = by else {
            self.fall_back(PolicyKind::Aggregation, reason, effects);
            return Ok(());
        };
        let next = format!("{by}, which decided before, decides this round");
        self.say_failed(PolicyKind::Aggregation, reason, &next, effects);
        self.aggregation = PolicyChoice::Pinned(by);
        self.traits = traits;
        self.aggregation_failures = 0;
        self.ask_again(PolicyKind::Aggregation, effects);
        Ok(())
    }

    fn fall_back(&mut self, kind: PolicyKind, reason: &str, effects: &mut Vec<RoundEffect>) {
        self.say_failed(kind, reason, "the built-in policy decides this round", effects);
        match kind {
            PolicyKind::Aggregation => self.aggregation = PolicyChoice::Builtin,
            PolicyKind::Placement | PolicyKind::Release => self.placement = PolicyChoice::Builtin,
        }
        self.ask_again(kind, effects);
    }

    /// Placement is asked again by the scheduler, which looks at every round that wants workers.
    fn ask_again(&self, kind: PolicyKind, effects: &mut Vec<RoundEffect>) {
        if kind == PolicyKind::Aggregation {
            effects.push(RoundEffect::Aggregate);
        }
    }

    fn say_failed(&mut self, kind: PolicyKind, reason: &str, next: &str, effects: &mut Vec<RoundEffect>) {
        let text = format!("{kind} by {} failed ({reason}); {next}", self.decider(kind));
        self.note(text.clone());
        effects.push(RoundEffect::Announce { worker: None, kind: "policy-failed", text });
    }

    fn decider(&self, kind: PolicyKind) -> &PolicyChoice {
        match kind {
            PolicyKind::Aggregation => &self.aggregation,
            // Regions decide release for themselves; a round knows two kinds.
            PolicyKind::Placement | PolicyKind::Release => &self.placement,
        }
    }

    fn failures_mut(&mut self, kind: PolicyKind) -> &mut u32 {
        match kind {
            PolicyKind::Aggregation => &mut self.aggregation_failures,
            PolicyKind::Placement | PolicyKind::Release => &mut self.placement_failures,
        }
    }
}
