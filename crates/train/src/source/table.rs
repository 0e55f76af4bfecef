//! CSV: the cells of a table, by a schema, into examples.

use std::path::Path;

use csv::{ByteRecord, ReaderBuilder, Trim};

use super::error::{listed, shown};
use super::file::{self, Bounded};
use super::{Classes, DataFault, Level, Limits, MissingPolicy, Normalise, Schema};
use crate::dataset::DataSet;

mod plan;

use plan::{Plan, Take};

/// Reads the file at `path`. Standardising is left to the caller, who knows what to train on.
pub(super) fn read(path: &Path, schema: &Schema, limits: &Limits) -> Result<DataSet, DataFault> {
    read_from(file::open(path, limits)?, schema, limits)
}

pub(super) fn read_from(reader: Bounded, schema: &Schema, limits: &Limits) -> Result<DataSet, DataFault> {
    schema.check()?;
    let mut records = Records::new(reader, schema);
    let mut record = ByteRecord::new();
    let mut more = records.next(&mut record)?;
    if !more {
        return Err(DataFault::Empty);
    }
    let plan = Plan::new(schema, &record)?;
    if schema.header {
        more = records.next(&mut record)?;
    }
    let mut rows = Rows { schema, plan, limits, features: Vec::new(), labels: Vec::new(), dropped: 0 };
    while more {
        rows.take(&record, records.line)?;
        more = records.next(&mut record)?;
    }
    rows.finish()
}

/// A finite number, however it is written.
pub(super) fn number(cell: &[u8]) -> Option<f64> {
    std::str::from_utf8(cell).ok()?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// The records of a file, none longer than allowed.
struct Records {
    reader: csv::Reader<Bounded>,
    /// Where the current record began.
    line: u64,
}

impl Records {
    fn new(reader: Bounded, schema: &Schema) -> Self {
        let mut builder = ReaderBuilder::new();
        // The header is read as a record like any other, and column counts are checked here with a better message.
        builder.has_headers(false).flexible(true).trim(Trim::All).delimiter(schema.delimiter as u8);
        Self { reader: builder.from_reader(reader), line: 1 }
    }

    /// Reads the next record; `false` at the end.
    fn next(&mut self, record: &mut ByteRecord) -> Result<bool, DataFault> {
        let start = self.reader.position().line();
        self.reader.get_mut().next_record();
        match self.reader.read_byte_record(record) {
            Ok(more) => {
                self.line = record.position().map_or(start, csv::Position::line);
                Ok(more)
            }
            Err(error) => Err(match error.into_kind() {
                csv::ErrorKind::Io(error) => self.reader.get_ref().fault(error, start),
                // Byte records of any length are asked for, so nothing else can go wrong.
                kind => DataFault::Read(std::io::Error::other(format!("{kind:?}"))),
            }),
        }
    }
}

/// The examples read so far.
struct Rows<'a> {
    schema: &'a Schema,
    plan: Plan,
    limits: &'a Limits,
    features: Vec<f32>,
    labels: Vec<u32>,
    dropped: usize,
}

impl Rows<'_> {
    fn take(&mut self, record: &ByteRecord, line: u64) -> Result<(), DataFault> {
        let (expected, found) = (self.plan.width, record.len());
        if found != expected {
            return Err(DataFault::ColumnCount { line, expected, found });
        }
        if let Some(column) = self.missing(record) {
            if self.schema.missing.policy == MissingPolicy::Refuse {
                return Err(DataFault::MissingValue { line, column: self.plan.name(column) });
            }
            self.dropped += 1;
            return Ok(());
        }
        for (column, take) in &self.plan.features {
            let cell = &record[*column];
            match take {
                Take::Number => self.features.push(self.scaled(cell, *column, line)?),
                Take::OneHot(levels) => {
                    let level = self.level(cell, levels, *column, line)?;
                    let hot = self.scale();
                    self.features.extend((1..levels.len()).map(|other| if other == level { hot as f32 } else { 0.0 }));
                }
            }
        }
        self.labels.push(self.label(&record[self.plan.label], line)?);
        if self.features.len() > self.limits.values_max {
            return Err(DataFault::TooManyValues { values: self.features.len(), max: self.limits.values_max });
        }
        Ok(())
    }

    /// The first column of those used whose value is missing.
    fn missing(&self, record: &ByteRecord) -> Option<usize> {
        let markers = &self.schema.missing.markers;
        let used = self.plan.features.iter().map(|(column, _)| *column).chain([self.plan.label]);
        used.into_iter().find(|column| markers.iter().any(|marker| marker.as_bytes() == &record[*column]))
    }

    fn scaled(&self, cell: &[u8], column: usize, line: u64) -> Result<f32, DataFault> {
        match number(cell).map(|number| (number * self.scale()) as f32) {
            Some(value) if value.is_finite() => Ok(value),
            _ => Err(DataFault::NotANumber { line, column: self.plan.name(column), text: shown(cell) }),
        }
    }

    fn level(&self, cell: &[u8], levels: &[Level], column: usize, line: u64) -> Result<usize, DataFault> {
        levels.iter().position(|level| level.holds(cell)).ok_or_else(|| DataFault::UnknownLevel {
            line,
            column: self.plan.name(column),
            text: shown(cell),
            allowed: listed(levels.iter().map(Level::to_string)),
        })
    }

    fn scale(&self) -> f64 {
        if let Normalise::Scale(scale) = self.schema.normalise { scale } else { 1.0 }
    }

    fn label(&self, cell: &[u8], line: u64) -> Result<u32, DataFault> {
        let rule = &self.schema.label;
        let (label, allowed) = match (&rule.threshold, &rule.classes) {
            (Some(threshold), _) => (number(cell).map(|number| u32::from(number > *threshold)), "a number".to_owned()),
            (None, Some(Classes::Count(count))) => {
                let whole = |number: &f64| number.fract() == 0.0 && (0.0..*count as f64).contains(number);
                let last = count.saturating_sub(1);
                (number(cell).filter(whole).map(|number| number as u32), format!("a whole number from 0 to {last}"))
            }
            (None, Some(Classes::Values(values))) => {
                let place = values.iter().position(|level| level.holds(cell));
                (place.and_then(|place| u32::try_from(place).ok()), listed(values.iter().map(Level::to_string)))
            }
            (None, None) => (None, "nothing, for the schema has no classes".to_owned()),
        };
        let column = || self.plan.name(self.plan.label);
        label.ok_or_else(|| DataFault::BadLabel { line, column: column(), text: shown(cell), allowed })
    }

    fn finish(self) -> Result<DataSet, DataFault> {
        if self.labels.is_empty() {
            return Err(DataFault::NoRows { dropped: self.dropped });
        }
        let classes = match &self.schema.label.classes {
            Some(classes) => classes.count(),
            None => 2,
        };
        DataSet::new(self.features, self.labels, self.plan.feature_count, classes).map_err(DataFault::Contents)
    }
}
