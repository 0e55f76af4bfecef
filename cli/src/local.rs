//! A federation on this machine: one coordinator and some workers as child processes of this program, enrolled by join
//! tokens, talking mutual TLS on loopback. `demo` and `bench` run on it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use futures_util::future::{join_all, select_all};
use polder_core::Region;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::client::{Client, TokenFor};
use crate::home::{Home, Profile};

/// Where `worker start` looks for its token if no flag gives it.
const TOKEN_VARIABLE: &str = "POLDER_TOKEN";
/// Tokens are used at once.
const TOKEN_LIFETIME: Duration = Duration::from_secs(600);

/// Says on a child process that its stdin is a pipe whose end is its parent's end, see [`crate::shutdown`].
pub(crate) const PARENT_PIPE_VARIABLE: &str = "POLDER_PARENT_PIPE";
/// A process that is not up by then never will be; a thousand of them may start at once.
const UP_WITHIN: Duration = Duration::from_secs(120);
/// Lines of a log that are quoted.
const LAST_LINES: usize = 8;

/// What a child process prints on stdout once it is up is one JSON object a line; its log goes to a file.
pub(crate) struct LocalProcess {
    name: String,
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// Held, never written: the child ends when it is closed, even by our own death.
    _stdin: ChildStdin,
    log: PathBuf,
    is_up: bool,
}

impl LocalProcess {
    /// Starts this program with `arguments`; its log goes to `dir/<name>.log`. It is killed when this value is dropped,
    /// and ends by itself if this process is. What is secret goes into `environment`, where other users cannot see it.
    pub(crate) fn start(
        name: &str,
        dir: &Path,
        arguments: &[String],
        environment: Option<(&str, &str)>,
    ) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(program);
        command.args(arguments).envs(environment).env(PARENT_PIPE_VARIABLE, "1");
        Self::spawn(name, dir, command)
    }

    fn spawn(name: &str, dir: &Path, mut command: Command) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let file = std::fs::File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start the {name}"))?;
        let stdout = BufReader::new(child.stdout.take().context("the child has no stdout")?);
        let stdin = child.stdin.take().context("the child has no stdin")?;
        Ok(Self { name: name.into(), child, stdout, _stdin: stdin, log, is_up: false })
    }

    /// The object that the process prints when it is up.
    pub(crate) async fn is_up(&mut self) -> Result<Value> {
        let mut line = String::new();
        match tokio::time::timeout(UP_WITHIN, self.stdout.read_line(&mut line)).await {
            Err(_) => bail!("{} is not up after {} s; {}", self.name, UP_WITHIN.as_secs(), self.last_words()),
            Ok(Err(error)) => return Err(error).with_context(|| format!("cannot hear {}", self.name)),
            Ok(Ok(0)) => return Err(self.end().await),
            Ok(Ok(_)) => {}
        }
        self.is_up = true;
        serde_json::from_str(&line).with_context(|| format!("{} said something that is no JSON: {line}", self.name))
    }

    /// Waits until it has ended, which it should not by itself: how it did, and what it said last.
    async fn end(&mut self) -> Error {
        match self.child.wait().await {
            Ok(status) => {
                let when = if self.is_up { "ended early" } else { "did not start" };
                anyhow!("{} {when} ({status}); {}", self.name, self.last_words())
            }
            Err(error) => Error::from(error).context(format!("cannot wait for {}", self.name)),
        }
    }

    /// The same for one that may not be up yet; one that never is counts as lost.
    async fn lost(&mut self) -> Error {
        if !self.is_up
            && let Err(error) = self.is_up().await
        {
            return error;
        }
        self.end().await
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        match &lines[lines.len().saturating_sub(LAST_LINES)..] {
            [] => "it said nothing".into(),
            last => format!("it said:\n{}", last.join("\n")),
        }
    }

    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Asks it to end in order, and waits until it has.
    pub(crate) async fn stop(mut self) -> Result<()> {
        if let Some(id) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // A process that has ended by itself cannot be asked to, and need not be.
            let _ = kill_process(id, Signal::TERM);
        }
        match tokio::time::timeout(Duration::from_secs(10), self.child.wait()).await {
            Ok(ended) => ended.map(|_| ()).with_context(|| format!("cannot wait for {}", self.name)),
            Err(_) => {
                tracing::warn!(process = self.name, "it did not end within 10 s and is killed");
                self.child.kill().await.with_context(|| format!("cannot kill {}", self.name))
            }
        }
    }
}

/// Most memory the process `id` ever had resident, in bytes; none where /proc does not tell.
pub(crate) fn peak_bytes(id: u32) -> Option<u64> {
    status_bytes(id, "VmHWM:")
}

/// Memory the process `id` has resident now, in bytes; none where /proc does not tell.
pub(crate) fn resident_bytes(id: u32) -> Option<u64> {
    status_bytes(id, "VmRSS:")
}

fn status_bytes(id: u32, key: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// How many files and sockets the process `id` has open; none where /proc does not tell.
pub(crate) fn open_files(id: u32) -> Option<u64> {
    Some(std::fs::read_dir(format!("/proc/{id}/fd")).ok()?.count() as u64)
}

/// Starts a coordinator below `dir` with these `options` and waits for what it prints once it is up.
async fn start_coordinator(dir: &Path, listen: &str, options: &[String]) -> Result<(LocalProcess, Value)> {
    let arguments = ["coordinator", "start", "--json", "--listen", listen, "--dir"].map(str::to_owned);
    let own = dir.join("coordinator").display().to_string();
    let arguments = [arguments.as_slice(), &[own], options].concat();
    let mut coordinator = LocalProcess::start("coordinator", dir, &arguments, None)?;
    let up = coordinator.is_up().await?;
    Ok((coordinator, up))
}

/// What a coordinator says of a port that somebody else has.
fn is_port_taken(error: &Error) -> bool {
    error.to_string().contains("another program has this port")
}

/// A coordinator and its workers, all on this machine; they end with this value.
pub(crate) struct LocalFederation {
    dir: PathBuf,
    coordinator: LocalProcess,
    endpoint: String,
    profile: PathBuf,
    workers: Vec<LocalProcess>,
    /// Of `coordinator start`, for when it is started again.
    options: Vec<String>,
}

impl LocalFederation {
    /// Starts a coordinator below `dir`, on any free port of the loopback interface, and waits until it is up.
    pub(crate) async fn start(dir: &Path) -> Result<Self> {
        Self::start_with(dir, &[]).await
    }

    /// The same with further options of `coordinator start`.
    pub(crate) async fn start_with(dir: &Path, options: &[&str]) -> Result<Self> {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let (coordinator, up) = start_coordinator(dir, "127.0.0.1:0", &options).await?;
        let text = |key: &str| {
            let value = up.get(key).and_then(Value::as_str).map(str::to_owned);
            value.with_context(|| format!("the coordinator did not say its {key}"))
        };
        let (endpoint, profile) = (text("endpoint")?, text("profile")?.into());
        Ok(Self { dir: dir.into(), coordinator, endpoint, profile, workers: Vec::new(), options })
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The coordinator's process.
    pub(crate) fn coordinator_id(&self) -> Option<u32> {
        self.coordinator.id()
    }

    /// Kills the coordinator without a warning, starts it again on the same port and waits until it is up. Those who try
    /// to reach it meanwhile may have the port for a moment, as their own.
    pub(crate) async fn restart_coordinator(&mut self) -> Result<()> {
        self.coordinator.child.kill().await.context("cannot kill the coordinator")?;
        let killed = std::time::Instant::now();
        loop {
            match start_coordinator(&self.dir, &self.endpoint, &self.options).await {
                Ok((coordinator, _)) => {
                    self.coordinator = coordinator;
                    return Ok(());
                }
                Err(error) if is_port_taken(&error) && killed.elapsed() < UP_WITHIN => {
                    tracing::debug!("the coordinator's port is taken; trying again");
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The workers' processes, those that have ended left out.
    pub(crate) fn worker_ids(&self) -> Vec<u32> {
        self.workers.iter().filter_map(LocalProcess::id).collect()
    }

    /// A client with the operator's credentials that the coordinator left for this machine.
    pub(crate) async fn client(&self) -> Result<Client> {
        let profile = Profile::find(Some(&self.profile), &Home::find()?)?;
        Ok(Client::of_profile(&profile).await?)
    }

    /// Enrols a worker named `<region>-1` with a fresh token and starts it; it connects in its own time.
    pub(crate) async fn add_worker(&mut self, client: &Client, region: &str, data: (&str, &Path)) -> Result<()> {
        let bearer = TokenFor::Worker(Region::new(region)?);
        let token = client.create_token(&bearer, TOKEN_LIFETIME).await?.token;
        let name = format!("{region}-1");
        let (dataset, path) = data;
        let arguments = [
            "worker".to_owned(),
            "start".to_owned(),
            "--json".to_owned(),
            "--name".to_owned(),
            name.clone(),
            "--data".to_owned(),
            format!("{dataset}={}", path.display()),
            "--dir".to_owned(),
            self.dir.join("workers").join(&name).display().to_string(),
        ];
        let token = Some((TOKEN_VARIABLE, token.as_str()));
        self.workers.push(LocalProcess::start(&name, &self.dir, &arguments, token)?);
        Ok(())
    }

    /// Does `work`, which needs every process: the first that ends, or does not come up, ends the work too.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let processes = std::iter::once(&mut self.coordinator).chain(&mut self.workers);
        let lost = select_all(processes.map(|process| Box::pin(process.lost())));
        tokio::select! {
            biased;
            done = work => done,
            (error, ..) = lost => Err(error),
        }
    }

    /// Ends the workers, then the coordinator, each in order.
    pub(crate) async fn stop(self) -> Result<()> {
        let stopping = join_all(self.workers.into_iter().map(LocalProcess::stop));
        stopping.await.into_iter().collect::<Result<Vec<_>>>()?;
        self.coordinator.stop().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(name: &str, dir: &Path, script: &str) -> LocalProcess {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        LocalProcess::spawn(name, dir, command).unwrap()
    }

    fn federation(dir: &Path, worker: &str) -> LocalFederation {
        LocalFederation {
            dir: dir.into(),
            coordinator: shell("coordinator", dir, "echo '{}'; cat"),
            endpoint: String::new(),
            profile: PathBuf::new(),
            workers: vec![shell("eu-west-1", dir, "echo '{}'; cat"), shell("us-east-1", dir, worker)],
            options: Vec::new(),
        }
    }

    #[test]
    fn our_own_peak_is_known_on_linux() {
        let peak = peak_bytes(std::process::id());
        assert_eq!(peak.is_some(), cfg!(target_os = "linux"));
        assert!(peak.is_none_or(|bytes| bytes > 100_000));
    }

    #[tokio::test]
    async fn work_ends_with_the_first_process_that_does() {
        let dir = tempfile::tempdir().unwrap();
        for (script, said) in [
            ("echo out of luck >&2; exit 3", "us-east-1 did not start (exit status: 3); it said:\nout of luck"),
            ("echo '{}'; kill -9 $$", "us-east-1 ended early (signal: 9 (SIGKILL)); it said nothing"),
            ("echo hello; cat", "us-east-1 said something that is no JSON: hello\n"),
        ] {
            let mut federation = federation(dir.path(), script);
            let error = federation.during(std::future::pending::<Result<()>>()).await.unwrap_err();
            assert_eq!(error.to_string(), said);
        }
    }

    #[tokio::test]
    async fn work_that_is_done_ends_nothing_and_a_closed_pipe_ends_the_child() {
        let dir = tempfile::tempdir().unwrap();
        let mut federation = federation(dir.path(), "echo '{}'; cat");
        assert_eq!(federation.during(async { Ok(7) }).await.unwrap(), 7);
        let LocalProcess { mut child, _stdin, .. } = federation.coordinator;
        assert!(child.try_wait().unwrap().is_none());
        drop(_stdin);
        assert!(child.wait().await.unwrap().success());
    }
}
