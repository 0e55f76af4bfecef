//! What breaks from outside, and how it mends.

use polder_core::round::UpdateReceipt;
use polder_core::{AssignmentId, Event, RunId};

use super::World;
use super::setup::{a_placement, an_aggregation, name};
use super::worker::Link;
use crate::digests::{digest, traits_of};
use crate::message::{At, Happening, Up};
use crate::plan::Faults;

impl World {
    /// Each fault has its chance, and the next moment is set.
    pub(super) fn break_something(&mut self) {
        let faults = self.faults;
        let at = self.dice.index(self.workers.len());
        if self.dice.chance(faults.worker_crash) {
            self.crash_worker(at);
        }
        if self.dice.chance(faults.stream_cut) {
            self.break_stream(at);
        }
        if self.dice.chance(faults.partition) {
            self.cut_off();
        }
        if self.dice.chance(faults.drain) {
            let is_draining = self.dice.chance(0.5);
            let worker = self.workers[at].name.clone();
            self.tell(Event::WorkerDrained { worker, is_draining });
        }
        if self.dice.chance(faults.swap) {
            let run = self.dice.index(self.runs.len());
            let placement = self.dice.chance(0.5).then(|| a_placement(&mut self.dice));
            let aggregation = self.dice.chance(0.7).then(|| an_aggregation(&mut self.dice));
            let aggregation = aggregation.map(|policy| (policy.clone(), traits_of(&policy)));
            self.tell(Event::PoliciesSet { run: self.runs[run].0.clone(), placement, aggregation });
        }
        if self.dice.chance(faults.stop) {
            let run = self.dice.index(self.runs.len());
            self.tell(Event::RunStopped { run: self.runs[run].0.clone(), reason: "somebody wanted it".into() });
        }
        if self.dice.chance(faults.lie) {
            self.lie(at);
        }
        if self.now.0 < self.plan.faults_ms {
            let ms = self.dice.between(50, 500);
            self.after(ms, Happening::FaultDue);
        }
    }

    fn crash_worker(&mut self, at: At) {
        if !self.workers[at].is_up {
            return;
        }
        self.note(format!("worker-{at} crashes"));
        self.counts.worker_crashes += 1;
        self.break_stream(at);
        self.stop_worker(at);
        self.workers[at].slots = u32::try_from(self.dice.between(1, 2)).unwrap_or(1);
        let ms = self.dice.between(50, 2_500);
        self.after(ms, Happening::WorkerStarts { worker: at });
    }

    /// Both ends notice, each in its own time.
    fn break_stream(&mut self, at: At) {
        if let Link::Open { session } = self.workers[at].link {
            // A worker may take a while to notice, and go on reporting meanwhile.
            let (boot, ms) = (self.workers[at].boot, self.dice.between(0, 3_000));
            self.after(ms, Happening::LinkGone { worker: at, boot, session });
        }
        if let Some(session) = self.coordinator.sessions.get(&at).copied() {
            let (boot, ms) = (self.coordinator.boot, self.dice.between(0, 300));
            self.after(ms, Happening::StreamGone { boot, worker: at, session });
        }
    }

    fn cut_off(&mut self) {
        let region = self.dice.index(self.regions);
        if self.network.is_cut(region) {
            return;
        }
        self.note(format!("region-{region} is cut off"));
        self.counts.partitions += 1;
        self.network.cut(region, true);
        for at in 0..self.workers.len() {
            if self.workers[at].region == region {
                self.break_stream(at);
            }
        }
        let ms = self.dice.between(100, 3_000);
        self.after(ms, Happening::RegionHeals { region });
    }

    pub(super) fn heal(&mut self, region: usize) {
        if self.network.is_cut(region) {
            self.note(format!("region-{region} is reached again"));
            self.network.cut(region, false);
        }
    }

    /// Reports what the worker was never asked: for a run or round that does not exist, for a round that is over, for a
    /// cohort it is not in, or a second update for a seat that has one. Its name is certified, so that is no lie.
    fn lie(&mut self, at: At) {
        let (run, _) = &self.runs[self.dice.index(self.runs.len())];
        let run = run.clone();
        let open = self
            .coordinator
            .federation
            .runs
            .get(&run)
            .and_then(|run| run.round.as_ref())
            .map_or(1, |round| round.number);
        let (run, round) = match self.dice.index(4) {
            0 => (name(RunId::new("nowhere")), 1),
            1 => (run, open + 1_000),
            2 => (run, open.saturating_sub(1)),
            _ => (run, open),
        };
        let assignment = AssignmentId { run, round, worker: self.workers[at].name.clone() };
        if !self.workers[at].is_up || self.workers[at].is_at_work_on(&assignment) {
            return;
        }
        self.counts.lies += 1;
        let update = digest(&[b"a lie", &self.dice.number().to_le_bytes()]);
        let examples = self.dice.between(0, 3) * 10;
        let loss = Some(if self.dice.chance(0.2) { f64::NAN } else { 0.1 });
        let receipt = UpdateReceipt { loss, ..UpdateReceipt::new(update, 400, examples) };
        self.send_up(at, 0, &Up::Update { assignment, receipt });
    }

    /// From here on nothing new goes wrong; what is broken mends.
    pub(super) fn stop_faults(&mut self) {
        if self.faults != Faults::NONE {
            self.note("faults stop");
            self.faults = Faults::NONE;
            self.declining_until = self.now;
        }
        self.history.settled.get_or_insert(self.now.plus_ms(super::SETTLE_MS));
        for region in 0..self.regions {
            self.heal(region);
        }
        let draining = self.coordinator.federation.workers.values().filter(|worker| worker.is_draining);
        let draining: Vec<_> = draining.map(|worker| worker.name.clone()).collect();
        if !self.coordinator.is_up || !draining.is_empty() {
            for worker in draining {
                self.tell(Event::WorkerDrained { worker, is_draining: false });
            }
            self.after(200, Happening::FaultsStop);
        }
    }
}
