//! A worker that a test steers message by message.

use std::io;

use polder_core::{Region, WorkerName};
use polder_proto::v1::coordinator_message::Message as FromCoordinator;
use polder_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use polder_proto::v1::worker_message::Message as ToCoordinator;
use polder_proto::v1::worker_service_client::WorkerServiceClient;
use polder_proto::v1::{self};
use polder_security::{Connector, Credentials, Endpoint, EnrolmentConnector, JoinToken, KeyRequest};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::{Coordinator, update};
use polder_core::Timestamp;
use polder_core::enrolment::Grant;

/// A channel to the coordinator with these credentials.
pub async fn channel(credentials: &Credentials, endpoint: &Endpoint) -> Result<Channel, tonic::transport::Error> {
    let connector = Connector::new(credentials).unwrap();
    connect(endpoint, move |endpoint| {
        let connector = connector.clone();
        async move { connector.connect(&endpoint).await.map_err(io::Error::other) }
    })
    .await
}

async fn connect<F>(
    endpoint: &Endpoint,
    dial: impl Fn(Endpoint) -> F + Send + Sync + 'static,
) -> Result<Channel, tonic::transport::Error>
where
    F: Future<Output = io::Result<polder_security::SecureStream>> + Send + 'static,
{
    let target = endpoint.clone();
    let service = tower::service_fn(move |_: tonic::codegen::http::Uri| {
        let stream = dial(target.clone());
        async move { Ok::<_, io::Error>(hyper_util::rt::TokioIo::new(stream.await?)) }
    });
    tonic::transport::Endpoint::from_static("http://coordinator").connect_with_connector(service).await
}

pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp(since.as_millis() as u64)
}

/// Asks for a certificate as `name`.
pub async fn enrol(token: &JoinToken, name: &str, region: &str) -> Result<Credentials, Status> {
    let key = KeyRequest::generate().unwrap();
    let answer = ask_to_enrol(token, name, region, &key).await?;
    let [leaf, authority] = &answer.certificate_chain[..] else { panic!("the chain has two certificates") };
    Ok(key.complete(leaf, authority, &token.fingerprint, now()).unwrap())
}

/// The bare enrolment request.
pub async fn ask_to_enrol(
    token: &JoinToken,
    name: &str,
    region: &str,
    key: &KeyRequest,
) -> Result<v1::EnrolResponse, Status> {
    let channel = enrolment_channel(token).await.map_err(|error| Status::unavailable(format!("{error:?}")))?;
    let request = v1::EnrolRequest {
        token_id: token.id.to_string(),
        secret: token.secret.expose().to_vec().into(),
        certificate_request: key.request().to_vec().into(),
        worker_name: name.into(),
        region: region.into(),
    };
    Ok(EnrolmentServiceClient::new(channel).enrol(request).await?.into_inner())
}

/// A channel as a newcomer opens it: without a certificate, good for enrolment only.
pub async fn enrolment_channel(token: &JoinToken) -> Result<Channel, tonic::transport::Error> {
    let connector = EnrolmentConnector::new(token.fingerprint).unwrap();
    connect(&token.endpoint, move |endpoint| {
        let connector = connector.clone();
        async move { connector.connect(&endpoint).await.map_err(io::Error::other) }
    })
    .await
}

pub struct Peer {
    pub name: WorkerName,
    pub credentials: Credentials,
    pub client: WorkerServiceClient<Channel>,
}

impl Peer {
    /// A worker of region `eu-west`, enrolled and connected to the port, without a session yet.
    pub async fn enrolled(coordinator: &Coordinator, name: &str) -> Self {
        let grant = Grant::Worker { region: Region::new("eu-west").unwrap() };
        let token = coordinator.token(grant, 60_000).await;
        let credentials = enrol(&token, name, "eu-west").await.unwrap();
        let client = WorkerServiceClient::new(channel(&credentials, &coordinator.endpoint).await.unwrap());
        Self { name: WorkerName::new(name).unwrap(), credentials, client }
    }

    /// The same worker on a new connection, as after a restart of either side.
    pub async fn reconnected(self, coordinator: &Coordinator) -> Self {
        let client = WorkerServiceClient::new(channel(&self.credentials, &coordinator.endpoint).await.unwrap());
        Self { client, ..self }
    }

    /// Opens a session as a worker with one slot, the data set `numbers` and the synthetic trainer.
    pub async fn session(&mut self) -> Session {
        self.session_holding(vec![]).await
    }

    pub async fn session_holding(&mut self, holding: Vec<v1::AssignmentId>) -> Session {
        let hello = v1::Hello {
            software_version: "test".into(),
            slots: 1,
            datasets: vec!["numbers".into()],
            trainers: vec!["synthetic".into()],
            holding,
            load: None,
            protocol_min: polder_proto::PROTOCOL_OLDEST,
            protocol_max: polder_proto::PROTOCOL_NEWEST,
        };
        self.session_with(hello).await.unwrap()
    }

    pub async fn session_with(&mut self, hello: v1::Hello) -> Result<Session, Status> {
        let (outbox, messages) = mpsc::channel(64);
        let session = |message| v1::WorkerMessage { message: Some(message) };
        outbox.send(session(ToCoordinator::Hello(hello))).await.unwrap();
        let inbox = self.client.session(ReceiverStream::new(messages)).await?.into_inner();
        let living = outbox.clone();
        let beating = tokio::spawn(async move {
            let beat = || session(ToCoordinator::Heartbeat(v1::Heartbeat { load: None }));
            while living.send(beat()).await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            }
        });
        Ok(Session { outbox, inbox, beating })
    }

    /// Uploads `bytes` as the update of `assignment`, with a header that `alter` may spoil.
    pub async fn upload(
        &mut self,
        assignment: &v1::AssignmentId,
        bytes: &[u8],
        alter: impl FnOnce(&mut v1::UpdateHeader),
    ) -> Result<(), Status> {
        let mut header = v1::UpdateHeader {
            assignment: Some(assignment.clone()),
            digest: update::digest(bytes).to_string(),
            bytes: bytes.len() as u64,
            offset: 0,
            examples: 10,
            ..Default::default()
        };
        alter(&mut header);
        let rest = bytes.get(header.offset as usize..).unwrap_or_default();
        let mut messages = vec![v1::upload_update_request::Message::Header(header)];
        messages.extend(rest.chunks(16).map(|chunk| v1::upload_update_request::Message::Data(chunk.to_vec().into())));
        let requests: Vec<_> =
            messages.into_iter().map(|message| v1::UploadUpdateRequest { message: Some(message) }).collect();
        self.client.upload_update(tokio_stream::iter(requests)).await.map(|_| ())
    }
}

/// An open stream. It says that it lives until it is dropped, whatever else the test does meanwhile and however long that takes.
pub struct Session {
    outbox: mpsc::Sender<v1::WorkerMessage>,
    inbox: Streaming<v1::CoordinatorMessage>,
    beating: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

impl Session {
    pub async fn send(&self, message: ToCoordinator) {
        self.outbox.send(v1::WorkerMessage { message: Some(message) }).await.unwrap();
    }

    /// The next message that is no heartbeat; none if the stream ended.
    pub async fn next(&mut self) -> Result<Option<FromCoordinator>, Status> {
        loop {
            match self.inbox.message().await? {
                None => return Ok(None),
                Some(v1::CoordinatorMessage { message: Some(FromCoordinator::Heartbeat(_)) }) => {}
                Some(message) => return Ok(message.message),
            }
        }
    }

    /// The next assignment; other messages are passed over.
    pub async fn assignment(&mut self) -> v1::Assignment {
        loop {
            match self.next().await.unwrap().expect("the stream ended before an assignment came") {
                FromCoordinator::Assignment(assignment) => return assignment,
                _ => continue,
            }
        }
    }

    pub async fn cancelled(&mut self) -> v1::Cancel {
        loop {
            match self.next().await.unwrap().expect("the stream ended before a cancellation came") {
                FromCoordinator::Cancel(cancel) => return cancel,
                _ => continue,
            }
        }
    }
}
