//! What a coordinator has whether it leads or not: its port, its store, its authority.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use polder_policy::PolicyHost;
use polder_security::{CertificateAuthority, ClusterKey, Endpoint};
use rand::RngExt;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::CoordinatorError;
use crate::config::{self, Config};
use crate::driver::chain;
use crate::lead::lease::TTL;
use crate::lead::members::{self, Members};
use crate::server;
use crate::spool::Spool;
use crate::store::{Member, Store, StoreError};

/// Where the shared database keeps the sealed authority.
const AUTHORITY_KEY: &str = "authority";
/// Length of a member's id.
const MEMBER_DIGITS: usize = 32;

pub(crate) struct House {
    pub(crate) config: Config,
    pub(crate) listener: Arc<TcpListener>,
    /// Where workers and operators reach it.
    pub(crate) endpoint: Endpoint,
    pub(crate) store: Arc<Store>,
    pub(crate) spool: Spool,
    pub(crate) authority: Arc<CertificateAuthority>,
    pub(crate) policy_host: Arc<PolicyHost>,
    /// How the other coordinators know this one.
    pub(crate) member: Member,
    pub(crate) members: Members,
    /// At work as long as this value is there.
    _announcing: Option<AbortOnDropHandle<()>>,
    _renewing: AbortOnDropHandle<()>,
}

impl House {
    pub(crate) async fn open(config: Config) -> Result<Self, CoordinatorError> {
        let listener = server::bind(config.listen).await?;
        let listening = listener.local_addr().map_err(server::listen_error(config.listen))?;
        let endpoint = config.endpoint(listening)?;
        let key = config.shared.as_ref().map(|shared| ClusterKey::load(&shared.cluster_key)).transpose()?;

        let store = Arc::new(Store::open(&config.store()).await?);
        let spool = Spool::open(&config.dir.join("spool"), store.blobs().objects().cloned())?;
        let authority = Arc::new(authority(&config, &store, key.as_ref()).await?);
        config.write_operator_profile(&authority, &endpoint)?;
        let policy_host = PolicyHost::new(config.limits.clone(), Some(config.dir.join("policy-cache")))?;
        let policy_host = Arc::new(policy_host.compiling_in(config.compile_in.clone()));

        let member = member(&config, listening, &endpoint)?;
        let (seen, members) = Members::new(member.clone());
        let announcing = match &config.shared {
            Some(_) => {
                refuse_twin(&store, &member, &config.dir).await?;
                seen.send_replace(members::announce_once(&store, &member).await?);
                Some(AbortOnDropHandle::new(tokio::spawn(members::announce(store.clone(), member.clone(), seen))))
            }
            None => None,
        };
        let renewing = renew_operator(config.clone(), authority.clone(), endpoint.clone());
        Ok(Self {
            config,
            listener: Arc::new(listener),
            endpoint,
            store,
            spool,
            authority,
            policy_host,
            member,
            members,
            _announcing: announcing,
            _renewing: AbortOnDropHandle::new(tokio::spawn(renewing)),
        })
    }
}

impl House {
    /// Where this machine reaches its own port.
    pub(crate) fn own_address(&self) -> Result<String, CoordinatorError> {
        let mut address = self.listener.local_addr().map_err(server::listen_error(self.config.listen))?;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        Ok(address.to_string())
    }
}

/// The directory's own authority, or the one that the coordinators of a shared database have together.
async fn authority(
    config: &Config,
    store: &Store,
    key: Option<&ClusterKey>,
) -> Result<CertificateAuthority, CoordinatorError> {
    let dir = config.dir.join("ca");
    let Some(key) = key else { return Ok(CertificateAuthority::create_or_open(&dir, config::wall_clock())?) };
    let sealed = match store.meta_get(AUTHORITY_KEY).await? {
        Some(sealed) => sealed,
        None => {
            // Of several that start at once the first one's counts, and that is what all of them read.
            let made = CertificateAuthority::sealed(&dir, key, config::wall_clock())?;
            store.meta_put_if_absent(AUTHORITY_KEY, &made).await?;
            store.meta_get(AUTHORITY_KEY).await?.unwrap_or(made)
        }
    };
    Ok(CertificateAuthority::open_sealed(&dir, key, &sealed)?)
}

fn member(config: &Config, listening: SocketAddr, endpoint: &Endpoint) -> Result<Member, CoordinatorError> {
    let peer = match config.shared.as_ref().and_then(|shared| shared.peer.clone()) {
        Some(peer) => {
            peer.parse::<Endpoint>().map_err(|source| CoordinatorError::Advertise { advertise: peer, source })?
        }
        None if listening.ip().is_unspecified() => endpoint.clone(),
        None => config::own_endpoint(listening)?,
    };
    Ok(Member {
        id: member_id(&config.dir)?,
        endpoint: endpoint.to_string(),
        peer: peer.to_string(),
        version: env!("CARGO_PKG_VERSION").into(),
    })
}

/// Refuses to start beside a process with the same id: the two would take the lease from each other again and again. Who was
/// killed a moment ago and had another address then says nothing more, and is forgotten soon.
async fn refuse_twin(store: &Store, own: &Member, dir: &Path) -> Result<(), CoordinatorError> {
    let twin = async || {
        let members = store.members().await?;
        let twin = members.into_iter().find(|seen| seen.member.id == own.id && seen.member.peer != own.peer);
        Ok::<_, StoreError>(twin.filter(|seen| u128::from(seen.seen_ms_ago) < TTL.as_millis()))
    };
    if twin().await?.is_none() {
        return Ok(());
    }
    tokio::time::sleep(TTL).await;
    match twin().await? {
        None => Ok(()),
        Some(twin) => Err(CoordinatorError::Twin { peer: twin.member.peer, member: dir.join("member") }),
    }
}

/// The same after a restart, so that a coordinator takes up its own lease at once; and no other's, as a directory is one
/// process's and a copy of it is refused.
fn member_id(dir: &Path) -> Result<String, CoordinatorError> {
    let path = dir.join("member");
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    if held.len() == MEMBER_DIGITS && held.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Ok(held);
    }
    let id = format!("{:0MEMBER_DIGITS$x}", rand::rng().random::<u128>());
    std::fs::write(&path, &id).map_err(|source| CoordinatorError::Write { path, source })?;
    Ok(id)
}

/// Keeps this machine's operator's credentials fresh.
async fn renew_operator(config: Config, authority: Arc<CertificateAuthority>, endpoint: Endpoint) {
    loop {
        tokio::time::sleep(server::RENEWAL).await;
        if let Err(error) = config.write_operator_profile(&authority, &endpoint) {
            tracing::error!(error = chain(&error), "the local operator's certificate could not be renewed");
        }
    }
}
