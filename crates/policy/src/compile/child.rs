//! Compiling in a child process: both ends of the pipe.
//!
//! The parent writes a [`Task`] and the component to the child's input. The child limits itself, compiles, and writes one byte that says
//! how it went, then the code or a sentence.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::malformed;
use crate::engine::{Reservation, settings};
use crate::{Limits, NotAPolicy, PolicyError};

const COMPILED: u8 = b'+';
const MALFORMED: u8 = b'-';
const FAILED: u8 = b'!';

/// Most of the child's own messages that is kept, in bytes.
const COMPLAINT_BYTES_MAX: u64 = 4096;
/// Compiled code is two to four times as large as the component, and its compiler needs many times more.
const CODE_SHARE: u64 = 4;

/// What the child has to know: three numbers before the component.
struct Task {
    memory_bytes_max: u64,
    cpu_seconds_max: u64,
    reservation: Reservation,
}

impl Task {
    const BYTES: usize = 24;

    fn encode(&self) -> [u8; Self::BYTES] {
        let numbers = [self.memory_bytes_max, self.cpu_seconds_max, u64::from(self.reservation == Reservation::Full)];
        let mut bytes = [0; Self::BYTES];
        for (place, number) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
            *place = number.to_le_bytes();
        }
        bytes
    }

    fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let mut numbers = bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let mut next = || numbers.next().unwrap_or_default();
        let (memory_bytes_max, cpu_seconds_max) = (next(), next());
        let reservation = if next() == 1 { Reservation::Full } else { Reservation::Small };
        Self { memory_bytes_max, cpu_seconds_max, reservation }
    }
}

/// The compiler's whole program: reads a component from standard input and writes its code to standard output. Call it first thing in the
/// process that [`CompileIn::Process`](super::CompileIn::Process) starts, and end with what it returns. Not for people.
#[must_use]
pub fn compiler_main() -> ExitCode {
    let mut input = io::stdin().lock();
    let answered = answer(&mut input).and_then(|(kind, bytes)| {
        let mut output = io::stdout().lock();
        output.write_all(&[kind])?;
        output.write_all(&bytes)?;
        output.flush()
    });
    match answered {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // whoever reads this is the parent's other thread, or nobody
            let _ = writeln!(io::stderr(), "the policy compiler cannot talk to its host: {error}");
            ExitCode::FAILURE
        }
    }
}

fn answer(input: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut task = [0; Task::BYTES];
    input.read_exact(&mut task)?;
    let task = Task::decode(&task);
    limit(&task)?;
    let mut component = Vec::new();
    input.read_to_end(&mut component)?;
    let mut settings = settings(task.reservation);
    // one thread: what it takes is then the same on every machine
    settings.parallel_compilation(false);
    let engine = match Engine::new(&settings) {
        Ok(engine) => engine,
        Err(error) => return Ok((FAILED, format!("{error:#}").into_bytes())),
    };
    Ok(match engine.precompile_component(&component) {
        Ok(code) => (COMPILED, code),
        Err(error) => (MALFORMED, malformed(&error).into_bytes()),
    })
}

/// Holds this process to the task's limits. No core dump either: the component is somebody's.
fn limit(task: &Task) -> io::Result<()> {
    let to = |resource: Resource, limit: u64| {
        // what this process was given may be less, and cannot be raised
        let limit = getrlimit(resource).maximum.map_or(limit, |given| given.min(limit));
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })
    };
    to(Resource::Core, 0)?;
    to(Resource::Cpu, task.cpu_seconds_max)?;
    to(Resource::As, task.memory_bytes_max)?;
    Ok(())
}

/// Has `bytes` compiled by a child process, which is dead when this returns.
pub(super) fn compile(
    program: &Path,
    arguments: &[OsString],
    bytes: &[u8],
    deadline: Instant,
    limits: &Limits,
) -> Result<Vec<u8>, PolicyError> {
    let task = Task {
        memory_bytes_max: limits.compile_memory_bytes_max,
        // the clock on the wall ends it first; this is for a child that has lost its parent
        cpu_seconds_max: limits.compile_ms_max.div_ceil(1000).saturating_add(1),
        reservation: Reservation::of_this_machine(),
    };
    let cannot = |error: io::Error| PolicyError::Host {
        reason: format!("cannot start the policy compiler {}: {error}", program.display()),
    };
    let mut command = Command::new(program);
    // it needs no secret that an environment may hold
    command.args(arguments).env_clear().current_dir("/");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(cannot)?;
    let ended = attend(&mut child, &task, bytes, deadline).map_err(cannot)?;
    ended.result(limits)
}

/// How a child ended.
struct Ended {
    status: ExitStatus,
    output: io::Result<Vec<u8>>,
    complaint: String,
    timed_out: bool,
}

/// Feeds the child, reads what it says, and kills it at the deadline.
fn attend(child: &mut Child, task: &Task, bytes: &[u8], deadline: Instant) -> io::Result<Ended> {
    let (header, output_bytes_max) = (task.encode(), task.memory_bytes_max / CODE_SHARE);
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(mut stdout), Some(mut stderr)) = pipes else {
        return Err(io::Error::other("a pipe is missing"));
    };
    std::thread::scope(|scope| {
        // a child that does not read to the end says why by itself
        scope.spawn(move || stdin.write_all(&header).and_then(|()| stdin.write_all(bytes)).is_ok());
        let complaint = scope.spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.by_ref().take(COMPLAINT_BYTES_MAX).read_to_end(&mut text);
            let _ = io::copy(&mut stderr, &mut io::sink());
            String::from_utf8_lossy(&text).into_owned()
        });
        let (sender, receiver) = mpsc::sync_channel(1);
        scope.spawn(move || {
            let mut output = Vec::new();
            let read = stdout.by_ref().take(output_bytes_max).read_to_end(&mut output).map(|_| output);
            // a child with more to say than that gets a broken pipe
            drop(stdout);
            sender.send(read)
        });
        let waited = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        let timed_out = waited.is_err();
        if timed_out {
            child.kill()?;
        }
        let status = child.wait()?;
        let output = waited.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        Ok(Ended { status, output, complaint: complaint.join().unwrap_or_default(), timed_out })
    })
}

impl Ended {
    fn result(self, limits: &Limits) -> Result<Vec<u8>, PolicyError> {
        let signal = self.status.signal();
        if self.timed_out || signal == Some(Signal::XCPU.as_raw()) {
            return Err(PolicyError::CompileTimedOut { limit_ms: limits.compile_ms_max });
        }
        // Rust's own words as it aborts, or the kernel's short way with whoever takes too much of the machine
        let is_cut =
            self.output.as_ref().is_ok_and(|code| code.len() as u64 >= limits.compile_memory_bytes_max / CODE_SHARE);
        if is_cut || self.complaint.contains("memory allocation of") || signal == Some(Signal::KILL.as_raw()) {
            return Err(PolicyError::CompileOutOfMemory { limit_bytes: limits.compile_memory_bytes_max });
        }
        let cannot = |reason: String| PolicyError::Host { reason: format!("the policy compiler failed: {reason}") };
        if signal.is_some() || self.status.code() == Some(101) {
            // the component made the compiler crash
            return Err(NotAPolicy::Malformed { reason: format!("the compiler ended with {}", self.status) }.into());
        }
        let mut output = self.output.map_err(|error| cannot(error.to_string()))?;
        let text = |bytes: &[u8]| polder_core::policy::tidy_reason(&String::from_utf8_lossy(bytes));
        match output.first() {
            Some(&COMPILED) if self.status.success() => {
                output.drain(..1);
                Ok(output)
            }
            Some(&MALFORMED) => Err(NotAPolicy::Malformed { reason: text(&output[1..]) }.into()),
            Some(&FAILED) => Err(cannot(text(&output[1..]))),
            _ => Err(cannot(text(format!("{}; {}", self.status, self.complaint).as_bytes()))),
        }
    }
}

/// The component whose code our child wrote.
#[allow(unsafe_code)]
pub(super) fn load(engine: &Engine, code: &[u8]) -> Result<Component, PolicyError> {
    // SAFETY: `Component::deserialize` wants bytes that wasmtime's compiler made, unaltered. These came from a child of this process, which
    // ran the program that our host was told to run, by a pipe that nobody else holds.
    let loaded = unsafe { Component::deserialize(engine, code) };
    loaded.map_err(|error| PolicyError::Host { reason: format!("the policy compiler is of another make: {error:#}") })
}
