//! All workers by name, and who is awaited: known as it changes, so that an event costs no look at everybody.

use std::collections::btree_map::Iter;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Presence, Worker};
use crate::id::WorkerName;
use crate::time::Timestamp;

/// As a map it is only read; whatever changes a worker goes through here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workers {
    by_name: BTreeMap<WorkerName, Worker>,
    /// Those that are away, by when they are given up. Follows from the workers, and is not written anywhere.
    awaited: BTreeSet<(Timestamp, WorkerName)>,
}

fn return_by(worker: &Worker) -> Option<(Timestamp, WorkerName)> {
    match &worker.presence {
        Presence::Away { return_by, .. } => Some((*return_by, worker.name.clone())),
        _ => None,
    }
}

impl Workers {
    /// A worker that has enrolled; nothing changes for one that is known.
    pub(crate) fn enrol(&mut self, worker: Worker) {
        self.awaited.extend(return_by(&worker).filter(|_| !self.by_name.contains_key(&worker.name)));
        self.by_name.entry(worker.name.clone()).or_insert(worker);
    }

    /// Changes a worker; says what `change` says, or nothing if there is no such worker.
    pub(crate) fn change<T>(&mut self, name: &WorkerName, change: impl FnOnce(&mut Worker) -> T) -> Option<T> {
        let worker = self.by_name.get_mut(name)?;
        let before = return_by(worker);
        let result = change(worker);
        let after = return_by(worker);
        if before != after {
            if let Some(before) = before {
                self.awaited.remove(&before);
            }
            self.awaited.extend(after);
        }
        Some(result)
    }

    /// When the first of those that are away is given up.
    #[must_use]
    pub fn next_return_by(&self) -> Option<Timestamp> {
        self.awaited.first().map(|(return_by, _)| *return_by)
    }

    /// Who should have returned by now.
    pub(crate) fn overdue(&self, now: Timestamp) -> Vec<WorkerName> {
        let overdue = self.awaited.iter().take_while(|(return_by, _)| *return_by <= now);
        let mut names: Vec<WorkerName> = overdue.map(|(_, name)| name.clone()).collect();
        names.sort_unstable();
        names
    }
}

impl Deref for Workers {
    type Target = BTreeMap<WorkerName, Worker>;

    fn deref(&self) -> &Self::Target {
        &self.by_name
    }
}

impl<'a> IntoIterator for &'a Workers {
    type Item = (&'a WorkerName, &'a Worker);
    type IntoIter = Iter<'a, WorkerName, Worker>;

    fn into_iter(self) -> Self::IntoIter {
        self.by_name.iter()
    }
}

impl Serialize for Workers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.by_name.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Workers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let by_name = BTreeMap::<WorkerName, Worker>::deserialize(deserializer)?;
        let awaited = by_name.values().filter_map(return_by).collect();
        Ok(Self { by_name, awaited })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Region;

    fn name(at: u64) -> WorkerName {
        WorkerName::new(format!("w-{at}")).unwrap()
    }

    #[test]
    fn who_is_awaited_follows_from_the_workers() {
        let mut workers = Workers::default();
        for at in 0..5 {
            workers.enrol(Worker::new(name(at), Region::new("north").unwrap()));
        }
        let away = |ms: u64| Presence::Away { since: Timestamp(0), return_by: Timestamp(ms), reason: "eof".into() };
        for (at, ms) in [(3, 20), (1, 10), (4, 20), (1, 30)] {
            workers.change(&name(at), |worker| worker.presence = away(ms));
        }
        assert_eq!(workers.next_return_by(), Some(Timestamp(20)));
        assert_eq!(workers.overdue(Timestamp(20)), [name(3), name(4)]);
        workers.change(&name(3), |worker| worker.presence = Presence::Enrolled);
        assert_eq!(workers.overdue(Timestamp(99)), [name(1), name(4)]);
        let again: Workers = serde_json::from_str(&serde_json::to_string(&workers).unwrap()).unwrap();
        assert_eq!(again, workers);
        assert_eq!(workers.change(&name(9), |_| ()), None);
    }
}
