//! What workers ask: a session, models, uploads, a new certificate. Who asks is read from the certificate alone.

mod session;
mod upload;
mod uploads;
mod words;

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use polder_core::{Digest, WorkerName};
use polder_proto::convert::parsed;
use polder_proto::unwelcome;
use polder_proto::v1::worker_service_server::WorkerService;
use polder_proto::v1::{
    CoordinatorMessage, FetchModelRequest, ModelChunk, RenewCertificateRequest, RenewCertificateResponse,
    UploadStatusRequest, UploadStatusResponse, UploadUpdateRequest, UploadUpdateResponse, WorkerMessage,
};
use polder_security::CertificateRequest;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{Services, internal, permit, transfer};
use crate::config::{CERTIFICATE_LIFETIME, wall_clock};

pub(crate) use session::tell_of_coordinators;
pub(crate) use uploads::Uploads;

pub(crate) struct Workers(pub(super) Services);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The worker that calls.
fn caller<T>(request: &Request<T>) -> Result<WorkerName, Status> {
    let permit = permit(request)?;
    let (worker, _) = permit.worker().ok_or_else(|| Status::internal("the caller is no worker"))?;
    Ok(worker.clone())
}

impl Workers {
    /// The refusal in words that `worker` knows.
    fn refuse(&self, worker: &WorkerName) -> impl Fn(Status) -> Status + Send + use<> {
        let (sessions, worker) = (self.0.sessions.clone(), worker.clone());
        move |refusal| words::known_to(sessions.protocol(&worker), refusal)
    }
}

#[tonic::async_trait]
impl WorkerService for Workers {
    type SessionStream = Answers<CoordinatorMessage>;
    type FetchModelStream = Answers<ModelChunk>;

    async fn session(
        &self,
        request: Request<Streaming<WorkerMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let permit = permit(&request)?;
        let (worker, region) = permit.worker().ok_or_else(|| Status::internal("the caller is no worker"))?;
        let stream = session::open(&self.0, worker.clone(), region.clone(), request.into_inner()).await?;
        Ok(Response::new(stream))
    }

    async fn fetch_model(
        &self,
        request: Request<FetchModelRequest>,
    ) -> Result<Response<Self::FetchModelStream>, Status> {
        let worker = caller(&request)?;
        let FetchModelRequest { digest, offset } = request.into_inner();
        let digest: Digest = parsed("digest", &digest)?;
        let wanted = worker.clone();
        let is_needed = self.0.handle.ask(move |federation| federation.starts_from(&wanted, &digest)).await?;
        if !is_needed {
            let text = format!("worker `{worker}` has no open assignment that starts from {digest}");
            return Err(unwelcome(Code::PermissionDenied, "not_assigned", text));
        }
        let refuse = self.refuse(&worker);
        let found = transfer::download(&self.0.recent, self.0.store.blobs().clone(), digest, offset).await;
        let (_, chunks) = found.map_err(&refuse)?;
        let chunks = chunks.map(move |chunk| chunk.map(|data| ModelChunk { data }).map_err(&refuse));
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn upload_status(
        &self,
        request: Request<UploadStatusRequest>,
    ) -> Result<Response<UploadStatusResponse>, Status> {
        let worker = caller(&request)?;
        let status = upload::status(&self.0, &worker, request.into_inner()).await;
        Ok(Response::new(status.map_err(self.refuse(&worker))?))
    }

    async fn upload_update(
        &self,
        request: Request<Streaming<UploadUpdateRequest>>,
    ) -> Result<Response<UploadUpdateResponse>, Status> {
        let worker = caller(&request)?;
        let received = upload::receive(&self.0, &worker, request.into_inner()).await;
        received.map_err(self.refuse(&worker))?;
        Ok(Response::new(UploadUpdateResponse {}))
    }

    async fn renew_certificate(
        &self,
        request: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        let permit = permit(&request)?;
        let identity = permit.caller().ok_or_else(|| Status::internal("the caller has no certificate"))?;
        let csr = CertificateRequest::verify(&request.get_ref().certificate_request)
            .map_err(|error| unwelcome(Code::InvalidArgument, "bad_certificate_request", error.to_string()))?;
        let authority = &self.0.authority;
        let signed = authority.sign_request(&csr, identity, wall_clock(), CERTIFICATE_LIFETIME).map_err(internal)?;
        tracing::info!(%identity, "certificate renewed");
        let certificate_chain = vec![signed.to_vec().into(), authority.certificate().to_vec().into()];
        Ok(Response::new(RenewCertificateResponse { certificate_chain }))
    }
}
