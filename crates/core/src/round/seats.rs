//! The cohort, and what is asked of it after every event: kept as it changes, so that a round of ten thousand costs no
//! more an event than one of ten. As a map it is only read; whatever changes a seat goes through here.

use std::collections::btree_map::Iter;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Seat, SeatState};
use crate::id::WorkerName;
use crate::time::Timestamp;

/// Seats by worker: the one order in which updates are aggregated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seats {
    by_worker: BTreeMap<WorkerName, Seat>,
    tally: Tally,
}

/// Follows from the seats, and is not written anywhere.
#[derive(Clone, Debug, Default, PartialEq)]
struct Tally {
    unanswered: usize,
    active: usize,
    lost: usize,
    reported: usize,
    /// Seats that may still report and were not carried over.
    own_open: usize,
    /// Deadlines of those that were, and how many have each.
    carried_open: BTreeMap<Timestamp, usize>,
    /// Who gave up a seat that was not carried over.
    given_up: BTreeSet<WorkerName>,
    /// Whose places others have taken.
    replaced: BTreeSet<WorkerName>,
}

impl Tally {
    fn count(&mut self, worker: &WorkerName, seat: &Seat) {
        self.unanswered += usize::from(seat.state == SeatState::Assigned);
        self.active += usize::from(seat.is_active());
        self.lost += usize::from(is_lost(seat));
        self.reported += usize::from(seat.has_reported());
        match seat.carried {
            Some(carried) if may_report(seat) => *self.carried_open.entry(carried.deadline).or_insert(0) += 1,
            None if may_report(seat) => self.own_open += 1,
            _ => {}
        }
        if seat.is_given_up() && seat.carried.is_none() {
            self.given_up.insert(worker.clone());
        }
        self.replaced.extend(seat.replaces.clone());
    }

    fn discount(&mut self, worker: &WorkerName, seat: &Seat) {
        self.unanswered -= usize::from(seat.state == SeatState::Assigned);
        self.active -= usize::from(seat.is_active());
        self.lost -= usize::from(is_lost(seat));
        self.reported -= usize::from(seat.has_reported());
        match seat.carried {
            Some(carried) if may_report(seat) => {
                if let Some(count) = self.carried_open.get_mut(&carried.deadline) {
                    *count -= 1;
                }
                self.carried_open.retain(|_, count| *count > 0);
            }
            None if may_report(seat) => self.own_open -= 1,
            _ => {}
        }
        self.given_up.remove(worker);
        if let Some(gone) = &seat.replaces {
            self.replaced.remove(gone);
        }
    }
}

fn is_lost(seat: &Seat) -> bool {
    matches!(seat.state, SeatState::Lost { .. })
}

fn may_report(seat: &Seat) -> bool {
    seat.is_active() || is_lost(seat)
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Seats {
    pub(crate) fn insert(&mut self, worker: WorkerName, seat: Seat) {
        if let Some(before) = self.by_worker.remove(&worker) {
            self.tally.discount(&worker, &before);
        }
        self.tally.count(&worker, &seat);
        self.by_worker.insert(worker, seat);
    }

    /// Does nothing for a worker that has no seat.
    pub(super) fn set_state(&mut self, worker: &WorkerName, state: SeatState) {
        let Some(seat) = self.by_worker.get_mut(worker) else { return };
        self.tally.discount(worker, seat);
        seat.state = state;
        self.tally.count(worker, seat);
    }

    /// Seats whose workers have not answered yet.
    pub(super) fn unanswered(&self) -> u32 {
        small(self.tally.unanswered)
    }

    pub(super) fn active(&self) -> u32 {
        small(self.tally.active)
    }

    pub(super) fn lost(&self) -> u32 {
        small(self.tally.lost)
    }

    pub(super) fn reported(&self) -> u32 {
        small(self.tally.reported)
    }

    /// Whether a seat that was not carried over may still report.
    pub(super) fn has_own_open(&self) -> bool {
        self.tally.own_open > 0
    }

    /// The first deadline of those that were carried over and may still report.
    pub(super) fn first_carried_deadline(&self) -> Option<Timestamp> {
        self.tally.carried_open.first_key_value().map(|(deadline, _)| *deadline)
    }

    /// Seats that their workers gave up, or were given up with, and that nobody has taken since.
    pub(super) fn left_open(&self) -> impl Iterator<Item = (&WorkerName, &Seat)> {
        let open = self.tally.given_up.iter().filter(|worker| !self.tally.replaced.contains(*worker));
        open.filter_map(|worker| self.by_worker.get_key_value(worker))
    }
}

impl Deref for Seats {
    type Target = BTreeMap<WorkerName, Seat>;

    fn deref(&self) -> &Self::Target {
        &self.by_worker
    }
}

impl<'a> IntoIterator for &'a Seats {
    type Item = (&'a WorkerName, &'a Seat);
    type IntoIter = Iter<'a, WorkerName, Seat>;

    fn into_iter(self) -> Self::IntoIter {
        self.by_worker.iter()
    }
}

impl From<BTreeMap<WorkerName, Seat>> for Seats {
    fn from(by_worker: BTreeMap<WorkerName, Seat>) -> Self {
        let mut tally = Tally::default();
        for (worker, seat) in &by_worker {
            tally.count(worker, seat);
        }
        Self { by_worker, tally }
    }
}

impl Serialize for Seats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.by_worker.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Seats {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round::Carried;

    fn worker(name: &str) -> WorkerName {
        WorkerName::new(name).unwrap()
    }

    #[test]
    fn whatever_becomes_of_seats_they_are_counted_as_if_anew() {
        let states = [
            SeatState::Assigned,
            SeatState::Accepted,
            SeatState::Lost { reason: "gone".into() },
            SeatState::Failed { reason: "no memory".into() },
            SeatState::Straggled,
            SeatState::CarriedOver,
        ];
        let mut seats = Seats::default();
        let mut seen = [0; 4];
        let mut number = 1_u32;
        let mut draw = |count: u32| {
            number = number.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            (number >> 16) % count
        };
        for step in 0..500 {
            let name = worker(&format!("w-{}", draw(11)));
            let state = states[draw(6) as usize].clone();
            if draw(3) == 0 {
                let deadline = Timestamp(draw(4).into());
                let carried = (draw(2) == 0).then_some(Carried { round: 1, version: 0, deadline });
                let replaces = (draw(9) == 0).then(|| worker(&format!("gone-{step}")));
                seats.insert(name, Seat { carried, replaces, state, ..Seat::new(None, "why not".into()) });
            } else {
                seats.set_state(&name, state);
            }
            assert_eq!(seats, Seats::from(seats.by_worker.clone()), "step {step}");
            let now = [
                seats.active() > 0,
                seats.has_own_open(),
                seats.first_carried_deadline().is_some(),
                seats.left_open().next().is_some(),
            ];
            seen = std::array::from_fn(|at| seen[at] + u32::from(now[at]));
        }
        assert!(seen.iter().all(|times| *times > 10), "{seen:?}");
    }

    #[test]
    fn seats_are_written_as_a_map_and_counted_when_they_are_read() {
        let mut seats = Seats::default();
        seats.insert(worker("a"), Seat::new(None, "why not".into()));
        let text = serde_json::to_string(&seats).unwrap();
        assert!(text.starts_with(r#"{"a":{"#), "{text}");
        assert_eq!(serde_json::from_str::<Seats>(&text).unwrap(), seats);
    }
}
