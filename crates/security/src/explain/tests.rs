//! Sentences from real failing handshakes, wrapped the way HTTP and gRPC wrap them.

use std::fmt;
use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose;
use tokio::net::TcpListener;

use super::*;
use crate::endpoint::Endpoint;
use crate::testing::{HOUR, TestAuthority, answer_once, days_ago, days_ahead, listen, operator, serve_one, worker};
use crate::tls::{Acceptor, Connector, EnrolmentConnector};

/// Some library's error around another.
#[derive(Debug)]
struct Wrapped(Box<dyn Error + Send + Sync>);

impl fmt::Display for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("transport error")
    }
}

impl Error for Wrapped {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.as_ref())
    }
}

/// Explains `error` through as many layers as a person's error has.
fn through_layers(error: ConnectError) -> String {
    let direct = explain(&error).unwrap();
    let wrapped = Wrapped(Box::new(io::Error::other(Wrapped(Box::new(error)))));
    assert_eq!(explain(&wrapped).unwrap(), direct);
    assert!(!direct.contains("  ") && !direct.ends_with('.'), "{direct}");
    direct
}

/// What a peer is told that connects to the door of `server`.
async fn peer(server: &TestAuthority, client: &crate::Credentials) -> (Endpoint, String) {
    let (endpoint, task) = serve_one(Acceptor::new(&server.server()).unwrap()).await;
    let error = Connector::new(client).unwrap().connect(&endpoint).await.unwrap_err();
    assert!(task.await.unwrap().is_err());
    (endpoint, through_layers(error))
}

#[tokio::test]
async fn our_certificate_expired() {
    let world = TestAuthority::new();
    let client = world.authority.issue_client(&worker("eu-west", "w"), days_ago(2), HOUR).unwrap();
    let (_, told) = peer(&world, &client).await;
    assert_eq!(
        told,
        format!(
            "the coordinator refused our certificate: it has expired ({}); ask for a new token (`polder token \
             create --region eu-west`) and start the worker with `--join TOKEN`",
            date(client.expires_at())
        )
    );
    let client = world.authority.issue_client(&operator("ada"), days_ago(2), HOUR).unwrap();
    let (_, told) = peer(&world, &client).await;
    assert!(told.ends_with("; copy the operator credentials again from the coordinator's data directory"), "{told}");
}

#[tokio::test]
async fn our_certificate_is_not_valid_yet() {
    let world = TestAuthority::new();
    let client = world.authority.issue_client(&worker("eu-west", "w"), days_ahead(2), HOUR).unwrap();
    let (_, told) = peer(&world, &client).await;
    assert!(
        told.starts_with("the coordinator refused our certificate: by its clock it has expired or is not valid yet")
    );
    assert!(
        told.contains(&date(client.expires_at())) && told.ends_with("compare the clocks of both machines"),
        "{told}"
    );
}

#[tokio::test]
async fn the_coordinator_is_another_one() {
    let (ours, theirs) = (TestAuthority::new(), TestAuthority::new());
    let (endpoint, told) = peer(&theirs, &ours.client(&worker("eu-west", "w"))).await;
    assert_eq!(
        told,
        format!(
            "the server at {endpoint} is not our coordinator: its certificate comes from another authority; check \
             the address, or, if the coordinator was set up anew, ask for a new token (`polder token create \
             --region eu-west`) and start the worker with `--join TOKEN`"
        )
    );
}

#[tokio::test]
async fn the_token_is_of_another_coordinator() {
    let (ours, theirs) = (TestAuthority::new(), TestAuthority::new());
    let (endpoint, task) = serve_one(Acceptor::new(&theirs.server()).unwrap()).await;
    let connector = EnrolmentConnector::new(ours.authority.fingerprint()).unwrap();
    let told = through_layers(connector.connect(&endpoint).await.unwrap_err());
    assert!(task.await.unwrap().is_err());
    assert_eq!(
        told,
        format!(
            "the server at {endpoint} is not the coordinator that issued this token: its authority has another \
             fingerprint; check the address, or ask for a new token (`polder token create`)"
        )
    );
}

#[tokio::test]
async fn the_coordinators_certificate_is_out_of_date() {
    let world = TestAuthority::new();
    let names = ["localhost".to_string()];
    for (at, begins, ends) in [
        (
            days_ago(2),
            "the coordinator's certificate expired at ",
            "restart the coordinator: it renews its certificate",
        ),
        (
            days_ahead(2),
            "the coordinator's certificate is valid from ",
            "set this machine's clock, or the coordinator's",
        ),
    ] {
        let server = world.authority.issue_server(&names, at, HOUR).unwrap();
        let (endpoint, task) = serve_one(Acceptor::new(&server).unwrap()).await;
        let connector = Connector::new(&world.client(&operator("ada"))).unwrap();
        let told = through_layers(connector.connect(&endpoint).await.unwrap_err());
        assert!(task.await.unwrap().is_err());
        assert!(told.starts_with(begins) && told.ends_with(ends), "{told}");
        let today = &date(crate::certificate::now())[..13];
        assert!(told.contains(&format!("our clock says {today}")), "{told}");
    }
}

#[tokio::test]
async fn the_server_is_an_impostor() {
    let world = TestAuthority::new();
    let connector = Connector::new(&world.client(&operator("ada"))).unwrap();
    for (usage, why) in [
        (ExtendedKeyUsagePurpose::ClientAuth, "its certificate is not one for servers"),
        (ExtendedKeyUsagePurpose::ServerAuth, "its certificate is for worker `evil` of region `eu`"),
    ] {
        let credentials = world.forged(&worker("eu", "evil"), usage);
        let endpoint = crate::tls::tests::impostor(&credentials, crate::tls::PEER_PROTOCOL).await;
        let told = through_layers(connector.connect(&endpoint).await.unwrap_err());
        assert_eq!(
            told,
            format!(
                "the server at {endpoint} is not the coordinator: {why}; check the address, and tell whoever runs \
                 the coordinator: this may be an attack"
            )
        );
    }
}

#[tokio::test]
async fn the_server_is_something_else() {
    let world = TestAuthority::new();
    let connector = Connector::new(&world.client(&operator("ada"))).unwrap();
    let told = |endpoint: Endpoint| {
        let connector = &connector;
        async move { through_layers(connector.connect(&endpoint).await.unwrap_err()) }
    };
    let not_tls = told(answer_once(b"HTTP/1.1 400 Bad Request\r\n\r\n").await).await;
    assert!(not_tls.ends_with("answers, but not with TLS; check that this is the coordinator's address and port"));
    let closed = told(answer_once(b"").await).await;
    assert!(closed.contains("closed the connection without a word"), "{closed}");
    // A fatal alert `protocol_version`, as an old server sends it.
    let old = told(answer_once(&[21, 3, 3, 0, 2, 2, 70]).await).await;
    assert!(old.contains("does not speak TLS 1.3"), "{old}");
    // And `no_application_protocol`.
    let other = told(answer_once(&[21, 3, 3, 0, 2, 2, 120]).await).await;
    assert!(other.contains("speaks TLS, but not Polder's protocol"), "{other}");
}

#[tokio::test]
async fn nobody_answers() {
    let world = TestAuthority::new();
    let connector = Connector::new(&world.client(&operator("ada"))).unwrap().with_timeout(Duration::from_millis(50));
    let (listener, endpoint): (TcpListener, Endpoint) = listen().await;
    let silent = through_layers(connector.connect(&endpoint).await.unwrap_err());
    assert!(silent.contains(&format!("{endpoint} did not answer within 0.05 s")), "{silent}");
    drop(listener);
    let patient = Connector::new(&world.client(&operator("ada"))).unwrap();
    let refused = through_layers(patient.connect(&endpoint).await.unwrap_err());
    assert!(refused.starts_with("nothing listens at the coordinator's address"), "{refused}");
    // A machine whose name server is out of reach takes its time to find out.
    let patience = Duration::from_secs(60);
    let nowhere = Connector::new(&world.client(&operator("ada"))).unwrap().with_timeout(patience);
    let nowhere = nowhere.connect(&"no-such-host.invalid:7400".parse().unwrap()).await.unwrap_err();
    let nowhere = through_layers(nowhere);
    assert!(nowhere.starts_with("the server at no-such-host.invalid:7400 cannot be reached ("), "{nowhere}");
}

#[test]
fn every_alert_has_a_sentence_without_a_connection_of_ours() {
    let told = |alert| {
        let error = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert));
        explain(&Wrapped(Box::new(error))).unwrap()
    };
    assert_eq!(
        told(AlertDescription::CertificateRequired),
        "the coordinator requires a certificate and we have none; ask for a new token (`polder token create \
         --region REGION`) and start the worker with `--join TOKEN`"
    );
    assert_eq!(
        told(AlertDescription::CertificateExpired),
        "the coordinator refused our certificate: it has expired; ask for a new token (`polder token create \
         --region REGION`) and start the worker with `--join TOKEN`"
    );
    assert!(told(AlertDescription::UnknownCA).contains("it comes from another authority"));
    for alert in
        [AlertDescription::BadCertificate, AlertDescription::AccessDenied, AlertDescription::CertificateUnknown]
    {
        assert!(told(alert).contains("does not name a worker or an operator"));
    }
    assert!(told(AlertDescription::InternalError).contains("(alert InternalError)"));
}

#[test]
fn what_is_not_about_connections_is_left_alone() {
    assert_eq!(explain(&io::Error::other("disk full")), None);
    assert_eq!(explain(&Wrapped(Box::new(fmt::Error))), None);
}

#[test]
fn loops_end() {
    /// An error that is its own cause.
    #[derive(Debug)]
    struct Ouroboros;
    impl fmt::Display for Ouroboros {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("again")
        }
    }
    impl Error for Ouroboros {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self)
        }
    }
    assert_eq!(explain(&Ouroboros), None);
}
