//! A worker that is killed, and the one that comes after it in the same directory.

use std::sync::atomic::Ordering;
use std::time::Duration;

use polder_proto::{CHUNK_BYTES, unwelcome};
use polder_worker::Config;
use polder_worker::release::ReleaseChoice;
use tempfile::TempDir;
use tonic::{Code, Status};

use crate::support::session::{assignment, id};
use crate::support::trainer::settings;
use crate::support::{FakeCoordinator, Mortal, Running, config, identity, kept, model, soon, until_kept};

/// Parameters of a model that takes several chunks.
const LARGE: usize = 200_000;

fn away(times: usize) -> Vec<Status> {
    vec![Status::unavailable("away"); times]
}

/// A coordinator and a worker that has trained round 1 and sent the first chunks of its update, when it was killed.
async fn killed_in_upload(change: impl FnOnce(Config) -> Config) -> (FakeCoordinator, TempDir) {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.has(&model(LARGE));
    // Cut once, then refused for as long as it lives.
    coordinator.script().cut_uploads.push_back(2 * CHUNK_BYTES);
    let refusals = std::iter::once(Status::new(Code::Ok, "")).chain(away(10_000));
    coordinator.script().refuse_uploads.insert(1, refusals.collect());
    let worker = Mortal::start(&coordinator, change);
    let mut session = coordinator.session().await;
    session.assign(assignment(1, &model(LARGE), &settings("add"))).await;
    until_kept(worker.dir(), &["r.1.update"]).await;
    let dir = worker.kill();
    coordinator.script().refuse_uploads.clear();
    (coordinator, dir)
}

#[tokio::test]
async fn a_killed_workers_update_is_sent_on_from_where_it_stopped_without_another_training() {
    let (mut coordinator, dir) = killed_in_upload(|config| config).await;
    let before = coordinator.upload(1);
    assert!(before.bytes.len() >= CHUNK_BYTES && !before.is_complete);
    let worker = Mortal::start_in(dir, |config| config);
    let session = coordinator.session().await;
    assert_eq!(session.hello.holding, [id(1)]);
    coordinator.uploaded().await;
    assert!(coordinator.update(1).values().iter().all(|value| *value == 0.5));
    let upload = coordinator.upload(1);
    assert_eq!(upload.headers.last().unwrap().offset, before.bytes.len() as u64);
    assert!(upload.headers.iter().all(|header| header.digest == upload.headers[0].digest));
    assert_eq!((upload.headers[0].examples, upload.headers[0].loss), (12, Some(1.5)));
    assert_eq!(worker.gate.counts().started, 0);
    until_kept(worker.dir(), &[]).await;
}

/// The guest answers what lies in its state: to add noise.
fn noisy(config: &mut Config) {
    let guest = format!("{}/../tests/policies/guests/echo-release.wasm", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&guest).unwrap();
    let digest = polder_policy::PolicyHost::new(Default::default(), None).unwrap().load(&bytes).unwrap().digest();
    let mut answer = [0_u8; 72];
    answer[32] = 1;
    answer[40..48].copy_from_slice(&0.25_f64.to_le_bytes());
    let state: String = answer.iter().map(|byte| format!("{byte:02x}")).collect();
    config.release = ReleaseChoice::parse(Some(&guest), None).unwrap();
    let record = config.dir.join("released/r.json");
    if !record.exists() {
        std::fs::create_dir(config.dir.join("released")).unwrap();
        std::fs::write(record, format!(r#"{{"released":6,"withheld":1,"policy":"{digest}","state":"{state}"}}"#))
            .unwrap();
    }
}

#[tokio::test]
async fn what_a_release_policy_noised_leaves_as_it_was_noised_and_is_counted_once() {
    let release = |mut config: Config| {
        noisy(&mut config);
        config
    };
    let (mut coordinator, dir) = killed_in_upload(release).await;
    let worker = Mortal::start_in(dir, release);
    assert_eq!(coordinator.session().await.hello.holding, [id(1)]);
    coordinator.uploaded().await;
    let upload = coordinator.upload(1);
    assert!(upload.headers.iter().all(|header| header.digest == upload.headers[0].digest));
    let noise = coordinator.update(1).values().iter().map(|value| f64::from(value - 0.5).powi(2)).sum::<f64>();
    assert!(((noise / LARGE as f64).sqrt() - 0.25).abs() < 0.01);
    let record = std::fs::read_to_string(worker.dir().path().join("released/r.json")).unwrap();
    assert!(record.contains(r#""released":7,"withheld":1"#), "{record}");
    assert_eq!(worker.gate.counts().started, 0);
}

#[tokio::test]
async fn under_another_release_policy_an_update_that_was_made_does_not_leave() {
    let (mut coordinator, dir) = killed_in_upload(|config| config).await;
    let headers = coordinator.upload(1).headers.len();
    let worker = Mortal::start_in(dir, |mut config| {
        config.release = ReleaseChoice::parse(Some("clip"), Some(r#"{"norm": 1.0}"#.into())).unwrap();
        config
    });
    assert_eq!(coordinator.session().await.hello.holding, []);
    until_kept(worker.dir(), &[]).await;
    assert_eq!(coordinator.upload(1).headers.len(), headers);
}

#[tokio::test]
async fn what_another_federation_was_owed_is_removed() {
    let (_, dir) = killed_in_upload(|config| config).await;
    let mut other = FakeCoordinator::start().await;
    other.write_credentials(&dir, &identity("w"));
    let worker = Mortal::start_in(dir, |config| config);
    assert_eq!(other.session().await.hello.holding, []);
    until_kept(worker.dir(), &[]).await;
}

#[tokio::test]
async fn an_update_that_is_cancelled_is_removed() {
    let (mut coordinator, dir) = killed_in_upload(|config| config).await;
    coordinator.script().refuse_uploads.insert(1, away(10_000).into());
    let worker = Mortal::start_in(dir, |config| config);
    let session = coordinator.session().await;
    assert_eq!(session.hello.holding, [id(1)]);
    session.cancel(1);
    until_kept(worker.dir(), &[]).await;
    session.end();
    assert_eq!(coordinator.session().await.hello.holding, []);
}

#[tokio::test]
async fn a_coordinator_without_room_gets_the_update_when_it_has_some() {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.has(&model(12));
    let full = unwelcome(Code::ResourceExhausted, "storage_full", "no space left on the spool's disk");
    coordinator.script().refuse_uploads.insert(1, vec![full; 5].into());
    let worker = Mortal::start(&coordinator, |config| config);
    let mut session = coordinator.session().await;
    session.assign(assignment(1, &model(12), &settings("add"))).await;
    until_kept(worker.dir(), &["r.1.update"]).await;
    coordinator.uploaded().await;
    assert_eq!((coordinator.upload(1).headers.len(), worker.gate.counts().started), (6, 1));
    until_kept(worker.dir(), &[]).await;
}

fn often(mut config: Config) -> Config {
    config.checkpoint_every = Duration::ZERO;
    config
}

#[tokio::test]
async fn training_goes_on_from_its_checkpoint_if_it_is_still_wanted() {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.has(&model(12));
    let worker = Mortal::start(&coordinator, often);
    let mut session = coordinator.session().await;
    session.assign(assignment(1, &model(12), &settings("checkpoint"))).await;
    until_kept(worker.dir(), &["r.1.checkpoint", "r.1.started"]).await;
    let dir = worker.kill();

    let worker = Mortal::start_in(dir, often);
    let session = coordinator.session().await;
    assert_eq!(session.hello.holding, [id(1)]);
    coordinator.uploaded().await;
    assert!(worker.gate.resumed.load(Ordering::SeqCst), "it began anew");
    assert!(coordinator.update(1).values().iter().all(|value| *value == 0.5));
    until_kept(worker.dir(), &[]).await;
}

#[tokio::test]
async fn training_that_is_not_wanted_any_more_is_dropped_with_its_checkpoint() {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.has(&model(12));
    let worker = Mortal::start(&coordinator, often);
    let mut session = coordinator.session().await;
    session.assign(assignment(1, &model(12), &settings("checkpoint"))).await;
    soon("a checkpoint is kept", async {
        while !kept(worker.dir()).contains(&"r.1.checkpoint".to_owned()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let dir = worker.kill();
    // Its model is gone, so that it waits for it.
    coordinator.script().models.clear();
    coordinator.kill();
    let worker = Mortal::start_in(dir, often);
    coordinator.start_again().await;
    let session = coordinator.session().await;
    assert_eq!(session.hello.holding, [id(1)]);
    session.cancel(1);
    until_kept(worker.dir(), &[]).await;
    assert!(coordinator.upload(1).headers.is_empty());
}

#[tokio::test]
async fn a_worker_that_is_stopped_leaves_training_to_the_next_one() {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.has(&model(12));
    let worker = Running::start_with(&coordinator, often);
    let mut session = coordinator.session().await;
    session.assign(assignment(1, &model(12), &settings("checkpoint"))).await;
    worker.gate.until("training starts", |counts| counts.running == 1).await;
    soon("a checkpoint is kept", async {
        while !kept(&worker.dir).contains(&"r.1.checkpoint".to_owned()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let (dir, stopped) = worker.stop().await;
    stopped.unwrap();
    assert_eq!(kept(&dir), ["r.1.checkpoint"], "it ended in order, and what it had done is there");
    let again = often(config(&dir));
    let worker = Running::build(dir, again).unwrap();
    assert_eq!(coordinator.session().await.hello.holding, [id(1)]);
    coordinator.uploaded().await;
    assert!(worker.gate.resumed.load(Ordering::SeqCst));
}

/// Memory in use by this process, in KiB; none where the system does not say.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[tokio::test]
async fn a_thousand_rounds_leave_nothing_behind() {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.has(&model(1000));
    let worker = Running::start_with(&coordinator, often);
    let mut session = coordinator.session().await;
    let mut before = None;
    for round in 1..=1000 {
        match round % 5 {
            // Fails, and is tried again.
            1 => {
                session.fails(assignment(round, &model(1000), &settings("fail"))).await;
            }
            2 => {
                session.assign(assignment(round, &model(1000), &settings("checkpoint"))).await;
                session.cancel(round);
            }
            3 => {
                let refusal = unwelcome(Code::FailedPrecondition, "round_closed", "the round is closed");
                coordinator.script().refuse_uploads.insert(round, [refusal].into());
                session.assign(assignment(round, &model(1000), &settings("add"))).await;
            }
            _ => {
                session.assign(assignment(round, &model(1000), &settings("add"))).await;
                coordinator.uploaded().await;
            }
        }
        // What the coordinator's script remembers is not the worker's.
        coordinator.script().uploads.clear();
        coordinator.script().progress.clear();
        coordinator.script().heartbeats.clear();
        if round == 200 {
            before = resident_kib();
        }
    }
    coordinator.heartbeat().await;
    until_kept(&worker.dir, &[]).await;
    session.end();
    let mut session = coordinator.session().await;
    while !session.hello.holding.is_empty() {
        session.end();
        session = coordinator.session().await;
    }
    let mut names: Vec<_> =
        std::fs::read_dir(worker.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["checkpoints", "credentials.pem", "endpoint", "lock", "policy-cache", "released"]);
    if let Some((before, after)) = before.zip(resident_kib()) {
        assert!(after < before + 64 * 1024, "{before} KiB became {after} KiB");
    }
}
