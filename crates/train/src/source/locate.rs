//! What lies at a path.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::listed;
use super::{DataError, DataFault, Files, Schema};

const IMAGES: &str = "images-idx3-ubyte";
const LABELS: &str = "labels-idx1-ubyte";
/// A folder with more entries than this is not searched.
const ENTRIES_MAX: usize = 10_000;
/// A schema is a page of text; a larger file is something else.
const SCHEMA_BYTES_MAX: u64 = 1 << 20;

pub(super) fn files(path: &Path) -> Result<Files, DataError> {
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => DataFault::Missing.at(path),
        _ => DataFault::Read(error).at(path),
    })?;
    if metadata.is_file() {
        return from_file(path);
    }
    if !metadata.is_dir() {
        return Err(DataFault::Special.at(path));
    }
    let candidates = candidates(path)?;
    match candidates.as_slice() {
        [] => Err(DataFault::NoDataSet.at(path)),
        [one] => from_file(one),
        many => {
            let found = listed(many.iter().map(|path| name(path).to_owned()));
            Err(DataFault::ManyDataSets { found }.at(path))
        }
    }
}

fn from_file(path: &Path) -> Result<Files, DataError> {
    if is_images(path) {
        return Ok(Files::Idx { images: path.to_owned(), labels: labels_beside(path)? });
    }
    Ok(Files::Csv { table: path.to_owned(), schema: Box::new(schema_beside(path)?) })
}

/// The files of a folder that hold features, in the order of their names.
fn candidates(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let fault = |error| DataFault::Read(error).at(folder);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(fault)?.take(ENTRIES_MAX) {
        let path = entry.map_err(fault)?.path();
        if path.is_file() && (is_images(&path) || is_csv(&path)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn is_images(path: &Path) -> bool {
    uncompressed(name(path)).ends_with(IMAGES)
}

fn is_csv(path: &Path) -> bool {
    uncompressed(name(path)).ends_with(".csv")
}

fn labels_beside(images: &Path) -> Result<PathBuf, DataError> {
    let plain = images.with_file_name(uncompressed(name(images)).replace(IMAGES, LABELS));
    let compressed = PathBuf::from(format!("{}.gz", plain.display()));
    if plain.is_file() {
        Ok(plain)
    } else if compressed.is_file() {
        Ok(compressed)
    } else {
        Err(DataFault::IdxLabelsMissing { labels_path: plain }.at(images))
    }
}

fn schema_beside(table: &Path) -> Result<Schema, DataError> {
    let own = schema_path(table);
    let places = [
        own.clone(),
        own.with_extension("json"),
        table.with_file_name("schema.toml"),
        table.with_file_name("schema.json"),
    ];
    match places.iter().find(|place| place.is_file()) {
        Some(place) => read_schema(place),
        None => {
            let tried = listed(places.iter().map(|place| name(place).to_owned()));
            Err(DataFault::SchemaMissing { tried }.at(table))
        }
    }
}

/// Reads a schema file; JSON if its name says so, else TOML.
pub(super) fn read_schema(path: &Path) -> Result<Schema, DataError> {
    let limits = super::Limits { file_bytes_max: SCHEMA_BYTES_MAX, ..super::Limits::default() };
    let read = || -> Result<Schema, DataFault> {
        let mut reader = super::file::open(path, &limits)?;
        let mut text = String::new();
        if let Err(error) = std::io::Read::read_to_string(&mut reader, &mut text) {
            return Err(reader.fault(error, 0));
        }
        let json = path.extension().is_some_and(|extension| extension == "json");
        if json { Schema::from_json(&text) } else { Schema::from_toml(&text) }
    };
    read().map_err(|fault| fault.at(path))
}

/// Where the schema of `x.csv` or `x.csv.gz` is looked for first: `x.schema.toml`.
pub(crate) fn schema_path(table: &Path) -> PathBuf {
    let stem = uncompressed(name(table));
    let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
    table.with_file_name(format!("{stem}.schema.toml"))
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or("")
}

fn uncompressed(name: &str) -> &str {
    name.strip_suffix(".gz").unwrap_or(name)
}
