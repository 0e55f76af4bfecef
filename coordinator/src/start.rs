//! The start: what passes by itself is waited for. After a power cut the database may be up later than we are, and a disk
//! that is full today is not tomorrow.

use std::path::Path;
use std::time::Duration;

use crate::CoordinatorError;
use crate::disk;
use crate::driver::chain;

const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Attempts the same until it succeeds, or fails for a reason that waiting does not mend. `dir` is where something is kept to
/// be given up on a full disk.
pub(crate) async fn until_it_passes<T>(
    dir: &Path,
    mut attempt: impl AsyncFnMut() -> Result<T, CoordinatorError>,
) -> Result<T, CoordinatorError> {
    let mut pause = PAUSE_MIN;
    let mut said = None;
    loop {
        let error = match attempt().await {
            Err(error) if error.is_passing() => error,
            done => return done,
        };
        if error.is_full() {
            disk::give_up_reserve(dir);
        }
        // Said once: it may be hours.
        let reason = error.to_string();
        if said.as_ref() != Some(&reason) {
            tracing::warn!(error = chain(&error), "the coordinator cannot start yet; it waits and tries on");
            said = Some(reason);
        }
        tokio::time::sleep(pause).await;
        pause = PAUSE_MAX.min(pause * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    #[tokio::test]
    async fn what_passes_is_waited_for_and_what_does_not_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let kept = dir.path().join("reserve");
        std::fs::write(&kept, "room").unwrap();
        let mut attempts = 0;
        let done: Result<(), _> = until_it_passes(dir.path(), async || {
            attempts += 1;
            let database = String::from("postgres://db/polder");
            Err(CoordinatorError::Store(match attempts {
                4.. => StoreError::Fenced { epoch: 1 },
                3 => StoreError::Full { what: "journal".into(), source: "full".into() },
                _ => {
                    assert!(kept.exists(), "room was given up for nothing");
                    StoreError::DatabaseSilent { database, action: "opened", seconds: 5 }
                }
            }))
        })
        .await;
        assert!(matches!(done, Err(CoordinatorError::Store(StoreError::Fenced { .. }))), "{done:?}");
        assert_eq!(attempts, 4);
        assert!(!kept.exists(), "the room was kept");
    }
}
