//! The handwritten digits that the demo learns, carried in the binary.

use crate::dataset::DataSet;
use crate::source::{DataError, Schema, read_csv};

const TABLE: &[u8] = include_bytes!("../../../examples/digits/digits.csv.gz");
const SCHEMA: &str = include_str!("../../../examples/digits/digits.schema.toml");

/// 1,797 images of 8×8 grey values from 0 to 1, ten classes: the test part of "Optical Recognition of Handwritten
/// Digits" (E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998; CC BY 4.0).
pub fn digits() -> Result<DataSet, DataError> {
    let name = "examples/digits/digits.csv.gz";
    let schema = Schema::from_toml(SCHEMA).map_err(|fault| fault.at("examples/digits/digits.schema.toml"))?;
    read_csv(name, TABLE, &schema)
}
