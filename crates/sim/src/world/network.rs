//! Messages: each may be lost, held up, doubled or overtaken, and none passes into or out of a region that is cut off.
//!
//! Opening a stream is a handshake and can only fail or be slow. Within a stream messages can be lost without the
//! stream breaking: unkinder than TCP, and the rounds' deadlines must do.

use super::World;
use crate::message::{At, Down, Happening, Stream, Up, Who};

/// From a region to the coordinators, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

pub(super) struct Network {
    /// Which regions are cut off, up and down.
    cut: Vec<[bool; 2]>,
    /// When the last message of each lane arrives, so that messages of one lane keep their order.
    last_ms: Vec<u64>,
}

/// Lanes a worker: its stream and its calls, both ways.
const LANES: usize = 4;

impl Network {
    pub(super) fn new(regions: usize) -> Self {
        Self { cut: vec![[false; 2]; regions], last_ms: Vec::new() }
    }

    pub(super) fn cut(&mut self, region: usize, up: bool, down: bool) {
        self.cut[region] = [up, down];
    }

    pub(super) fn is_cut(&self, region: usize) -> bool {
        self.cut[region].contains(&true)
    }

    fn last_ms(&mut self, lane: usize) -> &mut u64 {
        if self.last_ms.len() <= lane {
            self.last_ms.resize(lane + 1, 0);
        }
        &mut self.last_ms[lane]
    }
}

impl World {
    pub(super) fn send_up(&mut self, from: At, via: Who, stream: Option<Stream>, message: &Up) {
        let is_call = matches!(message, Up::Update { .. } | Up::Evaluated { .. });
        let is_handshake = matches!(message, Up::Hello { .. });
        for at_ms in self.arrivals(from, Way::Up, is_call, is_handshake) {
            self.queue.push(at_ms, Happening::ToCoordinator { from, via, stream, message: message.clone() });
        }
    }

    pub(super) fn send_down(&mut self, to: At, via: Who, stream: Option<Stream>, message: &Down) {
        let is_call = matches!(message, Down::Answer { .. });
        let is_handshake = matches!(message, Down::Welcome { .. });
        for at_ms in self.arrivals(to, Way::Down, is_call, is_handshake) {
            self.queue.push(at_ms, Happening::ToWorker { to, via, stream, message: message.clone() });
        }
    }

    pub(super) fn is_cut_off(&self, worker: At, way: Way) -> bool {
        self.network.cut[self.workers[worker].region][usize::from(way == Way::Down)]
    }

    /// When a message of this lane arrives: never, once or twice.
    fn arrivals(&mut self, worker: At, way: Way, is_call: bool, is_handshake: bool) -> Vec<u64> {
        self.counts.messages += 1;
        let faults = self.faults;
        if self.is_cut_off(worker, way) {
            return Vec::new();
        }
        if self.dice.chance(faults.loss) {
            self.strike("loss");
            return Vec::new();
        }
        let mut at_ms = self.now + self.dice.between(1, 10);
        if self.dice.chance(faults.delay) {
            self.strike("delay");
            at_ms += self.dice.between(10, 1_000);
        }
        let overtakes = !is_handshake && self.dice.chance(faults.reordering);
        let lane = worker * LANES + 2 * usize::from(way == Way::Down) + usize::from(is_call);
        let last_ms = self.network.last_ms(lane);
        if !overtakes {
            at_ms = at_ms.max(*last_ms);
            *last_ms = at_ms;
        } else if at_ms < *last_ms {
            self.strike("reordering");
        }
        if !is_handshake && self.dice.chance(faults.duplication) {
            self.strike("duplication");
            let again_ms = at_ms + self.dice.between(1, 200);
            return vec![at_ms, again_ms];
        }
        vec![at_ms]
    }
}
