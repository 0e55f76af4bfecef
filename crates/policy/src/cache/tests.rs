use super::*;
use crate::engine::on_demand;
use crate::{Limits, PolicyHost, builtins};

/// A cache that holds one entry, the entry's digest and its file.
fn filled(bytes_max: u64) -> (tempfile::TempDir, Engine, Cache, Digest, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let engine = on_demand(&Limits::default()).unwrap();
    let cache = Cache::open(directory.path(), &engine, bytes_max).unwrap();
    let builtin = builtins()[1];
    let component = Component::from_binary(&engine, builtin.bytes).unwrap();
    cache.store(builtin.digest(), &component);
    let path = cache.path(builtin.digest());
    (directory, engine, cache, builtin.digest(), path)
}

#[test]
fn what_was_stored_is_fetched_after_a_restart_too() {
    let (directory, engine, cache, digest, _) = filled(u64::MAX);
    assert!(cache.fetch(&engine, digest).is_some());
    let again = Cache::open(directory.path(), &engine, u64::MAX).unwrap();
    assert!(again.fetch(&engine, digest).is_some());
    assert!(again.fetch(&engine, Digest::sha256([0; 32])).is_none());
}

#[test]
fn one_flipped_bit_anywhere_drops_the_entry() {
    let (_directory, engine, cache, digest, path) = filled(u64::MAX);
    let sealed = fs::read(&path).unwrap();
    for at in [0, SEAL_BYTES - 1, SEAL_BYTES, sealed.len() / 2, sealed.len() - 1] {
        let mut altered = sealed.clone();
        altered[at] ^= 1;
        fs::write(&path, &altered).unwrap();
        assert!(cache.fetch(&engine, digest).is_none(), "byte {at} was altered unnoticed");
        assert!(!path.exists(), "the altered entry is still there");
    }
    for length in [0, SEAL_BYTES - 1, SEAL_BYTES, sealed.len() - 1] {
        fs::write(&path, &sealed[..length]).unwrap();
        assert!(cache.fetch(&engine, digest).is_none(), "cut to {length} bytes unnoticed");
    }
    fs::write(&path, &sealed).unwrap();
    assert!(cache.fetch(&engine, digest).is_some());
}

#[test]
fn an_entry_under_another_name_is_not_taken() {
    let (_directory, engine, cache, _, path) = filled(u64::MAX);
    let other = builtins()[0].digest();
    fs::rename(path, cache.path(other)).unwrap();
    assert!(cache.fetch(&engine, other).is_none());
}

#[test]
fn code_sealed_under_another_key_is_not_taken() {
    let (directory, engine, _, digest, path) = filled(u64::MAX);
    fs::write(directory.path().join(KEY_FILE), [7; KEY_BYTES]).unwrap();
    let cache = Cache::open(directory.path(), &engine, u64::MAX).unwrap();
    assert!(cache.fetch(&engine, digest).is_none());
    assert!(!path.exists());
}

#[test]
fn a_damaged_key_starts_a_new_cache() {
    let (directory, engine, _, digest, _) = filled(u64::MAX);
    fs::write(directory.path().join(KEY_FILE), b"short").unwrap();
    let cache = Cache::open(directory.path(), &engine, u64::MAX).unwrap();
    assert!(cache.fetch(&engine, digest).is_none());
    assert_eq!(fs::read(directory.path().join(KEY_FILE)).unwrap().len(), KEY_BYTES);
}

#[test]
fn nobody_else_may_look() {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (directory, engine, _, _, path) = filled(u64::MAX);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&directory.path().join(KEY_FILE)), 0o600);
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Cache::open(directory.path(), &engine, u64::MAX).unwrap();
    assert_eq!(mode(directory.path()), 0o700);
    let made = directory.path().join("deeper/cache");
    Cache::open(&made, &engine, u64::MAX).unwrap();
    assert_eq!(mode(&made), 0o700);
}

#[test]
fn a_full_cache_makes_room() {
    let (_directory, engine, mut cache, first, first_path) = filled(u64::MAX);
    cache.bytes_max = fs::metadata(&first_path).unwrap().len() + 10_000;
    let foreign = cache.directory.join("00-1111111111111111.cwasm");
    fs::write(&foreign, b"other compiler").unwrap();
    let second = Digest::sha256([1; 32]);
    cache.store(second, &Component::from_binary(&engine, builtins()[1].bytes).unwrap());
    assert!(cache.fetch(&engine, second).is_some());
    assert!(cache.fetch(&engine, first).is_none());
    assert!(!foreign.exists());
}

#[test]
fn what_fits_no_cache_is_not_kept() {
    let (_directory, engine, cache, digest, path) = filled(1000);
    assert!(!path.exists());
    assert!(cache.fetch(&engine, digest).is_none());
}

#[test]
fn a_host_whose_cache_was_tampered_with_answers_as_before() {
    let directory = tempfile::tempdir().unwrap();
    let cache = || Some(directory.path().to_path_buf());
    let bytes = builtins()[1].bytes;
    PolicyHost::new(Limits::default(), cache()).unwrap().load(bytes).unwrap();
    let entries = || -> Vec<PathBuf> {
        let paths = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm")).collect()
    };
    let [entry] = entries().try_into().unwrap();
    let mut code = fs::read(&entry).unwrap();
    let sealed = code.clone();
    let middle = code.len() / 2;
    code[middle..middle + 64].iter_mut().for_each(|byte| *byte ^= 0xff);
    fs::write(&entry, &code).unwrap();
    let host = PolicyHost::new(Limits::default(), cache()).unwrap();
    let policy = host.load(bytes).unwrap();
    host.check_parameters(&policy, "{}").unwrap();
    assert_ne!(fs::read(&entry).unwrap(), code, "the altered entry was left in place");
    assert_eq!(fs::read(&entry).unwrap().len(), sealed.len());
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = PolicyHost::new(Limits::default(), Some(file)).unwrap_err();
    assert!(matches!(error, crate::PolicyError::Cache { .. }), "{error}");
}
