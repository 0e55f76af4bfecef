use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::dataset::DataSetError;

/// Which file is at fault, and how.
#[derive(Debug)]
pub struct DataError {
    pub path: PathBuf,
    pub fault: DataFault,
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.fault)
    }
}

impl Error for DataError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.fault.source()
    }
}

/// What is wrong with a data set's file. Lines count from 1 (empty ones before a record count to it), columns by name
/// where there is a header, else from 0.
#[derive(Debug, thiserror::Error)]
pub enum DataFault {
    #[error("no such file or folder")]
    Missing,
    #[error("neither a file nor a folder")]
    Special,
    #[error("could not be read")]
    Read(#[source] io::Error),
    #[error("could not be written")]
    Write(#[source] io::Error),
    #[error("the gzip stream is damaged or cut short")]
    Gzip(#[source] io::Error),
    #[error("is named .gz but is not compressed with gzip; rename or compress it")]
    NotGzip,
    #[error("the file is empty")]
    Empty,
    #[error("more than {max} bytes, decompressed; at most that many are read")]
    FileTooLarge { max: u64 },
    #[error("{values} feature values; at most {max} are read, so split the file")]
    TooManyValues { values: usize, max: usize },
    #[error(transparent)]
    Contents(DataSetError),

    #[error(
        "no data set in this folder; it should hold one CSV file with its schema, or one pair of IDX files \
         (…-images-idx3-ubyte and …-labels-idx1-ubyte, maybe .gz)"
    )]
    NoDataSet,
    #[error("more than one data set in this folder; name one of {found} instead")]
    ManyDataSets { found: String },

    #[error("IDX file: the first four bytes are {found:#010x}; {expected:#010x} is needed ({holds})")]
    IdxMagic { found: u32, expected: u32, holds: &'static str },
    #[error("IDX file: cut short; its header promises {expected} bytes, but there are {found}")]
    IdxTruncated { expected: u64, found: u64 },
    #[error("IDX file: more than the {expected} bytes that its header promises")]
    IdxTooLong { expected: u64 },
    #[error("IDX files: {images} images here, but {labels} labels in {}", labels_path.display())]
    IdxCounts { images: usize, labels: usize, labels_path: PathBuf },
    #[error("IDX images have their labels beside them; there is no {} (nor with .gz)", labels_path.display())]
    IdxLabelsMissing { labels_path: PathBuf },

    #[error("CSV needs a schema that says which column is the label; put one of {tried} beside it")]
    SchemaMissing { tried: String },
    #[error("the schema is not valid TOML, or has unknown keys")]
    SchemaToml(#[source] toml::de::Error),
    #[error("the schema is not valid JSON, or has unknown keys")]
    SchemaJson(#[source] serde_json::Error),
    #[error("schema key `{key}`: {problem}")]
    SchemaKey { key: &'static str, problem: String },
    #[error("schema key `{key}` names column {column}, which is not there; the columns are {available}")]
    NoSuchColumn { key: &'static str, column: String, available: String },

    #[error("line {line}: more than {max} bytes in one record; is a quote left open?")]
    RecordTooLong { line: u64, max: u64 },
    #[error("line {line}: {found} columns instead of {expected}")]
    ColumnCount { line: u64, expected: usize, found: usize },
    #[error("line {line}, column {column}: {text} is no finite number")]
    NotANumber { line: u64, column: String, text: String },
    #[error(
        "line {line}, column {column}: a value is missing; set `missing.policy = \"drop-row\"` in the schema to leave \
         such rows out"
    )]
    MissingValue { line: u64, column: String },
    #[error("line {line}, column {column}: {text} is none of the schema's levels {allowed}")]
    UnknownLevel { line: u64, column: String, text: String, allowed: String },
    #[error("line {line}, column {column}: {text} is no label; allowed is {allowed}")]
    BadLabel { line: u64, column: String, text: String, allowed: String },
    #[error("no rows to learn from ({dropped} were dropped because a value was missing)")]
    NoRows { dropped: usize },
}

impl DataFault {
    /// Says in which file it is.
    pub(crate) fn at(self, path: impl AsRef<Path>) -> DataError {
        DataError { path: path.as_ref().to_owned(), fault: self }
    }
}

/// A cell or name from a file, for an error message: quoted, without control characters, short.
pub(crate) fn shown(text: &[u8]) -> String {
    const CHARS_MAX: usize = 40;
    let text = String::from_utf8_lossy(text);
    let mut short: String = text.chars().take(CHARS_MAX).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        short.push('…');
    }
    format!("{short:?}")
}

/// A list for an error message, not longer than a reader can use.
pub(crate) fn listed(items: impl ExactSizeIterator<Item = String>) -> String {
    const ITEMS_MAX: usize = 20;
    let count = items.len();
    let mut text = items.take(ITEMS_MAX).collect::<Vec<_>>().join(", ");
    if count > ITEMS_MAX {
        text.push_str(&format!(" and {} more", count - ITEMS_MAX));
    }
    text
}
