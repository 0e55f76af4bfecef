//! From a coordinator's directory, its database and its object store to a backup.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use polder_core::{AssignmentId, Digest, Event, Federation, Timestamp};
use polder_policy::builtins;
use polder_security::CertificateAuthority;
use tokio::runtime::Handle;

use super::copy::Staging;
use super::{BackupError, Entry, JOURNAL, MANIFEST, Manifest, Summary, manifest};
use crate::config::wall_clock;
use crate::driver::decode_snapshot;
use crate::spool::{Held, Spool};
use crate::store::dump::{Row, bytes_of, dump};
use crate::store::{Blobs, StoreConfig, StoreError};

/// Rounds may end, and their updates go, while they are copied: then the journal is read again, as of a later instant.
const ATTEMPTS_MAX: usize = 20;

/// Makes a backup of what `from` names in the directory `to`, which must be empty or not there. A coordinator may be at
/// work there.
pub async fn take(from: &StoreConfig, to: &Path) -> Result<Summary, BackupError> {
    let (from, to) = (from.clone(), to.to_path_buf());
    let work = move || take_here(&from, &to);
    tokio::task::spawn_blocking(work).await.map_err(|_| BackupError::Store(StoreError::Stopping))?
}

fn take_here(from: &StoreConfig, to: &Path) -> Result<Summary, BackupError> {
    if from.database.is_none() && !from.dir.join("journal.sqlite").exists() {
        return Err(BackupError::NoCoordinator { dir: from.dir.clone() });
    }
    let blobs = Blobs::attach(from)?;
    let staging = Staging::for_dir(to)?;
    let mut copies = Copies { staging: &staging, blobs, done: BTreeMap::new() };
    let (journal, past) = {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (journal, past) = copies.journal(from)?;
            match copies.referred_to(from, &past.federation) {
                Ok(()) => break (journal, past),
                Err(BackupError::BlobGone { .. } | BackupError::UpdateGone { .. }) if attempts < ATTEMPTS_MAX => {}
                Err(error) => return Err(error),
            }
            let path = staging.path().join(JOURNAL);
            fs::remove_file(&path).map_err(BackupError::io("remove", &path))?;
        }
    };
    let authority = copies.authority(&from.dir)?;
    let files = std::iter::once(journal).chain(copies.into_entries(&past.federation)?).chain(authority).collect();
    let manifest = Manifest {
        format: manifest::FORMAT,
        written_by: env!("CARGO_PKG_VERSION").into(),
        taken_ms: wall_clock().0,
        federation: fingerprint(&from.dir)?,
        journal_seq: past.seq,
        files,
    };
    staging.write(MANIFEST, |out| {
        let written = serde_json::to_writer_pretty(&mut *out, &manifest).map_err(io::Error::from);
        written.map_err(BackupError::io("write", Path::new(MANIFEST)))
    })?;
    staging.finish()?;
    Ok(manifest.summary())
}

/// The state as of the journal's last entry.
#[derive(Default)]
struct Past {
    federation: Federation,
    seq: u64,
}

impl Past {
    fn take(&mut self, row: &Row) -> Result<(), BackupError> {
        let unreadable = |what: String| BackupError::Journal { what };
        match row {
            Row::Snapshot { seq, state, .. } => {
                let state = bytes_of(state)?;
                self.federation = decode_snapshot(&state).map_err(|error| unreadable(error.to_string()))?;
                self.seq = seq.cast_unsigned();
            }
            Row::Entry { seq, at_ms, event, .. } if seq.cast_unsigned() > self.seq => {
                let seq = seq.cast_unsigned();
                if seq != self.seq + 1 {
                    return Err(unreadable(format!("entry {} is missing", self.seq + 1)));
                }
                let event: Event =
                    serde_json::from_str(event).map_err(|error| unreadable(format!("entry {seq}: {error}")))?;
                let applied = self.federation.apply(Timestamp(at_ms.cast_unsigned()), event);
                applied.map_err(|refusal| unreadable(format!("entry {seq}: {refusal}")))?;
                self.seq = seq;
            }
            _ => {}
        }
        Ok(())
    }
}

struct Copies<'a> {
    staging: &'a Staging,
    blobs: Blobs,
    /// By their paths in the backup; some may be of no use any more after another attempt.
    done: BTreeMap<String, Entry>,
}

impl Copies<'_> {
    fn journal(&self, from: &StoreConfig) -> Result<(Entry, Past), BackupError> {
        let mut past = Past::default();
        // What went wrong with a row, in our own words.
        let mut failed = None;
        let entry = self.staging.write(JOURNAL, |out| {
            let dumped = Handle::current().block_on(dump(from, |row| {
                if let Err(error) = past.take(&row) {
                    failed = Some(error);
                    return Err(StoreError::Stopping);
                }
                let line =
                    serde_json::to_string(&row).map_err(|error| StoreError::Backup { what: error.to_string() })?;
                writeln!(out, "{line}").map_err(StoreError::io("write", Path::new(JOURNAL)))
            }));
            dumped.map_err(|error| failed.take().unwrap_or(error.into()))
        })?;
        Ok((entry, past))
    }

    /// Copies what the journal refers to, shortest-lived first.
    fn referred_to(&mut self, from: &StoreConfig, federation: &Federation) -> Result<(), BackupError> {
        let spool = Spool::attach(&from.dir.join("spool"), self.blobs.objects().cloned())?;
        let counted = counted(federation);
        let mut there = BTreeSet::new();
        for Held { assignment, digest, whole, .. } in spool.list()? {
            if whole && federation.holds_spool(&assignment.run, assignment.round) {
                let path = spool_path(&assignment, &digest);
                let is_there = self.copy(path, Some(digest), |out| Ok(spool.copy_to(&assignment, &digest, out)?))?;
                if is_there {
                    there.insert((assignment, digest));
                }
            }
        }
        if let Some((assignment, _)) = counted.iter().find(|update| !there.contains(update)) {
            return Err(BackupError::UpdateGone { assignment: assignment.clone() });
        }
        // Every program brings the built-in policies along.
        let is_builtin = |digest: &Digest| builtins().iter().any(|builtin| builtin.digest() == *digest);
        for digest in federation.blobs().filter(|digest| !is_builtin(digest)).collect::<BTreeSet<_>>() {
            let blobs = self.blobs.clone();
            if !self.copy(blob_path(&digest), None, |out| Ok(blobs.copy_to(&digest, out)?))? {
                return Err(BackupError::BlobGone { digest });
            }
        }
        Ok(())
    }

    /// Copies one file, unless an earlier attempt has; whether it was there.
    fn copy(
        &mut self,
        path: String,
        expected: Option<Digest>,
        fill: impl FnOnce(&mut super::copy::Filling) -> Result<bool, BackupError>,
    ) -> Result<bool, BackupError> {
        if self.done.contains_key(&path) {
            return Ok(true);
        }
        let copied = self.staging.write(&path, |out| if fill(out)? { Ok(()) } else { Err(Absent::Gone) });
        let entry = match copied {
            Ok(entry) => entry,
            Err(Absent::Gone) => return Ok(false),
            Err(Absent::Failed(error)) => return Err(error),
        };
        if let Some(expected) = expected.filter(|expected| *expected != entry.digest) {
            let Entry { path, bytes, digest: found } = entry;
            return Err(BackupError::Corrupt { path, bytes, expected, found });
        }
        self.done.insert(path, entry);
        Ok(true)
    }

    /// The authority's own files.
    fn authority(&self, dir: &Path) -> Result<Vec<Entry>, BackupError> {
        let ca = dir.join("ca");
        if !ca.is_dir() {
            return Ok(Vec::new());
        }
        let mut entries = Vec::new();
        for file in fs::read_dir(&ca).map_err(BackupError::io("list", &ca))? {
            let path = file.map_err(BackupError::io("list", &ca))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|_| path.is_file()) else {
                continue;
            };
            entries.push(self.staging.write(&format!("ca/{name}"), |out| {
                let copied = File::open(&path).and_then(|mut file| io::copy(&mut file, out));
                copied.map(|_| ()).map_err(BackupError::io("copy", &path))
            })?);
        }
        Ok(entries)
    }

    /// What is of use; the rest goes.
    fn into_entries(self, federation: &Federation) -> Result<Vec<Entry>, BackupError> {
        let blobs: BTreeSet<String> = federation.blobs().map(|digest| blob_path(&digest)).collect();
        let is_wanted = |path: &str| match path.strip_prefix("spool/").map(|rest| rest.split('/').collect::<Vec<_>>()) {
            Some(parts) => match (parts[0].parse(), parts.get(1).and_then(|round| round.parse().ok())) {
                (Ok(run), Some(round)) => federation.holds_spool(&run, round),
                _ => false,
            },
            None => blobs.contains(path),
        };
        let (wanted, rest): (Vec<_>, Vec<_>) = self.done.into_values().partition(|entry| is_wanted(&entry.path));
        for entry in rest {
            let path = self.staging.path().join(&entry.path);
            fs::remove_file(&path).map_err(BackupError::io("remove", &path))?;
        }
        Ok(wanted)
    }
}

/// Why a file was not copied.
enum Absent {
    Gone,
    Failed(BackupError),
}

impl From<BackupError> for Absent {
    fn from(error: BackupError) -> Self {
        Self::Failed(error)
    }
}

/// The updates that open rounds have counted.
fn counted(federation: &Federation) -> BTreeSet<(AssignmentId, Digest)> {
    let of_run = |run: &polder_core::run::Run| {
        let open = run.round.as_ref()?;
        let counted = open.seats.iter().filter_map(|(worker, seat)| {
            let assignment = AssignmentId { run: run.id.clone(), round: open.origin(seat), worker: worker.clone() };
            Some((assignment, seat.update()?))
        });
        Some(counted.collect::<Vec<_>>())
    };
    federation.runs.values().filter_map(of_run).flatten().collect()
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}", digest.to_string().replacen(':', "/", 1))
}

fn spool_path(AssignmentId { run, round, worker }: &AssignmentId, digest: &Digest) -> String {
    format!("spool/{run}/{round}/{worker}~{}.update", digest.hex())
}

fn fingerprint(dir: &Path) -> Result<Option<String>, BackupError> {
    let ca = dir.join("ca");
    if !ca.is_dir() {
        return Ok(None);
    }
    Ok(Some(CertificateAuthority::create_or_open(&ca, wall_clock())?.fingerprint().to_string()))
}
