//! The whole coordinator as one value: workers, tokens, policies, runs. [`Federation::apply`] is the only entrance.
//!
//! | file | what |
//! | --- | --- |
//! | `registry` | workers come, go and drain; tokens are made and used |
//! | `policies` | policies get names; runs get other policies |
//! | `runs` | events of one round, passed to it; a closed round turns the run's page |
//! | `question` | the placement question under way, and what an answer is held to |
//! | `scheduler` | who could be chosen for what; one placement question at a time |

mod policies;
mod question;
mod refusal;
mod registry;
mod runs;
mod scheduler;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::question::OpenQuestion;
pub use self::refusal::Refusal;
use crate::digest::Digest;
use crate::effect::{Effect, Notice};
use crate::enrolment::Token;
use crate::event::Event;
use crate::id::{PolicyId, QuestionId, RoundNumber, RunId, TokenId, WorkerName};
use crate::policy::{PolicyKind, PolicySignature, tidy_reason};
use crate::round::RoundEvent;
use crate::run::Run;
use crate::time::Timestamp;
use crate::worker::Workers;

/// Which rules [`Federation::apply`] follows. It rises when the same events would give another federation; what is only
/// added, and says nothing about events that were there before, leaves it alone.
///
/// A snapshot records it. State that was reached under older rules stays what it is, and a snapshot of it is taken up;
/// entries of the journal after it are applied under the rules of today, as they are without a snapshot.
pub const RULES: u32 = 1;

/// How long a token that expired is remembered, so that whoever comes late is told why.
const TOKEN_REMEMBERED_MS: u64 = 7 * 24 * 3600 * 1000;

/// All of it is held in memory and goes into snapshots, so every collection has a bound, and rounds go by without it
/// growing: what is one for a worker, a token, a policy or a run exists because an operator asked for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Federation {
    /// One for every name that a token let in, at most.
    pub workers: Workers,
    /// Those that are good or expired within the last [`TOKEN_REMEMBERED_MS`].
    pub tokens: BTreeMap<TokenId, Token>,
    /// One a push; the components lie in the blob store.
    pub policies: BTreeMap<PolicyId, StoredPolicy>,
    /// Names and versions that stood for something once and never will again. One a removal.
    policies_removed: BTreeSet<PolicyId>,
    /// One a submission; [`Run`] bounds its rounds, models and evaluations, and most of it goes when it ends.
    pub runs: BTreeMap<RunId, Run>,
    /// Run ids in the order of submission: first come, first served.
    queue: Vec<RunId>,
    /// At most one, about the runs that wait and the workers that are free.
    question: Option<OpenQuestion>,
    questions_asked: QuestionId,
    /// What each placement policy last returned as its state: of those that running runs are at, and a few more.
    placement_state: BTreeMap<Digest, Vec<u8>>,
}

/// A policy as it was pushed under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPolicy {
    pub kind: PolicyKind,
    pub digest: Digest,
    pub bytes: u64,
    #[serde(default)]
    pub signature: Option<PolicySignature>,
    pub pushed_at: Timestamp,
}

impl Federation {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one event and says what is to be done about it. On refusal nothing has changed, and the event belongs into
    /// no journal.
    pub fn apply(&mut self, now: Timestamp, event: Event) -> Result<Vec<Effect>, Refusal> {
        let mut effects = Effects { now, list: Vec::new() };
        match event {
            Event::CoordinatorStarted { grace_ms } => self.coordinator_started(grace_ms, &mut effects),
            Event::TokenCreated { token, secret_hash, grant, expires_at } => {
                self.token_created(now, token, secret_hash, grant, expires_at)?;
            }
            Event::TokenRedeemed { token, applicant } => self.token_redeemed(token, &applicant, &mut effects)?,
            Event::WorkerConnected { worker, session, capacity, holding } => {
                self.worker_connected(worker, session, capacity, &holding, &mut effects)?;
            }
            Event::WorkerDisconnected { worker, session, grace_ms, reason } => {
                self.worker_disconnected(worker, session, grace_ms, reason, &mut effects)?;
            }
            Event::WorkerDrained { worker, is_draining } => {
                self.worker_drained(worker, is_draining, &mut effects)?;
            }
            Event::PolicyPushed { name, version, kind, digest, bytes, signature } => {
                let stored = StoredPolicy { kind, digest, bytes, signature, pushed_at: now };
                self.policy_pushed(PolicyId { name, version }, stored, &mut effects)?;
            }
            Event::PolicyRemoved { name, version } => {
                self.policy_removed(PolicyId { name, version }, &mut effects)?;
            }
            Event::RunSubmitted { run, spec, traits } => self.run_submitted(run, *spec, traits, &mut effects)?,
            Event::PoliciesSet { run, placement, aggregation } => {
                self.policies_set(&run, placement, aggregation, &mut effects)?;
            }
            Event::RunStopped { run, reason } => self.run_stopped(&run, reason, &mut effects)?,
            Event::PlacementAnswered { question, policy, answer } => {
                self.placement_answered(question, policy, answer, &mut effects)?;
            }
            Event::PlacementFailed { question, reason } => {
                self.placement_failed(question, &reason, &mut effects)?;
            }
            Event::AssignmentAccepted { assignment } => {
                self.seat_event(assignment, |worker| RoundEvent::Accepted { worker }, &mut effects)?;
            }
            Event::AssignmentDeclined { assignment, reason } => {
                let reason = tidy_reason(&reason);
                self.seat_event(assignment, |worker| RoundEvent::Declined { worker, reason }, &mut effects)?;
            }
            Event::AssignmentFailed { assignment, reason } => {
                let reason = tidy_reason(&reason);
                self.seat_event(assignment, |worker| RoundEvent::Failed { worker, reason }, &mut effects)?;
            }
            Event::UpdateReceived { assignment, receipt } => {
                receipt.check().map_err(|problem| Refusal::Report { assignment: assignment.clone(), problem })?;
                let latency = self.latency(now, &assignment);
                let worker = assignment.worker.clone();
                self.seat_event(assignment, |worker| RoundEvent::Reported { worker, receipt }, &mut effects)?;
                self.measure(&worker, latency);
            }
            Event::EvaluationReceived { assignment, evaluation } => {
                evaluation.check().map_err(|problem| Refusal::Report { assignment: assignment.clone(), problem })?;
                self.seat_event(assignment, |worker| RoundEvent::Evaluated { worker, evaluation }, &mut effects)?;
            }
            Event::Aggregated { run, round, receipt } => {
                self.round_event(&run, round, RoundEvent::Aggregated { receipt }, &mut effects)?;
            }
            Event::AggregationFailed { run, round, reason } => {
                let reason = tidy_reason(&reason);
                self.round_event(&run, round, RoundEvent::AggregationFailed { reason }, &mut effects)?;
            }
            Event::UpdateLost { assignment, reason } => {
                let reason = tidy_reason(&reason);
                self.seat_event(assignment, |worker| RoundEvent::UpdateLost { worker, reason }, &mut effects)?;
            }
            Event::AggregationImpossible { run, round, reason } => {
                let reason = tidy_reason(&reason);
                self.round_event(&run, round, RoundEvent::Stranded { reason }, &mut effects)?;
            }
            Event::TimePassed => {}
        }
        self.pass_time(&mut effects);
        self.schedule(&mut effects);
        Ok(effects.list)
    }

    /// When time alone would change something; the shell sends `TimePassed` then.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        let is_asking = self.question.is_some();
        let rounds = self.runs.values().filter_map(|run| run.round.as_ref()?.next_wake(&run.terms(), is_asking));
        self.workers.next_return_by().into_iter().chain(rounds).min()
    }

    /// Whether a placement question is under way: until it is answered, no other is asked.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        self.question.is_some()
    }

    /// Every blob that something here refers to; all others may go once they are old enough that nobody is about to name
    /// them. A blob may be given several times.
    pub fn blobs(&self) -> impl Iterator<Item = Digest> + '_ {
        self.policies.values().map(|policy| policy.digest).chain(self.runs.values().flat_map(Run::blobs))
    }

    /// Runs in the order of submission.
    pub fn runs_in_order(&self) -> impl Iterator<Item = &Run> {
        self.queue.iter().filter_map(|id| self.runs.get(id))
    }
}

/// The effects of one event, in the order in which they are to be carried out.
struct Effects {
    now: Timestamp,
    list: Vec<Effect>,
}

impl Effects {
    fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }

    fn announce(
        &mut self,
        run: Option<&RunId>,
        round: Option<RoundNumber>,
        worker: Option<&WorkerName>,
        kind: &str,
        text: String,
    ) {
        self.push(Effect::Announce(Notice {
            at: self.now,
            run: run.cloned(),
            round,
            worker: worker.cloned(),
            kind: kind.into(),
            text,
        }));
    }
}

#[cfg(test)]
mod tests;
