//! One upload, while it goes on.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use polder_core::Digest;
use polder_tensor::UpdateCheck;

use super::name::State;
use super::{Announced, Spool, SpoolError, SpooledUpdate, Turn, recheck};
use crate::meter::{self, Step};
use crate::store::room::reserve;

/// What a file is called, and whose it is to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Unfinished.
    Partial,
    /// Whole, under the final name that this upload has given it.
    Named,
    /// Whole since an earlier upload.
    Earlier,
}

/// What may be written and not yet on disk; more would make the end of a large upload a long wait for it.
const UNSYNCED_BYTES_MAX: u64 = 64 << 20;

/// Takes the bytes of one update. Dropped before the end, it leaves the good bytes for a later
/// [`resume`](Spool::resume).
#[derive(Debug)]
pub struct Receiver {
    spool: Spool,
    announced: Announced,
    file: File,
    path: PathBuf,
    standing: Standing,
    /// `None` after something went wrong.
    check: Option<UpdateCheck>,
    unsynced_bytes: u64,
    /// Where this upload went on; what lies before came over earlier connections.
    resumed_at: u64,
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
        if !whole {
            spool.make_folder(&announced.assignment)?;
        }
        let mut options = File::options();
        let options = options.read(true).append(!whole).create(!whole);
        let mut file = options.open(&path).map_err(SpoolError::io("open", &path))?;
        if !whole {
            spool.index().insert(&announced.assignment, announced.digest, State::Partial);
            // Better refused before the first byte than in the middle; what is here gives its room to others.
            if let Err(error) = reserve(&file, announced.bytes) {
                spool.drop_file(&announced.assignment, &announced.digest, State::Partial)?;
                return Err(SpoolError::io("make room for", &path)(error));
            }
        }
        let mut check = UpdateCheck::new(announced.layout.clone());
        if let Err(error) = recheck(&mut file, &path, &mut check) {
            // It was good when it came. What a crash of the machine has left need not be what was written.
            let is_ours = matches!(error, SpoolError::Fault(_));
            return Err(if is_ours { begin_anew(spool, &announced, &path, whole) } else { error });
        }
        let standing = if whole { Standing::Earlier } else { Standing::Partial };
        let (spool, resumed_at, check) = (spool.clone(), check.taken(), Some(check));
        Ok(Self { spool, announced, file, path, standing, check, unsynced_bytes: 0, resumed_at, _turn: turn })
    }

    /// How many bytes are here.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.check.as_ref().map_or(0, UpdateCheck::taken)
    }

    /// Checks the next `piece` and appends it. At a fault of the update its file is removed; it is final unless it may lie in
    /// what was here before.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), SpoolError> {
        let _taking = meter::taking(Step::Copy);
        let mut check = self.check.take().ok_or(SpoolError::Broken)?;
        if let Err(fault) = check.feed(piece) {
            if self.resumed_at > 0 && self.standing == Standing::Partial {
                return Err(self.begin_anew());
            }
            self.drop_file()?;
            return Err(fault.into());
        }
        self.file.write_all(piece).map_err(|error| self.gives_way("write", error))?;
        self.unsynced_bytes += piece.len() as u64;
        if self.unsynced_bytes >= UNSYNCED_BYTES_MAX {
            self.file.sync_data().map_err(|error| self.gives_way("sync", error))?;
            self.unsynced_bytes = 0;
        }
        self.check = Some(check);
        Ok(())
    }

    /// Ends the upload: the update is whole, good, what was announced, and on disk under its final name.
    ///
    /// An upload that is too short keeps its bytes, as the rest may still come; any other fault removes them.
    pub fn finish(mut self) -> Result<SpooledUpdate, SpoolError> {
        let digest = self.check.take().ok_or(SpoolError::Broken)?.finish()?;
        if digest != self.announced.digest {
            if self.resumed_at > 0 {
                return Err(self.begin_anew());
            }
            self.drop_file()?;
            return Err(SpoolError::WrongDigest { announced: self.announced.digest, found: digest });
        }
        let path = self.publish(digest)?;
        let Announced { assignment, bytes, .. } = self.announced;
        Ok(SpooledUpdate { assignment, digest, path, bytes })
    }

    fn begin_anew(&self) -> SpoolError {
        begin_anew(&self.spool, &self.announced, &self.path, self.standing == Standing::Earlier)
    }

    /// On a full disk an unfinished update gives its room to what must be written to go on.
    fn gives_way(&self, action: &'static str, error: std::io::Error) -> SpoolError {
        let error = SpoolError::io(action, &self.path)(error);
        if matches!(error, SpoolError::Full { .. }) && self.drop_file().is_err() {
            tracing::warn!(path = %self.path.display(), "an unfinished update could not be removed from a full disk");
        }
        error
    }

    /// Removes a bad upload, so that nobody goes on with it. An update that was finished before stays: a later
    /// connection must not be able to take it away.
    fn drop_file(&self) -> Result<(), SpoolError> {
        let Announced { assignment, digest, .. } = &self.announced;
        match self.standing {
            Standing::Partial => self.spool.drop_file(assignment, digest, State::Partial),
            Standing::Named => self.spool.drop_file(assignment, digest, State::Whole),
            Standing::Earlier => Ok(()),
        }
    }

    /// Where updates lie here alone, the file is named first: then bytes and name are on disk after one wait instead of two.
    /// Nobody relies on a name before; what a crash leaves under it is read to its end before it is used.
    fn publish(&mut self, digest: Digest) -> Result<PathBuf, SpoolError> {
        let _taking = meter::taking(Step::Spool);
        let path = self.spool.path(&self.announced.assignment, &digest, State::Whole);
        let is_shared = self.spool.objects.is_some();
        if !is_shared {
            self.name(&path)?;
        }
        // Also when it had its name already: the crash that interrupted the first time may have come before the sync.
        self.file.sync_data().map_err(|error| self.gives_way("sync", error))?;
        if is_shared {
            self.spool.store(&self.announced.assignment, &digest, &self.file, self.announced.bytes)?;
            self.name(&path).inspect_err(|_| {
                // The round is over, and its folder gone: its object must not stay.
                let _ = self.spool.unstore(&self.announced.assignment, &digest);
            })?;
        }
        self.spool.sync_folder(&self.announced.assignment)?;
        self.spool.intact.vouch(&path);
        Ok(path)
    }

    fn name(&mut self, path: &Path) -> Result<(), SpoolError> {
        if self.standing == Standing::Partial {
            fs::rename(&self.path, path).map_err(SpoolError::io("rename", &self.path))?;
            self.standing = Standing::Named;
            self.spool.index().insert(&self.announced.assignment, self.announced.digest, State::Whole);
        }
        Ok(())
    }
}

/// Nobody can tell whether a fault is in what was sent now or in what was here, so that goes and the sender begins anew: a fault of
/// the update itself is found again then.
fn begin_anew(spool: &Spool, announced: &Announced, path: &Path, is_whole: bool) -> SpoolError {
    let Announced { assignment, digest, .. } = announced;
    let gone = if is_whole {
        spool.intact.forget(path);
        spool.find(assignment, digest).map(drop)
    } else {
        spool.drop_file(assignment, digest, State::Partial)
    };
    match gone {
        Ok(()) | Err(SpoolError::Corrupt { .. }) => {
            tracing::warn!(%assignment, path = %path.display(), "what was here of an update is not what was sent; it begins anew");
            SpoolError::NotAsSent { assignment: assignment.clone() }
        }
        Err(error) => error,
    }
}
