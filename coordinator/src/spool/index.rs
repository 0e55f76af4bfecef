//! What lies in the spool's folders, known without looking: read once when the spool is opened.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use polder_core::{AssignmentId, Digest, RoundNumber, RunId, WorkerName};

use super::SpoolError;
use super::name::{FileName, State, parse_flat};
use crate::store::sync_dir;

/// What the names of temporary files begin with; no worker's name does.
pub(super) const UNFINISHED: &str = ".tmp";

/// An assignment's files by their digests; more than one only where an unfinished one was given up.
pub(super) type Files = BTreeMap<Digest, State>;

#[derive(Debug, Default)]
pub(super) struct Index(BTreeMap<(RunId, RoundNumber), BTreeMap<WorkerName, Files>>);

impl Index {
    /// Reads the folders below `dir`; strange names are not ours and are passed over.
    pub(super) fn read(dir: &Path) -> Result<Self, SpoolError> {
        let mut index = Self::default();
        for run in names(dir)?.iter().filter_map(|name| RunId::new(name).ok()) {
            let of_run = dir.join(run.to_string());
            for round in names(&of_run)?.iter().filter_map(|name| name.parse::<RoundNumber>().ok()) {
                for file in names(&of_run.join(round.to_string()))?.iter().filter_map(|name| FileName::parse(name)) {
                    let assignment = AssignmentId { run: run.clone(), round, worker: file.worker };
                    index.insert(&assignment, file.digest, file.state);
                }
            }
        }
        Ok(index)
    }

    pub(super) fn insert(&mut self, assignment: &AssignmentId, digest: Digest, state: State) {
        let AssignmentId { run, round, worker } = assignment;
        let round = self.0.entry((run.clone(), *round)).or_default();
        round.entry(worker.clone()).or_default().insert(digest, state);
    }

    pub(super) fn of(&self, AssignmentId { run, round, worker }: &AssignmentId) -> Files {
        self.0.get(&(run.clone(), *round)).and_then(|round| round.get(worker)).cloned().unwrap_or_default()
    }

    pub(super) fn remove(&mut self, AssignmentId { run, round, worker }: &AssignmentId, digest: &Digest) {
        let of_round = (run.clone(), *round);
        let Some(workers) = self.0.get_mut(&of_round) else { return };
        if let Some(files) = workers.get_mut(worker) {
            files.remove(digest);
            if files.is_empty() {
                workers.remove(worker);
            }
        }
        if workers.is_empty() {
            self.0.remove(&of_round);
        }
    }

    pub(super) fn remove_round(&mut self, run: &RunId, round: RoundNumber) -> Vec<(AssignmentId, Digest, State)> {
        let workers = self.0.remove(&(run.clone(), round)).unwrap_or_default();
        flat(run, round, workers).collect()
    }

    pub(super) fn all(&self) -> Vec<(AssignmentId, Digest, State)> {
        self.0.iter().flat_map(|((run, round), workers)| flat(run, *round, workers.clone())).collect()
    }
}

fn flat(
    run: &RunId,
    round: RoundNumber,
    workers: BTreeMap<WorkerName, Files>,
) -> impl Iterator<Item = (AssignmentId, Digest, State)> {
    workers.into_iter().flat_map(move |(worker, files)| {
        let assignment = AssignmentId { run: run.clone(), round, worker };
        files.into_iter().map(move |(digest, state)| (assignment.clone(), digest, state))
    })
}

/// Moves the files of 0.1.0, which had one folder for all, to those of their rounds.
pub(super) fn move_flat_files(dir: &Path) -> Result<(), SpoolError> {
    for name in names(dir)? {
        let Some((run, round, file)) = parse_flat(&name) else { continue };
        let to = make_folder(dir, &run, round)?;
        let (from, path) = (dir.join(&name), to.join(file.to_string()));
        fs::rename(&from, &path).map_err(SpoolError::io("move", &from))?;
        for folder in to.ancestors().take_while(|folder| folder.starts_with(dir)) {
            sync_dir(folder).map_err(SpoolError::io("sync", folder))?;
        }
    }
    Ok(())
}

/// Removes what a killed coordinator had half fetched from the object store: nobody ever looks at it again.
pub(super) fn remove_unfinished_fetches(dir: &Path) -> Result<(), SpoolError> {
    let remove_from = |folder: &Path| -> Result<(), SpoolError> {
        for name in names(folder)?.iter().filter(|name| name.starts_with(UNFINISHED)) {
            let path = folder.join(name);
            tracing::info!(path = %path.display(), "removing an update that was not fetched to its end");
            super::remove_file(&path)?;
        }
        Ok(())
    };
    remove_from(dir)?;
    for run in names(dir)?.iter().filter(|name| RunId::new(*name).is_ok()) {
        let of_run = dir.join(run);
        for round in names(&of_run)?.iter().filter(|name| name.parse::<RoundNumber>().is_ok()) {
            remove_from(&of_run.join(round))?;
        }
    }
    Ok(())
}

/// Makes the folder of a round; its name is brought to the disk with the first that must be found in it.
pub(super) fn make_folder(dir: &Path, run: &RunId, round: RoundNumber) -> Result<std::path::PathBuf, SpoolError> {
    let of_run = dir.join(run.to_string());
    let of_round = of_run.join(round.to_string());
    if of_round.is_dir() {
        return Ok(of_round);
    }
    for folder in [&of_run, &of_round] {
        match fs::create_dir(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(SpoolError::io("create", folder)(error)),
        }
    }
    Ok(of_round)
}

/// The names in `dir`; none if it is no directory. Names that are not text are not ours.
fn names(dir: &Path) -> Result<Vec<String>, SpoolError> {
    let list = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    };
    match list() {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::NotFound) => Ok(Vec::new()),
        listed => listed.map_err(SpoolError::io("list", dir)),
    }
}
