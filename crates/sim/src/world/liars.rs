//! Peers that lie: the name is certified, so that a worker lies about everything else.

use polder_core::round::{Evaluation, UpdateReceipt};
use polder_core::{AssignmentId, RunId};

use super::World;
use super::setup::name;
use crate::digests::digest;
use crate::message::{At, Up};

impl World {
    /// Reports what the worker was never asked: for a run or round that does not exist, for a round that is over, for a
    /// cohort it is not in, or a second update for a seat that has one.
    pub(super) fn lie(&mut self, at: At) {
        let assignment = self.something_unasked(at);
        if !self.workers[at].is_up || self.workers[at].is_at_work_on(&assignment) {
            return;
        }
        self.strike("lie");
        let update = digest(&[b"a lie", &self.dice.number().to_le_bytes()]);
        let examples = self.dice.between(0, 3) * 10;
        let loss = Some(if self.dice.chance(0.2) { f64::NAN } else { 0.1 });
        let receipt = UpdateReceipt { loss, ..UpdateReceipt::new(update, 400, examples) };
        let via = self.workers[at].endpoint;
        let message = match self.dice.index(8) {
            0 => Up::Declined { assignment },
            1 => Up::Failed { assignment },
            2 => Up::Accepted { assignment },
            _ => Up::Update { assignment, receipt },
        };
        self.send_up(at, via, self.workers[at].stream(), &message);
    }

    fn something_unasked(&mut self, at: At) -> AssignmentId {
        let (run, _) = &self.runs[self.dice.index(self.runs.len())];
        let run = run.clone();
        let open = self.history.federation.runs.get(&run).and_then(|run| run.round.as_ref());
        let open = open.map_or(1, |round| round.number);
        let (run, round) = match self.dice.index(4) {
            0 => (name(RunId::new("nowhere")), 1),
            1 => (run, open + 1_000),
            2 => (run, open.saturating_sub(1)),
            _ => (run, open),
        };
        AssignmentId { run, round, worker: self.workers[at].name.clone() }
    }

    /// Reports for an assignment that it does have, in numbers that no training gives.
    pub(super) fn report_absurdly(&mut self, at: At) {
        let Some(assignment) = self.workers[at].training().cloned().filter(|_| self.workers[at].is_up) else { return };
        self.strike("absurd-report");
        let update = digest(&[b"absurd", &self.dice.number().to_le_bytes()]);
        let honest = UpdateReceipt::new(update, 400, 100);
        let accuracy = [f64::INFINITY, -1.0, 2.0][self.dice.index(3)];
        let receipt = match self.dice.index(6) {
            0 => UpdateReceipt { examples: u64::MAX, ..honest },
            1 => UpdateReceipt { bytes: u64::MAX, ..honest },
            2 => UpdateReceipt { loss: Some(f64::NEG_INFINITY), ..honest },
            3 => UpdateReceipt { accuracy: Some(accuracy), ..honest },
            4 => UpdateReceipt {
                evaluation: Some(Evaluation { examples: u64::MAX, loss: f64::NAN, accuracy }),
                ..honest
            },
            _ => UpdateReceipt { steps: Some(0), normalizer: Some(-1.0), learning_rate: Some(f64::NAN), ..honest },
        };
        let via = self.workers[at].endpoint;
        self.send_up(at, via, None, &Up::Update { assignment, receipt });
    }

    /// A hello of a worker that holds what it does not, or offers what cannot be.
    pub(super) fn claim_falsely(&mut self, at: At, hello: &mut Up) {
        self.strike("false-claim");
        let unasked = self.something_unasked(at);
        let Up::Hello { capacity, holding, .. } = hello else { return };
        match self.dice.index(4) {
            0 => capacity.slots = 0,
            1 => capacity.slots = u32::MAX,
            2 => capacity.datasets.extend((0..300).map(|n| format!("data-{n}"))),
            _ => holding.push(unasked),
        }
    }
}
