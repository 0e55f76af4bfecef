//! Connections to the coordinator: HTTP/2 over the security crate's TLS.
//!
//! A worker keeps two. The session has one to itself, so that heartbeats never queue behind a model; models and updates
//! share the other.

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use polder_proto::MESSAGE_BYTES_MAX;
use polder_proto::v1::worker_service_client::WorkerServiceClient;
use polder_security::tls::ConnectFailure;
use polder_security::{ConnectError, Connector, Endpoint, EnrolmentConnector, SecureStream};
use tonic::Status;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint as Http};
use tower::service_fn;

/// Bytes of a model in flight: enough for a fast link across an ocean, bounded for a slow reader.
const STREAM_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
const FRAME_BYTES_MAX: u32 = 256 * 1024;
/// A connection that answers no ping for this long is dead.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

pub(crate) type Client = WorkerServiceClient<Channel>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the coordinator does not speak HTTP/2 as we do")]
    Http(#[from] tonic::transport::Error),
}

impl DialError {
    /// Whether this speaks against the address or the credentials: one of us refused the other's certificate, or this
    /// is no coordinator. It ends a worker that was never let in. One that was has proof that both are right, and what
    /// answers in the coordinator's place (a proxy's page while it restarts) proves nothing: it tries again. What a
    /// broken network does is never final.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            // An I/O error of this kind is one of TLS itself; all others are the network's.
            Self::Connect(ConnectError { failure: ConnectFailure::Tls(error), .. }) => {
                error.kind() == io::ErrorKind::InvalidData
            }
            Self::Connect(ConnectError { failure: ConnectFailure::Protocol, .. }) => true,
            Self::Connect(_) | Self::Http(_) => false,
        }
    }

    /// What happened and what to do, for people.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Connect(error) => sentence(error),
            Self::Http(error) => sentence(error),
        }
    }
}

fn http() -> Http {
    // The connection is made elsewhere; the address only fills the request's header.
    Http::from_static("http://coordinator")
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
}

pub(crate) fn client(channel: Channel) -> Client {
    WorkerServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// One connection, for a session or an enrolment: when it is over, so is the channel.
async fn over(stream: SecureStream) -> Result<Channel, DialError> {
    let stream = Arc::new(Mutex::new(Some(stream)));
    let once = service_fn(move |_: Uri| {
        let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "the connection is over");
        async move { stream.map(TokioIo::new).ok_or_else(gone) }
    });
    Ok(http().connect_with_connector(once).await?)
}

/// The connection of a session.
pub(crate) async fn dial(connector: &Connector, endpoint: &Endpoint) -> Result<Client, DialError> {
    Ok(client(over(connector.connect(endpoint).await?).await?))
}

/// The connection of a newcomer.
pub(crate) async fn dial_to_enrol(connector: &EnrolmentConnector, endpoint: &Endpoint) -> Result<Channel, DialError> {
    over(connector.connect(endpoint).await?).await
}

/// The connection for models and updates: made when it is first used, and again when it broke.
pub(crate) fn transfers(connector: &Connector, endpoint: &Endpoint) -> Client {
    let (connector, endpoint) = (connector.clone(), endpoint.clone());
    let dial = service_fn(move |_: Uri| {
        let (connector, endpoint) = (connector.clone(), endpoint.clone());
        async move { connector.connect(&endpoint).await.map(TokioIo::new) }
    });
    client(http().connect_with_connector_lazy(dial))
}

/// One sentence for people: the security crate's where it knows more, else the error and its causes.
pub(crate) fn sentence(error: &(dyn Error + 'static)) -> String {
    polder_security::explain(error).unwrap_or_else(|| chain(error))
}

/// One sentence for a request that failed. A status with a cause was made on this side, of an error of the network;
/// its words are the libraries', so they go to the debug log only.
pub(crate) fn said(status: &Status) -> String {
    if let Some(sentence) = polder_security::explain(status) {
        return sentence;
    }
    match (status.source(), status.message()) {
        (Some(cause), _) => {
            tracing::debug!("the connection broke: {}", chain(cause));
            "the connection to the coordinator broke".into()
        }
        (None, "") => format!("the coordinator answered: {}", status.code()),
        (None, message) => message.into(),
    }
}

/// An error and its causes in one line; a cause that only repeats what was said is left out.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_request_is_one_sentence() {
        let broken = io::Error::new(io::ErrorKind::UnexpectedEof, "peer closed connection");
        assert_eq!(said(&Status::from_error(Box::new(broken))), "the connection to the coordinator broke");
        assert_eq!(said(&Status::internal("disk full")), "disk full");
        assert!(said(&Status::new(tonic::Code::Aborted, "")).starts_with("the coordinator answered: "));
    }

    #[test]
    fn a_chain_of_causes_repeats_nothing() {
        let inner = io::Error::other("no space");
        let outer = DialError::Connect(ConnectError {
            endpoint: "localhost:1".parse().unwrap(),
            failure: ConnectFailure::Tls(inner),
            presented: None,
        });
        assert!(!outer.is_final());
        let text = chain(&outer);
        assert_eq!(text.matches("no space").count(), 1, "{text}");
    }
}
