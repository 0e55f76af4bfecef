//! Files as bounded byte streams, decompressed on the way.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::{DataFault, Limits};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Opens the file at `path`; see [`decompressed`].
pub(super) fn open(path: &Path, limits: &Limits) -> Result<Bounded, DataFault> {
    let file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => DataFault::Missing,
        _ => DataFault::Read(error),
    })?;
    let reader = decompressed(BufReader::new(file), limits)?;
    if path.extension().is_some_and(|extension| extension == "gz") && !reader.gzip {
        return Err(DataFault::NotGzip);
    }
    Ok(reader)
}

/// What `reader` holds: through gzip if it begins like that, and never more than the limits say.
pub(super) fn decompressed(mut reader: impl BufRead + 'static, limits: &Limits) -> Result<Bounded, DataFault> {
    let start = reader.fill_buf().map_err(DataFault::Read)?;
    if start.is_empty() {
        return Err(DataFault::Empty);
    }
    let gzip = start.starts_with(&GZIP_MAGIC);
    let inner: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) };
    let (file_max, record_max) = (limits.file_bytes_max, limits.record_bytes_max);
    Ok(Bounded { inner, gzip, file_max, file_left: file_max, record_max, record_left: u64::MAX })
}

/// A reader that fails instead of going past a limit.
pub(super) struct Bounded {
    inner: Box<dyn Read>,
    gzip: bool,
    file_max: u64,
    file_left: u64,
    record_max: u64,
    /// No limit until [`next_record`](Self::next_record) sets one.
    record_left: u64,
}

/// Carried through `io::Error`, so that readers in between need not know of it.
#[derive(Debug)]
enum Exceeded {
    File,
    Record,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("more bytes than allowed")
    }
}

impl Error for Exceeded {}

impl Bounded {
    /// From here on, a new record may take its bytes. What the reader in between had buffered comes on top.
    pub(super) fn next_record(&mut self) {
        self.record_left = self.record_max;
    }

    /// What an error from reading this means; `line` is where a record began.
    pub(super) fn fault(&self, error: io::Error, line: u64) -> DataFault {
        match error.get_ref().and_then(|cause| cause.downcast_ref::<Exceeded>()) {
            Some(Exceeded::File) => DataFault::FileTooLarge { max: self.file_max },
            Some(Exceeded::Record) => DataFault::RecordTooLong { line, max: self.record_max },
            None if self.gzip => DataFault::Gzip(error),
            None => DataFault::Read(error),
        }
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        for (left, exceeded) in [(&mut self.file_left, Exceeded::File), (&mut self.record_left, Exceeded::Record)] {
            *left = left.checked_sub(count as u64).ok_or_else(|| io::Error::other(exceeded))?;
        }
        Ok(count)
    }
}
