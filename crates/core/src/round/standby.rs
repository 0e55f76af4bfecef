//! Standbys: whoever takes the place of a worker that was lost, declined or failed.
//!
//! Below a quorum the round cannot do without them. Above, a run that allows `standbys` has its places filled again for as long as
//! fewer than a quorum have reported and enough of the time is left; no place is filled more often than it allows.

use super::{Phase, Round, Seat, Terms};
use crate::id::WorkerName;
use crate::time::Timestamp;

/// Places that are open to standbys, and who had them.
#[derive(Debug, Default)]
pub(super) struct Vacancies(std::vec::IntoIter<WorkerName>);

impl Vacancies {
    /// `seat`, in the place of the next worker that left one.
    pub(super) fn fill(&mut self, seat: Seat) -> Seat {
        match self.0.next() {
            Some(gone) => {
                Seat { reason: format!("replaces worker {gone}: {}", seat.reason), replaces: Some(gone), ..seat }
            }
            None => seat,
        }
    }
}

impl Round {
    /// Workers that a quorum lacks.
    #[must_use]
    pub fn missing_for_quorum(&self, terms: &Terms) -> u32 {
        terms.quorum.saturating_sub(self.reported() + self.active())
    }

    /// Workers that the round could use to get as many updates as it wants; none once a quorum has reported.
    #[must_use]
    pub fn missing_for_size(&self, terms: &Terms) -> u32 {
        if terms.standbys == 0 || self.reported() >= terms.quorum {
            return 0;
        }
        let wanted = terms.size.saturating_sub(self.reported() + self.active());
        let open = self.vacant(terms).take(wanted as usize).count();
        u32::try_from(open).unwrap_or(u32::MAX)
    }

    /// Whether a standby that is asked now has a fair chance to be in time.
    #[must_use]
    pub fn has_time_for_standbys(&self, now: Timestamp, terms: &Terms) -> bool {
        self.deadline.is_none_or(|deadline| deadline.ms_since(now) >= terms.round_ms / 4)
    }

    /// Whether a place may be filled once more: a run that fails wherever it is trained must not go through all workers.
    #[must_use]
    pub fn may_replace(&self, terms: &Terms) -> bool {
        matches!(self.phase, Phase::Selection(_)) || terms.standbys == 0 || self.vacant(terms).next().is_some()
    }

    pub(super) fn vacancies(&self, terms: &Terms) -> Vacancies {
        let open: Vec<WorkerName> = self.vacant(terms).cloned().collect();
        Vacancies(open.into_iter())
    }

    /// Who gave a place up that nobody has taken yet, and that may be taken once more.
    fn vacant<'a>(&'a self, terms: &'a Terms) -> impl Iterator<Item = &'a WorkerName> {
        let may_be_filled =
            move |(_, seat): &(&WorkerName, &Seat)| terms.standbys == 0 || self.times_filled(seat) < terms.standbys;
        self.seats.left_open().filter(may_be_filled).map(|(worker, _)| worker)
    }

    /// How many stood in at the place of `seat`, its own worker included.
    fn times_filled(&self, seat: &Seat) -> u32 {
        let mut times = 0;
        let mut before = seat.replaces.as_ref();
        // A worker has one seat a round, so that a chain is no longer than the cohort.
        while let Some(worker) = before.filter(|_| (times as usize) < self.seats.len()) {
            times += 1;
            before = self.seats.get(worker).and_then(|seat| seat.replaces.as_ref());
        }
        times
    }
}
