//! The operator's side of `polder.v1.OperatorService`: one method a call, core types in and out, errors as sentences.

mod channel;
mod enrol;
mod error;
mod policies;
mod transfer;
mod watch;

use std::ops::Deref;
use std::time::Duration;

use polder_core::spec::RunSpec;
use polder_core::view::{CoordinatorView, ModelView, RoundView, RunView, WorkerView};
use polder_core::{Region, RoundNumber, RunId, Timestamp, WorkerName};
use polder_proto::MESSAGE_BYTES_MAX;
use polder_proto::v1::create_token_request::Grant;
use polder_proto::v1::operator_service_client::OperatorServiceClient;
use polder_proto::v1::{
    CreateTokenRequest, DrainWorkerRequest, GetCoordinatorRequest, GetRoundRequest, GetRunRequest, ListModelsRequest,
    ListRunsRequest, ListWorkersRequest, StopRunRequest, SubmitRunRequest,
};
use polder_security::{Connector, Credentials, Endpoint, OperatorName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::home::Profile;

pub(crate) use channel::open as open_channel;
pub use enrol::enrol_operator;
pub(crate) use enrol::enrol_worker;
pub use error::CallError;
pub(crate) use policies::digest_of;
pub use policies::{NewPolicy, PolicyWish, Swapped};
pub use transfer::Pull;
pub use watch::{AWAY_MAX, Watch, WatchEvent};

/// How long a call with a short answer may take.
const CALL: Duration = Duration::from_secs(30);

/// A coordinator, as an operator talks to it. Clones share one connection, which is made again when it is lost.
#[derive(Clone, Debug)]
pub struct Client {
    service: OperatorServiceClient<Channel>,
}

/// A document of the coordinator, read; and its text, which may say more than this version reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Document<T> {
    pub view: T,
    /// One line of JSON.
    pub text: String,
}

impl<T: DeserializeOwned> Document<T> {
    fn parse(text: String) -> Result<Self, CallError> {
        let view = serde_json::from_str(&text).map_err(CallError::answer)?;
        Ok(Self { view, text })
    }

    fn parse_all(texts: Vec<String>) -> Result<Vec<Self>, CallError> {
        texts.into_iter().map(Self::parse).collect()
    }
}

impl<T> Deref for Document<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.view
    }
}

/// A token that was created just now; printed once, stored nowhere.
#[derive(Clone, Debug, Serialize)]
pub struct NewToken {
    pub token: String,
    pub expires_at: Timestamp,
}

/// Whom a token lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFor {
    Worker(Region),
    Operator(OperatorName),
}

impl Client {
    /// Connects as the operator of `profile`.
    pub async fn of_profile(profile: &Profile) -> Result<Self, CallError> {
        Self::connect(profile.endpoint()?, &profile.credentials()?).await
    }

    /// Connects to the coordinator at `endpoint`, and waits until it has accepted `credentials`.
    pub async fn connect(endpoint: Endpoint, credentials: &Credentials) -> Result<Self, CallError> {
        let channel = channel::open(endpoint, Connector::new(credentials)?).await?;
        let service = OperatorServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { service })
    }

    /// Calls take the service by `&mut`; a clone is cheap and shares the connection.
    fn service(&self) -> OperatorServiceClient<Channel> {
        self.service.clone()
    }

    /// Submits a run whose model and policies the coordinator has.
    pub async fn submit_run(&self, spec: &RunSpec) -> Result<RunId, CallError> {
        let spec_json = serde_json::to_string(spec).map_err(CallError::answer)?;
        let answer = within(self.service().submit_run(SubmitRunRequest { spec_json })).await?;
        answer.run.parse().map_err(CallError::answer)
    }

    /// All runs, oldest first.
    pub async fn runs(&self) -> Result<Vec<Document<RunView>>, CallError> {
        Document::parse_all(within(self.service().list_runs(ListRunsRequest {})).await?.runs_json)
    }

    pub async fn run(&self, run: &RunId) -> Result<Document<RunView>, CallError> {
        Document::parse(within(self.service().get_run(GetRunRequest { run: run.to_string() })).await?.run_json)
    }

    pub async fn round(&self, run: &RunId, round: RoundNumber) -> Result<Document<RoundView>, CallError> {
        let request = GetRoundRequest { run: run.to_string(), round };
        Document::parse(within(self.service().get_round(request)).await?.round_json)
    }

    pub async fn stop_run(&self, run: &RunId, reason: &str) -> Result<(), CallError> {
        let request = StopRunRequest { run: run.to_string(), reason: reason.into() };
        within(self.service().stop_run(request)).await.map(|_| ())
    }

    /// All workers, by name.
    pub async fn workers(&self) -> Result<Vec<Document<WorkerView>>, CallError> {
        Document::parse_all(within(self.service().list_workers(ListWorkersRequest {})).await?.workers_json)
    }

    /// A worker that is draining finishes what it has and gets nothing new.
    pub async fn drain_worker(&self, worker: &WorkerName, is_draining: bool) -> Result<(), CallError> {
        let request = DrainWorkerRequest { worker: worker.to_string(), is_draining };
        within(self.service().drain_worker(request)).await.map(|_| ())
    }

    /// The models of a run, of all runs if none is given: the submitted one first, then those committed.
    pub async fn models(&self, run: Option<&RunId>) -> Result<Vec<Document<ModelView>>, CallError> {
        let request = ListModelsRequest { run: run.map(ToString::to_string).unwrap_or_default() };
        Document::parse_all(within(self.service().list_models(request)).await?.models_json)
    }

    /// The coordinators of the federation, and how the one that leads is doing.
    pub async fn coordinator(&self) -> Result<Document<CoordinatorView>, CallError> {
        Document::parse(within(self.service().get_coordinator(GetCoordinatorRequest {})).await?.coordinator_json)
    }

    /// A token that enrols once, until it expires.
    pub async fn create_token(&self, bearer: &TokenFor, expires_in: Duration) -> Result<NewToken, CallError> {
        let grant = match bearer {
            TokenFor::Worker(region) => Grant::Region(region.to_string()),
            TokenFor::Operator(name) => Grant::Operator(name.as_str().into()),
        };
        let expires_in_ms = u64::try_from(expires_in.as_millis()).unwrap_or(u64::MAX);
        let answer =
            within(self.service().create_token(CreateTokenRequest { grant: Some(grant), expires_in_ms })).await?;
        Ok(NewToken { token: answer.token, expires_at: Timestamp(answer.expires_at_ms) })
    }
}

/// The answer to a call, if it comes within [`CALL`].
async fn within<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, CallError> {
    within_limit(CALL, call).await.map(Response::into_inner)
}

async fn within_limit<T>(limit: Duration, call: impl Future<Output = Result<T, Status>>) -> Result<T, CallError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(|status| CallError::of_status(&status)),
        Err(_) => Err(CallError::TimedOut { limit }),
    }
}

#[cfg(test)]
mod tests;
