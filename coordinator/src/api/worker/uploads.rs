//! One upload an assignment at a time, from its first byte until it counts, and not too many at once. A worker that begins
//! an upload anew has given up the one before it, which may hang on a line that is dead.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polder_core::AssignmentId;
use polder_proto::unwelcome;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::api::transfer::STALL;

/// Uploads at once; each holds a thread for its disk writes, and others need threads too.
const UPLOADS_MAX: usize = 128;

#[derive(Clone)]
pub(crate) struct Uploads {
    open: Arc<Mutex<BTreeMap<AssignmentId, Open>>>,
    places: Arc<Semaphore>,
}

#[derive(Clone)]
struct Open {
    /// Asks the upload to end.
    give_way: CancellationToken,
    /// Says that it has.
    over: CancellationToken,
}

/// The right to upload for one assignment, until it is dropped.
pub(crate) struct Upload {
    uploads: Uploads,
    assignment: AssignmentId,
    open: Open,
    _place: OwnedSemaphorePermit,
}

impl Default for Uploads {
    fn default() -> Self {
        Self { open: Arc::default(), places: Arc::new(Semaphore::new(UPLOADS_MAX)) }
    }
}

impl Uploads {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<AssignmentId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place, and for an earlier upload of the assignment to give way.
    pub(crate) async fn begin(&self, assignment: &AssignmentId) -> Result<Upload, Status> {
        let busy = || unwelcome(Code::Aborted, "upload_busy", "too many uploads are going on; try again");
        let place = tokio::time::timeout(STALL, self.places.clone().acquire_owned()).await;
        let place = place.map_err(|_| busy())?.map_err(|_| busy())?;
        let mut place = Some(place);
        loop {
            let earlier = {
                let mut open = self.lock();
                match open.get(assignment).cloned() {
                    Some(earlier) => earlier,
                    None => {
                        let mine = Open { give_way: CancellationToken::new(), over: CancellationToken::new() };
                        open.insert(assignment.clone(), mine.clone());
                        let place = place.take().ok_or_else(busy)?;
                        let (uploads, assignment) = (self.clone(), assignment.clone());
                        return Ok(Upload { uploads, assignment, open: mine, _place: place });
                    }
                }
            };
            earlier.give_way.cancel();
            earlier.over.cancelled().await;
        }
    }
}

impl Upload {
    /// When a newer upload of the same assignment wants its turn.
    pub(crate) async fn must_give_way(&self) -> Status {
        self.open.give_way.cancelled().await;
        unwelcome(Code::Aborted, "upload_busy", "the worker began this upload anew")
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.uploads.lock().remove(&self.assignment);
        self.open.over.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment(worker: &str) -> AssignmentId {
        AssignmentId { run: "r".parse().unwrap(), round: 1, worker: worker.parse().unwrap() }
    }

    #[tokio::test]
    async fn a_newer_upload_gets_its_turn_when_the_older_has_given_way() {
        let uploads = Uploads::default();
        let older = uploads.begin(&assignment("a")).await.unwrap();
        let other = uploads.begin(&assignment("b")).await.unwrap();
        let newer = tokio::spawn({
            let uploads = uploads.clone();
            async move { uploads.begin(&assignment("a")).await.map(drop) }
        });
        assert_eq!(older.must_give_way().await.code(), Code::Aborted);
        assert!(!newer.is_finished(), "two had their turn at once");
        drop(older);
        newer.await.unwrap().unwrap();
        drop(other);
        assert!(uploads.lock().is_empty());
    }
}
