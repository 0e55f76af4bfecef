//! A process of the federation that a test may hurt at any instant, and start again.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Polder;

/// How long an orderly end may take.
const STOP_WITHIN: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Up,
    Paused,
    Down,
}

/// A program with its arguments, and the process that runs it now. What all its lives say on stderr is in one file.
pub struct Node {
    pub name: String,
    command: Command,
    log: PathBuf,
    child: Option<Child>,
    condition: Condition,
}

impl Node {
    /// Does not start it yet. The log is `<name>.log` in the home.
    pub fn new(name: &str, polder: &Polder, arguments: &[String], environment: &[(String, String)]) -> Self {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = polder.command(&arguments);
        // It ends with this process, however that ends.
        command.envs(environment.iter().cloned()).env("POLDER_PARENT_PIPE", "1").stdin(Stdio::piped());
        let log = polder.path(&format!("{name}.log"));
        Self { name: name.into(), command, log, child: None, condition: Condition::Down }
    }

    pub fn condition(&self) -> Condition {
        self.condition
    }

    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts it; `hear` gets every line of its stdout.
    pub fn start(&mut self, mut hear: impl FnMut(&str) + Send + 'static) {
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut child = self.command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        self.child = Some(child);
        self.condition = Condition::Up;
        // It ends with the process, whose stdout nobody else has.
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(|line| hear(&line)));
    }

    /// `kill -9`; how it ended, if it had by itself before.
    pub fn kill(&mut self) -> Option<ExitStatus> {
        let ended = self.ended_by_itself();
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        self.condition = Condition::Down;
        ended
    }

    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
        self.condition = Condition::Paused;
    }

    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
        self.condition = Condition::Up;
    }

    /// Asks it to end and waits until it has; the error is how it did, if it was not in order.
    pub fn stop(&mut self) -> Result<(), String> {
        self.signal(Signal::TERM);
        let Some(mut child) = self.child.take() else { return Ok(()) };
        self.condition = Condition::Down;
        let deadline = Instant::now() + STOP_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait().unwrap() {
                return if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", self.name)) };
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        Err(format!("{} did not end within {} s of being asked to", self.name, STOP_WITHIN.as_secs()))
    }

    /// How it ended, if it did without being told to.
    pub fn ended_by_itself(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().unwrap())
    }

    fn signal(&self, signal: Signal) {
        // One that has ended has no use for it, and is found out elsewhere.
        if let Some(id) = self.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process(id, signal);
        }
    }

    /// What all its lives have said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The processes of this machine whose environment sets `POLDER_HOME` to `home`, as `id command line`.
pub fn processes_of(home: &Path) -> Vec<String> {
    let wanted = format!("POLDER_HOME={}", home.display());
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_of = |id: &u32| {
        let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    let described = |id: u32| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        format!("{id} {}", String::from_utf8_lossy(&line).replace('\0', " "))
    };
    ids.filter(is_of).map(described).collect()
}
