//! A data set as files: CSV, compressed where the name says so, with its schema beside it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::DataSet;
use crate::source::{Column, DataError, DataFault, Label, Schema, schema_path};

impl DataSet {
    /// Writes `path` (`….csv` or `….csv.gz`) and its schema (`….schema.toml`) beside it, so that
    /// [`DataSource::open`](crate::DataSource::open) reads the very same data set back. The same data set makes the
    /// same bytes. Files that are there are overwritten.
    pub fn write_csv(&self, path: &Path) -> Result<(), DataError> {
        let schema_path = schema_path(path);
        let schema = Schema::new(Label::classes(Column::Name("label".to_owned()), self.classes()));
        std::fs::write(&schema_path, schema.to_toml()).map_err(|error| DataFault::Write(error).at(&schema_path))?;
        self.write_file(path).map_err(|error| DataFault::Write(error).at(path))
    }

    fn write_file(&self, path: &Path) -> io::Result<()> {
        let file = BufWriter::new(File::create(path)?);
        if path.extension().is_some_and(|extension| extension == "gz") {
            // flate2 leaves name and time out of the header, so that the bytes depend on the data alone.
            let encoder = self.write_rows(GzEncoder::new(file, Compression::default()))?;
            encoder.finish()?.flush()
        } else {
            self.write_rows(file)?.flush()
        }
    }

    fn write_rows<W: Write>(&self, mut file: W) -> io::Result<W> {
        for feature in 0..self.feature_count() {
            write!(file, "f{feature},")?;
        }
        writeln!(file, "label")?;
        for (row, label) in self.features().chunks_exact(self.feature_count()).zip(self.labels()) {
            for value in row {
                write!(file, "{value},")?;
            }
            writeln!(file, "{label}")?;
        }
        Ok(file)
    }
}
