//! An S3 server of a test's own: moto, on a private port. Found in `$POLDER_TEST_MOTO` (a Python that has it), where
//! `.ci/servers` puts it, or in the `python3` on the path; where there is none, the tests that want one say so and pass.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest wait for the server to come up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends with its standard input, and so with the test's process, however that goes.
const PROGRAM: &str = "import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from moto.server import main
main(['-H', '127.0.0.1', '-p', sys.argv[1]])";

/// A server, which holds its objects in memory: one that is started again has forgotten them.
pub struct S3 {
    python: PathBuf,
    port: u16,
    server: Option<Child>,
    /// What it was asked, a line each.
    requests: Arc<Mutex<Vec<String>>>,
}

impl S3 {
    /// A fresh server, or none where there is no moto.
    pub fn start() -> Option<Self> {
        Self::start_at(free_port())
    }

    /// The same on a given port.
    pub fn start_at(port: u16) -> Option<Self> {
        let mut s3 = Self { python: python()?, port, server: None, requests: Arc::default() };
        s3.resume();
        Some(s3)
    }

    /// What a program that is to use it finds in its environment.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ACCESS_KEY_ID", "polder".into()),
            ("AWS_SECRET_ACCESS_KEY", "waterschap".into()),
            ("AWS_REGION", "eu-west-1".into()),
            ("AWS_ENDPOINT", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ALLOW_HTTP", "true".into()),
        ]
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it again after [`kill`](Self::kill), with nothing in it.
    pub fn resume(&mut self) {
        let mut server = Command::new(&self.python)
            .args(["-c", PROGRAM, &self.port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let requests = self.requests.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                requests.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        self.server = Some(server);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(Instant::now() < deadline, "the S3 server did not come up: {:?}", self.requests());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// What it was asked since it was first started.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn make_bucket(&self, bucket: &str) {
        assert_eq!(self.put(&format!("/{bucket}"), b""), 200, "the bucket could not be made");
    }

    /// Writes an object behind everybody's back; gives the status.
    pub fn put(&self, path: &str, body: &[u8]) -> u16 {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        write!(
            stream,
            "PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn python() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/servers/venv/bin/python");
    let given = std::env::var_os("POLDER_TEST_MOTO").map(PathBuf::from);
    given.into_iter().chain([venv, "python3".into()]).find(|python| {
        let imported = Command::new(python).args(["-c", "import moto.server"]).stderr(Stdio::null()).status();
        imported.is_ok_and(|status| status.success())
    })
}
