//! A PostgreSQL server of a test's own: a private directory, socket and port. Found in `$POLDER_TEST_POSTGRES_BIN`, where
//! Debian puts it, or on the path; where there is none, the tests that want one say so and pass.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest wait for a server to come up or go down.
const PATIENCE: Duration = Duration::from_secs(60);
/// Whom servers belong to, and who makes databases.
const USER: &str = "polder";
/// Asked for over TCP; the socket lies in a directory that is closed to others.
const PASSWORD: &str = "waterschap";

/// Stops the server and removes its directory when the test's process is gone, however that came about: the pipe that it
/// reads is closed then.
const KEEPER: &str = r#"trap '' INT TERM HUP
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
rm -rf "$1""#;

pub struct Postgres {
    dir: TempDir,
    port: u16,
    server: Option<Child>,
    keeper: Child,
    databases: AtomicU32,
}

impl Postgres {
    /// A fresh server, or none where there is no PostgreSQL.
    pub fn start() -> Option<Self> {
        let (bin, user) = (bin()?, user()?);
        // A socket's path must be short.
        let dir = tempfile::Builder::new().prefix("polder-pg-").tempdir_in("/tmp").unwrap();
        if let Some(User { uid, gid, .. }) = user {
            chown(dir.path(), Some(*uid), Some(*gid)).unwrap();
        }
        let password = dir.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        let initdb = as_user(&bin.join("initdb"))
            .args(["--no-sync", "--locale=C", "--encoding=UTF8", "--auth-local=trust", "--auth-host=scram-sha-256"])
            .args([OsStr::new("-U"), OsStr::new(USER), OsStr::new("-D"), dir.path().join("data").as_os_str()])
            .arg("--pwfile")
            .arg(&password)
            .output()
            .unwrap();
        assert!(initdb.status.success(), "initdb failed: {initdb:?}");
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "sh"]).arg(dir.path());
        // It outlives the test, and must not keep what reads the test's output waiting.
        let keeper = keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut postgres = Self { dir, port: free_port(), server: None, keeper, databases: AtomicU32::new(0) };
        postgres.resume();
        Some(postgres)
    }

    /// One server for all tests of this process that do it no harm.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// The address of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("federation_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
        format!("postgres://{USER}@localhost/{name}?host={}&port={}", self.dir.path().display(), self.port)
    }

    /// The same database, over TCP and with a password.
    pub fn over_tcp(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{}", self.port, name(database))
    }

    /// From now on there is TLS over TCP, with these; both are PEM.
    pub fn use_tls(&self, certificate: &str, key: &str) {
        for (name, pem) in [("server.crt", certificate), ("server.key", key)] {
            let path = self.dir.path().join("data").join(name);
            std::fs::write(&path, pem).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            if let Some(Some(User { uid, gid, .. })) = user() {
                chown(&path, Some(*uid), Some(*gid)).unwrap();
            }
        }
        self.sql("postgres", "ALTER SYSTEM SET ssl = on");
        self.sql("postgres", "SELECT pg_reload_conf()");
        let deadline = Instant::now() + PATIENCE;
        while self.sql("postgres", "SHOW ssl") != "on" {
            assert!(Instant::now() < deadline, "there is no TLS: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Does `statement` in a database, given by its address or its name; gives what it printed.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        let done = self.psql(name(database), statement);
        assert!(done.status.success(), "`{statement}` failed: {done:?}");
        String::from_utf8(done.stdout).unwrap().trim().into()
    }

    fn psql(&self, database: &str, statement: &str) -> Output {
        let bin = bin().expect("there was one when the server was started");
        let mut psql = Command::new(bin.join("psql"));
        psql.arg("-h").arg(self.dir.path()).args(["-p", &self.port.to_string(), "-U", USER, "-d", database]);
        psql.args(["-XAtqv", "ON_ERROR_STOP=1", "-c", statement]).stdin(Stdio::null()).output().unwrap()
    }

    /// The server's process, for who wants to pause or kill it.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("the server runs").id()
    }

    /// Stops the server as an operator does who is in a hurry: sessions end, what was committed is on disk.
    pub fn stop(&mut self) {
        self.signal("-INT");
    }

    /// As a power cut does, but for what the kernel keeps.
    pub fn crash(&mut self) {
        self.signal("-QUIT");
    }

    fn signal(&mut self, signal: &str) {
        let Some(mut server) = self.server.take() else { return };
        let _ = Command::new("kill").args([signal, &server.id().to_string()]).status();
        let deadline = Instant::now() + PATIENCE;
        while matches!(server.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = server.kill();
        let _ = server.wait();
    }

    /// Starts the server again, on the same port.
    pub fn resume(&mut self) {
        assert!(self.server.is_none(), "the server runs already");
        let bin = bin().expect("there was one when the server was made");
        let log = std::fs::File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let setting = |setting: String| [String::from("-c"), setting];
        let server = as_user(&bin.join("postgres"))
            .arg("-D")
            .arg(self.dir.path().join("data"))
            .args(setting(format!("unix_socket_directories={}", self.dir.path().display())))
            .args(setting(format!("port={}", self.port)))
            .args(
                ["listen_addresses=127.0.0.1", "fsync=on", "shared_buffers=16MB"]
                    .map(String::from)
                    .map(setting)
                    .concat(),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(server);
        let deadline = Instant::now() + PATIENCE;
        while !self.psql("postgres", "SELECT 1").status.success() {
            let ended = self.server.as_mut().and_then(|server| server.try_wait().unwrap());
            assert!(ended.is_none() && Instant::now() < deadline, "PostgreSQL did not come up: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the server said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.crash();
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// The name at the end of a database's address; a name is its own.
fn name(database: &str) -> &str {
    let path = database.split('?').next().unwrap_or(database);
    path.rsplit('/').next().unwrap_or(path)
}

/// Where the programs are; says so on stderr if they are nowhere.
fn bin() -> Option<&'static Path> {
    static BIN: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let given = std::env::var_os("POLDER_TEST_POSTGRES_BIN").map(PathBuf::from);
        let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
            .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
            .unwrap_or_default();
        versions.sort();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places = given.into_iter().chain(versions.into_iter().rev()).chain(std::env::split_paths(&path));
        let found =
            places.into_iter().find(|bin| ["initdb", "postgres", "psql"].iter().all(|name| bin.join(name).exists()));
        if found.is_none() {
            skipped("no PostgreSQL here; install Debian's `postgresql`, or set POLDER_TEST_POSTGRES_BIN");
        }
        found
    };
    BIN.get_or_init(find).as_deref()
}

struct User {
    name: &'static str,
    uid: u32,
    gid: u32,
}

/// Who servers run as: PostgreSQL refuses to as root. `Some(None)`: as ourselves.
fn user() -> Option<Option<&'static User>> {
    static USER: OnceLock<Option<Option<User>>> = OnceLock::new();
    let find = || {
        let id = |flag: &str, of: &[&str]| {
            let said = Command::new("id").arg(flag).args(of).output().ok()?;
            String::from_utf8(said.stdout).ok()?.trim().parse::<u32>().ok()
        };
        if id("-u", &[]) != Some(0) {
            return Some(None);
        }
        let found = ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| Some(User { name, uid: id("-u", &[name])?, gid: id("-g", &[name])? }));
        let can_change = Command::new("setpriv").arg("--version").output().is_ok();
        if found.is_none() || !can_change {
            skipped("PostgreSQL does not run as root, and `setpriv` or a user to become is missing");
            return None;
        }
        Some(found)
    };
    USER.get_or_init(find).as_ref().map(Option::as_ref)
}

fn as_user(program: &Path) -> Command {
    let Some(Some(user)) = user() else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user.name, "--regid", &user.gid.to_string(), "--clear-groups", "--"]).arg(program);
    // The directory that we are in may be closed to that user.
    command.current_dir("/");
    command
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}
