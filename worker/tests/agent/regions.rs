//! What a region has a say in: which policies may use its updates, and what of them leaves.

use polder_proto::v1;
use polder_proto::v1::worker_message::Message as FromWorker;
use polder_worker::allow_list::AllowList;
use polder_worker::release::ReleaseChoice;

use crate::support::session::{assignment, id};
use crate::support::trainer::settings;
use crate::support::{FakeCoordinator, Running, Session, model};

fn guest(name: &str) -> String {
    format!("{}/../tests/policies/guests/{name}.wasm", env!("CARGO_MANIFEST_DIR"))
}

/// A coordinator, a worker with this release policy, and their session.
async fn guarded(policy: &str, parameters: &str) -> (FakeCoordinator, Running, Session) {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.has(&model(12));
    let release = ReleaseChoice::parse(Some(policy), Some(parameters.into())).unwrap();
    let worker = Running::start_with(&coordinator, |mut config| {
        config.release = release;
        config
    });
    let session = coordinator.session().await;
    (coordinator, worker, session)
}

#[tokio::test]
async fn an_assignment_under_a_policy_that_is_not_allowed_is_declined() {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.has(&model(12));
    let allowed = format!("sha256:{}", "07".repeat(32));
    let _worker = Running::start_with(&coordinator, |mut config| {
        config.allow_list = AllowList::parse(std::slice::from_ref(&allowed)).unwrap();
        config
    });
    let mut session = coordinator.session().await;
    session.assign(assignment(1, &model(12), &settings("add"))).await;
    coordinator.uploaded().await;
    let other = v1::AggregationPolicy {
        digest: format!("sha256:{}", "08".repeat(32)),
        ..assignment(2, &model(12), &settings("add")).aggregation.unwrap()
    };
    let other = v1::Assignment { aggregation: Some(other), ..assignment(2, &model(12), &settings("add")) };
    let reason = session.declined(other).await;
    assert!(reason.contains("does not accept the aggregation policy mine@3 (sha256:0808"), "{reason}");
    assert!(reason.contains(&format!("only {allowed}")), "{reason}");
}

#[tokio::test]
async fn an_update_leaves_as_the_release_policy_says() {
    let (mut coordinator, _worker, mut session) = guarded("clip", r#"{"norm": 1.0}"#).await;
    session.assign(assignment(1, &model(12), &settings("add"))).await;
    coordinator.uploaded().await;
    // The digest was checked: it is that of what was sent.
    let update = coordinator.update(1);
    let norm = update.values().iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    assert!((norm - 1.0).abs() < 1e-6, "{norm}");
}

#[tokio::test]
async fn an_update_that_is_withheld_is_declined_with_the_policys_reason() {
    let (mut coordinator, worker, mut session) = guarded("min-cohort", r#"{"cohort_min": 3}"#).await;
    session.assign(assignment(1, &model(12), &settings("add"))).await;
    let FromWorker::Declined(declined) = session.next().await else { panic!("not declined") };
    assert_eq!(declined.assignment, Some(id(1)));
    assert!(declined.reason.starts_with("withheld by release policy min-cohort@"), "{}", declined.reason);
    assert!(declined.reason.contains("the round has 2 workers"), "{}", declined.reason);
    assert_eq!((worker.gate.counts().finished, coordinator.upload(1).headers.len()), (1, 0));

    // Evaluations are none of its business, and a larger cohort is good enough.
    let evaluate = v1::Assignment { task: "evaluate".into(), ..assignment(2, &model(12), &settings("add")) };
    session.assign(evaluate).await;
    assert!(matches!(session.next().await, FromWorker::Evaluation(_)));
    session.assign(v1::Assignment { cohort: 3, ..assignment(3, &model(12), &settings("add")) }).await;
    assert_eq!(coordinator.uploaded().await, 3);
}

#[tokio::test]
async fn a_release_policy_that_traps_lets_nothing_out() {
    let (coordinator, _worker, mut session) = guarded(&guest("unreachable-in-review"), "{}").await;
    session.assign(assignment(1, &model(12), &settings("add"))).await;
    let FromWorker::Declined(declined) = session.next().await else { panic!("not declined") };
    assert!(declined.reason.contains("unreachable-in-review.wasm: it failed: "), "{}", declined.reason);
    assert!(coordinator.upload(1).headers.is_empty());
}

/// The guest answers what lies in its state: to add noise.
#[tokio::test]
async fn an_update_is_treated_once_however_often_it_is_sent() {
    let mut coordinator = FakeCoordinator::start().await;
    let large = model(200_000);
    coordinator.has(&large);
    coordinator.script().cut_uploads.extend([100_000, 500_000]);
    let release = ReleaseChoice::parse(Some(&guest("echo-release")), None).unwrap();
    let worker = Running::start_with(&coordinator, |mut config| {
        config.release = release;
        let bytes = std::fs::read(guest("echo-release")).unwrap();
        let digest = polder_policy::PolicyHost::new(Default::default(), None).unwrap().load(&bytes).unwrap().digest();
        let mut answer = [0_u8; 72];
        answer[32] = 1;
        answer[40..48].copy_from_slice(&0.25_f64.to_le_bytes());
        let state: String = answer.iter().map(|byte| format!("{byte:02x}")).collect();
        std::fs::create_dir(config.dir.join("released")).unwrap();
        let record = format!(r#"{{"released":6,"withheld":1,"policy":"{digest}","state":"{state}"}}"#);
        std::fs::write(config.dir.join("released/r.json"), record).unwrap();
        config
    });
    let mut session = coordinator.session().await;
    session.assign(assignment(1, &large, &settings("add"))).await;
    coordinator.uploaded().await;
    let upload = coordinator.upload(1);
    assert!(upload.headers.len() >= 3, "it was sent {} times", upload.headers.len());
    assert!(upload.headers.iter().all(|header| header.digest == upload.headers[0].digest));
    let update = coordinator.update(1);
    let noise = update.values().iter().map(|value| f64::from(value - 0.5));
    let deviation = (noise.map(|noise| noise * noise).sum::<f64>() / 200_000.0).sqrt();
    assert!((deviation - 0.25).abs() < 0.01, "{deviation}");
    // One decision, written down before anything left.
    let record = std::fs::read_to_string(worker.dir.path().join("released/r.json")).unwrap();
    assert!(record.contains(r#""released":7,"withheld":1"#), "{record}");
}
