use polder_core::WorkerName;
use polder_tensor::{NotFinite, Parameters, TensorSpec};
use proptest::prelude::*;

use super::*;

fn layout() -> Arc<Layout> {
    Arc::new(Layout::new(vec![TensorSpec::new("w", [10, 6]), TensorSpec::new("b", [3])]).unwrap())
}

fn update(change: impl FnOnce(&mut [f32])) -> Vec<u8> {
    let mut parameters = Parameters::new(layout(), (0..63).map(|n| n as f32).collect()).unwrap();
    change(parameters.values_mut());
    parameters.to_safetensors()
}

fn assignment(worker: &str) -> AssignmentId {
    AssignmentId { run: RunId::new("digits-1").unwrap(), round: 4, worker: WorkerName::new(worker).unwrap() }
}

fn announce(worker: &str, file: &[u8]) -> Announced {
    let digest = Digest::blake3(*blake3::hash(file).as_bytes());
    Announced { assignment: assignment(worker), layout: layout(), digest, bytes: file.len() as u64 }
}

struct World {
    dir: tempfile::TempDir,
    spool: Spool,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(&dir.path().join("spool"), None).unwrap();
        Self { dir, spool }
    }

    /// The spool as a restarted coordinator finds it.
    fn restarted(self) -> Self {
        let spool = Spool::open(&self.dir.path().join("spool"), None).unwrap();
        Self { spool, ..self }
    }

    fn files(&self) -> usize {
        let Ok(round) = fs::read_dir(self.dir.path().join("spool/digits-1/4")) else { return 0 };
        round.count()
    }

    fn receive(&self, worker: &str, file: &[u8]) -> Result<SpooledUpdate, SpoolError> {
        self.receive_as(announce(worker, file), file)
    }

    fn receive_as(&self, announced: Announced, file: &[u8]) -> Result<SpooledUpdate, SpoolError> {
        let mut receiver = self.spool.resume(announced, 0)?;
        receiver.write(file)?;
        receiver.finish()
    }
}

#[test]
fn an_update_is_kept_under_its_name() {
    let world = World::new();
    let file = update(|_| {});
    let spooled = world.receive("eu-west-1", &file).unwrap();
    assert_eq!(fs::read(&spooled.path).unwrap(), file);
    assert_eq!(spooled.bytes, file.len() as u64);

    let world = world.restarted();
    let announced = announce("eu-west-1", &file);
    assert_eq!(world.spool.find(&announced.assignment, &announced.digest).unwrap(), Some(spooled.clone()));
    assert_eq!(world.spool.find(&assignment("us-east-1"), &announced.digest).unwrap(), None);
    assert_eq!(world.spool.status(&announced.assignment, &announced.digest).unwrap(), spooled.bytes);
    let held = Held { assignment: announced.assignment, digest: spooled.digest, bytes: spooled.bytes, whole: true };
    assert_eq!(world.spool.list().unwrap(), [held]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The connection breaks at every cut, and at some of them the coordinator is started anew.
    #[test]
    fn an_upload_goes_on_where_it_stopped(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), any::<bool>()), 0..6),
    ) {
        let mut world = World::new();
        let file = update(|_| {});
        let announced = announce("eu-west-1", &file);
        let mut cuts: Vec<_> = cuts.into_iter().map(|(at, restart, twice)| (at.index(file.len() + 1), restart, twice)).collect();
        cuts.sort_unstable();
        let mut held = 0;
        for (cut, restart, twice) in cuts {
            let mut receiver = world.spool.resume(announced.clone(), held as u64).unwrap();
            prop_assert_eq!(receiver.held(), held as u64);
            if twice {
                let middle = held + (cut - held) / 2;
                receiver.write(&file[held..middle]).unwrap();
                receiver.write(&file[middle..cut]).unwrap();
            } else {
                receiver.write(&file[held..cut]).unwrap();
            }
            held = cut;
            drop(receiver);
            if restart {
                world = world.restarted();
            }
            prop_assert_eq!(world.spool.status(&announced.assignment, &announced.digest).unwrap(), held as u64);
        }
        let mut receiver = world.spool.resume(announced.clone(), held as u64).unwrap();
        receiver.write(&file[held..]).unwrap();
        let spooled = receiver.finish().unwrap();
        prop_assert_eq!(fs::read(&spooled.path).unwrap(), file);
        prop_assert_eq!(world.files(), 1);
    }

    /// A value that is not finite is found although the two halves of it came over two connections.
    #[test]
    fn checks_go_on_where_they_stopped(at in 0..63_usize, byte in 0..4_usize) {
        let world = World::new();
        let file = update(|values| values[at] = f32::NAN);
        let announced = announce("eu-west-1", &file);
        let cut = layout().data_offset() as usize + 4 * at + byte;
        let mut receiver = world.spool.resume(announced.clone(), 0).unwrap();
        receiver.write(&file[..cut]).unwrap();
        drop(receiver);
        let mut receiver = world.spool.resume(announced, cut as u64).unwrap();
        // It may lie in what was here before; sent anew, it is the update's own.
        let begins_anew = matches!(receiver.write(&file[cut..]), Err(SpoolError::NotAsSent { .. }));
        prop_assert!(begins_anew);
        drop(receiver);
        let error = world.receive("eu-west-1", &file).unwrap_err();
        let (tensor, index) = if at < 60 { ("w", at) } else { ("b", at - 60) };
        let expected = UpdateFault::NotFinite(NotFinite { tensor: tensor.into(), index });
        prop_assert!(matches!(error, SpoolError::Fault(fault) if fault == expected));
    }
}

#[test]
fn bad_updates_are_refused_and_leave_nothing() {
    let world = World::new();
    let good = update(|_| {});
    let other = Parameters::zeros(Arc::new(
        Layout::new(vec![TensorSpec::new("w", [6, 10]), TensorSpec::new("b", [3])]).unwrap(),
    ));
    for (file, message) in [
        (update(|values| values[61] = f32::INFINITY), "tensor `b` has a value that is not finite, at index 1"),
        (other.to_safetensors(), "tensor 1 should be `w` [10, 6], but is `w` [6, 10]"),
        ([good.as_slice(), &[0]].concat(), "the update is longer than the"),
    ] {
        let announced = Announced { bytes: good.len() as u64, ..announce("eu-west-1", &file) };
        let error = world.receive_as(announced, &file).unwrap_err().to_string();
        assert!(error.contains(message), "{error:?} does not say {message:?}");
        assert_eq!(world.files(), 0, "{message}");
    }
    let announced = Announced { digest: Digest::blake3([1; 32]), ..announce("eu-west-1", &good) };
    let error = world.receive_as(announced, &good).unwrap_err();
    assert!(matches!(error, SpoolError::WrongDigest { .. }), "{error}");
    assert_eq!(world.files(), 0);
    // The same names from another hash function.
    let announced = announce("eu-west-1", &good);
    let announced = Announced { digest: Digest::sha256(announced.digest.bytes), ..announced };
    assert!(matches!(world.receive_as(announced, &good), Err(SpoolError::WrongDigest { .. })));

    let announced = Announced { bytes: 10, ..announce("eu-west-1", &good) };
    let error = world.spool.resume(announced, 0).unwrap_err().to_string();
    assert_eq!(error, format!("the update would have 10 bytes; the model's shape gives it {}", good.len()));

    world.receive("eu-west-1", &good).unwrap();
}

#[test]
fn a_short_upload_can_still_be_ended() {
    let world = World::new();
    let file = update(|_| {});
    let error = world.receive_as(announce("eu-west-1", &file), &file[..99]).unwrap_err();
    assert_eq!(error.to_string(), format!("the update ends after 99 of {} bytes", file.len()));
    let mut receiver = world.spool.resume(announce("eu-west-1", &file), 99).unwrap();
    receiver.write(&file[99..]).unwrap();
    receiver.finish().unwrap();
}

#[test]
fn a_fault_ends_an_upload() {
    let world = World::new();
    let file = update(|values| values[0] = f32::NAN);
    let mut receiver = world.spool.resume(announce("eu-west-1", &file), 0).unwrap();
    assert!(matches!(receiver.write(&file), Err(SpoolError::Fault(_))));
    assert!(matches!(receiver.write(&file), Err(SpoolError::Broken)));
    assert!(matches!(receiver.finish(), Err(SpoolError::Broken)));
}

#[test]
fn one_upload_an_assignment_at_a_time() {
    let world = World::new();
    let file = update(|_| {});
    let receiver = world.spool.resume(announce("eu-west-1", &file), 0).unwrap();
    let error = world.spool.resume(announce("eu-west-1", &file), 0).unwrap_err();
    assert_eq!(error.to_string(), "an upload for digits-1/4/eu-west-1 is already going on");
    // Nobody else is held up.
    world.receive("us-east-1", &file).unwrap();
    drop(receiver);
    world.receive("eu-west-1", &file).unwrap();
}

#[test]
fn offsets_must_be_where_the_file_ends() {
    let world = World::new();
    let file = update(|_| {});
    let mut receiver = world.spool.resume(announce("eu-west-1", &file), 0).unwrap();
    receiver.write(&file[..20]).unwrap();
    drop(receiver);
    for offset in [0, 19, 21] {
        let error = world.spool.resume(announce("eu-west-1", &file), offset).unwrap_err();
        assert!(matches!(error, SpoolError::WrongOffset { held: 20, .. }), "{error}");
    }
}

#[test]
fn a_new_digest_replaces_what_was_unfinished_only() {
    let world = World::new();
    let (first, second) = (update(|_| {}), update(|values| values[0] = 5.0));
    let mut receiver = world.spool.resume(announce("eu-west-1", &first), 0).unwrap();
    receiver.write(&first[..100]).unwrap();
    drop(receiver);
    let spooled = world.receive("eu-west-1", &second).unwrap();
    assert_eq!(world.files(), 1);

    let error = world.receive("eu-west-1", &first).unwrap_err();
    let expected = format!("another update for digits-1/4/eu-west-1 is already here: {}", spooled.digest);
    assert_eq!(error.to_string(), expected);
    world.spool.discard(&spooled.assignment).unwrap();
    world.receive("eu-west-1", &first).unwrap();
}

#[test]
fn a_finished_update_can_be_finished_again_but_not_harmed() {
    let world = World::new();
    let file = update(|_| {});
    let spooled = world.receive("eu-west-1", &file).unwrap();
    let mut receiver = world.spool.resume(announce("eu-west-1", &file), spooled.bytes).unwrap();
    assert!(matches!(receiver.write(&[0]), Err(SpoolError::Fault(UpdateFault::TooLong { .. }))));
    drop(receiver);
    let receiver = world.spool.resume(announce("eu-west-1", &file), spooled.bytes).unwrap();
    assert_eq!(receiver.finish().unwrap(), spooled);
    assert_eq!(fs::read(&spooled.path).unwrap(), file);
}

#[test]
fn what_a_crash_has_garbled_is_started_again() {
    let world = World::new();
    let file = update(|_| {});
    let announced = announce("eu-west-1", &file);
    let mut receiver = world.spool.resume(announced.clone(), 0).unwrap();
    receiver.write(&file[..300]).unwrap();
    drop(receiver);
    let path = world.spool.path(&announced.assignment, &announced.digest, State::Partial);
    fs::write(&path, [&file[..280], &[0xff; 20]].concat()).unwrap();
    assert!(matches!(world.spool.resume(announced.clone(), 300), Err(SpoolError::NotAsSent { .. })));
    assert_eq!(world.spool.status(&announced.assignment, &announced.digest).unwrap(), 0);
    world.receive("eu-west-1", &file).unwrap();
}

/// Garbled in a way that only the rest of the file shows: in half of a header, in half of a value, and in good values.
#[test]
fn what_a_crash_has_garbled_unseen_is_started_again_too() {
    let file = update(|_| {});
    let values = layout().data_offset() as usize;
    let header = [&file[..9], b"#", &file[10..20]].concat();
    let half = [&file[..values + 4], &[0, 0, 0xc0]].concat();
    let zeros = [&file[..values], &[0; 40]].concat();
    for garbled in [header, half, zeros] {
        let world = World::new();
        let announced = announce("eu-west-1", &file);
        drop(world.spool.resume(announced.clone(), 0).unwrap());
        fs::write(world.spool.path(&announced.assignment, &announced.digest, State::Partial), &garbled).unwrap();
        let mut receiver = world.spool.resume(announced.clone(), garbled.len() as u64).unwrap();
        let sent = receiver.write(&file[garbled.len()..]).and_then(|()| receiver.finish().map(drop));
        assert!(matches!(sent, Err(SpoolError::NotAsSent { .. })), "{sent:?}");
        assert_eq!(world.spool.status(&announced.assignment, &announced.digest).unwrap(), 0);
        world.receive("eu-west-1", &file).unwrap();
    }
}

#[test]
fn a_finished_update_that_a_crash_has_garbled_is_put_aside_and_started_again() {
    let file = update(|_| {});
    for garbled in [update(|values| values[7] = f32::NAN), update(|values| values[7] = 0.5)] {
        let world = World::new();
        let spooled = world.receive("eu-west-1", &file).unwrap();
        fs::write(&spooled.path, &garbled).unwrap();
        let world = world.restarted();
        let resumed = world.spool.resume(announce("eu-west-1", &file), spooled.bytes).and_then(Receiver::finish);
        assert!(matches!(resumed, Err(SpoolError::NotAsSent { .. })), "{resumed:?}");
        assert_eq!(world.spool.status(&spooled.assignment, &spooled.digest).unwrap(), 0);
        assert_eq!(world.receive("eu-west-1", &file).unwrap(), spooled);
    }
}

#[test]
fn a_round_is_removed_and_nothing_else() {
    let world = World::new();
    let file = update(|_| {});
    world.receive("eu-west-1", &file).unwrap();
    drop(world.spool.resume(announce("us-east-1", &file), 0).unwrap());
    let mut later = announce("eu-west-1", &file);
    later.assignment.round = 44;
    let kept = world.receive_as(later, &file).unwrap();
    assert_eq!(world.files(), 2);

    let run = RunId::new("digits-1").unwrap();
    world.spool.remove(&run, 4).unwrap();
    world.spool.remove(&run, 4).unwrap();
    let left: Vec<_> = world.spool.list().unwrap().into_iter().map(|held| held.assignment).collect();
    assert_eq!(left, std::slice::from_ref(&kept.assignment));

    world.spool.remove(&run, 44).unwrap();
    assert!(!world.dir.path().join("spool/digits-1").exists(), "the folder of a run goes with its last round");
    world.receive("eu-west-1", &file).unwrap();
}

#[test]
fn a_corrupt_update_is_put_aside_and_can_be_sent_again() {
    let world = World::new();
    let file = update(|_| {});
    let SpooledUpdate { assignment, digest, path, .. } = world.receive("eu-west-1", &file).unwrap();
    let other = update(|values| values[7] = 0.5);
    fs::write(&path, &other).unwrap();
    let world = world.restarted();
    let error = world.spool.find(&assignment, &digest).unwrap_err();
    let SpoolError::Corrupt { found, kept, .. } = &error else { panic!("{error}") };
    assert_eq!(*found, Digest::blake3(*blake3::hash(&other).as_bytes()));
    assert_eq!(fs::read(kept).unwrap(), other);
    assert!(kept.starts_with(world.dir.path().join("quarantine")), "{}", kept.display());

    assert_eq!(world.spool.find(&assignment, &digest).unwrap(), None);
    assert_eq!(world.spool.list().unwrap(), []);
    let again = world.receive("eu-west-1", &file).unwrap();
    assert_eq!(world.spool.find(&assignment, &digest).unwrap(), Some(again));
}

#[test]
fn files_of_the_first_release_are_found_again() {
    let world = World::new();
    let file = update(|_| {});
    let digest = announce("eu-west-1", &file).digest;
    let flat =
        |state: &str| world.dir.path().join("spool").join(format!("digits-1~4~eu-west-1~{}.{state}", digest.hex()));
    fs::write(flat("update"), &file).unwrap();
    fs::write(world.dir.path().join("spool/lost+found"), b"not ours").unwrap();
    let world = world.restarted();
    let found = world.spool.find(&assignment("eu-west-1"), &digest).unwrap().unwrap();
    assert_eq!(fs::read(found.path).unwrap(), file);
    assert_eq!(world.spool.list().unwrap().len(), 1);
    assert!(world.dir.path().join("spool/lost+found").exists());
}

#[test]
fn what_a_killed_coordinator_had_half_fetched_is_removed() {
    let world = World::new();
    world.receive("eu-west-1", &update(|_| {})).unwrap();
    let spool = world.dir.path().join("spool");
    let (half, half_marker, strange) =
        (spool.join("digits-1/4/.tmpQ7x0aB"), spool.join(".tmpZz81c0"), spool.join("digits-1/4/notes"));
    for path in [&half, &half_marker, &strange] {
        fs::write(path, "half of an update").unwrap();
    }
    let world = world.restarted();
    assert!(!half.exists() && !half_marker.exists());
    assert!(strange.exists(), "a file of somebody else's");
    assert_eq!(world.spool.list().unwrap().len(), 1);
}
