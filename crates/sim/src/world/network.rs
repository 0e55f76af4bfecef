//! Messages: each may be lost, held up, doubled or overtaken, and none passes into or out of a region that is cut off.
//!
//! Opening a stream is a handshake and can only fail or be slow. Within a stream messages can be lost without the
//! stream breaking: unkinder than TCP, and the rounds' deadlines must do.

use super::World;
use crate::message::{At, Down, Happening, Up};

pub(super) struct Network {
    /// Which regions are cut off.
    cut: Vec<bool>,
    /// When the last message of each lane arrives, so that messages of one lane keep their order.
    last_ms: Vec<u64>,
}

/// Lanes a worker: its stream and its calls, both ways.
const LANES: usize = 4;

impl Network {
    pub(super) fn new(workers: usize, regions: usize) -> Self {
        Self { cut: vec![false; regions], last_ms: vec![0; workers * LANES] }
    }

    pub(super) fn cut(&mut self, region: usize, is_cut: bool) {
        self.cut[region] = is_cut;
    }

    pub(super) fn is_cut(&self, region: usize) -> bool {
        self.cut[region]
    }
}

impl World {
    pub(super) fn send_up(&mut self, from: At, session: u64, message: &Up) {
        let is_call = matches!(message, Up::Update { .. } | Up::Evaluated { .. });
        let is_handshake = matches!(message, Up::Hello { .. });
        for at_ms in self.arrivals(from, usize::from(is_call), is_handshake) {
            self.queue.push(at_ms, Happening::ToCoordinator { from, session, message: message.clone() });
        }
    }

    pub(super) fn send_down(&mut self, to: At, session: u64, message: &Down) {
        let is_call = matches!(message, Down::Answer { .. });
        let is_handshake = matches!(message, Down::Welcome { .. });
        for at_ms in self.arrivals(to, 2 + usize::from(is_call), is_handshake) {
            self.queue.push(at_ms, Happening::ToWorker { to, session, message: message.clone() });
        }
    }

    pub(super) fn is_cut_off(&self, worker: At) -> bool {
        self.network.is_cut(self.workers[worker].region)
    }

    /// When a message of this lane arrives: never, once or twice.
    fn arrivals(&mut self, worker: At, lane: usize, is_handshake: bool) -> Vec<u64> {
        self.counts.messages += 1;
        let faults = self.faults;
        if self.is_cut_off(worker) || self.dice.chance(faults.loss) {
            self.counts.messages_lost += 1;
            return Vec::new();
        }
        let mut at_ms = self.now.0 + self.dice.between(1, 10);
        if self.dice.chance(faults.delay) {
            at_ms += self.dice.between(10, 1_000);
        }
        let overtakes = !is_handshake && self.dice.chance(faults.reordering);
        let last_ms = &mut self.network.last_ms[worker * LANES + lane];
        if !overtakes {
            at_ms = at_ms.max(*last_ms);
            *last_ms = at_ms;
        }
        if !is_handshake && self.dice.chance(faults.duplication) {
            self.counts.messages_doubled += 1;
            let again_ms = at_ms + self.dice.between(1, 200);
            return vec![at_ms, again_ms];
        }
        vec![at_ms]
    }
}
