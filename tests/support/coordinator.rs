//! A coordinator in this process.

use std::path::Path;

use polder_coordinator::config::Times;
use polder_coordinator::{Config, CoordinatorError, CoordinatorHandle};
use polder_core::enrolment::Grant;
use polder_core::policy::{PolicyKind, PolicyRef};
use polder_core::spec::{CohortSpec, Deadlines, ModelSpec, RetentionSpec, RunSpec, TrainerSpec};
use polder_core::view::{RoundView, RunView};
use polder_core::{Digest, PolicyName, RunId};
use polder_proto::v1::operator_service_client::OperatorServiceClient;
use polder_proto::v1::{self};
use polder_security::{Credentials, Endpoint, JoinToken};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::peer::channel;
use crate::update;

pub struct Coordinator {
    pub dir: TempDir,
    pub endpoint: Endpoint,
    pub handle: CoordinatorHandle,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), CoordinatorError>>,
}

impl Coordinator {
    pub async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), Times::default()).await
    }

    pub async fn start_in(dir: TempDir, times: Times) -> Self {
        let config = Config { times, ..Config::new(dir.path(), "127.0.0.1:0".parse().unwrap()) };
        let coordinator = polder_coordinator::Coordinator::build(config).await.unwrap();
        let (endpoint, handle) = (coordinator.endpoint().clone(), coordinator.handle().unwrap());
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(coordinator.run(shutdown.clone()));
        Self { dir, endpoint, handle, shutdown, running }
    }

    /// Stops it in order and gives back its directory.
    pub async fn stop(self) -> TempDir {
        let Self { dir, handle, shutdown, running, .. } = self;
        drop(handle);
        shutdown.cancel();
        running.await.unwrap().unwrap();
        dir
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn operator_credentials(&self) -> Credentials {
        Credentials::load(&self.path().join("operator/credentials.pem")).unwrap()
    }

    pub async fn operator(&self) -> OperatorServiceClient<Channel> {
        OperatorServiceClient::new(channel(&self.operator_credentials(), &self.endpoint).await.unwrap())
    }

    pub async fn token(&self, grant: Grant, expires_in_ms: u64) -> JoinToken {
        let grant = match grant {
            Grant::Worker { region } => v1::create_token_request::Grant::Region(region.to_string()),
            Grant::Operator { name } => v1::create_token_request::Grant::Operator(name),
        };
        let request = v1::CreateTokenRequest { grant: Some(grant), expires_in_ms };
        JoinToken::parse(&self.operator().await.create_token(request).await.unwrap().into_inner().token).unwrap()
    }

    /// A run of one model of twelve parameters over the data set `numbers`, trained by nobody in particular.
    pub async fn spec(&self) -> RunSpec {
        let bytes = update::model().to_safetensors();
        let digest = self.upload_model(bytes.clone()).await.unwrap();
        let policy = |kind, name: &str| {
            let builtin = polder_policy::builtins().iter().find(|builtin| builtin.name == name).unwrap();
            assert_eq!(builtin.kind, kind);
            PolicyRef::new(PolicyName::new(name).unwrap(), builtin.digest())
        };
        RunSpec {
            name: "test".into(),
            model: ModelSpec { digest, bytes: bytes.len() as u64, parameters: crate::PARAMETERS as u64 },
            dataset: "numbers".into(),
            trainer: TrainerSpec { kind: "synthetic".into(), settings: serde_json::json!({}) },
            rounds: 1,
            cohort: CohortSpec { size: 1, over_selection: 0, quorum: 1, staleness_max: 0, standbys: 0 },
            deadlines: Deadlines { selection_ms: 0, round_ms: 600_000 },
            evaluation: None,
            target: None,
            retention: RetentionSpec::default(),
            placement: policy(PolicyKind::Placement, "least-loaded"),
            aggregation: policy(PolicyKind::Aggregation, "fedavg"),
            seed: 1,
        }
    }

    pub async fn upload_model(&self, bytes: Vec<u8>) -> Result<Digest, Status> {
        let digest = update::digest(&bytes);
        let header = v1::ModelHeader { digest: digest.to_string(), bytes: bytes.len() as u64 };
        let mut messages = vec![v1::upload_model_request::Message::Header(header)];
        messages.extend(bytes.chunks(7).map(|chunk| v1::upload_model_request::Message::Data(chunk.to_vec().into())));
        let requests = messages.into_iter().map(|message| v1::UploadModelRequest { message: Some(message) });
        let requests: Vec<_> = requests.collect();
        self.operator().await.upload_model(tokio_stream::iter(requests)).await?;
        Ok(digest)
    }

    pub async fn submit(&self, spec: &RunSpec) -> Result<RunId, Status> {
        let request = v1::SubmitRunRequest { spec_json: serde_json::to_string(spec).unwrap() };
        let run = self.operator().await.submit_run(request).await?.into_inner().run;
        Ok(RunId::new(run).unwrap())
    }

    pub async fn run(&self, run: &RunId) -> RunView {
        let request = v1::GetRunRequest { run: run.to_string() };
        let answer = self.operator().await.get_run(request).await.unwrap().into_inner();
        serde_json::from_str(&answer.run_json).unwrap()
    }

    pub async fn round(&self, run: &RunId, round: u32) -> Option<RoundView> {
        let request = v1::GetRoundRequest { run: run.to_string(), round };
        match self.operator().await.get_round(request).await {
            Ok(answer) => Some(serde_json::from_str(&answer.into_inner().round_json).unwrap()),
            Err(status) if status.code() == Code::NotFound => None,
            Err(status) => panic!("{status}"),
        }
    }

    /// The run once it has ended.
    pub async fn ended(&self, run: &RunId) -> RunView {
        crate::eventually("the run ends", async || Some(self.run(run).await).filter(|view| view.status != "running"))
            .await
    }
}
