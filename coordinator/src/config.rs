//! What a coordinator needs to know to start, and what it leaves for the CLI on the same machine.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use polder_core::Timestamp;
use polder_policy::{CompileIn, Limits};
use polder_security::{CertificateAuthority, Credentials, Endpoint, Identity, OperatorName, PublicKey};

use crate::CoordinatorError;
use crate::retention::Housekeeping;
use crate::store::StoreConfig;

/// How long certificates hold. Workers renew theirs from half of it on, while they run; the coordinator renews its own and
/// that of the local operator. An operator elsewhere logs in anew with another token.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// The operator that the coordinator's own machine gets credentials for.
const LOCAL_OPERATOR: &str = "local";

#[derive(Clone, Debug)]
pub struct Config {
    /// Everything durable lies here.
    pub dir: PathBuf,
    pub listen: SocketAddr,
    /// What workers and operators dial, as `host:port`; the listening address where it is not given.
    pub advertise: Option<String>,
    pub times: Times,
    /// What a policy may use.
    pub limits: Limits,
    /// Where policies are compiled; a service does it in a child process.
    pub compile_in: CompileIn,
    /// Policies are taken only if one of these signed them; none takes all.
    pub required_signers: Vec<PublicKey>,
    /// The object store with the copies of blobs and updates that count: `s3://…`, `gs://…`, `az://…`, or `file://…`.
    pub blobs: Option<String>,
    /// What is kept, and when the disk counts as full.
    pub housekeeping: Housekeeping,
    /// What it has together with other coordinators; none where it is the only one.
    pub shared: Option<Shared>,
}

/// What the coordinators of one federation have in common, and how they reach each other.
#[derive(Clone)]
pub struct Shared {
    /// `postgres://…`.
    pub database: String,
    /// The file of the key that the authority in the database is sealed with.
    pub cluster_key: PathBuf,
    /// Where the others reach this one, as `host:port`.
    pub peer: Option<String>,
}

impl fmt::Debug for Shared {
    /// Without the database's address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("cluster_key", &self.cluster_key)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// How quickly absence is noticed.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// How often a worker is to say that it lives.
    pub heartbeat: Duration,
    /// How long it may be silent.
    pub silence: Duration,
    /// How long the seats of a worker whose stream broke are kept for it.
    pub return_after_break: Duration,
    /// The same for one that fell silent, which took `silence` to notice.
    pub return_after_silence: Duration,
    /// The same for all, when it was the coordinator that went away.
    pub return_after_restart: Duration,
}

impl Default for Times {
    /// Notices a dead worker in at most 2.5 seconds.
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(500),
            silence: Duration::from_millis(2000),
            return_after_break: Duration::from_millis(2000),
            return_after_silence: Duration::from_millis(500),
            return_after_restart: Duration::from_secs(30),
        }
    }
}

impl Config {
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self {
            dir: dir.into(),
            listen,
            advertise: None,
            times: Times::default(),
            limits: Limits::default(),
            compile_in: CompileIn::default(),
            required_signers: Vec::new(),
            housekeeping: Housekeeping::default(),
            blobs: None,
            shared: None,
        }
    }

    pub(crate) fn store(&self) -> StoreConfig {
        StoreConfig {
            dir: self.dir.clone(),
            database: self.shared.as_ref().map(|shared| shared.database.clone()),
            blobs: self.blobs.clone(),
        }
    }

    /// What goes into join tokens.
    pub(crate) fn endpoint(&self, listening: SocketAddr) -> Result<Endpoint, CoordinatorError> {
        match self.advertise.clone() {
            Some(advertise) => advertise.parse().map_err(|source| CoordinatorError::Advertise { advertise, source }),
            None => own_endpoint(listening),
        }
    }

    /// Leaves `operator/credentials.pem` and `operator/endpoint` in the directory, which only this user can read: the
    /// CLI on this machine needs nothing else.
    pub(crate) fn write_operator_profile(
        &self,
        authority: &CertificateAuthority,
        endpoint: &Endpoint,
    ) -> Result<(), CoordinatorError> {
        let dir = self.dir.join("operator");
        std::fs::create_dir_all(&dir).map_err(|source| CoordinatorError::Write { path: dir.clone(), source })?;
        let path = dir.join("credentials.pem");
        let is_good = Credentials::load(&path)
            .is_ok_and(|held| held.fingerprint() == authority.fingerprint() && !held.needs_renewal(wall_clock()));
        if !is_good && let Ok(name) = OperatorName::new(LOCAL_OPERATOR) {
            authority.issue_client(&Identity::Operator { name }, wall_clock(), CERTIFICATE_LIFETIME)?.save(&path)?;
        }
        let path = dir.join("endpoint");
        std::fs::write(&path, format!("{endpoint}\n")).map_err(|source| CoordinatorError::Write { path, source })
    }
}

/// The address listened on, as others may dial it.
pub(crate) fn own_endpoint(listening: SocketAddr) -> Result<Endpoint, CoordinatorError> {
    // Nobody can dial "any address"; without better knowledge it is this machine.
    let host = if listening.ip().is_unspecified() { "localhost".into() } else { bracketed(listening) };
    let advertise = format!("{host}:{}", listening.port());
    advertise.parse().map_err(|source| CoordinatorError::Advertise { advertise, source })
}

fn bracketed(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

/// The federation's clock: the wall clock when this process began, and the time that has passed since. It never steps,
/// so deadlines and returns mean what they say whatever is done to the wall clock.
pub(crate) fn now() -> Timestamp {
    static BEGAN: LazyLock<(Timestamp, Instant)> = LazyLock::new(|| (wall_clock(), Instant::now()));
    let (wall, since) = *BEGAN;
    let passed = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    wall.plus_ms(passed).plus_ms(AHEAD_MS.load(Ordering::Relaxed))
}

/// How far the journal was ahead of the wall clock when it was replayed.
static AHEAD_MS: AtomicU64 = AtomicU64::new(0);

/// Takes the federation's clock past an instant that the journal has recorded: a clock that was set back while the
/// coordinator was down must not stop it.
pub(crate) fn advance_to(recorded: Timestamp) {
    AHEAD_MS.fetch_add(recorded.ms_since(now()), Ordering::Relaxed);
}

/// The wall clock, for certificates: other machines read their dates.
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
