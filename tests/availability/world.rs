//! Three coordinators, three workers, an operator; all of them dial whichever coordinator the test says.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use polder_security::JoinToken;
use polder_tests::process::data;
use polder_tests::{Polder, Postgres, Running};
use serde_json::Value;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_polder-under-test");
pub(crate) const COORDINATORS: usize = 3;
pub(crate) const REGIONS: [&str; 3] = ["ap-south", "eu-west", "us-east"];
/// Only a failing test ever waits this long.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct World {
    pub(crate) polder: Polder,
    pub(crate) database: String,
    /// The first coordinator's own way to the database.
    way: String,
    blobs: String,
    pub(crate) coordinators: Vec<Option<Running>>,
    listening: Vec<String>,
    pub(crate) workers: Vec<Running>,
}

/// Whether PostgreSQL is here; else it says that the test is skipped.
pub(crate) fn shared() -> Option<&'static Postgres> {
    Postgres::shared()
}

impl World {
    /// Coordinators without workers. The first one leads.
    pub(crate) fn of_coordinators(postgres: &Postgres) -> Self {
        let polder = Polder::new(PROGRAM);
        let (database, blobs) = (postgres.database(), format!("file://{}", polder.path("objects").display()));
        Self::over(polder, &database, &database, blobs)
    }

    /// The same where the first one reaches the database by a way of its own.
    pub(crate) fn over(polder: Polder, database: &str, way: &str, blobs: String) -> Self {
        key_file(&polder, "cluster-key", "0123456789abcdef");
        std::fs::create_dir(polder.path("objects")).unwrap();
        let mut world = Self {
            polder,
            database: database.into(),
            way: way.into(),
            blobs,
            coordinators: Vec::new(),
            listening: Vec::new(),
            workers: Vec::new(),
        };
        for index in 0..COORDINATORS {
            world.listening.push("127.0.0.1:0".into());
            world.coordinators.push(None);
            world.start(index);
            let up = &world.coordinators[index].as_ref().unwrap().up;
            assert_eq!(up["leads"], index == 0, "{up}");
            world.listening[index] = up["listening"].as_str().unwrap().into();
        }
        world.operate_through(1);
        world
    }

    /// With a worker in each region, which dials the coordinator `through`.
    pub(crate) fn new(postgres: &Postgres, through: usize) -> Self {
        Self::of_coordinators(postgres).with_workers(through)
    }

    pub(crate) fn with_workers(self, through: usize) -> Self {
        let mut world = self;
        let data: Vec<_> = REGIONS.iter().map(|region| data(&world.polder.path(""), "numbers", region, 5)).collect();
        for (region, data) in REGIONS.iter().zip(&data) {
            let mut token = JoinToken::parse(&world.polder.token(region)).unwrap();
            token.endpoint = world.listening[through].parse().unwrap();
            let (name, token) = (format!("{region}-1"), token.encode());
            let arguments = ["worker", "start", "--join", &token, "--name", &name, "--data", data];
            world.workers.push(world.polder.start(&name, &arguments));
        }
        world
    }

    /// Waits until every worker remembers all coordinators; who came first may have been told of the leader alone at first.
    pub(crate) fn until_workers_know_all(&self) {
        let file = |region: &str| self.polder.path(&format!("workers/{region}-1/endpoints"));
        let known = |region: &str| std::fs::read_to_string(file(region)).unwrap_or_default().lines().count();
        let deadline = Instant::now() + PATIENCE;
        while REGIONS.iter().any(|region| known(region) < COORDINATORS) {
            assert!(Instant::now() < deadline, "a worker was not told of all coordinators\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn arguments(&self, index: usize) -> Vec<String> {
        let text = |path: PathBuf| path.display().to_string();
        let database = if index == 0 { &self.way } else { &self.database };
        let (dir, key) = (text(self.dir(index)), text(self.polder.path("cluster-key")));
        let listen = &self.listening[index];
        let all = ["coordinator", "start", "--listen", listen, "--dir", &dir, "--database", database];
        let shared = ["--blobs", &self.blobs, "--cluster-key", &key];
        [&all[..], &shared].concat().into_iter().map(str::to_owned).collect()
    }

    fn dir(&self, index: usize) -> PathBuf {
        self.polder.path(&format!("c{index}"))
    }

    /// Starts a coordinator, on the port that it had before. Another process of this machine may have got that for a
    /// connection of its own, and gives it back soon.
    pub(crate) fn start(&mut self, index: usize) {
        let arguments = self.arguments(index);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let deadline = Instant::now() + PATIENCE;
        let running = loop {
            match self.polder.try_start(&format!("c{index}"), &arguments) {
                Ok(running) => break running,
                Err(log) => {
                    let is_taken = log.contains("another program has this port");
                    assert!(is_taken && Instant::now() < deadline, "coordinator {index} did not start:\n{log}");
                }
            }
        };
        self.coordinators[index] = Some(running);
    }

    pub(crate) fn coordinator(&mut self, index: usize) -> &mut Running {
        self.coordinators[index].as_mut().unwrap()
    }

    pub(crate) fn kill(&mut self, index: usize) {
        self.coordinators[index].take().unwrap().kill();
    }

    pub(crate) fn stop(&mut self, index: usize) {
        self.coordinators[index].take().unwrap().stop();
    }

    /// From now on the operator's commands dial this coordinator.
    pub(crate) fn operate_through(&self, index: usize) {
        let link = self.polder.path("operator");
        // There is none the first time.
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(self.dir(index).join("operator"), link).unwrap();
    }

    /// `coordinator show`, as soon as somebody answers.
    pub(crate) fn shown(&self) -> Value {
        self.shown_when("somebody leads", |_| true)
    }

    /// `coordinator show` once it is as `is_so` wants it.
    pub(crate) fn shown_when(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        self.answer(&["coordinator", "show", "--json"], what, is_so)
    }

    /// The object that a command prints, once it answers as `is_so` wants it. The coordinator that it dials may be down, or
    /// about to be.
    fn answer(&self, command: &[&str], what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.polder.run(command);
            let last = if said.status.success() {
                let view = said.object();
                if is_so(&view) {
                    return view;
                }
                view.to_string()
            } else {
                said.stderr
            };
            assert!(Instant::now() < deadline, "it never came about that {what}: {last}\n{}", self.logs());
        }
    }

    /// Which of the coordinators leads.
    pub(crate) fn leader(&self, view: &Value) -> usize {
        self.listening.iter().position(|listening| view["endpoint"] == listening.as_str()).unwrap()
    }

    pub(crate) fn submit(&self, rounds: u32, delay_ms: u32) -> String {
        let file = self.polder.file("run.toml", &run_file(rounds, delay_ms));
        self.polder.submit(&file)
    }

    /// `run show`.
    pub(crate) fn run(&self, run: &str) -> Value {
        self.run_when(run, "the run is shown", |_| true)
    }

    fn run_when(&self, run: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        self.answer(&["run", "show", run, "--json"], what, is_so)
    }

    pub(crate) fn committed(&self, run: &str) -> u64 {
        committed(&self.run(run))
    }

    /// Waits until the run has this many committed rounds.
    pub(crate) fn until_committed(&self, run: &str, rounds: u64) {
        self.run_when(run, "the round commits", |view| committed(view) >= rounds);
    }

    /// The run once it has completed: every round committed once, none was abandoned, and every region trained once a round.
    pub(crate) fn completed_without_loss(&self, run: &str, rounds: usize) {
        let ended = self.run_when(run, "the run ends", |view| view["status"] != "running");
        let logs = || self.logs();
        let found = (&ended["status"], &ended["rounds_abandoned"]);
        assert_eq!(found, (&"completed".into(), &0.into()), "{ended}\n{}", logs());
        let lines = self.polder.log(run);
        let count = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count();
        assert_eq!(count("round-committed"), rounds, "each round commits once\n{}", logs());
        assert_eq!(count("update-received"), rounds * REGIONS.len(), "each update counts once\n{}", logs());
        for worker in &self.workers {
            let log = worker.log();
            let trained = log.lines().filter(|line| line.contains(run) && line.contains(" trained")).count();
            assert_eq!(trained, rounds, "each round is trained once:\n{log}\n{}", logs());
        }
    }

    pub(crate) fn logs(&self) -> String {
        let log = |index| std::fs::read_to_string(self.polder.path(&format!("c{index}.log"))).unwrap_or_default();
        let coordinators: String =
            (0..COORDINATORS).map(|index| format!("coordinator {index}:\n{}\n", log(index))).collect();
        let workers: String = self.workers.iter().map(|worker| format!("worker:\n{}\n", worker.log())).collect();
        coordinators + &workers
    }
}

fn committed(view: &Value) -> u64 {
    view["rounds_committed"].as_u64().unwrap()
}

/// A private file of a key that is 64 hexadecimal digits.
pub(crate) fn key_file(polder: &Polder, name: &str, digits: &str) -> String {
    use std::os::unix::fs::PermissionsExt;

    let path = polder.file(name, &digits.repeat(64 / digits.len()));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Three regions and three updates a round, so that every round needs everybody.
fn run_file(rounds: u32, delay_ms: u32) -> String {
    format!(
        r#"
name = "turns"
data = "numbers"
rounds = {rounds}
seed = 11
[model]
kind = "logistic-regression"
inputs = 4
classes = 2
[trainer]
kind = "synthetic"
settings = {{ delay_ms = {delay_ms} }}
[cohort]
size = 3
quorum = 3
[deadlines]
round = "5m"
"#
    )
}

/// For who runs the tests, whether they succeed or not.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What only the logs tell.
pub(crate) fn wait_until(world: &World, what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came about that {what}\n{}", world.logs());
        std::thread::sleep(Duration::from_millis(20));
    }
}
