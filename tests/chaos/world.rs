//! A live federation whose every part can be hurt: coordinators, workers in three regions, each region behind a line of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use polder_coordinator::store::StoreConfig;
use polder_tests::Polder;
use polder_tests::disk::Disk;
use polder_tests::node::{Node, processes_of};
use polder_tests::process::data;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::lines::Lines;
use crate::schedule::Victims;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_polder-under-test");
pub(crate) const REGIONS: [&str; 3] = ["ap-south", "eu-west", "us-east"];
/// Every worker, and the place of its region.
pub(crate) const WORKERS: [(&str, usize); 5] =
    [("ap-south-1", 0), ("eu-west-1", 1), ("eu-west-2", 1), ("us-east-1", 2), ("us-east-2", 2)];
pub(crate) const DATASET: &str = "numbers";
/// Room for two long runs, and for one that is submitted meanwhile.
const SLOTS: &str = "3";
const DISK_MIB: u32 = 640;
/// How long the healed federation has for whatever it is to come to.
const PATIENCE: Duration = Duration::from_secs(90);
/// Lines of a log that a failure quotes.
const LAST_LINES: usize = 40;

/// Who was killed, and when by the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kill {
    pub(crate) is_coordinator: bool,
    pub(crate) at_ms: u64,
}

/// What several coordinators share; one coordinator shares nothing.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    pub(crate) database: Option<String>,
    pub(crate) blobs: Option<String>,
    pub(crate) cluster_key: Option<PathBuf>,
}

impl Shared {
    fn environment(&self) -> Vec<(String, String)> {
        let key = self.cluster_key.as_ref().map(|file| file.display().to_string());
        let given = [
            ("POLDER_DATABASE", self.database.clone()),
            ("POLDER_BLOBS", self.blobs.clone()),
            ("POLDER_CLUSTER_KEY_FILE", key),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

pub(crate) struct World {
    pub(crate) polder: Polder,
    shared: Shared,
    pub(crate) lines: Arc<Lines>,
    pub(crate) coordinators: Vec<Node>,
    pub(crate) workers: Vec<Node>,
    pub(crate) disk: Option<Disk>,
    began: Instant,
    /// What was done, and when.
    pub(crate) history: Vec<String>,
    pub(crate) kills: Vec<Kill>,
    pub(crate) submitting: Vec<JoinHandle<String>>,
    _runtime: Runtime,
}

impl World {
    /// Everything is up and connected when this returns.
    pub(crate) fn start(coordinators: usize, shared: &Shared) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let polder = Polder::new(PROGRAM);
        let lines = Arc::new(Lines::new(runtime.handle(), REGIONS.len(), coordinators));
        let disk = Disk::mount(DISK_MIB);
        if let Err(why) = &disk {
            eprintln!("skipped: no disk is filled, because this machine mounts none for us: {why}");
        }
        let disk = disk.ok();
        let home = polder.path("");
        let place = disk.as_ref().map_or(home.as_path(), Disk::path).to_owned();
        let nodes = (0..coordinators).map(|index| coordinator(index, &polder, &place, &lines, shared)).collect();
        let mut world = Self {
            polder,
            shared: shared.clone(),
            lines,
            coordinators: nodes,
            workers: Vec::new(),
            disk,
            began: Instant::now(),
            history: Vec::new(),
            kills: Vec::new(),
            submitting: Vec::new(),
            _runtime: runtime,
        };
        (0..coordinators).for_each(|index| world.start_coordinator(index));
        world.eventually("the coordinators listen", |world| world.lines.are_all_up().then_some(()));
        world.log_in(&place);
        for (name, region) in WORKERS {
            let mut node = worker(name, region, &world.polder, &world.lines);
            node.start(|_| ());
            world.workers.push(node);
        }
        world.all_are_connected();
        world.began = Instant::now();
        world
    }

    pub(crate) fn victims(&self) -> Victims {
        let (coordinators, workers) = (self.coordinators.len(), self.workers.len());
        Victims { coordinators, workers, regions: REGIONS.len(), has_own_disk: self.disk.is_some() }
    }

    /// The operator's profile, with the address of the one line that is never hurt.
    fn log_in(&self, place: &Path) {
        let endpoint = format!("{}\n", self.lines.operator.address);
        self.polder.file("operator/endpoint", &endpoint);
        let credentials = coordinator_dir(place, 0).join("operator/credentials.pem");
        std::fs::copy(credentials, self.polder.path("operator/credentials.pem")).unwrap();
    }

    pub(crate) fn start_coordinator(&mut self, index: usize) {
        let life = self.lines.begins(index);
        let lines = self.lines.clone();
        self.coordinators[index].start(move |line| {
            let up: Value = serde_json::from_str(line).unwrap_or_default();
            if let Some(at) = up["listening"].as_str().and_then(|at| at.parse().ok()) {
                lines.is_up(life, at);
            }
        });
    }

    pub(crate) fn note(&mut self, what: &str) {
        self.history.push(format!("{:>9.3} s  {what}", self.began.elapsed().as_secs_f64()));
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The objects that a command prints; none if it failed, as any may while something is broken.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Option<Vec<Value>> {
        let said = self.polder.run(arguments);
        let is_good = said.status.success();
        is_good.then(|| said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    pub(crate) fn show(&self, run: &str) -> Option<Value> {
        self.ask(&["run", "show", run, "--json"])?.pop()
    }

    /// Waits for what must come about in a federation where nothing is broken.
    #[track_caller]
    pub(crate) fn eventually<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            self.nobody_has_ended();
            assert!(Instant::now() < deadline, "it never came about: {what}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    #[track_caller]
    pub(crate) fn all_are_connected(&mut self) {
        self.eventually("all workers are connected", |world| {
            let listed = world.ask(&["worker", "list", "--json"])?;
            let connected = listed.iter().filter(|worker| worker["state"] == "connected").count();
            (connected == WORKERS.len()).then_some(())
        });
    }

    /// Waits until the run has committed so many more rounds.
    #[track_caller]
    pub(crate) fn gets_on(&mut self, run: &str, rounds: u64) {
        let committed = self.eventually("the run is shown", |world| world.show(run)?["rounds_committed"].as_u64());
        self.eventually("the run goes on", |world| {
            let now = world.show(run)?;
            assert_eq!(now["status"], "running", "{now}");
            (now["rounds_committed"].as_u64()? >= committed + rounds).then_some(())
        });
    }

    /// Whatever is done to them, processes end only if they are killed or told to.
    #[track_caller]
    pub(crate) fn nobody_has_ended(&mut self) {
        for node in self.coordinators.iter_mut().chain(&mut self.workers) {
            if let Some(status) = node.ended_by_itself() {
                panic!("{} ended by itself: {status}", node.name);
            }
        }
    }

    /// Ends everything in order; says which processes were left.
    pub(crate) fn stop(&mut self) -> Vec<String> {
        let nodes = self.workers.iter_mut().chain(&mut self.coordinators);
        let failed: Vec<String> = nodes.filter_map(|node| node.stop().err()).collect();
        assert!(failed.is_empty(), "{failed:?}");
        processes_of(&self.polder.path(""))
    }

    /// Where the federation's state lies, by the first coordinator's files.
    pub(crate) fn store(&self) -> StoreConfig {
        let home = self.polder.path("");
        let dir = coordinator_dir(self.disk.as_ref().map_or(&home, Disk::path), 0);
        StoreConfig { database: self.shared.database.clone(), blobs: self.shared.blobs.clone(), dir }
    }

    /// What a failure must show.
    pub(crate) fn report(&self) -> String {
        let tail = |node: &Node| {
            let log = node.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            format!("---- {}, the last of {} lines:\n{}\n", node.name, lines.len(), last.join("\n"))
        };
        let logs: String = self.coordinators.iter().chain(&self.workers).map(tail).collect();
        format!("what was done, and when:\n{}\n{logs}", self.history.join("\n"))
    }
}

fn coordinator_dir(place: &Path, index: usize) -> PathBuf {
    place.join("coordinators").join(index.to_string())
}

fn coordinator(index: usize, polder: &Polder, place: &Path, lines: &Lines, shared: &Shared) -> Node {
    let dir = coordinator_dir(place, index).display().to_string();
    let nowhere = lines.nowhere.address.to_string();
    let start = ["coordinator", "start", "--json", "--listen", "127.0.0.1:0", "--dir", &dir, "--advertise", &nowhere];
    // All of the journal is read in the end.
    let arguments = start.iter().chain(&["--retain-journal", "1000000000"]).map(|argument| (*argument).to_owned());
    let arguments: Vec<String> = arguments.collect();
    Node::new(&format!("coordinator-{index}"), polder, &arguments, &shared.environment())
}

fn worker(name: &str, region: usize, polder: &Polder, lines: &Lines) -> Node {
    let data = data(&polder.path(""), DATASET, REGIONS[region], region as u64 + 5);
    let token = polder.token(REGIONS[region]);
    let through = lines.regions[region].address.to_string();
    let start =
        ["worker", "start", "--json", "--name", name, "--data", &data, "--slots", SLOTS, "--coordinator", &through];
    let arguments = start.map(str::to_owned);
    Node::new(name, polder, &arguments, &[("POLDER_TOKEN".into(), token)])
}

pub(crate) fn wall_clock_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}
