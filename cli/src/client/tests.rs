//! The client against a real coordinator in this process.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use polder_coordinator::{Config, Coordinator, CoordinatorError};
use polder_core::policy::PolicyKind;
use polder_security::{Identity, JoinToken};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::command::model::pull::pull;
use crate::command::run::submit::submit;
use crate::failure::{Exit, exit_of};
use crate::run_file::RunFile;

/// Longer than anything here takes, even where many tests share a machine.
const LIMIT: Duration = Duration::from_secs(60);

struct Running {
    address: SocketAddr,
    profile: Profile,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), CoordinatorError>>,
}

impl Running {
    async fn start(dir: &Path, listen: SocketAddr) -> Self {
        // A port that it had before, somebody else's connection may hold for a moment.
        let deadline = std::time::Instant::now() + LIMIT;
        let coordinator = loop {
            match Coordinator::build(Config::new(dir, listen)).await {
                Ok(coordinator) => break coordinator,
                Err(error) => assert!(listen.port() != 0 && std::time::Instant::now() < deadline, "{error:?}"),
            }
        };
        let address = coordinator.listening();
        let profile = Profile::find(Some(dir), &crate::home::Home::at(dir.join("home"))).unwrap();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(coordinator.run(shutdown.clone()));
        Self { address, profile, shutdown, serving }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap().unwrap();
    }
}

fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn run_file() -> RunFile {
    RunFile::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits/run.toml"), &[]).unwrap()
}

fn is_not_found<T: std::fmt::Debug>(answer: Result<T, CallError>) {
    let error = answer.unwrap_err();
    assert_eq!(error.exit(), Exit::NotFound, "{error}");
}

async fn next_line(watch: &mut Watch) -> (u64, String) {
    match tokio::time::timeout(LIMIT, watch.next()).await.unwrap().unwrap() {
        Some(WatchEvent::Line { seq, notice }) => (seq, notice.kind),
        other => panic!("expected a line, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_coordinator_has_policies_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = Running::start(dir.path(), any_port()).await;
    let client = Client::of_profile(&coordinator.profile).await.unwrap();

    let fedavg = client.policy(PolicyKind::Aggregation, "fedavg").await.unwrap().unwrap();
    assert!(fedavg.is_builtin);
    assert_eq!(client.policy(PolicyKind::Placement, "fedavg").await.unwrap(), None);
    assert!(client.runs().await.unwrap().is_empty());
    assert!(client.workers().await.unwrap().is_empty());
    assert!(client.models(None).await.unwrap().is_empty());

    let nobody: RunId = "nobody".parse().unwrap();
    is_not_found(client.run(&nobody).await);
    is_not_found(client.round(&nobody, 1).await);
    is_not_found(client.stop_run(&nobody, "").await);
    is_not_found(client.models(Some(&nobody)).await);
    is_not_found(client.watch(&nobody, 0, true).next().await);
    is_not_found(client.drain_worker(&"nobody".parse().unwrap(), true).await);
    coordinator.stop().await;
    let unreachable = Client::of_profile(&Profile::find(Some(dir.path()), &crate::home::Home::at("x")).unwrap()).await;
    let error = unreachable.unwrap_err();
    assert_eq!(error.exit(), Exit::Refused);
    assert!(error.to_string().starts_with("nothing listens at the coordinator's address"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_token_lets_an_operator_in_once() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = Running::start(dir.path(), any_port()).await;
    let client = Client::of_profile(&coordinator.profile).await.unwrap();
    let ada = OperatorName::new("ada").unwrap();
    let created = client.create_token(&TokenFor::Operator(ada.clone()), LIMIT).await.unwrap();
    let token: JoinToken = created.token.parse().unwrap();

    let credentials = enrol_operator(&token, &token.endpoint).await.unwrap();
    assert_eq!(credentials.identity(), &Identity::Operator { name: ada });
    let profile = Profile::create(&dir.path().join("profile")).unwrap();
    profile.save(&credentials, &token.endpoint).unwrap();
    assert!(Client::of_profile(&profile).await.unwrap().runs().await.unwrap().is_empty());

    let again = enrol_operator(&token, &token.endpoint).await.unwrap_err();
    assert_eq!(again.exit(), Exit::Refused);
    assert!(again.to_string().contains("a token enrols once"), "{again}");
    let for_workers = client.create_token(&TokenFor::Worker("eu-west".parse().unwrap()), LIMIT).await.unwrap();
    let token: JoinToken = for_workers.token.parse().unwrap();
    let refused = enrol_operator(&token, &token.endpoint).await.unwrap_err();
    assert!(refused.to_string().contains("not for an operator"), "{refused}");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_submitted_with_its_model_and_can_be_looked_at_and_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = Running::start(dir.path(), any_port()).await;
    let client = Client::of_profile(&coordinator.profile).await.unwrap();
    let file = run_file();
    let submitted = submit(&client, &file).await.unwrap();
    let again = submit(&client, &file).await.unwrap();
    assert_ne!(submitted.run, again.run);
    assert_eq!(submitted.model, again.model, "the same seed starts from the same model");

    let run = client.run(&submitted.run).await.unwrap();
    assert_eq!((run.name.as_str(), run.status.as_str()), ("digits", "running"));
    assert_eq!(run.aggregation, submitted.aggregation);
    assert_eq!(serde_json::from_str::<RunView>(&run.text).unwrap(), run.view);
    assert_eq!(client.round(&submitted.run, 1).await.unwrap().round, 1);
    is_not_found(client.round(&submitted.run, 99).await);

    let models = client.models(Some(&submitted.run)).await.unwrap();
    let path = dir.path().join("model.safetensors");
    assert_eq!(pull(&client, &models[0].digest, &path).await.unwrap(), models[0].bytes);
    let pulled = polder_tensor::Parameters::from_safetensors(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(pulled.digest(), submitted.model.digest);
    is_not_found(client.pull_model(&polder_core::Digest::blake3([0; 32]), 0).await.map(|pull| pull.total_bytes()));

    client.stop_run(&submitted.run, "enough").await.unwrap();
    let run = client.run(&submitted.run).await.unwrap();
    assert_eq!((run.status.as_str(), run.reason.as_deref()), ("stopped", Some("by local: enough")));
    let refused = client.stop_run(&submitted.run, "").await.unwrap_err();
    assert_eq!(refused.exit(), Exit::Refused);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_nobody_has_is_named_with_those_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = Running::start(dir.path(), any_port()).await;
    let client = Client::of_profile(&coordinator.profile).await.unwrap();
    let mut file = run_file();
    file.aggregation.called = "my-mean".parse().unwrap();
    let error = submit(&client, &file).await.unwrap_err();
    assert_eq!(exit_of(&error), Exit::NotFound);
    assert!(error.to_string().contains("no policy `my-mean` here; there are least-loaded, "), "{error}");
    assert!(error.to_string().contains("polder policy push FILE --name my-mean"), "{error}");

    // A file that is sent before the run, under the name that the run gives it.
    let fedavg = polder_policy::builtins().iter().find(|builtin| builtin.name == "fedavg").unwrap();
    let path = dir.path().join("mean.wasm");
    std::fs::write(&path, fedavg.bytes).unwrap();
    file.aggregation.source = crate::run_file::PolicySource::File(path.clone());
    let submitted = submit(&client, &file).await.unwrap();
    assert_eq!(submitted.aggregation.digest, fedavg.digest());
    assert!(client.policy(PolicyKind::Aggregation, "my-mean").await.unwrap().is_some());

    file.placement.source = crate::run_file::PolicySource::File(path);
    file.placement.called = "no-placement".parse().unwrap();
    let error = submit(&client, &file).await.unwrap_err();
    assert_eq!(exit_of(&error), Exit::BadInput);
    assert!(error.to_string().ends_with("is for aggregation, and the run wants it for placement"), "{error}");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_after_the_coordinators_restart_and_shows_no_line_twice() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = Running::start(dir.path(), any_port()).await;
    let client = Client::of_profile(&coordinator.profile).await.unwrap();
    let run = submit(&client, &run_file()).await.unwrap().run;
    let mut watch = client.watch(&run, 0, true);
    let (first, kind) = next_line(&mut watch).await;
    assert_eq!(kind, "run-submitted");

    let address = coordinator.address;
    coordinator.stop().await;
    let interrupted = tokio::time::timeout(LIMIT, watch.next()).await.unwrap().unwrap();
    assert!(matches!(interrupted, Some(WatchEvent::Interrupted { .. })), "{interrupted:?}");

    let coordinator = Running::start(dir.path(), address).await;
    let again = Client::of_profile(&coordinator.profile).await.unwrap();
    again.stop_run(&run, "").await.unwrap();
    let mut seen = vec![(first, kind)];
    while seen.last().is_none_or(|(_, kind)| kind != "run-stopped") {
        seen.push(next_line(&mut watch).await);
    }
    assert!(seen.is_sorted_by(|(earlier, _), (later, _)| earlier < later), "{seen:?}");
    assert_eq!(tokio::time::timeout(LIMIT, watch.next()).await.unwrap().unwrap(), None, "the run has ended");

    // All of it at once, for those who come late.
    let mut log = again.watch(&run, 0, false);
    let mut lines = Vec::new();
    while let Some(WatchEvent::Line { seq, notice }) = log.next().await.unwrap() {
        lines.push((seq, notice.kind));
    }
    assert_eq!(lines, seen);
    coordinator.stop().await;
}
