//! The way to the coordinator: HTTP/2 over a TLS connection that `polder-security` makes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper_util::rt::TokioIo;
use polder_core::Timestamp;
use polder_security::{ConnectError, Connector, Endpoint, EnrolmentConnector, Fingerprint, SecureStream};
use tonic::transport::Channel;
use tower::service_fn;

use super::error::CallError;

/// How often an open connection is asked whether it lives, and how long it may take to say so.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Bytes in flight of one transfer: enough for a fast link far away.
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// A channel as a peer. Connects now, and again whenever the connection is lost.
pub(crate) async fn open(endpoint: Endpoint, connector: Connector) -> Result<Channel, CallError> {
    connect(move || {
        let (endpoint, connector) = (endpoint.clone(), connector.clone());
        async move { connector.connect(&endpoint).await }
    })
    .await
}

/// A channel as a newcomer, to the one coordinator whose authority has this fingerprint.
pub(super) async fn open_for_enrolment(endpoint: Endpoint, fingerprint: Fingerprint) -> Result<Channel, CallError> {
    let connector = EnrolmentConnector::new(fingerprint)?;
    connect(move || {
        let (endpoint, connector) = (endpoint.clone(), connector.clone());
        async move { connector.connect(&endpoint).await }
    })
    .await
}

async fn connect<C, F>(dial: C) -> Result<Channel, CallError>
where
    C: Fn() -> F + Clone + Send + 'static,
    F: Future<Output = Result<SecureStream, ConnectError>> + Send + 'static,
{
    // The name is never looked up: `dial` knows where to go.
    tonic::transport::Endpoint::from_static("http://coordinator.polder")
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .connect_with_connector(service_fn(move |_| {
            let stream = dial();
            async move { stream.await.map(TokioIo::new) }
        }))
        .await
        .map_err(|error| CallError::of_transport(&error))
}

/// The clock, for what needs the time handed in.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
