//! Does what the schedule says, each thing at its time, and undoes it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use polder_tests::node::{Condition, Node};
use polder_tests::proxy::Line;

use crate::schedule::{Fault, Planned};
use crate::world::{Kill, World, wall_clock_ms};

/// What ends a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Remedy {
    StartCoordinator(usize),
    StartWorker(usize),
    ResumeCoordinator(usize),
    ResumeWorker(usize),
    Open(usize),
    ClearDisk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Begin(usize),
    End(Remedy),
}

/// How long a submission that met only broken coordinators is tried again.
const SUBMIT_WITHIN: Duration = Duration::from_secs(120);

impl World {
    /// Everything that was planned has happened, and is healed, when this returns.
    pub(crate) fn suffer(&mut self, planned: &[Planned]) {
        let begins = planned.iter().enumerate().map(|(index, planned)| Reverse((planned.at_ms, Act::Begin(index))));
        let mut agenda: BinaryHeap<_> = begins.collect();
        let began = self.elapsed();
        while let Some(Reverse((at_ms, act))) = agenda.pop() {
            let passed = self.elapsed().saturating_sub(began);
            std::thread::sleep(Duration::from_millis(at_ms).saturating_sub(passed));
            self.nobody_has_ended();
            match act {
                Act::Begin(index) => {
                    let fault = planned[index].fault;
                    let ends = self.begin(fault);
                    self.note(&format!("{fault}{}", if ends.is_none() { " (passed over)" } else { "" }));
                    agenda
                        .extend(ends.into_iter().flatten().map(|(after, end)| Reverse((at_ms + after, Act::End(end)))));
                }
                Act::End(remedy) => {
                    self.end(remedy);
                    self.note(&format!("healed: {remedy:?}"));
                }
            }
        }
    }

    /// Gives what ends it, and after how many milliseconds; none where the victim is hurt already.
    fn begin(&mut self, fault: Fault) -> Option<Vec<(u64, Remedy)>> {
        match fault {
            Fault::KillCoordinator { coordinator, down_ms } => {
                kill(self.up_coordinator(coordinator)?);
                self.lines.is_down(coordinator);
                self.kills.push(Kill { is_coordinator: true, at_ms: wall_clock_ms() });
                Some(vec![(down_ms, Remedy::StartCoordinator(coordinator))])
            }
            Fault::KillWorker { worker, down_ms } => {
                kill(up(&mut self.workers[worker])?);
                self.kills.push(Kill { is_coordinator: false, at_ms: wall_clock_ms() });
                Some(vec![(down_ms, Remedy::StartWorker(worker))])
            }
            Fault::PauseCoordinator { coordinator, ms } => {
                self.up_coordinator(coordinator)?.pause();
                Some(vec![(ms, Remedy::ResumeCoordinator(coordinator))])
            }
            Fault::PauseWorker { worker, ms } => {
                up(&mut self.workers[worker])?.pause();
                Some(vec![(ms, Remedy::ResumeWorker(worker))])
            }
            Fault::Cut { region, ms } => self.change([region], Line::Cut, ms),
            Fault::Silence { region, ms } => self.change([region], Line::Silent, ms),
            Fault::Partition { alone, ms } => {
                let others = (0..self.lines.regions.len()).filter(|region| *region != alone);
                self.change(others.collect::<Vec<_>>(), Line::Silent, ms)
            }
            Fault::Slow { region, delay_ms, bytes_per_s, ms } => {
                self.change([region], Line::Slow { delay_ms, bytes_per_s }, ms)
            }
            Fault::Reset { region } => {
                self.lines.regions[region].reset();
                Some(vec![])
            }
            Fault::FillDisk { ms } => {
                let disk = self.disk.as_ref().filter(|disk| !disk.is_filled())?;
                disk.fill();
                Some(vec![(ms, Remedy::ClearDisk)])
            }
            Fault::Submit => {
                self.submit_meanwhile();
                Some(vec![])
            }
        }
    }

    fn end(&mut self, remedy: Remedy) {
        match remedy {
            Remedy::StartCoordinator(coordinator) => self.start_coordinator(coordinator),
            Remedy::StartWorker(worker) => self.workers[worker].start(|_| ()),
            Remedy::ResumeCoordinator(coordinator) => self.coordinators[coordinator].resume(),
            Remedy::ResumeWorker(worker) => self.workers[worker].resume(),
            Remedy::Open(region) => self.lines.regions[region].set(Line::Open),
            Remedy::ClearDisk => self.disk.iter().for_each(polder_tests::disk::Disk::clear),
        }
    }

    fn up_coordinator(&mut self, coordinator: usize) -> Option<&mut Node> {
        up(&mut self.coordinators[coordinator])
    }

    /// The first of two that overlap to end ends both, which hurts nobody.
    fn change(&self, regions: impl IntoIterator<Item = usize>, line: Line, ms: u64) -> Option<Vec<(u64, Remedy)>> {
        let change = |region: usize| {
            self.lines.regions[region].set(line);
            (ms, Remedy::Open(region))
        };
        Some(regions.into_iter().map(change).collect())
    }

    /// Submits a run of two rounds as somebody does who tries until it works.
    fn submit_meanwhile(&mut self) {
        let number = self.submitting.len() + 1;
        let file = self.polder.file(&format!("run-{number}.toml"), &crate::runs::queued(number));
        let mut command = self.polder.command(&["run", "submit", &file, "--json"]);
        let submit = move || {
            let deadline = Instant::now() + SUBMIT_WITHIN;
            loop {
                let output = command.output().unwrap();
                if output.status.success() {
                    let submitted: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
                    return submitted["run"].as_str().unwrap().to_owned();
                }
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(Instant::now() < deadline, "run {number} was never submitted: {said}");
            }
        };
        self.submitting.push(std::thread::spawn(submit));
    }
}

fn up(node: &mut Node) -> Option<&mut Node> {
    (node.condition() == Condition::Up).then_some(node)
}

#[track_caller]
fn kill(node: &mut Node) {
    if let Some(status) = node.kill() {
        panic!("{} had ended by itself: {status}", node.name);
    }
}
