//! Which column of this very file is what.

use csv::ByteRecord;

use crate::source::error::{listed, shown};
use crate::source::{Column, DataFault, Level, Schema};

/// A schema's columns, found in the first record of a file.
pub(super) struct Plan {
    /// Columns in every record.
    pub(super) width: usize,
    pub(super) label: usize,
    /// The columns that are features, in the order of the features.
    pub(super) features: Vec<(usize, Take)>,
    pub(super) feature_count: usize,
    /// As the header names them; empty without a header.
    names: Vec<Vec<u8>>,
}

/// What a feature column becomes.
pub(super) enum Take {
    /// One feature.
    Number,
    /// A feature for every level but the first.
    OneHot(Vec<Level>),
}

impl Plan {
    /// `first` is the header if the schema says that there is one, else the first row.
    pub(super) fn new(schema: &Schema, first: &ByteRecord) -> Result<Self, DataFault> {
        let names = if schema.header { first.iter().map(<[u8]>::to_vec).collect() } else { Vec::new() };
        let mut plan = Self { width: first.len(), label: 0, features: Vec::new(), feature_count: 0, names };
        plan.label = plan.find("label.column", &schema.label.column)?;

        let taken = plan.taken(schema)?;
        plan.features = taken.into_iter().map(|column| (column, Take::Number)).collect();
        for categorical in &schema.categorical {
            let column = plan.find("categorical.column", &categorical.column)?;
            match plan.features.iter_mut().find(|(feature, _)| *feature == column) {
                Some((_, take @ Take::Number)) => *take = Take::OneHot(categorical.levels.clone()),
                Some(_) => return Err(plan.twice("categorical.column", column)),
                None => {
                    let problem = format!("column {} is not among the features", plan.name(column));
                    return Err(DataFault::SchemaKey { key: "categorical.column", problem });
                }
            }
        }
        plan.feature_count = plan.features.iter().map(|(_, take)| take.width()).sum();
        if plan.feature_count == 0 {
            let problem = "no column is left to be a feature".to_owned();
            return Err(DataFault::SchemaKey { key: "features", problem });
        }
        Ok(plan)
    }

    /// How messages call a column.
    pub(super) fn name(&self, column: usize) -> String {
        self.names.get(column).map_or_else(|| column.to_string(), |name| shown(name))
    }

    /// The columns to take as features, in order.
    fn taken(&self, schema: &Schema) -> Result<Vec<usize>, DataFault> {
        if let Some(columns) = &schema.features.columns {
            let taken = self.find_all("features.columns", columns)?;
            if taken.contains(&self.label) {
                let problem = format!("column {} is the label", self.name(self.label));
                return Err(DataFault::SchemaKey { key: "features.columns", problem });
            }
            return Ok(taken);
        }
        let mut keep = vec![true; self.width];
        keep[self.label] = false;
        for column in self.find_all("features.drop", &schema.features.drop)? {
            keep[column] = false;
        }
        Ok((0..self.width).filter(|column| keep[*column]).collect())
    }

    fn find_all(&self, key: &'static str, columns: &[Column]) -> Result<Vec<usize>, DataFault> {
        let mut seen = vec![false; self.width];
        let mut found = Vec::with_capacity(columns.len().min(self.width));
        for column in columns {
            let place = self.find(key, column)?;
            if std::mem::replace(&mut seen[place], true) {
                return Err(self.twice(key, place));
            }
            found.push(place);
        }
        Ok(found)
    }

    fn find(&self, key: &'static str, column: &Column) -> Result<usize, DataFault> {
        let place = match column {
            Column::Index(index) => Some(*index).filter(|index| *index < self.width),
            Column::Name(name) => {
                let mut places = (0..self.names.len()).filter(|place| self.names[*place] == name.as_bytes());
                let place = places.next();
                if places.next().is_some() {
                    let problem = format!("two columns of the header are called {name:?}; name it by its place");
                    return Err(DataFault::SchemaKey { key, problem });
                }
                place
            }
        };
        place.ok_or_else(|| {
            let available = match self.names.len() {
                0 => format!("0 to {}, without names", self.width.saturating_sub(1)),
                _ => listed(self.names.iter().map(|name| shown(name))),
            };
            DataFault::NoSuchColumn { key, column: column.to_string(), available }
        })
    }

    fn twice(&self, key: &'static str, column: usize) -> DataFault {
        DataFault::SchemaKey { key, problem: format!("column {} is named twice", self.name(column)) }
    }
}

impl Take {
    fn width(&self) -> usize {
        match self {
            Self::Number => 1,
            Self::OneHot(levels) => levels.len().saturating_sub(1),
        }
    }
}
