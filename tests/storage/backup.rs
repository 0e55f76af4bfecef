//! A federation goes on elsewhere, from a backup that was taken in the middle of a round.

use std::fs;
use std::path::Path;

use polder_coordinator::backup::{self, BackupError, Manifest};
use polder_coordinator::config::Times;
use polder_coordinator::store::{Store, StoreConfig};
use polder_core::RunId;
use polder_proto::v1;
use polder_tensor::Parameters;
use polder_tests::postgres::Postgres;
use polder_tests::{Coordinator, Peer, Polder, Session, update};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_polder-under-test");

/// A coordinator whose run is in its second and last round: of two workers one has reported.
struct MidRound {
    coordinator: Coordinator,
    run: RunId,
    peers: Vec<Peer>,
    sessions: Vec<Session>,
    /// What the other one is at.
    outstanding: v1::AssignmentId,
}

impl MidRound {
    async fn begin() -> Self {
        let coordinator = Coordinator::start().await;
        let mut spec = coordinator.spec().await;
        spec.rounds = 2;
        (spec.cohort.size, spec.cohort.quorum) = (2, 2);
        let (mut peers, mut sessions) = (Vec::new(), Vec::new());
        for name in ["a", "b"] {
            let mut peer = Peer::enrolled(&coordinator, name).await;
            sessions.push(peer.session().await);
            peers.push(peer);
        }
        let run = coordinator.submit(&spec).await.unwrap();
        for at in [0, 1] {
            let assignment = sessions[at].assignment().await.assignment.unwrap();
            upload(&mut peers[at], &assignment, 1.0).await;
        }
        let assignment = sessions[0].assignment().await.assignment.unwrap();
        upload(&mut peers[0], &assignment, 2.0).await;
        let outstanding = sessions[1].assignment().await.assignment.unwrap();
        Self { coordinator, run, peers, sessions, outstanding }
    }

    fn config(&self) -> StoreConfig {
        StoreConfig::local(self.coordinator.path())
    }

    async fn back_up(&self) -> (TempDir, StoreConfig) {
        let dir = tempfile::tempdir().unwrap();
        let summary = backup::take(&self.config(), &dir.path().join("backup")).await.unwrap();
        assert_eq!((summary.blobs, summary.updates), (2, 1), "the model of each round, and the update of `a`");
        let to = StoreConfig::local(dir.path().join("elsewhere"));
        (dir, to)
    }
}

async fn upload(peer: &mut Peer, assignment: &v1::AssignmentId, value: f32) {
    peer.upload(assignment, &update::filled(value).to_safetensors(), |_| {}).await.unwrap();
}

/// Flips a bit in the middle of a file.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_goes_on_elsewhere_with_the_updates_it_had() {
    let mut world = MidRound::begin().await;
    // Beside the coordinator, which runs on.
    let (dir, _) = world.back_up().await;
    let from = dir.path().join("backup");
    let (summary, faults) = backup::verify(&from).unwrap();
    assert!(faults.is_empty() && summary.journal_seq > 0, "{faults:?}");
    world.sessions.clear();
    world.coordinator.stop().await;

    let elsewhere = tempfile::tempdir().unwrap();
    let restored = backup::restore(&from, &StoreConfig::local(elsewhere.path())).await.unwrap();
    assert_eq!(restored, summary);
    let coordinator = Coordinator::start_in(elsewhere, Times::default()).await;
    let mut sessions = Vec::new();
    let mut peers = Vec::new();
    for (peer, holding) in world.peers.into_iter().zip([vec![], vec![world.outstanding.clone()]]) {
        let mut peer = peer.reconnected(&coordinator).await;
        sessions.push(peer.session_holding(holding).await);
        peers.push(peer);
    }
    upload(&mut peers[1], &world.outstanding, 4.0).await;
    let ended = coordinator.ended(&world.run).await;
    assert_eq!((ended.status.as_str(), ended.model.version), ("completed", 2), "{ended:?}");

    drop(sessions);
    let dir = coordinator.stop().await;
    let store = Store::open(&StoreConfig::local(dir.path())).await.unwrap();
    let model = Parameters::from_safetensors(&store.blobs().get(&ended.model.digest).await.unwrap()).unwrap();
    // One round moved it by 1, the other by the mean of 2 and 4.
    let expected: Vec<f32> = update::model().values().iter().map(|value| value + 1.0 + 3.0).collect();
    assert_eq!(model.values(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_restores_nothing() {
    let world = MidRound::begin().await;
    let (dir, to) = world.back_up().await;
    let from = dir.path().join("backup");
    let manifest = Manifest::read(&from).unwrap();
    assert!(["journal.jsonl", "blobs/", "spool/", "ca/"].iter().all(|kind| {
        let file = manifest.files.iter().find(|file| file.path.starts_with(kind)).unwrap();
        let path = from.join(&file.path);
        let good = fs::read(&path).unwrap();
        damage(&path);
        let (_, faults) = backup::verify(&from).unwrap();
        assert!(matches!(&faults[..], [BackupError::Corrupt { path, .. }] if *path == file.path), "{faults:?}");
        fs::write(&path, good).unwrap();
        backup::verify(&from).unwrap().1.is_empty()
    }));
    for file in &manifest.files {
        let path = from.join(&file.path);
        let good = fs::read(&path).unwrap();
        damage(&path);
        let error = backup::restore(&from, &to).await.unwrap_err();
        assert!(matches!(error, BackupError::Corrupt { .. }), "{error}");
        fs::remove_file(&path).unwrap();
        let error = backup::restore(&from, &to).await.unwrap_err();
        assert!(matches!(error, BackupError::Missing { .. }), "{error}");
        fs::write(&path, good).unwrap();
        assert!(fs::read_dir(dir.path()).unwrap().count() == 1, "something was left behind");
    }
    fs::create_dir(&to.dir).unwrap();
    fs::write(to.dir.join("mine"), "").unwrap();
    let error = backup::restore(&from, &to).await.unwrap_err();
    assert!(matches!(error, BackupError::NotEmpty { .. }), "{error}");
    let error = backup::take(&world.config(), &to.dir).await.unwrap_err();
    assert!(matches!(error, BackupError::NotEmpty { .. }), "{error}");
    fs::remove_file(from.join("manifest.json")).unwrap();
    let error = backup::restore(&from, &to).await.unwrap_err();
    assert!(matches!(error, BackupError::NoBackup { .. }), "{error}");
}

/// A drill beside the federation at work, or two of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_restored_is_a_federation_of_its_own() {
    let world = MidRound::begin().await;
    let (dir, to) = world.back_up().await;
    let from = dir.path().join("backup");
    let blobs = |name: &str| Some(format!("file://{}/{name}", dir.path().display()));
    let to = StoreConfig { blobs: blobs("objects"), ..to };
    // What fails leaves the object store to whoever tries again.
    let journal = fs::read(from.join("journal.jsonl")).unwrap();
    damage(&from.join("journal.jsonl"));
    let error = backup::restore(&from, &to).await.unwrap_err();
    assert!(matches!(error, BackupError::Corrupt { .. }), "{error}");
    fs::write(from.join("journal.jsonl"), journal).unwrap();

    backup::restore(&from, &to).await.unwrap();
    drop(Store::open(&to).await.unwrap());
    let second = StoreConfig { dir: dir.path().join("second"), ..to.clone() };
    let error = backup::restore(&from, &second).await.unwrap_err().to_string();
    assert!(error.contains("is another federation's") && error.contains("/elsewhere`"), "{error}");
    assert!(!second.dir.exists());
    let second = StoreConfig { blobs: blobs("others"), ..second };
    backup::restore(&from, &second).await.unwrap();
    drop(Store::open(&second).await.unwrap());
    // Nor does its backup say where it is.
    backup::take(&second, &dir.path().join("again")).await.unwrap();
    let local = StoreConfig::local(dir.path().join("third"));
    backup::restore(&dir.path().join("again"), &local).await.unwrap();
    drop(Store::open(&local).await.unwrap());
}

/// The way from one coordinator to several: nothing is lost from SQLite to PostgreSQL and from local files to shared ones.
#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stderr)]
async fn a_backup_moves_to_a_shared_database_and_object_store() {
    let Some(postgres) = Postgres::shared() else {
        eprintln!("skipped: there is no PostgreSQL here");
        return;
    };
    let world = MidRound::begin().await;
    let (dir, to) = world.back_up().await;
    let blobs = format!("file://{}/objects", dir.path().display());
    let to = StoreConfig { database: Some(postgres.database()), blobs: Some(blobs), ..to };
    let from = dir.path().join("backup");
    backup::restore(&from, &to).await.unwrap();
    // All of it is where others find it.
    fs::remove_dir_all(to.dir.join("blobs")).unwrap();
    fs::remove_dir_all(to.dir.join("spool")).unwrap();
    backup::take(&to, &dir.path().join("again")).await.unwrap();
    let (before, after) = (Manifest::read(&from).unwrap(), Manifest::read(&dir.path().join("again")).unwrap());
    assert_eq!(before.files, after.files);
    assert_eq!((before.journal_seq, before.federation), (after.journal_seq, after.federation));

    let others = dir.path().join("others");
    let blobs = Some(format!("file://{}", others.display()));
    let elsewhere = StoreConfig { dir: dir.path().join("third"), blobs, ..to };
    let error = backup::restore(&from, &elsewhere).await.unwrap_err().to_string();
    assert!(error.contains("the database it is to go to is not empty"), "{error}");
    assert!(others.join("blobs").exists() && !others.join("owner").exists(), "it is anybody's");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_say_what_they_did() {
    let world = MidRound::begin().await;
    let dir = world.coordinator.path().display().to_string();
    let polder = Polder::new(PROGRAM);
    let path = |name: &str| polder.path(name).display().to_string();
    let (backup, restored) = (path("backup"), path("restored"));
    let made = polder.run(&["--json", "backup", "--dir", &dir, "--to", &backup]).object();
    assert_eq!((&made["blobs"], &made["updates"]), (&2.into(), &1.into()));
    polder.run(&["backup", "verify", &backup]).ok();
    polder.run(&["restore", "--from", &backup, "--dir", &restored]).ok();
    polder.run(&["coordinator", "verify", "--dir", &restored]).ok();
    polder.run(&["restore", "--from", &backup, "--dir", &restored]).fails(1, "is there already and not empty");
    polder.run(&["backup", "--dir", &path("nothing"), "--to", &path("no")]).fails(1, "is no coordinator's directory");

    let model = world.coordinator.run(&world.run).await.model.digest;
    let blob = format!("blobs/{}", model.to_string().replace(':', "/"));
    damage(&Path::new(&restored).join(&blob));
    polder.run(&["coordinator", "verify", "--dir", &restored]).fails(1, "files are corrupt");
    let corrupt = polder.run(&["--json", "coordinator", "verify", "--dir", &restored]);
    assert!(corrupt.stdout.contains(&blob), "{corrupt:?}");
    damage(&Path::new(&backup).join(&blob));
    polder.run(&["backup", "verify", &backup]).fails(1, "is damaged");
}
