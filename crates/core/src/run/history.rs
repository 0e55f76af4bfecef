//! What a run remembers of rounds that are over: the last ones whole, of those before them only how they ended. A round
//! is whole somewhere else before it is forgotten here: the shell archives each when it closes.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::id::RoundNumber;
use crate::round::{Outcome, Round};

/// Most rounds remembered, and most seats in them: the last round stays, however large it is.
pub const ROUNDS_MAX: usize = 32;
pub const SEATS_MAX: usize = 10_000;
/// Most seats remembered once the run has ended: nothing but `run show` looks at them any more.
pub const SEATS_OF_ENDED_MAX: usize = 64;

/// The rounds of a run that are over. As a slice it is those that are remembered, oldest first, without a gap.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    kept: Vec<Round>,
    forgotten: Forgotten,
    /// Abandoned rounds, forgotten ones too.
    abandoned: u64,
}

/// The rounds before those that are remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// The last of them; rounds are numbered from 1.
    pub rounds: RoundNumber,
    pub committed: u64,
}

impl History {
    /// How many rounds are over, whether they are remembered or not.
    #[must_use]
    pub fn closed(&self) -> RoundNumber {
        self.forgotten.rounds.saturating_add(RoundNumber::try_from(self.kept.len()).unwrap_or(RoundNumber::MAX))
    }

    /// How many of them were abandoned.
    #[must_use]
    pub fn abandoned(&self) -> u64 {
        self.abandoned
    }

    #[must_use]
    pub fn forgotten(&self) -> Forgotten {
        self.forgotten
    }

    /// A round that is remembered.
    #[must_use]
    pub fn get(&self, number: RoundNumber) -> Option<&Round> {
        let place = number.checked_sub(self.forgotten.rounds)?.checked_sub(1)?;
        self.kept.get(usize::try_from(place).ok()?)
    }

    pub(super) fn push(&mut self, round: Round) {
        self.abandoned += u64::from(matches!(round.outcome(), Some(Outcome::Abandoned { .. })));
        self.kept.push(round);
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut Round> {
        self.kept.last_mut()
    }

    /// Forgets the oldest rounds beyond the bounds, but neither the last one nor any from `needed_from` on.
    pub(super) fn forget(&mut self, seats_max: usize, needed_from: Option<RoundNumber>) {
        let is_needed = |round: &Round| needed_from.is_some_and(|needed| round.number >= needed);
        let mut seats: usize = self.kept.iter().map(|round| round.seats.len()).sum();
        let mut gone = 0;
        for round in &self.kept {
            let left = self.kept.len() - gone;
            if left <= 1 || (left <= ROUNDS_MAX && seats <= seats_max) || is_needed(round) {
                break;
            }
            gone += 1;
            seats -= round.seats.len();
            self.forgotten.rounds = round.number;
            self.forgotten.committed += u64::from(round.committed().is_some());
        }
        self.kept.drain(..gone);
    }
}

impl Deref for History {
    type Target = [Round];

    fn deref(&self) -> &[Round] {
        &self.kept
    }
}

impl<'a> IntoIterator for &'a History {
    type Item = &'a Round;
    type IntoIter = std::slice::Iter<'a, Round>;

    fn into_iter(self) -> Self::IntoIter {
        self.kept.iter()
    }
}
