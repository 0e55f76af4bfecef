//! What the coordinator itself is at, or waits for, on behalf of a run: more than the federation knows, and nothing that
//! anything rests on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polder_core::RunId;
use polder_core::view::RunView;

/// At most one a run. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Details(Arc<Mutex<BTreeMap<RunId, (u64, String)>>>);

/// What was said holds until this is dropped, or something else is said.
#[must_use]
pub(crate) struct Said {
    details: Details,
    runs: Vec<RunId>,
    number: u64,
}

impl Details {
    pub(crate) fn say(&self, runs: Vec<RunId>, text: &str) -> Said {
        let mut said = self.lock();
        let number = said.values().map(|(number, _)| *number).max().unwrap_or(0) + 1;
        for run in &runs {
            said.insert(run.clone(), (number, text.to_owned()));
        }
        Said { details: self.clone(), runs, number }
    }

    /// The view with what is said of its run.
    pub(crate) fn told(&self, mut view: RunView) -> RunView {
        let said = self.lock();
        let Some((_, text)) = said.get(&view.run) else { return view };
        let round = view.round.as_mut().and_then(|round| round.waiting_for.as_mut());
        for reason in view.waiting_for.iter_mut().chain(round) {
            *reason = format!("{reason}; {text}");
        }
        view
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RunId, (u64, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        let mut said = self.details.lock();
        for run in &self.runs {
            if said.get(run).is_some_and(|(number, _)| *number == self.number) {
                said.remove(run);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_last_holds_until_it_is_taken_back() {
        let details = Details::default();
        let run: RunId = "r".parse().unwrap();
        let text = |details: &Details| details.lock().get(&run).map(|(_, text)| text.clone());
        let first = details.say(vec![run.clone()], "asking");
        let second = details.say(vec![run.clone()], "waiting");
        drop(first);
        assert_eq!(text(&details).as_deref(), Some("waiting"));
        drop(second);
        assert_eq!(text(&details), None);
    }
}
