//! Room for SQLite's write-ahead log.
//!
//! While that file grows, each commit must also bring its new length to the disk, which on ext4 costs more than the
//! commit itself and waits for whatever else the machine is writing. SQLite starts it anew at its beginning whenever it
//! has been copied to the database; so it is given at once the length that it would reach.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What 1000 pages take, after which SQLite copies them (`wal_autocheckpoint`), and a large batch on top of them.
const WAL_BYTES: u64 = 6 << 20;
static PIECE: [u8; 64 << 10] = [0; 64 << 10];

/// Fills the log up with zeros, which SQLite takes for its end as it takes whatever an earlier turn has left there. Call
/// it once the log is there; where it cannot be done, only time is lost.
pub(super) fn make_room(dir: &Path) {
    let path = dir.join("journal.sqlite-wal");
    if let Err(error) = fill_up(&path) {
        tracing::debug!(path = %path.display(), %error, "no room could be made for the write-ahead log");
    }
}

fn fill_up(path: &Path) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    let mut at = file.metadata()?.len();
    while at < WAL_BYTES {
        file.write_all_at(&PIECE, at)?;
        at += PIECE.len() as u64;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.sqlite-wal");
        std::fs::write(&path, b"frames").unwrap();
        make_room(dir.path());
        let filled = std::fs::read(&path).unwrap();
        assert!(filled.len() as u64 >= WAL_BYTES);
        assert_eq!(filled[..6], *b"frames");
        assert!(filled[6..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn without_a_log_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        make_room(dir.path());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
