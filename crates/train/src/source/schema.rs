//! What the columns of a CSV file mean. The text of a schema is TOML (or JSON with the same keys).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::DataFault;

/// How to read a CSV file.
///
/// This reads the UCI heart disease files: eleven of fourteen columns, two of them one-hot, rows with a missing value
/// left out, disease or none as the label, every feature standardised.
///
/// ```toml
/// header = false              # columns are counted from 0; `true` (the default) means that the first row names them
/// normalise = "standardise"   # or "none" (the default), or { scale = 0.0625 }
///
/// [label]
/// column = 13
/// threshold = 0               # label 1 where the value is above 0; or `classes = 10`, or `classes = ["cat", "dog"]`
///
/// [features]                  # by default all columns but the label
/// drop = [10, 11, 12]         # or name those to take instead: columns = ["age", "sex"]
///
/// [[categorical]]             # one-hot without the first level: 3 features here
/// column = 2
/// levels = [1, 2, 3, 4]
///
/// [[categorical]]
/// column = 6
/// levels = [0, 1, 2]
///
/// [missing]
/// markers = ["?"]             # by default the empty cell
/// policy = "drop-row"         # or "refuse" (the default)
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// Whether the first row names the columns.
    #[serde(default = "yes")]
    pub header: bool,
    /// What stands between two cells: one ASCII character, by default a comma.
    #[serde(default = "comma", skip_serializing_if = "is_comma")]
    pub delimiter: char,
    #[serde(default)]
    pub normalise: Normalise,
    pub label: Label,
    #[serde(default, skip_serializing_if = "Features::is_default")]
    pub features: Features,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categorical: Vec<Categorical>,
    #[serde(default, skip_serializing_if = "Missing::is_default")]
    pub missing: Missing,
}

/// A column, by its name in the header or by its place from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Column {
    Index(usize),
    Name(String),
}

/// The column that is to be learnt. Exactly one of `threshold` and `classes` says how its values become labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    pub column: Column,
    /// Two classes: 1 where the value is above this, else 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Classes>,
}

impl Label {
    /// Labels that are written as whole numbers from 0.
    #[must_use]
    pub fn classes(column: Column, count: usize) -> Self {
        Self { column, threshold: None, classes: Some(Classes::Count(count)) }
    }
}

/// The classes of a label column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Classes {
    /// Values are whole numbers from 0 to one below this.
    Count(usize),
    /// Values are these; the first is label 0.
    Values(Vec<Level>),
}

/// A value of a column of kinds: a number, which `1`, `1.0` and `01` all are, or a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Level {
    Number(f64),
    Text(String),
}

/// Which columns are features; by default all but the label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Features {
    /// These, in this order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<Column>>,
    /// All others than these. Their cells are never looked at, so a value missing there drops no row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<Column>,
}

/// A feature column of kinds: it becomes one feature for every level but the first, 1 where the value is that level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Categorical {
    pub column: Column,
    /// All values that may occur, the same in every region, so that features mean the same everywhere.
    pub levels: Vec<Level>,
}

/// How a missing value is written, and what becomes of its row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Missing {
    pub markers: Vec<String>,
    pub policy: MissingPolicy,
}

impl Default for Missing {
    fn default() -> Self {
        Self { markers: vec![String::new()], policy: MissingPolicy::Refuse }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingPolicy {
    /// The row is left out.
    DropRow,
    /// The file is refused.
    Refuse,
}

/// What is done to the features after reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalise {
    #[default]
    None,
    /// Every value is multiplied by this.
    Scale(f64),
    /// Every feature, one-hot ones too, has the mean of this site's training data taken off and is divided by their
    /// standard deviation (of the population; a constant feature becomes 0).
    Standardise,
}

fn yes() -> bool {
    true
}

fn comma() -> char {
    ','
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_comma(delimiter: &char) -> bool {
    *delimiter == ','
}

impl Features {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Missing {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Schema {
    /// All columns but the label are features, taken as they are; the first row names the columns.
    #[must_use]
    pub fn new(label: Label) -> Self {
        Self {
            header: true,
            delimiter: ',',
            normalise: Normalise::None,
            label,
            features: Features::default(),
            categorical: Vec::new(),
            missing: Missing::default(),
        }
    }

    /// Reads a schema and checks all of it that needs no data.
    pub fn from_toml(text: &str) -> Result<Self, DataFault> {
        toml::from_str::<Self>(text).map_err(DataFault::SchemaToml)?.checked()
    }

    /// The same from JSON.
    pub fn from_json(text: &str) -> Result<Self, DataFault> {
        serde_json::from_str::<Self>(text).map_err(DataFault::SchemaJson)?.checked()
    }

    /// The schema as [`from_toml`](Self::from_toml) reads it.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // A schema is made of what TOML has; only a number beyond its integers could fail, and that reads back as an
        // error that names the key.
        toml::to_string(self).unwrap_or_default()
    }

    fn checked(self) -> Result<Self, DataFault> {
        self.check()?;
        Ok(self)
    }

    /// Checks what needs no data. Reading does that too, for schemas that were built in a program.
    pub(super) fn check(&self) -> Result<(), DataFault> {
        let refuse = |key, problem: &str| Err(DataFault::SchemaKey { key, problem: problem.to_owned() });
        if !self.delimiter.is_ascii() || matches!(self.delimiter, '\n' | '\r' | '"' | '\0') {
            return refuse("delimiter", "must be one ASCII character, not a quote or the end of a line");
        }
        match (&self.label.threshold, &self.label.classes) {
            (None, None) => return refuse("label", "needs `threshold` (a number) or `classes` (a count or a list)"),
            (Some(_), Some(_)) => return refuse("label", "has both `threshold` and `classes`; take one out"),
            (Some(threshold), None) if !threshold.is_finite() => {
                return refuse("label.threshold", "must be a finite number");
            }
            (None, Some(classes)) if !(2..=1 << 16).contains(&classes.count()) => {
                return refuse("label.classes", "must be 2 to 65536 classes");
            }
            _ => {}
        }
        if self.features.columns.is_some() && !self.features.drop.is_empty() {
            return refuse("features", "has both `columns` and `drop`; take one out");
        }
        let names_levels =
            |levels: &[Level]| levels.iter().any(|level| matches!(level, Level::Number(n) if n.is_nan()));
        for categorical in &self.categorical {
            if categorical.levels.len() < 2 || names_levels(&categorical.levels) {
                return refuse("categorical.levels", "must be two levels or more, and no NaN");
            }
        }
        match self.normalise {
            Normalise::Scale(scale) if !(scale.is_finite() && scale != 0.0) => {
                refuse("normalise.scale", "must be a finite number other than 0")
            }
            _ => Ok(()),
        }
    }
}

impl Classes {
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Count(count) => *count,
            Self::Values(values) => values.len(),
        }
    }
}

impl Level {
    /// Whether a trimmed cell holds this level.
    pub(super) fn holds(&self, cell: &[u8]) -> bool {
        match self {
            Self::Text(text) => text.as_bytes() == cell,
            Self::Number(number) => super::table::number(cell) == Some(*number),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "{index}"),
            Self::Name(name) => write!(f, "{name:?}"),
        }
    }
}
