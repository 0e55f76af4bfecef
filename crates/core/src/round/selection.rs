//! Selection: who takes part. The scheduler looks for candidates and asks the placement policy; the round keeps what it
//! waits for and since when.

use serde::{Deserialize, Serialize};

use super::standby::Vacancies;
use super::{Phase, Round, RoundEffect, RoundRefusal, Seat, Task, Terms};
use crate::digest::Digest;
use crate::id::WorkerName;
use crate::policy::PolicyKind;
use crate::time::Timestamp;

/// How long a placement policy that declined is left alone.
pub const RETRY_MS: u64 = 1_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    pub since: Timestamp,
    /// Since when at least a quorum could be chosen.
    pub quorum_since: Option<Timestamp>,
    pub waiting_for: String,
    /// Since when the placement policy has been asked, while it is.
    #[serde(default)]
    pub asked_at: Option<Timestamp>,
}

impl Selection {
    /// What a round waits for that the scheduler has not seen yet.
    pub const UNSEEN: &str = "the scheduler";

    pub(super) fn new(now: Timestamp) -> Self {
        Self { since: now, quorum_since: None, waiting_for: Self::UNSEEN.into(), asked_at: None }
    }

    /// Whether a cohort smaller than wanted may be asked now.
    #[must_use]
    pub fn window_is_over(&self, now: Timestamp, terms: &Terms) -> bool {
        let waited_ms = self.quorum_since.map_or(0, |since| now.ms_since(since));
        waited_ms >= terms.selection_ms
    }

    pub(super) fn window_ends(&self, terms: &Terms) -> Option<Timestamp> {
        self.quorum_since.map(|since| since.plus_ms(terms.selection_ms))
    }
}

impl Round {
    /// Workers the round would like and the fewest it can use, now; none if it needs nobody.
    #[must_use]
    pub fn open_seats(&self, terms: &Terms) -> Option<(u32, u32)> {
        match &self.phase {
            // Whoever was carried over holds a seat already.
            Phase::Selection(_) => {
                let holding = self.reported() + self.active();
                let wanted = terms.seats.saturating_sub(holding);
                (wanted > 0).then(|| (wanted, terms.quorum.saturating_sub(holding).clamp(1, wanted)))
            }
            // Free workers may stand in for those that went missing.
            Phase::Configuration { .. } | Phase::Reporting { .. } => {
                let wanted = self.missing_for_quorum(terms).max(self.missing_for_size(terms));
                (wanted > 0).then_some((wanted, 1))
            }
            Phase::Aggregation { .. } | Phase::Closed(_) => None,
        }
    }

    pub(super) fn wait(
        &mut self,
        now: Timestamp,
        terms: &Terms,
        candidates: u32,
        reason: String,
    ) -> Result<(), RoundRefusal> {
        let fewest = self.open_seats(terms).map_or(terms.quorum, |(_, fewest)| fewest);
        let has_quorum = candidates >= fewest || (self.active() == 0 && self.reported() >= terms.quorum);
        let Phase::Selection(selection) = &mut self.phase else { return Err(self.wrong_phase()) };
        if has_quorum {
            selection.quorum_since.get_or_insert(now);
        } else {
            selection.quorum_since = None;
        }
        selection.waiting_for = reason;
        selection.asked_at = None;
        Ok(())
    }

    pub(super) fn placement_asked(&mut self, now: Timestamp) -> Result<(), RoundRefusal> {
        let again = match self.placement_failures {
            0 => String::new(),
            failures => format!(", asked again after {failures} failures"),
        };
        let asked = format!("the placement policy, {}{again}", self.placement);
        self.open_phase()?;
        if let Phase::Selection(selection) = &mut self.phase {
            selection.waiting_for = asked;
            selection.asked_at = Some(now);
        }
        Ok(())
    }

    pub(super) fn place(
        &mut self,
        now: Timestamp,
        terms: &Terms,
        (chosen, by): (Vec<(WorkerName, Seat)>, Digest),
        reason: String,
        effects: &mut Vec<RoundEffect>,
    ) -> Result<(), RoundRefusal> {
        if self.open_seats(terms).is_none() {
            return Err(self.wrong_phase());
        }
        let is_standing_in = !matches!(self.phase, Phase::Selection(_));
        let mut vacancies = if is_standing_in { self.vacancies(terms) } else { Vacancies::default() };
        let names: Vec<_> = chosen.iter().map(|(worker, _)| worker.as_str()).collect();
        let task = match self.task {
            Task::Train => "training",
            Task::Evaluate => "evaluation",
        };
        let text = format!("{task} on {}: {reason}", names.join(", "));
        self.note(text.clone());
        effects.push(RoundEffect::Announce { worker: None, kind: "cohort-chosen", text });
        self.placed_by = Some(by);
        self.placement_failures = 0;
        for (worker, seat) in chosen {
            let seat = vacancies.fill(Seat { assigned_at: now, ..seat });
            self.seats.insert(worker.clone(), seat);
            effects.push(RoundEffect::Assign { worker });
        }
        if let Phase::Selection(_) = self.phase {
            self.deadline = Some(now.plus_ms(terms.round_ms));
            self.phase = Phase::Configuration { since: now };
        }
        Ok(())
    }

    pub(super) fn placement_failed(
        &mut self,
        reason: &str,
        effects: &mut Vec<RoundEffect>,
    ) -> Result<(), RoundRefusal> {
        self.open_phase()?;
        self.policy_failed(PolicyKind::Placement, reason, effects);
        Ok(())
    }

    pub(super) fn placement_declined(
        &mut self,
        now: Timestamp,
        terms: &Terms,
        reason: String,
    ) -> Result<(), RoundRefusal> {
        self.open_phase()?;
        let has_quorum = self.active() == 0 && self.reported() >= terms.quorum;
        self.quiet_until = Some(now.plus_ms(RETRY_MS));
        if let Phase::Selection(selection) = &mut self.phase {
            // Updates that were carried over may be a quorum already; a policy that declines for ever must not hold them up.
            if has_quorum {
                selection.quorum_since.get_or_insert(now);
            }
            selection.asked_at = None;
            selection.waiting_for = format!("the placement policy, which declined: {reason}");
        }
        Ok(())
    }
}
