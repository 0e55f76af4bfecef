//! Both ends over real TCP on loopback. What a person is told about each failure is tested in `explain`.

use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::authority::BACKDATING;
use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::identity::{Identity, IdentityError};
use crate::testing::{
    HOUR, TestAuthority, chain, converse, days_ago, days_ahead, listen, now, operator, serve_one, worker,
};

/// What the server makes of a client with these credentials, and what the client hears.
async fn meet(
    world: &TestAuthority,
    client: &Credentials,
) -> (Result<Option<Identity>, Refusal>, Option<ConnectError>) {
    let (endpoint, server) = serve_one(Acceptor::new(&world.server()).unwrap()).await;
    let heard = Connector::new(client).unwrap().connect(&endpoint).await.err();
    (server.await.unwrap().map_err(|error| error.refusal), heard)
}

/// A client configuration of somebody who does not use our [`Connector`].
fn stranger(protocols: &[&[u8]], credentials: Option<&Credentials>, authority: &TestAuthority) -> ClientConfig {
    let builder =
        ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let verifier = verifier::CoordinatorVerifier::of_authority(authority.authority.certificate()).unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match credentials {
        Some(credentials) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(credentials.certified_key().unwrap())))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

/// Connects as a stranger and listens for the first bytes; none if the server hangs up.
async fn intrude(endpoint: &Endpoint, config: ClientConfig) -> std::io::Result<String> {
    let tcp = TcpStream::connect((endpoint.host(), endpoint.port())).await?;
    let name = ServerName::try_from("whatever.example").unwrap();
    let mut tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
    let mut heard = [0; 64];
    let count = tls.read(&mut heard).await?;
    Ok(String::from_utf8_lossy(&heard[..count]).into_owned())
}

/// A server that shows `credentials`, whatever they are, and asks for none.
pub(crate) async fn impostor(credentials: &Credentials, protocol: &[u8]) -> Endpoint {
    impostor_with(credentials.certified_key().unwrap(), protocol).await
}

async fn impostor_with(key: CertifiedKey, protocol: &[u8]) -> Endpoint {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let key = SingleCertAndKey::from(key);
    let mut config =
        builder.with_client_cert_verifier(WebPkiClientVerifier::no_client_auth()).with_cert_resolver(Arc::new(key));
    config.alpn_protocols = vec![protocol.to_vec()];
    let (listener, endpoint) = listen().await;
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        // The client is expected to turn away.
        assert!(TlsAcceptor::from(Arc::new(config)).accept(tcp).await.is_err());
    });
    endpoint
}

fn tls_cause(error: &ConnectError) -> &rustls::Error {
    match &error.failure {
        ConnectFailure::Tls(error) => tls_error(error).expect("a TLS error"),
        failure => panic!("{failure:?}"),
    }
}

#[tokio::test]
async fn peers_meet_and_know_each_other() {
    let world = TestAuthority::new();
    for identity in [worker("eu-west", "eu-west-1"), operator("ada")] {
        let (endpoint, server) = serve_one(Acceptor::new(&world.server()).unwrap()).await;
        let connector = Connector::new(&world.client(&identity)).unwrap();
        let stream = connector.connect(&endpoint).await.unwrap();
        assert_eq!(stream.identity(), Some(&Identity::Coordinator));
        assert_eq!(stream.peer_address().port(), endpoint.port());
        assert_eq!(converse(stream).await, "hello there");
        assert_eq!(server.await.unwrap().unwrap(), Some(identity));
    }
}

#[tokio::test]
async fn newcomers_come_in_as_newcomers() {
    let world = TestAuthority::new();
    let (endpoint, server) = serve_one(Acceptor::new(&world.server()).unwrap()).await;
    let connector = EnrolmentConnector::new(world.authority.fingerprint()).unwrap();
    let stream = connector.connect(&endpoint).await.unwrap();
    assert_eq!(converse(stream).await, "hello there");
    assert_eq!(server.await.unwrap().unwrap(), None);
}

#[tokio::test]
async fn the_enrolment_protocol_never_makes_a_peer() {
    let world = TestAuthority::new();
    let ada = world.client(&operator("ada"));
    // Not even with a good certificate at hand, nor with HTTP/2 offered first.
    for protocols in [&[ENROLMENT_PROTOCOL][..], &[PEER_PROTOCOL, ENROLMENT_PROTOCOL]] {
        let (endpoint, server) = serve_one(Acceptor::new(&world.server()).unwrap()).await;
        let heard = intrude(&endpoint, stranger(protocols, Some(&ada), &world)).await.unwrap();
        assert_eq!(heard, "hello ");
        assert_eq!(server.await.unwrap().unwrap(), None, "{protocols:?} made a peer");
    }
}

#[tokio::test]
async fn the_peer_protocol_never_lets_a_newcomer_in() {
    let world = TestAuthority::new();
    let (endpoint, server) = serve_one(Acceptor::new(&world.server()).unwrap()).await;
    let heard = intrude(&endpoint, stranger(&[PEER_PROTOCOL], None, &world)).await.unwrap_err();
    assert!(heard.to_string().contains("CertificateRequired"), "{heard}");
    assert!(matches!(server.await.unwrap().unwrap_err().refusal, Refusal::NoCertificate));
}

#[tokio::test]
async fn other_protocols_are_turned_away_even_with_a_good_certificate() {
    let world = TestAuthority::new();
    let ada = world.client(&operator("ada"));
    for protocols in [&[][..], &[b"http/1.1".as_slice()], &[b"polder-enrol/2".as_slice()]] {
        let (endpoint, server) = serve_one(Acceptor::new(&world.server()).unwrap()).await;
        let heard = intrude(&endpoint, stranger(protocols, Some(&ada), &world)).await;
        assert!(heard.is_err(), "{protocols:?} was answered");
        let refusal = server.await.unwrap().unwrap_err().refusal;
        assert!(matches!(refusal, Refusal::Protocol), "{protocols:?}: {refusal:?}");
    }
}

#[tokio::test]
async fn certificates_of_another_authority_are_refused() {
    let (world, other) = (TestAuthority::new(), TestAuthority::new());
    let (endpoint, server) = serve_one(Acceptor::new(&world.server()).unwrap()).await;
    // It trusts our authority, and shows a certificate of its own.
    let config = stranger(&[PEER_PROTOCOL], Some(&other.client(&operator("ada"))), &world);
    let heard = intrude(&endpoint, config).await.unwrap_err();
    assert!(heard.to_string().contains("UnknownCA"), "{heard}");
    assert!(matches!(server.await.unwrap().unwrap_err().refusal, Refusal::UnknownAuthority));
}

#[tokio::test]
async fn expired_and_premature_certificates_are_refused_with_their_dates() {
    let world = TestAuthority::new();
    let expired = world.authority.issue_client(&worker("eu", "w"), days_ago(2), HOUR).unwrap();
    let (refusal, heard) = meet(&world, &expired).await;
    let expires_at = expired.expires_at();
    assert!(matches!(refusal, Err(Refusal::Expired { not_after: Some(at) }) if at == expires_at));
    let heard = heard.unwrap();
    assert!(heard.presented.as_ref().unwrap().expired);
    assert_eq!(*tls_cause(&heard), rustls::Error::AlertReceived(rustls::AlertDescription::CertificateExpired));

    let at = days_ahead(2);
    let premature = world.authority.issue_client(&worker("eu", "w"), at, HOUR).unwrap();
    let (refusal, heard) = meet(&world, &premature).await;
    let begins_at = at.0 / 1000 * 1000 - BACKDATING.as_millis() as u64;
    assert!(matches!(refusal, Err(Refusal::NotValidYet { not_before: Some(at) }) if at.0 == begins_at));
    assert!(!heard.unwrap().presented.unwrap().expired);
}

#[tokio::test]
async fn a_clock_a_little_behind_does_no_harm() {
    let world = TestAuthority::new();
    // As if the authority's clock were four minutes ahead of ours.
    let ahead = now().plus_ms(4 * 60 * 1000);
    let client = world.authority.issue_client(&worker("eu", "w"), ahead, HOUR).unwrap();
    let (met, heard) = meet(&world, &client).await;
    assert_eq!(met.unwrap(), Some(worker("eu", "w")), "{heard:?}");
}

#[tokio::test]
async fn certificates_that_are_not_a_client_are_refused() {
    let world = TestAuthority::new();
    // The coordinator's own name in a client certificate, which our authority would never issue.
    let forged = world.forged(&Identity::Coordinator, ExtendedKeyUsagePurpose::ClientAuth);
    assert!(Connector::new(&forged).is_err());
    for (credentials, expected) in [
        (forged, "the certificate is for the coordinator, but a worker or an operator was expected"),
        (world.server(), "its certificate is not for clients"),
    ] {
        let (endpoint, server) = serve_one(Acceptor::new(&world.server()).unwrap()).await;
        assert!(intrude(&endpoint, stranger(&[PEER_PROTOCOL], Some(&credentials), &world)).await.is_err());
        let refusal = chain(&server.await.unwrap().unwrap_err());
        assert!(refusal.contains(expected), "{refusal}");
    }
}

#[tokio::test]
pub(crate) async fn impostors_are_not_talked_to() {
    let (world, other) = (TestAuthority::new(), TestAuthority::new());
    let peer = Connector::new(&world.client(&worker("eu", "w"))).unwrap();
    let newcomer = EnrolmentConnector::new(world.authority.fingerprint()).unwrap();
    // A worker of ours that plays coordinator: once as it is, once as if its certificate were one for servers.
    let as_it_is = world.client(&worker("eu", "evil"));
    let for_servers = world.forged(&worker("eu", "evil"), ExtendedKeyUsagePurpose::ServerAuth);
    for credentials in [&as_it_is, &for_servers, &other.server()] {
        let refused = peer.connect(&impostor(credentials, PEER_PROTOCOL).await).await.unwrap_err();
        assert!(matches!(tls_cause(&refused), rustls::Error::InvalidCertificate(_)), "{refused:?}");
        let refused = newcomer.connect(&impostor(credentials, ENROLMENT_PROTOCOL).await).await.unwrap_err();
        assert!(matches!(tls_cause(&refused), rustls::Error::InvalidCertificate(_)), "{refused:?}");
    }
    let refused = peer.connect(&impostor(&for_servers, PEER_PROTOCOL).await).await.unwrap_err();
    let rustls::Error::InvalidCertificate(CertificateError::Other(why)) = tls_cause(&refused) else {
        panic!("{refused:?}");
    };
    assert!(matches!(why.0.downcast_ref(), Some(IdentityError::Unexpected { .. })), "{why}");
}

#[tokio::test]
async fn showing_our_authority_is_not_being_signed_by_it() {
    let (world, other) = (TestAuthority::new(), TestAuthority::new());
    // Authority certificates are public; an impostor can put ours beside its own certificate.
    let mut key = other.server().certified_key().unwrap();
    key.cert[1] = world.authority.certificate().clone();
    let newcomer = EnrolmentConnector::new(world.authority.fingerprint()).unwrap();
    let refused = newcomer.connect(&impostor_with(key, ENROLMENT_PROTOCOL).await).await.unwrap_err();
    let expected = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
    assert_eq!(*tls_cause(&refused), expected);
}

#[tokio::test]
async fn a_server_of_ours_without_our_protocol_is_left() {
    let world = TestAuthority::new();
    let builder =
        ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let key = SingleCertAndKey::from(world.server().certified_key().unwrap());
    let config = builder.with_no_client_auth().with_cert_resolver(Arc::new(key));
    let (listener, endpoint) = listen().await;
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        TlsAcceptor::from(Arc::new(config)).accept(tcp).await.unwrap().read_u8().await.ok();
    });
    let connector = Connector::new(&world.client(&operator("ada"))).unwrap();
    assert!(matches!(connector.connect(&endpoint).await.unwrap_err().failure, ConnectFailure::Protocol));
}

#[tokio::test]
async fn plaintext_is_refused_and_told_so() {
    let world = TestAuthority::new();
    for greeting in ["GET / HTTP/1.1\r\nhost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\0\0\0\0\0\0\0\0"] {
        let (endpoint, server) = serve_one(Acceptor::new(&world.server()).unwrap()).await;
        let mut tcp = TcpStream::connect((endpoint.host(), endpoint.port())).await.unwrap();
        tcp.write_all(greeting.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        tcp.read_to_end(&mut heard).await.unwrap();
        // A TLS alert record and nothing else.
        assert!(heard.len() == 7 && heard[0] == 21, "{heard:?}");
        drop(tcp);
        let refusal = server.await.unwrap().unwrap_err().refusal;
        assert!(matches!(refusal, Refusal::NotTls), "{greeting}: {refusal:?}");
    }
}

#[tokio::test]
async fn silence_is_bounded_on_both_sides() {
    let world = TestAuthority::new();
    let limit = Duration::from_millis(50);
    let (endpoint, server) = serve_one(Acceptor::new(&world.server()).unwrap().with_handshake_timeout(limit)).await;
    // Half a record header, and then nothing.
    let mut tcp = TcpStream::connect((endpoint.host(), endpoint.port())).await.unwrap();
    tcp.write_all(&[22, 3]).await.unwrap();
    let error = server.await.unwrap().unwrap_err();
    assert_eq!(error.peer, tcp.local_addr().unwrap());
    assert!(matches!(error.refusal, Refusal::TimedOut { limit: was } if was == limit));
    assert_eq!(tcp.read(&mut [0; 16]).await.unwrap(), 0, "the connection was kept");

    let (listener, endpoint) = listen().await;
    let peer = Connector::new(&world.client(&operator("ada"))).unwrap().with_timeout(limit);
    let newcomer = EnrolmentConnector::new(world.authority.fingerprint()).unwrap().with_timeout(limit);
    let failures =
        [peer.connect(&endpoint).await.unwrap_err().failure, newcomer.connect(&endpoint).await.unwrap_err().failure];
    assert!(failures.iter().all(|failure| matches!(failure, ConnectFailure::TimedOut { .. })), "{failures:?}");
    drop(listener);
}

#[tokio::test]
async fn a_client_that_leaves_is_no_riddle() {
    let world = TestAuthority::new();
    let (endpoint, server) = serve_one(Acceptor::new(&world.server()).unwrap()).await;
    drop(TcpStream::connect((endpoint.host(), endpoint.port())).await.unwrap());
    let error = server.await.unwrap().unwrap_err();
    assert!(matches!(error.refusal, Refusal::Closed), "{error:?}");
    assert!(error.to_string().contains("refused the connection from 127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn a_client_that_refuses_us_is_named_in_the_log() {
    let (world, other) = (TestAuthority::new(), TestAuthority::new());
    // A worker of another coordinator that came to our address.
    let (refusal, _) = meet(&world, &other.client(&worker("eu", "w"))).await;
    assert!(matches!(refusal, Err(Refusal::RefusedUs { alert: rustls::AlertDescription::UnknownCA })), "{refusal:?}");
}

#[tokio::test]
async fn certificates_are_replaced_while_connections_come_in() {
    let world = TestAuthority::new();
    let serial = |stream: &SecureStream| stream.peer_certificate_serial();
    let acceptor = Acceptor::new(&world.server()).unwrap();
    let connector = Connector::new(&world.client(&worker("eu", "first"))).unwrap();

    let (endpoint, first_server) = serve_one(acceptor.clone()).await;
    let first = connector.connect(&endpoint).await.unwrap();
    acceptor.replace(&world.server()).unwrap();
    connector.replace(&world.client(&worker("eu", "second"))).unwrap();
    let (endpoint, second_server) = serve_one(acceptor.clone()).await;
    let second = connector.connect(&endpoint).await.unwrap();

    assert_ne!(serial(&first), serial(&second), "the new certificate was not shown");
    // The connection from before goes on.
    assert_eq!(converse(first).await, "hello there");
    assert_eq!(converse(second).await, "hello there");
    assert_eq!(first_server.await.unwrap().unwrap(), Some(worker("eu", "first")));
    assert_eq!(second_server.await.unwrap().unwrap(), Some(worker("eu", "second")));

    // A worker's certificate is none for the door, and the one in use stays.
    assert!(acceptor.replace(&world.client(&worker("eu", "w"))).is_err());
    assert!(connector.replace(&world.server()).is_err());
    let (endpoint, server) = serve_one(acceptor).await;
    assert_eq!(converse(connector.connect(&endpoint).await.unwrap()).await, "hello there");
    assert_eq!(server.await.unwrap().unwrap(), Some(worker("eu", "second")));
}

#[tokio::test]
async fn many_connections_survive_a_replacement_in_their_midst() {
    let world = TestAuthority::new();
    let acceptor = Acceptor::new(&world.server()).unwrap();
    let connector = Connector::new(&world.client(&worker("eu", "w"))).unwrap();
    let mut conversations = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (endpoint, server) = serve_one(acceptor.clone()).await;
        let connector = connector.clone();
        conversations.spawn(async move {
            let heard = converse(connector.connect(&endpoint).await.unwrap()).await;
            (heard, server.await.unwrap().unwrap())
        });
        acceptor.replace(&world.server()).unwrap();
    }
    while let Some(done) = conversations.join_next().await {
        assert_eq!(done.unwrap(), ("hello there".into(), Some(worker("eu", "w"))));
    }
}

#[tokio::test]
async fn sessions_are_never_resumed() {
    let world = TestAuthority::new();
    let acceptor = Acceptor::new(&world.server()).unwrap();
    // A client that would resume if it could: the same configuration twice.
    let config = stranger(&[PEER_PROTOCOL], Some(&world.client(&operator("ada"))), &world);
    for _ in 0..2 {
        let (endpoint, server) = serve_one(acceptor.clone()).await;
        let tcp = TcpStream::connect((endpoint.host(), endpoint.port())).await.unwrap();
        let name = ServerName::try_from("whatever.example").unwrap();
        let mut tls = TlsConnector::from(Arc::new(config.clone())).connect(name, tcp).await.unwrap();
        tls.read_u8().await.unwrap();
        assert_eq!(tls.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
        drop(tls);
        server.await.unwrap().unwrap();
    }
}
