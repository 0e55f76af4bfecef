//! A coordinator that does as it is told. It lives in a runtime of its own, so that it can be killed as a process is: its
//! connections end in the middle of whatever they were at. What it was told and what it received outlives it.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::Stream;
use polder_core::Timestamp;
use polder_proto::v1;
use polder_proto::v1::coordinator_message::Message as ToWorker;
use polder_proto::v1::enrolment_service_server::{EnrolmentService, EnrolmentServiceServer};
use polder_proto::v1::worker_message::Message as FromWorker;
use polder_proto::v1::worker_service_server::{WorkerService, WorkerServiceServer};
use polder_security::{Accepted, Acceptor, CertificateAuthority, CertificateRequest, Credentials, Endpoint, Identity};
use polder_security::{JoinToken, SecureStream};
use polder_tensor::Parameters;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::{Code, Request, Response, Status, Streaming};

use super::{Session, soon};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// Bytes in a message of a model.
pub(crate) const MODEL_CHUNK: usize = 1024;

pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(since.as_millis()).unwrap())
}

/// An update on its way in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upload {
    pub(crate) headers: Vec<v1::UpdateHeader>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_complete: bool,
}

/// What the coordinator was told to do and what it received.
#[derive(Default)]
pub(crate) struct Script {
    /// Files by digest; what lies here is sent, whether or not it has that digest.
    pub(crate) models: HashMap<String, Vec<u8>>,
    /// Each cuts one download after so many bytes.
    pub(crate) cut_downloads: VecDeque<usize>,
    /// The offsets at which downloads began.
    pub(crate) fetches: Vec<u64>,
    /// Each refuses one download.
    pub(crate) refuse_fetches: VecDeque<Status>,
    /// Each cuts one upload after so many bytes.
    pub(crate) cut_uploads: VecDeque<usize>,
    /// Each refuses one upload of its round; one that says OK lets it pass.
    pub(crate) refuse_uploads: HashMap<u32, VecDeque<Status>>,
    pub(crate) uploads: HashMap<u32, Upload>,
    pub(crate) is_mute: bool,
    pub(crate) refuse_sessions: Option<Status>,
    pub(crate) refuse_enrolment: Option<Status>,
    pub(crate) enrolments: Vec<v1::EnrolRequest>,
    pub(crate) renewals: usize,
    pub(crate) heartbeats: Vec<v1::Heartbeat>,
    pub(crate) progress: Vec<v1::Progress>,
    pub(crate) welcome: v1::Welcome,
}

#[derive(Clone)]
struct World {
    authority: Arc<CertificateAuthority>,
    script: Arc<Mutex<Script>>,
    sessions: mpsc::UnboundedSender<Session>,
    uploaded: mpsc::UnboundedSender<u32>,
    renewed: mpsc::UnboundedSender<()>,
}

pub(crate) struct FakeCoordinator {
    world: World,
    sessions: mpsc::UnboundedReceiver<Session>,
    uploaded: mpsc::UnboundedReceiver<u32>,
    renewed: mpsc::UnboundedReceiver<()>,
    place: TcpSocket,
    runtime: Option<Runtime>,
    _dir: TempDir,
}

impl FakeCoordinator {
    /// One that is up.
    pub(crate) async fn start() -> Self {
        let mut coordinator = Self::down().await;
        coordinator.start_again().await;
        coordinator
    }

    /// Another coordinator of the same federation, which is up.
    pub(crate) async fn another(&self) -> Self {
        let mut coordinator = Self::of(self.world.authority.clone(), tempfile::tempdir().unwrap());
        coordinator.start_again().await;
        coordinator
    }

    /// One that has an address and does not listen yet.
    pub(crate) async fn down() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let long_ago = Timestamp(now().0 - 30 * 24 * 3_600_000);
        let authority = Arc::new(CertificateAuthority::create_or_open(dir.path(), long_ago).unwrap());
        Self::of(authority, dir)
    }

    fn of(authority: Arc<CertificateAuthority>, dir: TempDir) -> Self {
        let (session, sessions) = mpsc::unbounded_channel();
        let (upload, uploaded) = mpsc::unbounded_channel();
        let (renew, renewed) = mpsc::unbounded_channel();
        let welcome = v1::Welcome {
            coordinator_version: "fake".into(),
            heartbeat_ms: 20,
            silence_ms: 5_000,
            ..v1::Welcome::default()
        };
        let script = Arc::new(Mutex::new(Script { welcome, ..Script::default() }));
        let world = World { authority, script, sessions: session, uploaded: upload, renewed: renew };
        // Bound and not listening: whoever connects is refused, and nobody else gets the port.
        let place = TcpSocket::new_v4().unwrap();
        place.set_reuseaddr(true).unwrap();
        place.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { world, sessions, uploaded, renewed, place, runtime: None, _dir: dir }
    }

    pub(crate) async fn start_again(&mut self) {
        let listener = self.listener().await.into_std().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(serve(listener, self.world.clone()));
        self.runtime = Some(runtime);
    }

    /// Listens in place of one that does not.
    pub(crate) async fn listener(&self) -> TcpListener {
        let address = self.place.local_addr().unwrap();
        let bound = soon("the one that was killed is gone", async {
            loop {
                match TcpListener::bind(address).await {
                    Ok(listener) => break listener,
                    Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse),
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        bound.await
    }

    /// Ends it where it stands.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.world.script.lock().unwrap()
    }

    /// Has this model.
    pub(crate) fn has(&self, model: &Parameters) {
        self.script().models.insert(model.digest().to_string(), model.to_safetensors());
    }

    pub(crate) fn authority(&self) -> &CertificateAuthority {
        &self.world.authority
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.place.local_addr().unwrap().to_string().parse().unwrap()
    }

    pub(crate) fn token(&self) -> JoinToken {
        JoinToken::generate(self.endpoint(), self.authority().fingerprint()).unwrap()
    }

    /// Makes `dir` that of an enrolled worker.
    pub(crate) fn write_credentials(&self, dir: &TempDir, identity: &Identity) {
        self.write(dir.path(), &self.authority().issue_client(identity, now(), HOUR).unwrap());
    }

    pub(crate) fn write(&self, dir: &Path, credentials: &Credentials) {
        credentials.save(&dir.join("credentials.pem")).unwrap();
        std::fs::write(dir.join("endpoint"), format!("{}\n", self.endpoint())).unwrap();
    }

    /// The next session that a worker opens.
    pub(crate) async fn session(&mut self) -> Session {
        soon("the worker connects", self.sessions.recv()).await.unwrap()
    }

    /// Waits until another heartbeat was answered: then the worker knows that everything it said before was heard.
    pub(crate) async fn heartbeat(&self) {
        let before = self.script().heartbeats.len();
        soon("a heartbeat arrives", async {
            while self.script().heartbeats.len() == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// The round of the next update that is complete.
    pub(crate) async fn uploaded(&mut self) -> u32 {
        soon("an update arrives", self.uploaded.recv()).await.unwrap()
    }

    pub(crate) async fn renewed(&mut self) {
        soon("the certificate is renewed", self.renewed.recv()).await.unwrap();
    }

    pub(crate) fn upload(&self, round: u32) -> Upload {
        self.script().uploads.get(&round).cloned().unwrap_or_default()
    }

    /// The update of `round`, which must be whole and what its header says.
    pub(crate) fn update(&self, round: u32) -> Parameters {
        let upload = self.upload(round);
        let update = Parameters::from_safetensors(&upload.bytes).unwrap();
        assert!(upload.is_complete);
        assert_eq!(upload.headers.last().unwrap().digest, update.digest().to_string());
        update
    }
}

impl Drop for FakeCoordinator {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn serve(listener: std::net::TcpListener, world: World) {
    let listener = TcpListener::from_std(listener).unwrap();
    let credentials = world.authority.issue_server(&["localhost".into()], now(), HOUR).unwrap();
    let acceptor = Acceptor::new(&credentials).unwrap();
    let (peers, peer_streams) = mpsc::channel::<std::io::Result<Connection>>(8);
    let (newcomers, newcomer_streams) = mpsc::channel::<std::io::Result<Connection>>(8);
    let workers = tonic::transport::Server::builder().add_service(WorkerServiceServer::new(world.clone()));
    tokio::spawn(workers.serve_with_incoming(ReceiverStream::new(peer_streams)));
    let enrolment = tonic::transport::Server::builder().add_service(EnrolmentServiceServer::new(world));
    tokio::spawn(enrolment.serve_with_incoming(ReceiverStream::new(newcomer_streams)));
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        match acceptor.accept(tcp).await {
            Ok(Accepted::Peer { stream, .. }) => peers.send(Ok(Connection(stream))).await.unwrap(),
            Ok(Accepted::Enrolling { stream }) => newcomers.send(Ok(Connection(stream))).await.unwrap(),
            Err(_) => {}
        }
    }
}

#[tonic::async_trait]
impl EnrolmentService for World {
    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        let request = request.into_inner();
        let refusal = {
            let mut script = self.script.lock().unwrap();
            script.enrolments.push(request.clone());
            script.refuse_enrolment.clone()
        };
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let identity = super::identity(&request.worker_name);
        let certificate_chain = self.sign(&identity, &request.certificate_request);
        Ok(Response::new(v1::EnrolResponse {
            certificate_chain,
            worker_name: request.worker_name,
            region: "eu-west".into(),
        }))
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl World {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    fn sign(&self, identity: &Identity, request: &[u8]) -> Vec<bytes::Bytes> {
        let request = CertificateRequest::verify(request).unwrap();
        let signed = self.authority.sign_request(&request, identity, now(), HOUR).unwrap();
        vec![signed.to_vec().into(), self.authority.certificate().to_vec().into()]
    }

    /// Passes on what a worker says; answers its heartbeats.
    async fn listen(
        self,
        mut inbound: Streaming<v1::WorkerMessage>,
        inbox: mpsc::UnboundedSender<FromWorker>,
        outbox: mpsc::WeakUnboundedSender<Result<v1::CoordinatorMessage, Status>>,
    ) {
        while let Ok(Some(v1::WorkerMessage { message: Some(message) })) = inbound.message().await {
            let mut script = self.script();
            match message {
                FromWorker::Heartbeat(heartbeat) => {
                    script.heartbeats.push(heartbeat);
                    if !script.is_mute
                        && let Some(outbox) = outbox.upgrade()
                    {
                        let heartbeat = ToWorker::Heartbeat(v1::Heartbeat { load: None });
                        let _ = outbox.send(Ok(v1::CoordinatorMessage { message: Some(heartbeat) }));
                    }
                }
                FromWorker::Progress(progress) => script.progress.push(progress),
                message => {
                    let _ = inbox.send(message);
                }
            }
        }
    }
}

#[tonic::async_trait]
impl WorkerService for World {
    type SessionStream = Answers<v1::CoordinatorMessage>;
    type FetchModelStream = Answers<v1::ModelChunk>;

    async fn session(
        &self,
        request: Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut inbound = request.into_inner();
        let Some(v1::WorkerMessage { message: Some(FromWorker::Hello(hello)) }) = inbound.message().await? else {
            panic!("the first message was not Hello");
        };
        if let Some(refusal) = self.script().refuse_sessions.clone() {
            return Err(refusal);
        }
        let (outbox, messages) = mpsc::unbounded_channel();
        let (say, inbox) = mpsc::unbounded_channel();
        let welcome = ToWorker::Welcome(self.script().welcome.clone());
        outbox.send(Ok(v1::CoordinatorMessage { message: Some(welcome) })).unwrap();
        tokio::spawn(self.clone().listen(inbound, say, outbox.downgrade()));
        let _ = self.sessions.send(Session { hello, inbox, outbox });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(messages))))
    }

    async fn fetch_model(
        &self,
        request: Request<v1::FetchModelRequest>,
    ) -> Result<Response<Self::FetchModelStream>, Status> {
        let v1::FetchModelRequest { digest, offset } = request.into_inner();
        let mut script = self.script();
        script.fetches.push(offset);
        if let Some(refusal) = script.refuse_fetches.pop_front() {
            return Err(refusal);
        }
        let file = script.models.get(&digest).cloned();
        let file = file.ok_or_else(|| polder_proto::unwelcome(Code::NotFound, "unknown_blob", "no such model"))?;
        let mut rest = file[offset as usize..].to_vec();
        let cut = script.cut_downloads.pop_front();
        rest.truncate(cut.unwrap_or(usize::MAX));
        let chunks: Vec<_> =
            rest.chunks(MODEL_CHUNK).map(|chunk| Ok(v1::ModelChunk { data: chunk.to_vec().into() })).collect();
        let end = cut.map(|_| Err(Status::unavailable("cut")));
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks.into_iter().chain(end)))))
    }

    async fn upload_status(
        &self,
        request: Request<v1::UploadStatusRequest>,
    ) -> Result<Response<v1::UploadStatusResponse>, Status> {
        let round = request.into_inner().assignment.unwrap().round;
        let upload = self.script().uploads.get(&round).cloned().unwrap_or_default();
        let held_bytes = upload.bytes.len() as u64;
        Ok(Response::new(v1::UploadStatusResponse { held_bytes, is_complete: upload.is_complete }))
    }

    async fn upload_update(
        &self,
        request: Request<Streaming<v1::UploadUpdateRequest>>,
    ) -> Result<Response<v1::UploadUpdateResponse>, Status> {
        let mut stream = request.into_inner();
        let first = stream.next().await.unwrap()?.message.unwrap();
        let v1::upload_update_request::Message::Header(header) = first else { panic!("no header") };
        let (round, offset, total) = (header.assignment.clone().unwrap().round, header.offset, header.bytes);
        let (refusal, cut) = {
            let mut script = self.script();
            let upload = script.uploads.entry(round).or_default();
            upload.headers.push(header);
            if offset != upload.bytes.len() as u64 {
                return Err(polder_proto::unwelcome(Code::OutOfRange, "bad_offset", "not there"));
            }
            let refusal = script.refuse_uploads.get_mut(&round).and_then(VecDeque::pop_front);
            let refusal = refusal.filter(|status| status.code() != Code::Ok);
            (refusal, script.cut_uploads.pop_front())
        };
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let mut taken = 0;
        while let Some(message) = stream.next().await {
            let Some(v1::upload_update_request::Message::Data(data)) = message?.message else { panic!("no data") };
            self.script().uploads.get_mut(&round).unwrap().bytes.extend_from_slice(&data);
            taken += data.len();
            if cut.is_some_and(|cut| taken >= cut) {
                return Err(Status::unavailable("cut"));
            }
        }
        let mut script = self.script();
        let upload = script.uploads.get_mut(&round).unwrap();
        assert_eq!(upload.bytes.len() as u64, total);
        upload.is_complete = true;
        let _ = self.uploaded.send(round);
        Ok(Response::new(v1::UploadUpdateResponse {}))
    }

    async fn renew_certificate(
        &self,
        request: Request<v1::RenewCertificateRequest>,
    ) -> Result<Response<v1::RenewCertificateResponse>, Status> {
        let certificate_chain = self.sign(&super::identity("w"), &request.into_inner().certificate_request);
        self.script().renewals += 1;
        let _ = self.renewed.send(());
        Ok(Response::new(v1::RenewCertificateResponse { certificate_chain }))
    }
}

/// A connection as tonic takes it.
struct Connection(SecureStream);

impl tonic::transport::server::Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

mod io {
    use std::io::Result;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Connection;

    impl AsyncRead for Connection {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Connection {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }
}
