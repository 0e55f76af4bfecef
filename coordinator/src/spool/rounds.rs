//! Rounds as a whole: which the spool has something of, and their removal.

use std::collections::BTreeSet;
use std::fs;

use polder_core::{RoundNumber, RunId};

use super::{Spool, SpoolError, absent_is_good, name};

impl Spool {
    /// The rounds that have files here, finished or not.
    pub(crate) fn rounds_here(&self) -> BTreeSet<(RunId, RoundNumber)> {
        let all = self.index().all();
        all.into_iter().map(|(assignment, ..)| (assignment.run, assignment.round)).collect()
    }

    /// The rounds that have finished updates in the object store.
    pub(crate) fn rounds_stored(&self) -> Result<BTreeSet<(RunId, RoundNumber)>, SpoolError> {
        Ok(self.stored()?.into_iter().map(|held| (held.assignment.run, held.assignment.round)).collect())
    }

    /// Removes all of a round's files, finished and not, here and in the object store; an upload that is going on fails at
    /// its end.
    pub fn remove(&self, run: &RunId, round: RoundNumber) -> Result<(), SpoolError> {
        self.remove_here(run, round)?;
        self.remove_stored(&name::round_keys(run, round))
    }

    /// The same, leaving alone what the object store has.
    pub(crate) fn remove_here(&self, run: &RunId, round: RoundNumber) -> Result<(), SpoolError> {
        let gone = self.index().remove_round(run, round);
        for (assignment, digest, state) in gone {
            self.intact.forget(&self.path(&assignment, &digest, state));
        }
        let mut folders = self.folders();
        folders.remove(&(run.clone(), round));
        let of_run = self.dir.join(run.to_string());
        let of_round = of_run.join(round.to_string());
        absent_is_good(fs::remove_dir_all(&of_round)).map_err(SpoolError::io("remove", &of_round))?;
        // The folder of the run goes with its last round; until then it is not empty.
        let _ = fs::remove_dir(of_run);
        Ok(())
    }
}
