//! Room on the disk, found before bytes come for it.

use std::fs::File;
use std::io;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// Smaller files find their room as they are written.
const RESERVED_FROM_BYTES: u64 = 1 << 20;

/// Reserves the disk's blocks for the first `bytes` bytes of `file`, whose length stays as it is. A full disk then shows
/// before the work is done and not in the middle of it. File systems that cannot do this are taken as they are.
pub(crate) fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    if bytes < RESERVED_FROM_BYTES {
        return Ok(());
    }
    loop {
        match fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes) {
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(()),
            reserved => return reserved.map_err(io::Error::from),
        }
    }
}
