//! Data sets in files: CSV with a schema, and IDX. Every file is hostile until it has been read to its end.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::dataset::{DataSet, Split, VALUES_MAX};

mod error;
mod file;
mod idx;
mod locate;
mod normalise;
mod schema;
mod table;

pub use error::{DataError, DataFault};
pub(crate) use locate::schema_path;
pub use schema::{Categorical, Classes, Column, Features, Label, Level, Missing, MissingPolicy, Normalise, Schema};

/// How much a data set may be. The defaults suit a machine with some GiB of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a file after decompression; by default 16 GiB.
    pub file_bytes_max: u64,
    /// Bytes of one CSV record; by default 16 MiB.
    pub record_bytes_max: u64,
    /// Feature values in memory (examples times features); by default [`VALUES_MAX`].
    pub values_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes_max: 16 << 30, record_bytes_max: 16 << 20, values_max: VALUES_MAX }
    }
}

/// A data set that was found, but not yet read.
#[derive(Clone)]
pub struct DataSource {
    files: Files,
    limits: Limits,
}

#[derive(Clone)]
enum Files {
    Csv { table: PathBuf, schema: Box<Schema> },
    Idx { images: PathBuf, labels: PathBuf },
}

impl DataSource {
    /// Finds out what lies at `path`, and reads the schema if it needs one:
    ///
    /// * an IDX images file in MNIST's naming (`…-images-idx3-ubyte`, maybe `.gz`), its labels beside it
    ///   (`…-labels-idx1-ubyte`, maybe `.gz`);
    /// * any other file: CSV, maybe compressed with gzip. For `x.csv` and `x.csv.gz` the [`Schema`] is the first of
    ///   `x.schema.toml`, `x.schema.json`, `schema.toml` and `schema.json` that lies beside it;
    /// * a folder with one such data set in it.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        Ok(Self { files: locate::files(path)?, limits: Limits::default() })
    }

    /// The CSV file at `path`, read by a schema from elsewhere.
    #[must_use]
    pub fn csv(path: impl Into<PathBuf>, schema: Schema) -> Self {
        Self { files: Files::Csv { table: path.into(), schema: Box::new(schema) }, limits: Limits::default() }
    }

    /// Replaces the default limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Reads everything. Standardised by the mean and deviation of everything, where the schema asks for that.
    pub fn load(&self) -> Result<DataSet, DataError> {
        Ok(self.load_split(0.0, 0)?.train)
    }

    /// Reads everything and holds a random share out, as [`DataSet::split`] does; the same seed gives the same split.
    /// Standardised by the mean and deviation of the training part alone, where the schema asks for that.
    pub fn load_split(&self, held_out: f64, seed: u64) -> Result<Split, DataError> {
        let fault = |error| DataFault::Contents(error).at(self.path());
        let (all, normalise) = match &self.files {
            Files::Csv { table, schema } => {
                (table::read(table, schema, &self.limits).map_err(|fault| fault.at(table))?, schema.normalise)
            }
            Files::Idx { images, labels } => (idx::read(images, labels, &self.limits)?, Normalise::None),
        };
        let mut split = if held_out == 0.0 {
            // As a split into one part, but without a second copy in memory.
            Split { train: all, held_out: None }
        } else {
            all.split(held_out, seed).map_err(fault)?
        };
        if normalise == Normalise::Standardise {
            normalise::standardise(&mut split);
        }
        Ok(split)
    }

    /// The file that holds the features.
    #[must_use]
    pub fn path(&self) -> &Path {
        match &self.files {
            Files::Csv { table, .. } => table,
            Files::Idx { images, .. } => images,
        }
    }
}

impl fmt::Debug for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.files {
            Files::Csv { table, .. } => write!(f, "DataSource(csv {})", table.display()),
            Files::Idx { images, .. } => write!(f, "DataSource(idx {})", images.display()),
        }
    }
}

/// Reads a CSV text that is part of the program; `name` stands in errors.
pub(crate) fn read_csv(name: &str, bytes: &'static [u8], schema: &Schema) -> Result<DataSet, DataError> {
    let limits = Limits::default();
    let reader = file::decompressed(std::io::Cursor::new(bytes), &limits).map_err(|fault| fault.at(name))?;
    table::read_from(reader, schema, &limits).map_err(|fault| fault.at(name))
}

#[cfg(test)]
mod tests;
