//! From a join token to credentials, and what stands in the way.

use std::collections::BTreeMap;
use std::error::Error;
use std::os::unix::fs::PermissionsExt;

use polder_core::{Region, Timestamp, WorkerName};
use polder_proto::unwelcome;
use polder_security::{Fingerprint, JoinToken};
use polder_worker::{Config, WorkerError};
use tempfile::TempDir;
use tonic::Code;

use crate::support::coordinator::{HOUR, now};
use crate::support::{FakeCoordinator, Running, config, identity};

fn newcomer(coordinator: &FakeCoordinator) -> (TempDir, Config) {
    let root = tempfile::tempdir().unwrap();
    let mut config = config(&root);
    config.dir = root.path().join("worker");
    config.join = Some(coordinator.token());
    config.region = Some(Region::new("eu-west").unwrap());
    (root, config)
}

fn refusal(root: TempDir, config: Config) -> String {
    match Running::build(root, config) {
        Ok(_) => panic!("it was built"),
        Err(error) => match error.source() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}

#[tokio::test]
async fn a_token_is_needed_once() {
    let mut coordinator = FakeCoordinator::start().await;
    let (root, config) = newcomer(&coordinator);
    let worker = Running::build(root, config.clone()).unwrap();
    coordinator.session().await;
    let request = coordinator.script().enrolments[0].clone();
    assert_eq!((request.worker_name.as_str(), request.region.as_str()), ("eu-west-1", "eu-west"));
    let mode = |path: &str| std::fs::metadata(config.dir.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("."), mode("credentials.pem")), (0o700, 0o600));
    let (root, ended) = worker.stop().await;
    ended.unwrap();

    // Without a token, and with one that is not needed: the same worker, enrolled once.
    let without = Config { join: None, region: None, ..config.clone() };
    let worker = Running::build(root, without).unwrap();
    coordinator.session().await;
    let (root, ended) = worker.stop().await;
    ended.unwrap();
    let again = Config { join: Some(coordinator.token()), ..config };
    let _worker = Running::build(root, again).unwrap();
    coordinator.session().await;
    assert_eq!(coordinator.script().enrolments.len(), 1);
}

#[tokio::test]
async fn a_worker_whose_certificate_expired_enrols_again_under_its_name() {
    let mut coordinator = FakeCoordinator::start().await;
    let dir = tempfile::tempdir().unwrap();
    let yesterday = Timestamp(now().0 - 24 * 3_600_000);
    coordinator.write(dir.path(), &coordinator.authority().issue_client(&identity("old"), yesterday, HOUR).unwrap());
    let config = Config { join: Some(coordinator.token()), region: Region::new("eu-west").ok(), ..config(&dir) };
    let _worker = Running::build(dir, config).unwrap();
    coordinator.session().await;
    assert_eq!(coordinator.script().enrolments[0].worker_name, "old");
}

#[tokio::test]
async fn a_coordinator_that_is_not_there_yet_is_waited_for() {
    let mut coordinator = FakeCoordinator::down().await;
    let (root, config) = newcomer(&coordinator);
    let _worker = Running::build(root, config).unwrap();
    tokio::task::yield_now().await;
    coordinator.start_again().await;
    coordinator.session().await;
}

#[tokio::test]
async fn a_token_that_lets_nobody_in_ends_the_worker() {
    let coordinator = FakeCoordinator::start().await;
    let (root, config) = newcomer(&coordinator);
    let used = unwelcome(Code::PermissionDenied, "enrolment_refused", "the token was already used by `x`");
    coordinator.script().refuse_enrolment = Some(used);
    let error = Running::build(root, config).unwrap().ended().await.unwrap_err();
    assert_eq!(error.to_string(), "the coordinator refused: the token was already used by `x`");
}

#[tokio::test]
async fn a_token_of_another_authority_is_told_to_nobody() {
    let coordinator = FakeCoordinator::start().await;
    let (root, mut config) = newcomer(&coordinator);
    let fingerprint = Fingerprint::from_bytes([3; 32]);
    config.join = Some(JoinToken::generate(coordinator.endpoint(), fingerprint).unwrap());
    let error = Running::build(root, config).unwrap().ended().await.unwrap_err();
    assert!(matches!(error, WorkerError::CannotConnect { .. }));
    assert!(error.to_string().contains("is not the coordinator that issued this token"), "{error}");
    assert_eq!(coordinator.script().enrolments, []);
}

#[tokio::test]
async fn a_coordinator_that_makes_us_somebody_else_is_not_believed() {
    let coordinator = FakeCoordinator::start().await;
    let (root, mut config) = newcomer(&coordinator);
    config.region = Some(Region::new("us-east").unwrap());
    let dir = config.dir.clone();
    let error = Running::build(root, config).unwrap().ended().await.unwrap_err();
    assert!(error.to_string().contains("it made us worker `us-east-1` of region `eu-west`"), "{error}");
    assert!(!dir.join("credentials.pem").exists());
}

#[tokio::test]
async fn what_would_only_fail_later_is_refused_at_the_start() {
    let coordinator = FakeCoordinator::down().await;
    let root = tempfile::tempdir().unwrap();
    let without = config(&root);
    assert!(refusal(root, without).contains("start this worker once with `--join TOKEN`"));

    let root = tempfile::tempdir().unwrap();
    coordinator.write_credentials(&root, &identity("w"));
    let other = Config { name: Some(WorkerName::new("v").unwrap()), ..config(&root) };
    assert!(refusal(root, other).contains("the credentials of worker `w` of region `eu-west`; leave out `--name`"));

    let root = tempfile::tempdir().unwrap();
    coordinator.write_credentials(&root, &identity("w"));
    std::fs::remove_file(root.path().join("endpoint")).unwrap();
    let lost = config(&root);
    assert!(refusal(root, lost).contains("does not say where the coordinator is"));

    let root = tempfile::tempdir().unwrap();
    coordinator.write_credentials(&root, &identity("w"));
    let path = root.path().join("gone.csv");
    let data = Config { datasets: BTreeMap::from([("gone".into(), Some(path))]), ..config(&root) };
    assert!(refusal(root, data).contains("data set `gone` cannot be used: "));

    let root = tempfile::tempdir().unwrap();
    coordinator.write_credentials(&root, &identity("w"));
    let first = config(&root);
    let second = first.clone();
    let _running = Running::build(root, first).unwrap();
    assert!(refusal(tempfile::tempdir().unwrap(), second).contains("another worker is running with"));
}
