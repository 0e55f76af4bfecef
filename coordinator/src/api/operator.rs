//! What operators ask: runs, rounds, workers, policies, models, tokens.

mod coordinator;
mod models;
mod policies;
mod rounds;
mod runs;
mod tokens;
mod watch;

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use polder_core::federation::Refusal;
use polder_core::view::{ModelView, RunView, WorkerView};
use polder_core::{Digest, Event, RunId, WorkerName};
use polder_proto::convert::parsed;
use polder_proto::v1::operator_service_server::OperatorService;
use polder_proto::v1::{
    CreateTokenRequest, CreateTokenResponse, DrainWorkerRequest, DrainWorkerResponse, GetCoordinatorRequest,
    GetCoordinatorResponse, GetPolicyRequest, GetPolicyResponse, GetRoundRequest, GetRoundResponse, GetRunRequest,
    GetRunResponse, ListModelsRequest, ListModelsResponse, ListPoliciesRequest, ListPoliciesResponse, ListRunsRequest,
    ListRunsResponse, ListWorkersRequest, ListWorkersResponse, PullModelRequest, PullModelResponse, PullPolicyRequest,
    PullPolicyResponse, PushPolicyRequest, PushPolicyResponse, RemovePolicyRequest, RemovePolicyResponse,
    SetPoliciesRequest, SetPoliciesResponse, StopRunRequest, StopRunResponse, SubmitRunRequest, SubmitRunResponse,
    UploadModelRequest, UploadModelResponse, WatchRunRequest, WatchRunResponse,
};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{Recent, Services, internal, permit, storage_failed, transfer};
use crate::retention::Claim;

pub(crate) struct Operators {
    pub(super) services: Services,
    /// Watchers are told when the coordinator stops.
    pub(super) shutdown: CancellationToken,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Keeps a blob that is about to come in, or is here and wanted again, from being removed.
fn claim(services: &Services, digest: Digest) -> Result<Claim, Status> {
    let claimed = services.handle.claims().claim(digest);
    claimed.ok_or_else(|| Status::unavailable(format!("{digest} is just being removed; try again in a moment")))
}

fn document(view: &impl Serialize) -> Result<String, Status> {
    serde_json::to_string(view).map_err(internal)
}

fn documents(views: &[impl Serialize]) -> Result<Vec<String>, Status> {
    views.iter().map(document).collect()
}

#[tonic::async_trait]
impl OperatorService for Operators {
    type WatchRunStream = Answers<WatchRunResponse>;
    type PullModelStream = Answers<PullModelResponse>;
    type PullPolicyStream = Answers<PullPolicyResponse>;

    async fn submit_run(&self, request: Request<SubmitRunRequest>) -> Result<Response<SubmitRunResponse>, Status> {
        let run = runs::submit(&self.services, &request.into_inner().spec_json).await?;
        Ok(Response::new(SubmitRunResponse { run: run.into() }))
    }

    async fn list_runs(&self, _: Request<ListRunsRequest>) -> Result<Response<ListRunsResponse>, Status> {
        let views = self
            .services
            .handle
            .ask(|federation| federation.runs_in_order().map(|run| RunView::of(run, federation)).collect::<Vec<_>>());
        let details = self.services.handle.details();
        let views: Vec<RunView> = views.await?.into_iter().map(|view| details.told(view)).collect();
        Ok(Response::new(ListRunsResponse { runs_json: documents(&views)? }))
    }

    async fn get_run(&self, request: Request<GetRunRequest>) -> Result<Response<GetRunResponse>, Status> {
        let id: RunId = parsed("run", &request.into_inner().run)?;
        let view = self.services.handle.ask(move |federation| {
            let run = federation.runs.get(&id).ok_or(Refusal::UnknownRun { run: id })?;
            Ok(RunView::of(run, federation))
        });
        let view = view.await?.map_err(|refusal| polder_proto::refused(&refusal))?;
        let view = self.services.handle.details().told(view);
        Ok(Response::new(GetRunResponse { run_json: document(&view)? }))
    }

    async fn get_round(&self, request: Request<GetRoundRequest>) -> Result<Response<GetRoundResponse>, Status> {
        let GetRoundRequest { run, round } = request.into_inner();
        let id: RunId = parsed("run", &run)?;
        let view = rounds::view(&self.services, id, round).await?;
        Ok(Response::new(GetRoundResponse { round_json: document(&view)? }))
    }

    async fn watch_run(&self, request: Request<WatchRunRequest>) -> Result<Response<Self::WatchRunStream>, Status> {
        let stream = watch::watch(&self.services, self.shutdown.clone(), request.into_inner()).await?;
        Ok(Response::new(stream))
    }

    async fn stop_run(&self, request: Request<StopRunRequest>) -> Result<Response<StopRunResponse>, Status> {
        let permit = permit(&request)?;
        let operator = permit.operator().map_or("an operator", |name| name.as_str());
        let StopRunRequest { run, reason } = request.get_ref();
        let run: RunId = parsed("run", run)?;
        let reason = if reason.is_empty() { "no reason given" } else { reason };
        let reason = polder_core::policy::tidy_reason(&format!("by {operator}: {reason}"));
        self.services.handle.apply(Event::RunStopped { run, reason }).await?;
        Ok(Response::new(StopRunResponse {}))
    }

    async fn list_workers(&self, _: Request<ListWorkersRequest>) -> Result<Response<ListWorkersResponse>, Status> {
        let views = self.services.handle.ask(|federation| {
            federation.workers.values().map(|worker| WorkerView::of(worker, federation)).collect::<Vec<_>>()
        });
        let mut views = views.await?;
        for view in views.iter_mut().filter(|view| view.state == "connected") {
            view.load = Some(self.services.sessions.load(&view.worker));
        }
        Ok(Response::new(ListWorkersResponse { workers_json: documents(&views)? }))
    }

    async fn drain_worker(
        &self,
        request: Request<DrainWorkerRequest>,
    ) -> Result<Response<DrainWorkerResponse>, Status> {
        let DrainWorkerRequest { worker, is_draining } = request.into_inner();
        let worker: WorkerName = parsed("worker", &worker)?;
        self.services.handle.apply(Event::WorkerDrained { worker, is_draining }).await?;
        Ok(Response::new(DrainWorkerResponse {}))
    }

    async fn list_policies(&self, _: Request<ListPoliciesRequest>) -> Result<Response<ListPoliciesResponse>, Status> {
        let views = policies::list(&self.services).await?;
        Ok(Response::new(ListPoliciesResponse { policies_json: documents(&views)? }))
    }

    async fn push_policy(
        &self,
        request: Request<Streaming<PushPolicyRequest>>,
    ) -> Result<Response<PushPolicyResponse>, Status> {
        let view = policies::push(&self.services, request.into_inner()).await?;
        Ok(Response::new(PushPolicyResponse { policy_json: document(&view)? }))
    }

    async fn get_policy(&self, request: Request<GetPolicyRequest>) -> Result<Response<GetPolicyResponse>, Status> {
        let details = policies::get(&self.services, request.into_inner()).await?;
        Ok(Response::new(GetPolicyResponse { policy_json: document(&details)? }))
    }

    async fn pull_policy(
        &self,
        request: Request<PullPolicyRequest>,
    ) -> Result<Response<Self::PullPolicyStream>, Status> {
        let stream = policies::pull(&self.services, &request.into_inner().policy).await?;
        Ok(Response::new(Box::pin(stream)))
    }

    async fn remove_policy(
        &self,
        request: Request<RemovePolicyRequest>,
    ) -> Result<Response<RemovePolicyResponse>, Status> {
        let view = policies::remove(&self.services, &request.into_inner().policy).await?;
        Ok(Response::new(RemovePolicyResponse { policy_json: document(&view)? }))
    }

    async fn set_policies(
        &self,
        request: Request<SetPoliciesRequest>,
    ) -> Result<Response<SetPoliciesResponse>, Status> {
        Ok(Response::new(policies::change::set(&self.services, request.into_inner()).await?))
    }

    async fn list_models(&self, request: Request<ListModelsRequest>) -> Result<Response<ListModelsResponse>, Status> {
        let wanted = request.into_inner().run;
        let wanted = if wanted.is_empty() { None } else { Some(parsed::<RunId>("run", &wanted)?) };
        let views = self.services.handle.ask(move |federation| match wanted {
            None => Ok(federation.runs_in_order().flat_map(ModelView::all_of).collect::<Vec<_>>()),
            Some(id) => match federation.runs.get(&id) {
                Some(run) => Ok(ModelView::all_of(run).collect()),
                None => Err(Refusal::UnknownRun { run: id }),
            },
        });
        let views = views.await?.map_err(|refusal| polder_proto::refused(&refusal))?;
        Ok(Response::new(ListModelsResponse { models_json: documents(&views)? }))
    }

    async fn pull_model(&self, request: Request<PullModelRequest>) -> Result<Response<Self::PullModelStream>, Status> {
        let PullModelRequest { digest, offset } = request.into_inner();
        let digest: Digest = parsed("digest", &digest)?;
        // What was removed is gone for operators, even if some worker fetched it just now.
        let blobs = self.services.store.blobs().clone();
        let (total, chunks) = transfer::download(&Recent::default(), blobs, digest, offset).await?;
        let total = PullModelResponse { total_bytes: Some(total), data: bytes::Bytes::new() };
        let chunks = chunks.map(|chunk| chunk.map(|data| PullModelResponse { total_bytes: None, data }));
        Ok(Response::new(Box::pin(futures_util::stream::iter([Ok(total)]).chain(chunks))))
    }

    async fn upload_model(
        &self,
        request: Request<Streaming<UploadModelRequest>>,
    ) -> Result<Response<UploadModelResponse>, Status> {
        models::upload(&self.services, request.into_inner()).await?;
        Ok(Response::new(UploadModelResponse {}))
    }

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        Ok(Response::new(tokens::create(&self.services, request.into_inner()).await?))
    }

    async fn get_coordinator(
        &self,
        _: Request<GetCoordinatorRequest>,
    ) -> Result<Response<GetCoordinatorResponse>, Status> {
        let view = coordinator::view(&self.services).await?;
        Ok(Response::new(GetCoordinatorResponse { coordinator_json: document(&view)? }))
    }
}
