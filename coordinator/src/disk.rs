//! The disk that the coordinator's files lie on, and that of an object store that is a directory: what is free is looked at
//! each second, and before all of it is used nothing new is taken on. A small file is kept to be given up, so that the journal
//! can still say what happens then.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use tokio::sync::watch;

use crate::driver::standing::{Standing, Stop};

const EVERY: Duration = Duration::from_secs(1);
/// Free bytes below which nothing new is taken on, where nobody says otherwise: this, or [`RESERVE_SHARE`] of a small disk.
const RESERVE_BYTES: u64 = 256 << 20;
const RESERVE_SHARE: u64 = 100;
/// What the journal can still be given on a disk that is full.
const KEPT_BYTES: u64 = 4 << 20;
const KEPT_FILE: &str = "reserve";

/// How full a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Space {
    free_bytes: u64,
    total_bytes: u64,
}

impl Space {
    fn of(dir: &Path) -> io::Result<Self> {
        let found = statvfs(dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        // What is free for us: a part may be root's alone.
        Ok(Self { free_bytes: bytes(found.f_bavail), total_bytes: bytes(found.f_blocks) })
    }

    fn reserve(&self, asked_bytes: Option<u64>) -> u64 {
        asked_bytes.unwrap_or_else(|| RESERVE_BYTES.min(self.total_bytes / RESERVE_SHARE))
    }

    /// Whether nothing new is to be taken on. Who has stopped begins again only with some more room than made it stop, so
    /// that it does not waver.
    fn is_full(&self, reserve_bytes: u64, was_full: bool) -> bool {
        let wanted = if was_full { reserve_bytes.saturating_add(reserve_bytes / 4) } else { reserve_bytes };
        self.free_bytes < wanted
    }
}

/// Watches the disk that `dir` lies on, and that of `objects`, an object store that is a directory; for ever.
pub(crate) async fn watch(
    dir: PathBuf,
    objects: Option<PathBuf>,
    reserve_bytes: Option<u64>,
    standing: watch::Sender<Standing>,
) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_known = true;
    loop {
        ticks.tick().await;
        let (here, there) = (dir.clone(), objects.clone());
        // A file system may take its time to answer.
        let look = move || look(&here, reserve_bytes).map(|ours| (ours, look_at_objects(there, reserve_bytes)));
        match tokio::task::spawn_blocking(look).await {
            Ok(Ok((ours, theirs))) => tell(&standing, &ours, theirs.as_ref()),
            Ok(Err(error)) if std::mem::replace(&mut is_known, false) => {
                tracing::warn!(%error, dir = %dir.display(), "how much is free on the disk cannot be told");
            }
            Ok(Err(_)) => {}
            Err(_) => return,
        }
    }
}

/// A disk, and what is to stay free of it.
#[derive(Debug)]
struct Disk {
    /// For people: whose it is.
    whose: String,
    space: Space,
    reserve_bytes: u64,
}

fn look(dir: &Path, asked_bytes: Option<u64>) -> io::Result<Disk> {
    let space = Space::of(dir)?;
    let reserve_bytes = space.reserve(asked_bytes);
    if space.free_bytes > reserve_bytes.saturating_mul(2).max(2 * KEPT_BYTES) {
        keep_reserve(dir)?;
    }
    Ok(Disk { whose: "the coordinator's disk".into(), space, reserve_bytes })
}

/// None where it cannot be told: then the object store says so itself once it takes nothing.
fn look_at_objects(dir: Option<PathBuf>, asked_bytes: Option<u64>) -> Option<Disk> {
    let dir = dir?;
    let space = Space::of(&dir).ok()?;
    let whose = format!("the disk of the object store `{}`", dir.display());
    Some(Disk { whose, space, reserve_bytes: space.reserve(asked_bytes) })
}

fn tell(standing: &watch::Sender<Standing>, ours: &Disk, objects: Option<&Disk>) {
    standing.send_if_modified(|standing| {
        standing.disk_free_bytes = Some(ours.space.free_bytes);
        let was_full = standing.full.is_some();
        let full = [Some(ours), objects].into_iter().flatten().find(|disk| disk.is_full(was_full)).map(Disk::reason);
        match (was_full, &full) {
            (false, Some(reason)) => tracing::error!("intake stopped: {reason}"),
            (true, None) => tracing::info!(free_bytes = ours.space.free_bytes, "the disk has room again"),
            _ => {}
        }
        standing.full = full.map(|reason| Stop::go_on(standing.full.as_ref(), reason));
        was_full != standing.full.is_some()
    });
}

impl Disk {
    fn is_full(&self, was_full: bool) -> bool {
        self.space.is_full(self.reserve_bytes, was_full)
    }

    fn reason(&self) -> String {
        let Self { whose, space, reserve_bytes } = self;
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        format!(
            "{whose} is nearly full ({} free of {}); it takes new work again by itself once {} are free",
            mib(space.free_bytes),
            mib(space.total_bytes),
            mib(reserve_bytes.saturating_add(reserve_bytes / 4)),
        )
    }
}

/// Sees to it that there is something to give up.
fn keep_reserve(dir: &Path) -> io::Result<()> {
    let path = dir.join(KEPT_FILE);
    if path.exists() {
        return Ok(());
    }
    let file = File::create(&path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, KEPT_BYTES) {
        // A file system that cannot promise room has none to give up either.
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
        Err(error) => {
            fs::remove_file(&path)?;
            Err(error.into())
        }
    }
}

/// The disk is full, and the journal has something to say.
pub(crate) fn give_up_reserve(dir: &Path) {
    let path = dir.join(KEPT_FILE);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, path = %path.display(), "the room kept for the journal cannot be given up");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_small_disk_keeps_a_hundredth_and_a_large_one_a_quarter_of_a_gibibyte() {
        let disk = |total_bytes| Space { free_bytes: 0, total_bytes };
        assert_eq!(disk(10 * GIB).reserve(None), 10 * GIB / 100);
        assert_eq!(disk(1000 * GIB).reserve(None), 256 << 20);
        assert_eq!(disk(1000 * GIB).reserve(Some(5)), 5);
    }

    fn disk(whose: &str, free_bytes: u64) -> Disk {
        Disk { whose: whose.into(), space: Space { free_bytes, total_bytes: GIB }, reserve_bytes: 100 << 20 }
    }

    #[test]
    fn a_full_disk_of_the_object_store_stops_intake_too() {
        let (standing, stands) = watch::channel(Standing::default());
        let objects = |free_bytes| {
            let (ours, theirs) =
                (disk("ours", 900 << 20), disk("the disk of the object store `/srv/blobs`", free_bytes));
            tell(&standing, &ours, Some(&theirs));
        };
        objects(200 << 20);
        assert_eq!(stands.borrow().full, None);
        objects(99 << 20);
        let reason = stands.borrow().full.clone().unwrap().reason;
        assert!(
            reason.starts_with("the disk of the object store `/srv/blobs` is nearly full (99.0 MiB free"),
            "{reason}"
        );
        assert_eq!(stands.borrow().disk_free_bytes, Some(900 << 20));
        objects(125 << 20);
        assert_eq!(stands.borrow().full, None);
        assert!(look_at_objects(Some("/nowhere/at/all".into()), None).is_none());
    }

    #[test]
    fn intake_stops_below_the_reserve_and_resumes_above_it_with_a_reason_between() {
        let (standing, stands) = watch::channel(Standing::default());
        let free = |free_bytes| tell(&standing, &disk("the coordinator's disk", free_bytes), None);
        free(200 << 20);
        assert_eq!(stands.borrow().full, None);
        free(99 << 20);
        let stop = stands.borrow().full.clone().unwrap();
        assert_eq!(
            stop.reason,
            "the coordinator's disk is nearly full (99.0 MiB free of 1024.0 MiB); it takes new work again by itself once \
             125.0 MiB are free"
        );
        free(110 << 20);
        let still = stands.borrow().full.clone().unwrap();
        assert_eq!(still.since, stop.since);
        assert!(still.reason.contains("110.0 MiB free"));
        free(125 << 20);
        assert_eq!(stands.borrow().full, None);
        assert_eq!(stands.borrow().disk_free_bytes, Some(125 << 20));
    }

    #[test]
    fn room_is_kept_and_given_up() {
        let dir = tempfile::tempdir().unwrap();
        keep_reserve(dir.path()).unwrap();
        keep_reserve(dir.path()).unwrap();
        assert!(dir.path().join(KEPT_FILE).exists());
        give_up_reserve(dir.path());
        give_up_reserve(dir.path());
        assert!(!dir.path().join(KEPT_FILE).exists());
        assert!(Space::of(dir.path()).unwrap().total_bytes > 0);
    }
}
