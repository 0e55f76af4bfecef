//! One assignment's files.

use std::fs;
use std::io::{self, BufReader, Take, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use polder_core::effect::Assignment;

use super::{Kept, Sent, remove};
use crate::durable;

/// What a checkpoint may take, in sizes of its model: parameters, two values a parameter for the optimizer, and what surrounds
/// them.
const CHECKPOINT_MODELS: u64 = 4;

/// Where one assignment keeps its files, until it is over: then they go, and whoever is still at it writes none any more.
#[derive(Debug)]
pub(crate) struct Place {
    kept: Arc<Kept>,
    assignment: Assignment,
    update: PathBuf,
    checkpoint: PathBuf,
    started: PathBuf,
    /// How often training began and the worker ended before it did, with nothing kept in between.
    begun: AtomicU32,
    is_over: AtomicBool,
    writing: Mutex<()>,
}

/// Training that is under way. However it ends, the worker has lived to see it when this is dropped.
pub(crate) struct Begun {
    place: Arc<Place>,
    before: u32,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.place.begun.store(self.before, Ordering::Relaxed);
        self.place.leave();
    }
}

impl Place {
    pub(super) fn new(kept: Arc<Kept>, assignment: Assignment, begun: u32) -> Self {
        let name = |ending| format!("{}.{}.{ending}", assignment.id.run, assignment.id.round);
        let update = kept.updates.join(name("update"));
        let checkpoint = kept.checkpoints.join(name("checkpoint"));
        let started = kept.checkpoints.join(name("started"));
        Self {
            kept,
            update,
            checkpoint,
            started,
            begun: AtomicU32::new(begun),
            is_over: AtomicBool::new(false),
            writing: Mutex::default(),
            assignment,
        }
    }

    /// How often a worker ended while it trained this, with nothing kept in between.
    pub(crate) fn begun(&self) -> u32 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Notes that training begins, until what is returned is dropped. Not synced: it is for workers that end, not for machines
    /// that do.
    pub(crate) fn begin(self: &Arc<Self>) -> Begun {
        let before = self.begun.fetch_add(1, Ordering::Relaxed);
        self.note_begun(before + 1);
        Begun { place: self.clone(), before }
    }

    fn note_begun(&self, begun: u32) {
        let written = self.write(|| {
            let head = self.kept.head(&self.assignment, begun)?;
            let beside = self.started.with_extension("starting");
            durable::create_dir(&self.kept.checkpoints)?;
            fs::write(&beside, head)?;
            fs::rename(beside, &self.started)
        });
        if let Err(error) = written {
            tracing::warn!("it cannot be noted that training begins: {error}");
        }
    }

    /// Keeps an update with all that is sent with it.
    pub(crate) fn keep_update(&self, sent: &Sent<'_>) -> io::Result<()> {
        self.write(|| {
            self.kept.must_have_room(&self.update, sent.bytes())?;
            let head = self.kept.head(&self.assignment, sent.head())?;
            durable::replace_sealed(&self.update, |file| {
                writeln!(file, "{head}")?;
                sent.write(file)
            })?;
            self.kept.count(&self.update);
            // The update is what training was for.
            self.kept.forget(&self.checkpoint);
            remove(&self.started);
            Ok(())
        })
    }

    /// Keeps where training stands.
    pub(crate) fn keep_checkpoint(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        self.write(|| {
            let bytes = self.assignment.model_bytes.saturating_mul(CHECKPOINT_MODELS);
            self.kept.must_have_room(&self.checkpoint, bytes)?;
            let head = self.kept.head(&self.assignment, ())?;
            durable::replace_sealed(&self.checkpoint, |file| {
                writeln!(file, "{head}")?;
                write(file)
            })?;
            self.kept.count(&self.checkpoint);
            Ok(())
        })?;
        // It came further: whatever ends the worker now is not what ended it before.
        if self.begun.swap(1, Ordering::Relaxed) > 1 {
            self.note_begun(1);
        }
        Ok(())
    }

    /// The checkpoint to go on from, if there is one of this very assignment.
    pub(crate) fn checkpoint(&self) -> Option<Take<BufReader<fs::File>>> {
        match self.kept.open::<()>(&self.checkpoint) {
            Ok((head, file)) if self.is_same(&head.assignment) => Some(file),
            Ok(_) => {
                tracing::info!("the checkpoint is not used: something else was asked then");
                None
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!("the checkpoint is not used: {error}");
                None
            }
        }
    }

    /// The same but for what changes nothing of the result.
    fn is_same(&self, other: &Assignment) -> bool {
        let Assignment { deadline, cohort, quorum, gpu, .. } = self.assignment;
        Assignment { deadline, cohort, quorum, gpu, ..other.clone() } == self.assignment
    }

    fn write(&self, write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_over.load(Ordering::Relaxed) {
            return Ok(());
        }
        write()
    }

    /// The assignment is over: nothing of it is kept any more. Blocks while files are removed.
    pub(crate) fn clear(&self) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_over.store(true, Ordering::Relaxed);
        self.kept.forget(&self.update);
        self.kept.forget(&self.checkpoint);
        remove(&self.started);
    }

    /// The worker stops in order: the files stay for the next one, and training ended in order.
    pub(crate) fn leave(&self) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        remove(&self.started);
    }
}
