//! What the tests share: an authority in a temporary directory, identities, and both ends of a real connection.

use std::error::Error;
use std::time::Duration;

use polder_core::{Region, Timestamp, WorkerName};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::authority::CertificateAuthority;
use crate::certificate;
use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::identity::Identity;
use crate::tls::{Accepted, Acceptor, HandshakeError};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn worker(region: &str, name: &str) -> Identity {
    Identity::Worker { name: WorkerName::new(name).unwrap(), region: Region::new(region).unwrap() }
}

pub(crate) fn operator(name: &str) -> Identity {
    Identity::Operator { name: name.parse().unwrap() }
}

pub(crate) fn now() -> Timestamp {
    certificate::now()
}

/// An authority with a directory that lives as long.
pub(crate) struct TestAuthority {
    pub(crate) authority: CertificateAuthority,
    pub(crate) dir: TempDir,
}

impl TestAuthority {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Old enough for certificates of the day before yesterday.
        let authority = CertificateAuthority::create_or_open(dir.path(), days_ago(30)).unwrap();
        Self { authority, dir }
    }

    pub(crate) fn server(&self) -> Credentials {
        self.authority.issue_server(&["localhost".into()], now(), HOUR).unwrap()
    }

    pub(crate) fn client(&self, identity: &Identity) -> Credentials {
        self.authority.issue_client(identity, now(), HOUR).unwrap()
    }

    /// Credentials that the authority would not make by its public interface.
    pub(crate) fn forged(&self, identity: &Identity, usage: ExtendedKeyUsagePurpose) -> Credentials {
        self.authority.issue_with_key(identity, Vec::new(), usage, now(), HOUR).unwrap()
    }
}

pub(crate) fn days_ago(days: u64) -> Timestamp {
    Timestamp(now().0 - days * 24 * 3600 * 1000)
}

pub(crate) fn days_ahead(days: u64) -> Timestamp {
    now().plus_ms(days * 24 * 3600 * 1000)
}

/// A listener on a free port, and how to get there.
pub(crate) async fn listen() -> (TcpListener, Endpoint) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
    (listener, endpoint)
}

/// Accepts one connection and, like an HTTP/2 server, greets at once; then it echoes.
pub(crate) async fn serve_one(acceptor: Acceptor) -> (Endpoint, JoinHandle<Result<Option<Identity>, HandshakeError>>) {
    let (listener, endpoint) = listen().await;
    let server = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let (mut stream, identity) = match acceptor.accept(tcp).await? {
            Accepted::Peer { stream, identity } => (stream, Some(identity)),
            Accepted::Enrolling { stream } => (stream, None),
        };
        assert_eq!(stream.identity(), identity.as_ref());
        stream.write_all(b"hello ").await.unwrap();
        stream.flush().await.unwrap();
        let mut question = [0; 5];
        // A client that only wanted to see whether it gets in has gone by now.
        if stream.read_exact(&mut question).await.is_ok() {
            stream.write_all(&question).await.unwrap();
            stream.shutdown().await.unwrap();
        }
        Ok(identity)
    });
    (endpoint, server)
}

/// Greeting and echo, from the client's end.
pub(crate) async fn converse(mut stream: crate::SecureStream) -> String {
    stream.write_all(b"there").await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A server that answers the first bytes it gets with `answer` and hangs up.
pub(crate) async fn answer_once(answer: &'static [u8]) -> Endpoint {
    let (listener, endpoint) = listen().await;
    tokio::spawn(async move {
        let (mut tcp, _): (TcpStream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 512];
        let _ = tcp.read(&mut hello).await;
        let _ = tcp.write_all(answer).await;
        let _ = tcp.shutdown().await;
    });
    endpoint
}

/// An error and all its causes, as a log would print them.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A request that asks for far more than it gets.
pub(crate) fn greedy_request(key: &rcgen::KeyPair) -> Vec<u8> {
    let mut params = CertificateParams::new(["coordinator.example".into()]).unwrap();
    params.subject_alt_names.push(rcgen::SanType::URI("polder://coordinator".try_into().unwrap()));
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.distinguished_name.push(rcgen::DnType::CommonName, "polder://operator/root");
    params.serialize_request(key).unwrap().der().to_vec()
}
