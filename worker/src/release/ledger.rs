//! What a region has released to each run, kept for good: one small file a run, which outlives the worker.
//!
//! The records are what a budget rests on, so none is ever dropped to make room: with [`RUNS_MAX`] of them nothing is released to
//! further runs until the region removes those of runs that it knows to be over. A damaged record releases nothing either.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use polder_core::policy::{ReleaseBudget, STATE_BYTES_MAX};
use polder_core::{Digest, RoundNumber, RunId};
use serde::{Deserialize, Serialize};

use crate::durable;

/// Most runs with a record.
pub(super) const RUNS_MAX: usize = 4096;

/// One run's record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ledger {
    /// Updates that were let out, from the moment of the decision on.
    released: u64,
    withheld: u64,
    /// The last round whose update was withheld, or let out with noise: it is not decided again. Two samples of the noise would
    /// average it away, and a second try at a decision that was left to chance is another chance. 0 for none.
    #[serde(default)]
    settled_round: RoundNumber,
    /// The policy that returned `state`; to another it would mean nothing.
    policy: Option<Digest>,
    /// Hexadecimal.
    state: String,
}

impl Ledger {
    pub(super) fn budget(&self) -> ReleaseBudget {
        ReleaseBudget { released: self.released, withheld: self.withheld }
    }

    pub(super) fn is_settled(&self, round: RoundNumber) -> bool {
        round <= self.settled_round
    }

    pub(super) fn settle(&mut self, round: RoundNumber) {
        self.settled_round = self.settled_round.max(round);
    }

    pub(super) fn state_of(&self, policy: Digest) -> Vec<u8> {
        match self.policy {
            Some(made_by) if made_by == policy => HEXLOWER.decode(self.state.as_bytes()).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    pub(super) fn released(&mut self, policy: Digest, state: Vec<u8>) {
        self.released = self.released.saturating_add(1);
        self.keep(policy, &state);
    }

    pub(super) fn withheld(&mut self, policy: Digest, state: Vec<u8>) {
        self.withheld = self.withheld.saturating_add(1);
        self.keep(policy, &state);
    }

    fn keep(&mut self, policy: Digest, state: &[u8]) {
        self.policy = Some(policy);
        self.state = HEXLOWER.encode(state);
    }
}

/// All records of a worker.
#[derive(Debug)]
pub(super) struct Ledgers {
    dir: PathBuf,
    runs_max: usize,
    binding: Binding,
}

/// What a record is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    /// A policy that the region chose may go by it: each is on disk before the update leaves.
    Strict,
    /// The region chose none, and everything is released: it is kept for a policy that may come, but nothing waits for the
    /// disk, and one that a power cut damaged is begun anew.
    Loose,
}

impl Ledgers {
    pub(super) fn at(dir: PathBuf, binding: Binding) -> Self {
        Self { dir, runs_max: RUNS_MAX, binding }
    }

    fn path(&self, run: &RunId) -> PathBuf {
        self.dir.join(format!("{run}.json"))
    }

    /// The record of `run`; an empty one if there is none and there is room for it.
    pub(super) fn open(&self, run: &RunId) -> io::Result<Ledger> {
        match self.read(run) {
            Err(why) if self.binding == Binding::Loose && why.kind() == io::ErrorKind::InvalidData => {
                tracing::warn!(%run, "the record of what was released is begun anew: {why}");
                Ok(Ledger::default())
            }
            read => read,
        }
    }

    fn read(&self, run: &RunId) -> io::Result<Ledger> {
        let path = self.path(run);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.must_have_room()?;
                return Ok(Ledger::default());
            }
            // Not text at all.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(in_file(&path, &error.to_string())),
            Err(error) => {
                return Err(io::Error::new(error.kind(), format!("cannot read `{}`: {error}", path.display())));
            }
        };
        let ledger: Ledger = serde_json::from_str(&text).map_err(|error| in_file(&path, &error.to_string()))?;
        let state = HEXLOWER.decode(ledger.state.as_bytes());
        if !state.is_ok_and(|state| state.len() <= STATE_BYTES_MAX) {
            return Err(in_file(&path, "`state` is not what a release policy may keep"));
        }
        Ok(ledger)
    }

    pub(super) fn save(&self, run: &RunId, ledger: &Ledger) -> io::Result<()> {
        let text = serde_json::to_string(ledger).map_err(io::Error::other)?;
        let write = |file: &mut BufWriter<File>| file.write_all(text.as_bytes());
        match self.binding {
            Binding::Strict => durable::replace(&self.path(run), write),
            Binding::Loose => durable::replace_unsynced(&self.path(run), write),
        }
    }

    fn must_have_room(&self) -> io::Result<()> {
        let runs = match fs::read_dir(&self.dir) {
            Ok(entries) => entries.count(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        if runs < self.runs_max {
            return Ok(());
        }
        let (dir, max) = (self.dir.display(), self.runs_max);
        Err(io::Error::other(format!("`{dir}` holds the records of {max} runs; remove those of runs that are over")))
    }
}

fn in_file(path: &std::path::Path, problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("`{}` is damaged: {problem}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str) -> RunId {
        RunId::new(name).unwrap()
    }

    #[test]
    fn a_record_outlives_the_worker_and_a_policys_state_is_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (Digest::sha256([1; 32]), Digest::sha256([2; 32]));
        let ledgers = Ledgers::at(dir.path().join("released"), Binding::Strict);
        let mut ledger = ledgers.open(&run("a")).unwrap();
        assert_eq!((ledger.budget(), ledger.state_of(ours)), (ReleaseBudget::default(), vec![]));
        ledger.released(ours, vec![7, 0]);
        ledger.released(ours, vec![7, 1]);
        ledger.withheld(ours, vec![7, 2]);
        ledgers.save(&run("a"), &ledger).unwrap();

        let again = Ledgers::at(dir.path().join("released"), Binding::Strict).open(&run("a")).unwrap();
        assert_eq!(again, ledger);
        assert_eq!(again.budget(), ReleaseBudget { released: 2, withheld: 1 });
        assert_eq!((again.state_of(ours), again.state_of(theirs)), (vec![7, 2], vec![]));
        assert_eq!(ledgers.open(&run("b")).unwrap(), Ledger::default());
    }

    #[test]
    fn a_damaged_record_is_no_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let ledgers = Ledgers::at(dir.path().into(), Binding::Strict);
        for damage in ["", "{", r#"{"released":0,"withheld":0,"policy":null,"state":"0"}"#] {
            fs::write(dir.path().join("a.json"), damage).unwrap();
            let error = ledgers.open(&run("a")).unwrap_err().to_string();
            assert!(error.contains("a.json` is damaged"), "{error}");
        }
    }

    #[test]
    fn where_no_policy_was_chosen_a_damaged_record_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let ledgers = Ledgers::at(dir.path().into(), Binding::Loose);
        let mut ledger = ledgers.open(&run("a")).unwrap();
        ledger.released(Digest::sha256([1; 32]), vec![]);
        ledgers.save(&run("a"), &ledger).unwrap();
        assert_eq!(Ledgers::at(dir.path().into(), Binding::Strict).open(&run("a")).unwrap(), ledger);
        for damage in [&b""[..], b"{", b"\xff\xfe"] {
            fs::write(dir.path().join("a.json"), damage).unwrap();
            assert_eq!(ledgers.open(&run("a")).unwrap(), Ledger::default());
            assert!(Ledgers::at(dir.path().into(), Binding::Strict).open(&run("a")).is_err());
        }
    }

    #[test]
    fn no_record_makes_room_for_another() {
        let dir = tempfile::tempdir().unwrap();
        let ledgers = Ledgers { dir: dir.path().into(), runs_max: 2, binding: Binding::Strict };
        for name in ["a", "b"] {
            let ledger = ledgers.open(&run(name)).unwrap();
            ledgers.save(&run(name), &ledger).unwrap();
        }
        assert!(ledgers.open(&run("c")).unwrap_err().to_string().contains("remove those of runs that are over"));
        ledgers.open(&run("a")).unwrap();
    }
}
