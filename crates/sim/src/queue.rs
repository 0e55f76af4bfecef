//! Virtual time: happenings in the order of their instants, and of their making where instants are equal.

use std::collections::BTreeMap;

use crate::message::Happening;

#[derive(Debug, Default)]
pub(crate) struct Queue {
    due: BTreeMap<(u64, u64), Happening>,
    made: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at_ms: u64, happening: Happening) {
        self.made += 1;
        self.due.insert((at_ms, self.made), happening);
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, Happening)> {
        self.due.pop_first().map(|((at_ms, _), happening)| (at_ms, happening))
    }
}
