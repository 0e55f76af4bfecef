//! What breaks from outside, and how it mends.

use polder_core::Event;

use super::World;
use super::coordinator::Nap;
use super::network::Way;
use super::setup::{a_placement, an_aggregation};
use crate::digests::traits_of;
use crate::message::{At, Happening, Step};
use crate::plan::Faults;

impl World {
    /// It struck, now: counted by the phases that rounds are in.
    pub(super) fn strike(&mut self, fault: &'static str) {
        let open = self.history.federation.runs.values().filter_map(|run| run.round.as_ref());
        let mut phases: Vec<&'static str> = open.map(|round| round.phase.name()).collect();
        if phases.is_empty() {
            phases.push("between");
        }
        phases.sort_unstable();
        phases.dedup();
        for phase in phases {
            *self.counts.struck.entry((fault, phase)).or_insert(0) += 1;
        }
    }

    /// Each fault has its chance, and the next moment is set.
    pub(super) fn break_something(&mut self) {
        self.break_workers();
        self.break_coordinators();
        self.meddle();
        if self.now < self.plan.faults_ms {
            let ms = self.dice.between(50, 500);
            self.after(ms, Happening::FaultDue);
        }
    }

    fn break_workers(&mut self) {
        let faults = self.faults;
        let at = self.dice.index(self.workers.len());
        for (share, is_wiped, fault) in
            [(faults.worker_crash, false, "worker-crash"), (faults.worker_wiped, true, "worker-wiped")]
        {
            if self.dice.chance(share) && self.workers[at].is_up {
                self.strike(fault);
                self.crash_worker(at, is_wiped);
            }
        }
        if self.dice.chance(faults.stream_cut) && self.workers[at].stream().is_some() {
            self.strike("stream-cut");
            self.break_stream(at);
        }
        for (share, is_one_way, fault) in
            [(faults.partition, false, "partition"), (faults.one_way, true, "one-way-partition")]
        {
            if self.dice.chance(share) {
                self.cut_off(is_one_way, fault);
            }
        }
        if self.dice.chance(faults.lie) {
            self.lie(at);
        }
        if self.dice.chance(faults.absurd) {
            self.report_absurdly(at);
        }
    }

    fn break_coordinators(&mut self) {
        let faults = self.faults;
        let who = self.dice.index(self.coordinators.len());
        let is_up = self.coordinators[who].is_up;
        if self.dice.chance(faults.coordinator_restart) && is_up {
            self.step(who, 0, Step::Stop);
        }
        let left_ms = self.plan.faults_ms.saturating_sub(self.now) + 500;
        if self.dice.chance(faults.pause) && is_up && self.now >= self.coordinators[who].paused_until {
            let ms = if self.dice.chance(0.5) { self.dice.between(10, 1_000) } else { self.dice.between(500, 12_000) };
            let ms = ms.min(left_ms);
            match self.dice.index(3) {
                0 => self.coordinators[who].nap = Some(Nap::BeforeAppend { ms }),
                1 => self.coordinators[who].nap = Some(Nap::BeforeEffects { ms }),
                _ => self.pause(who, ms),
            }
        }
        if self.dice.chance(faults.database_cut) && is_up {
            self.strike("database-cut");
            let ms = self.dice.between(50, 2 * self.ttl_ms);
            self.note(format!("coordinator-{who} does not reach the database for {ms} ms"));
            self.coordinators[who].cut_until = self.now + ms;
        }
        if self.dice.chance(faults.database_full) {
            self.strike("database-full");
            let ms = self.dice.between(50, 2_000);
            self.note(format!("the database is full for {ms} ms"));
            self.database.full_until = self.now + ms;
        }
    }

    /// What people do.
    fn meddle(&mut self) {
        let faults = self.faults;
        if self.dice.chance(faults.drain) {
            self.strike("drain");
            let is_draining = self.dice.chance(0.5);
            let at = self.dice.index(self.workers.len());
            let worker = self.workers[at].name.clone();
            self.tell(Event::WorkerDrained { worker, is_draining });
        }
        if self.dice.chance(faults.swap) {
            self.strike("swap");
            let run = self.dice.index(self.runs.len());
            let placement = self.dice.chance(0.5).then(|| a_placement(&mut self.dice));
            let aggregation = self.dice.chance(0.7).then(|| an_aggregation(&mut self.dice));
            let aggregation = aggregation.map(|policy| (policy.clone(), traits_of(&policy)));
            self.tell(Event::PoliciesSet { run: self.runs[run].0.clone(), placement, aggregation });
        }
        if self.dice.chance(faults.stop) {
            self.strike("stop");
            let run = self.dice.index(self.runs.len());
            self.tell(Event::RunStopped { run: self.runs[run].0.clone(), reason: "somebody wanted it".into() });
        }
        if self.dice.chance(faults.enrolment) {
            self.strike("enrolment");
            self.misuse_a_token();
        }
    }

    fn crash_worker(&mut self, at: At, is_wiped: bool) {
        self.note(format!("{} crashes{}", self.workers[at].name, if is_wiped { " and loses its disk" } else { "" }));
        self.counts.worker_crashes += 1;
        self.break_stream(at);
        self.stop_worker(at, is_wiped);
        self.workers[at].slots = u32::try_from(self.dice.between(1, 2)).unwrap_or(1);
        let ms = self.dice.between(50, 2_500);
        self.after(ms, Happening::WorkerStarts { worker: at });
    }

    /// Both ends notice, each in its own time.
    fn break_stream(&mut self, at: At) {
        if let Some(stream) = self.workers[at].stream() {
            // A worker may take a while to notice, and go on reporting meanwhile.
            self.link_breaks(at, stream, 3_000);
        }
        for who in 0..self.coordinators.len() {
            let Some(term) = &self.coordinators[who].term else { continue };
            let Some((session, _)) = term.sessions.get(&at).copied() else { continue };
            let epoch = term.epoch;
            let ms = self.dice.between(0, 300);
            self.step(who, ms, Step::StreamGone { epoch, worker: at, session });
        }
    }

    fn cut_off(&mut self, is_one_way: bool, fault: &'static str) {
        let region = self.dice.index(self.regions);
        if self.network.is_cut(region) {
            return;
        }
        self.strike(fault);
        let is_up = !is_one_way || self.dice.chance(0.5);
        let is_down = !is_one_way || !is_up;
        self.note(format!("region-{region} is cut off, up: {is_up}, down: {is_down}"));
        self.network.cut(region, is_up, is_down);
        for at in 0..self.workers.len() {
            if self.is_cut_off(at, Way::Up) || self.is_cut_off(at, Way::Down) {
                self.break_stream(at);
            }
        }
        let ms = self.dice.between(100, 3_000);
        self.after(ms, Happening::RegionHeals { region });
    }

    pub(super) fn heal(&mut self, region: usize) {
        if self.network.is_cut(region) {
            self.note(format!("region-{region} is reached again"));
            self.network.cut(region, false, false);
        }
    }

    /// From here on nothing new goes wrong; what is broken mends.
    pub(super) fn stop_faults(&mut self) {
        if self.faults != Faults::NONE {
            self.note("faults stop");
            self.faults = Faults::NONE;
            self.declining_until = self.now;
            self.database.full_until = self.now;
            for coordinator in &mut self.coordinators {
                coordinator.cut_until = coordinator.cut_until.min(self.now);
                coordinator.nap = None;
            }
        }
        self.history.settled_ms.get_or_insert(self.now + super::SETTLE_MS);
        for region in 0..self.regions {
            self.heal(region);
        }
        let draining = self.history.federation.workers.values().filter(|worker| worker.is_draining);
        let draining: Vec<_> = draining.map(|worker| worker.name.clone()).collect();
        for worker in draining {
            self.tell(Event::WorkerDrained { worker, is_draining: false });
        }
        // Somebody may have drained a worker just before, and not have been heard yet.
        if self.now < self.plan.faults_ms + super::SETTLE_MS / 2 {
            self.after(200, Happening::FaultsStop);
        }
    }
}
