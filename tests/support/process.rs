//! The real program, as a user starts it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// One machine with `polder` on it: a home directory, and whatever runs there.
pub struct Polder {
    program: PathBuf,
    home: TempDir,
    environment: Vec<(String, String)>,
}

/// What a command that ended said.
#[derive(Debug)]
pub struct Said {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// Its stdout; the command must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.status.success(), "it failed: {self:?}");
        self.stdout
    }

    /// The JSON objects on its stdout, one a line; the command must have succeeded.
    #[track_caller]
    pub fn objects(self) -> Vec<Value> {
        self.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The one JSON object on its stdout; the command must have succeeded.
    #[track_caller]
    pub fn object(self) -> Value {
        let mut objects = self.objects();
        assert_eq!(objects.len(), 1, "{objects:?}");
        objects.remove(0)
    }

    /// Holds it to an exit code and a piece of what it must say.
    #[track_caller]
    pub fn fails(self, code: i32, text: &str) {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        assert!(self.stderr.contains(text), "it does not say `{text}`:\n{}", self.stderr);
    }
}

impl Polder {
    /// `program` is `env!("CARGO_BIN_EXE_polder-under-test")`.
    pub fn new(program: &str) -> Self {
        Self { program: program.into(), home: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    /// What every process finds in its environment from now on.
    pub fn set_environment(&mut self, name: &str, value: String) {
        self.environment.push((name.into(), value));
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.home.path().join(below)
    }

    /// Writes a file below the home and gives its path.
    pub fn file(&self, below: &str, text: &str) -> String {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("POLDER_HOME", self.home.path()).env_remove("POLDER_PROFILE");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.home.path()).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Said {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Starts a process that goes on, and waits for the object that says it is up.
    #[track_caller]
    pub fn start(&self, name: &str, arguments: &[&str]) -> Running {
        match self.try_start(name, arguments) {
            Ok(running) => running,
            Err(log) => panic!("{name} did not start:\n{log}"),
        }
    }

    /// The same for one that may not start; the error is what it said.
    pub fn try_start(&self, name: &str, arguments: &[&str]) -> Result<Running, String> {
        self.launch(name, arguments).up()
    }

    /// The same for one that may have to wait before it is up.
    pub fn launch(&self, name: &str, arguments: &[&str]) -> Running {
        let log = self.path(&format!("{name}.log"));
        let file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut command = self.command(&[arguments, &["--json"]].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(file).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Running { child, up: Value::Null, log, stdout }
    }

    /// A coordinator on a free port.
    pub fn coordinator(&self) -> Running {
        self.start("coordinator", &["coordinator", "start", "--listen", "127.0.0.1:0"])
    }

    /// The coordinator again, on the port it had. Another process of this machine may have got the port for a connection of its own and
    /// gives it back soon.
    pub fn coordinator_again(&self, before: &Running) -> Running {
        let listening = before.up["listening"].as_str().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            match self.try_start("coordinator", &["coordinator", "start", "--listen", listening]) {
                Ok(running) => return running,
                Err(log) => {
                    let is_taken = log.contains("another program has this port");
                    assert!(is_taken && std::time::Instant::now() < deadline, "the coordinator did not start:\n{log}");
                }
            }
        }
    }

    pub fn token(&self, region: &str) -> String {
        self.run(&["token", "create", "--region", region]).ok().trim().to_owned()
    }

    /// A worker `<region>-1` with one data set, enrolled with a fresh token.
    #[track_caller]
    pub fn worker(&self, region: &str, data: &str) -> Running {
        let (name, token) = (format!("{region}-1"), self.token(region));
        self.start(&name, &["worker", "start", "--join", &token, "--name", &name, "--data", data])
    }

    /// The worker again, with the credentials it has.
    #[track_caller]
    pub fn worker_again(&self, region: &str, data: &str) -> Running {
        let name = format!("{region}-1");
        self.start(&name, &["worker", "start", "--name", &name, "--data", data])
    }

    /// Submits a run file and gives the run's id.
    #[track_caller]
    pub fn submit(&self, file: &str) -> String {
        self.run(&["run", "submit", file, "--json"]).object()["run"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn show(&self, run: &str) -> Value {
        self.run(&["run", "show", run, "--json"]).object()
    }

    /// Follows a run to its end.
    #[track_caller]
    pub fn ended(&self, run: &str) -> Value {
        self.run(&["run", "watch", run, "--json"]);
        self.show(run)
    }

    /// The run's log so far.
    #[track_caller]
    pub fn log(&self, run: &str) -> Vec<Value> {
        self.run(&["run", "log", run, "--json"]).objects()
    }

    /// Follows the run's log until a line of `kind` comes.
    pub fn until(&self, run: &str, kind: &str) -> Value {
        self.until_nth(run, kind, 1)
    }

    /// Follows the run's log until it has this many committed rounds.
    pub fn until_committed(&self, run: &str, rounds: u64) {
        self.until_nth(run, "round-committed", rounds);
    }

    fn until_nth(&self, run: &str, kind: &str, count: u64) -> Value {
        let mut watch = self.command(&["run", "watch", run, "--json"]);
        let mut child = watch.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut objects = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        let mut seen = 0;
        let found = objects.find(|object| {
            seen += u64::from(object["kind"] == kind);
            seen == count
        });
        child.kill().unwrap();
        child.wait().unwrap();
        found.unwrap_or_else(|| panic!("the run ended without {count} times `{kind}`"))
    }
}

/// A process that goes on until it is stopped; killed with this value.
pub struct Running {
    child: Child,
    /// What it said when it was up.
    pub up: Value,
    log: PathBuf,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    /// Waits for the object that says it is up; the error is what it said before it ended.
    pub fn up(mut self) -> Result<Self, String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        if line.is_empty() {
            self.child.wait().unwrap();
            return Err(self.log());
        }
        self.up = serde_json::from_str(&line).unwrap();
        Ok(self)
    }

    /// Waits until it logs `text`.
    #[track_caller]
    pub fn until_logged(&self, text: &str) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !self.log().contains(text) {
            assert!(std::time::Instant::now() < deadline, "it does not say `{text}`:\n{}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Asks it to end, and gives the code that it ends with.
    pub fn terminated(mut self) -> Option<i32> {
        self.signal("-TERM");
        self.child.wait().unwrap().code()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "it had ended before: {status}");
    }

    /// `kill`, and waits until it has ended in order.
    #[track_caller]
    pub fn stop(mut self) {
        let sent = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "it did not end in order ({status}): {}", self.log());
    }

    /// Lets it sleep in the middle of whatever it does, until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, or by the test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a small, learnable data set for `region` and gives `NAME=PATH`.
pub fn data(home: &Path, name: &str, region: &str, seed: u64) -> String {
    let path = home.join(format!("{region}.csv"));
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let mut features = Vec::new();
    let mut labels = Vec::new();
    for _ in 0..60 {
        let point: Vec<f32> = (0..4).map(|_| uniform() * 2.0 - 1.0).collect();
        labels.push(u32::from(point[0] + point[1] > 0.0));
        features.extend(point);
    }
    polder_train::DataSet::new(features, labels, 4, 2).unwrap().write_csv(&path).unwrap();
    format!("{name}={}", path.display())
}
