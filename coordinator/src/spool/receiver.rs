//! One upload, while it goes on.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use polder_core::Digest;
use polder_tensor::UpdateCheck;

use super::name::State;
use super::{Announced, Spool, SpoolError, SpooledUpdate, Turn, recheck, remove_file};
use crate::meter::{self, Step};
use crate::store::sync_dir;

/// Takes the bytes of one update. Dropped before the end, it leaves the good bytes for a later
/// [`resume`](Spool::resume).
#[derive(Debug)]
pub struct Receiver {
    spool: Spool,
    announced: Announced,
    file: File,
    path: PathBuf,
    /// Whether the file already has its final name.
    whole: bool,
    /// `None` after something went wrong.
    check: Option<UpdateCheck>,
    _turn: Turn,
}

impl Receiver {
    pub(super) fn open(
        spool: &Spool,
        announced: Announced,
        turn: Turn,
        path: PathBuf,
        whole: bool,
    ) -> Result<Self, SpoolError> {
        let mut options = File::options();
        let options = options.read(true).append(!whole).create(!whole);
        let mut file = options.open(&path).map_err(SpoolError::io("open", &path))?;
        let mut check = UpdateCheck::new(announced.layout.clone());
        if let Err(error) = recheck(&mut file, &path, &mut check) {
            // What a crash of the machine has left need not be what was written; start again.
            if matches!(error, SpoolError::Fault(_)) && !whole {
                remove_file(&path)?;
            }
            return Err(error);
        }
        Ok(Self { spool: spool.clone(), announced, file, path, whole, check: Some(check), _turn: turn })
    }

    /// How many bytes are here.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.check.as_ref().map_or(0, UpdateCheck::taken)
    }

    /// Checks the next `piece` and appends it. A fault of the update is final: its file is removed.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), SpoolError> {
        let _taking = meter::taking(Step::Copy);
        let mut check = self.check.take().ok_or(SpoolError::Broken)?;
        if let Err(fault) = check.feed(piece) {
            self.drop_file()?;
            return Err(fault.into());
        }
        self.file.write_all(piece).map_err(SpoolError::io("write", &self.path))?;
        self.check = Some(check);
        Ok(())
    }

    /// Ends the upload: the update is whole, good, what was announced, and on disk under its final name.
    ///
    /// An upload that is too short keeps its bytes, as the rest may still come; any other fault removes them.
    pub fn finish(mut self) -> Result<SpooledUpdate, SpoolError> {
        let digest = self.check.take().ok_or(SpoolError::Broken)?.finish()?;
        if digest != self.announced.digest {
            self.drop_file()?;
            return Err(SpoolError::WrongDigest { announced: self.announced.digest, found: digest });
        }
        let path = self.publish(digest)?;
        let Announced { assignment, bytes, .. } = self.announced;
        Ok(SpooledUpdate { assignment, digest, path, bytes })
    }

    /// Removes a bad upload, so that nobody goes on with it. An update that was finished before stays: a later
    /// connection must not be able to take it away.
    fn drop_file(&self) -> Result<(), SpoolError> {
        if self.whole { Ok(()) } else { remove_file(&self.path) }
    }

    fn publish(&self, digest: Digest) -> Result<PathBuf, SpoolError> {
        let path = self.spool.path(&self.announced.assignment, &digest, State::Whole);
        let _taking = meter::taking(Step::Spool);
        // Also when it had its name already: the crash that interrupted the first time may have come before the sync.
        self.file.sync_data().map_err(SpoolError::io("sync", &self.path))?;
        if !self.whole {
            fs::rename(&self.path, &path).map_err(SpoolError::io("rename", &self.path))?;
        }
        sync_dir(&self.spool.dir).map_err(SpoolError::io("sync", &self.spool.dir))?;
        Ok(path)
    }
}
