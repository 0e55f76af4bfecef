//! The port: TCP, a TLS handshake that says who is there, then HTTP/2. Newcomers and peers come in by the same port and
//! reach different services.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use polder_security::{Accepted, Acceptor, CertificateAuthority, Credentials, Endpoint, Identity, SecureStream};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::CoordinatorError;
use crate::api::{Authorize, Services, tell_of_coordinators};
use crate::config::{CERTIFICATE_LIFETIME, wall_clock};
use crate::lead::forward::accept_passed_on;
use crate::meter::{self, Step};

/// Handshakes under way at once; others wait for a place.
const HANDSHAKES_MAX: usize = 256;
/// Connections that have said nothing yet, or wait for a place; others wait in the listener's backlog. They take a share of
/// the files that may be open, and no place of those who speak.
const WAITING_MAX: u64 = 4096;
const WAITING_SHARE: u64 = 4;
/// Connections handed over and not yet taken.
const ACCEPTED_MAX: usize = 64;
/// Bytes of one upload in flight, and of one connection's all: enough for a fast link, bounded for a slow peer.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// RPCs of one connection at once.
const STREAMS_MAX: u32 = 128;
/// How often the server's certificate is made anew, and that of the local operator looked at.
pub(crate) const RENEWAL: Duration = Duration::from_secs(24 * 3600);
/// How long somebody without a certificate may stay.
const NEWCOMER: Duration = Duration::from_secs(30);
/// How long open streams may take to end when the server stops.
const DRAIN: Duration = Duration::from_secs(2);
/// How long a connection may take to say its first byte.
const FIRST_BYTE: Duration = Duration::from_secs(3);

/// Open files that a coordinator asks for: two connections of each of many thousand workers, and the updates of a round.
const FILES_WANTED: u64 = 65_536;
/// With fewer, a federation of some hundred workers does not fit.
const FILES_MIN: u64 = 4096;

/// Raises this process's own limit of open files as far as it may, and says so where that is not far.
fn make_room_for_connections() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < FILES_WANTED) {
        limit.current = Some(limit.maximum.map_or(FILES_WANTED, |maximum| FILES_WANTED.min(maximum)));
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
    }
    if let Some(files) = getrlimit(Resource::Nofile).current.filter(|files| *files < FILES_MIN) {
        tracing::warn!(
            files,
            "each worker takes two of the files that may be open; allow more with `ulimit -n` for many workers"
        );
    }
}

pub(crate) async fn bind(listen: SocketAddr) -> Result<TcpListener, CoordinatorError> {
    make_room_for_connections();
    TcpListener::bind(listen).await.map_err(listen_error(listen))
}

pub(crate) fn listen_error(listen: SocketAddr) -> impl Fn(io::Error) -> CoordinatorError {
    move |source| {
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse => {
                "another program has this port; stop it, or choose another with --listen HOST:PORT"
            }
            io::ErrorKind::PermissionDenied => "this user may not; choose a port above 1023 with --listen HOST:PORT",
            io::ErrorKind::AddrNotAvailable => "this machine has no such address; choose one of its own with --listen",
            _ => "check the address given with --listen",
        };
        CoordinatorError::Listen { listen, hint, source }
    }
}

/// The port as it serves for one term.
pub(crate) struct Server {
    listener: Arc<TcpListener>,
    acceptor: Acceptor,
    credentials: OwnCredentials,
    services: Services,
}

/// What the coordinator shows, and renews for itself.
struct OwnCredentials {
    authority: Arc<CertificateAuthority>,
    endpoint: Endpoint,
}

impl OwnCredentials {
    fn issue(&self) -> Result<Credentials, CoordinatorError> {
        let names = [self.endpoint.host().to_owned()];
        Ok(self.authority.issue_server(&names, wall_clock(), CERTIFICATE_LIFETIME)?)
    }

    fn renew(&self, acceptor: &Acceptor) -> Result<(), CoordinatorError> {
        Ok(acceptor.replace(&self.issue()?)?)
    }
}

impl Server {
    pub(crate) fn new(
        listener: Arc<TcpListener>,
        authority: &Arc<CertificateAuthority>,
        endpoint: &Endpoint,
        services: Services,
    ) -> Result<Self, CoordinatorError> {
        let credentials = OwnCredentials { authority: authority.clone(), endpoint: endpoint.clone() };
        let acceptor = Acceptor::new(&credentials.issue()?)?;
        Ok(Self { listener, acceptor, credentials, services })
    }

    /// Serves until `shutdown`. Connections are closed when this is done, and at once when it is dropped.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<(), CoordinatorError> {
        let cut = CancellationToken::new();
        let _cut_off = cut.clone().drop_guard();
        let (peers, peer_connections) = mpsc::channel(ACCEPTED_MAX);
        let (newcomers, newcomer_connections) = mpsc::channel(ACCEPTED_MAX);
        let renewal = renew(self.acceptor.clone(), self.credentials);
        let accepting = accept(&self.listener, Door { acceptor: self.acceptor, peers, newcomers, cut });

        let for_peers = builder()
            .layer(Authorize)
            .add_service(self.services.worker_service())
            .add_service(self.services.operator_service(shutdown.clone()))
            .serve_with_incoming_shutdown(ReceiverStream::new(peer_connections), shutdown.clone().cancelled_owned());
        let for_newcomers = builder()
            .timeout(NEWCOMER)
            .max_connection_age(NEWCOMER)
            .layer(Authorize)
            .add_service(self.services.enrolment_service())
            .serve_with_incoming_shutdown(
                ReceiverStream::new(newcomer_connections),
                shutdown.clone().cancelled_owned(),
            );
        let serving = async { tokio::try_join!(for_peers, for_newcomers) };

        let telling = tell_of_coordinators(self.services.clone());
        let sessions = self.services.sessions.clone();
        let drained = async {
            shutdown.cancelled().await;
            sessions.end_all();
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            served = serving => served.map(|_| ()).map_err(CoordinatorError::Server),
            () = async { tokio::join!(accepting, renewal, telling); } => Ok(()),
            () = drained => Ok(()),
        }
    }
}

fn builder() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .max_frame_size(256 * 1024)
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .tcp_nodelay(true)
}

/// What a connection passes on its way in.
#[derive(Clone)]
struct Door {
    acceptor: Acceptor,
    peers: mpsc::Sender<io::Result<Connection>>,
    newcomers: mpsc::Sender<io::Result<Connection>>,
    /// Cancelled when the term is over: no connection outlives it.
    cut: CancellationToken,
}

/// Takes connections for ever; a handshake that fails or dawdles is its own problem.
async fn accept(listener: &TcpListener, door: Door) {
    let waiting = Arc::new(Semaphore::new(waiting_max()));
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(seat) = waiting.clone().acquire_owned().await else { return };
        let tcp = match listener.accept().await {
            Ok((tcp, _)) => tcp,
            Err(error) => {
                // Out of file descriptors, or the client gave up: neither is helped by trying at once.
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (door, places) = (door.clone(), places.clone());
        tokio::spawn(async move {
            let cut = door.cut.clone();
            let entering = async {
                let Some(tcp) = speaks(tcp).await else { return };
                let Ok(_place) = places.acquire().await else { return };
                drop(seat);
                door.admit(tcp).await;
            };
            cut.run_until_cancelled(entering).await;
        });
    }
}

fn waiting_max() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(WAITING_MAX.min(files / WAITING_SHARE)).unwrap_or(HANDSHAKES_MAX).max(1)
}

/// The connection, once it has said something.
async fn speaks(mut tcp: TcpStream) -> Option<TcpStream> {
    match tokio::time::timeout(FIRST_BYTE, accept_passed_on(&mut tcp)).await {
        Ok(Ok(())) => return Some(tcp),
        // It left, or never meant to speak.
        Ok(Err(error)) => tracing::debug!(%error, "a connection ended before it began"),
        Err(_) => tracing::debug!("a connection said nothing for {FIRST_BYTE:?}"),
    }
    None
}

impl Door {
    async fn admit(self, tcp: TcpStream) {
        let (stream, server) = match self.acceptor.accept(tcp).await {
            Ok(Accepted::Peer { stream, .. }) => (stream, &self.peers),
            Ok(Accepted::Enrolling { stream }) => (stream, &self.newcomers),
            Err(error) => {
                return tracing::warn!(error = crate::driver::chain(&error), "a connection was refused");
            }
        };
        // A token of its own, so that connections do not wait for each other to look at theirs.
        let cut = Box::pin(self.cut.child_token().cancelled_owned());
        // The server has gone, and so will we.
        let _ = server.send(Ok(Connection { stream, cut })).await;
    }
}

async fn renew(acceptor: Acceptor, credentials: OwnCredentials) {
    loop {
        tokio::time::sleep(RENEWAL).await;
        if let Err(error) = credentials.renew(&acceptor) {
            tracing::error!(error = crate::driver::chain(&error), "the coordinator's certificate could not be renewed");
        }
    }
}

/// A connection as tonic takes it; the peer's identity goes along with every request.
pub(crate) struct Connection {
    stream: SecureStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) identity: Option<Identity>,
    pub(crate) address: SocketAddr,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer { identity: self.stream.identity().cloned(), address: self.stream.peer_address() }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let _taking = meter::taking(Step::Tls);
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let _taking = meter::taking(Step::Tls);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _taking = meter::taking(Step::Tls);
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let _taking = meter::taking(Step::Tls);
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
