//! The embedded trainer: models by name, data sets from files, local training. The only crate that knows burn, and no
//! type of burn leaves it.
//!
//! | module | holds |
//! | --- | --- |
//! | [`additions`] | what a round adds to the local loss, and FedNova's normalizer |
//! | [`architecture`] | models by name: layout, first parameters |
//! | [`checkpoint`] | where training stood, to go on from there |
//! | [`config`] | epochs, batches, optimizer |
//! | [`dataset`] | examples in memory, splits, label skew |
//! | [`source`] | CSV and IDX files |
//! | [`engine`] | [`train`] and [`evaluate`] |
//! | [`device`] | CPU or GPU |
//! | [`digits()`] | the data set in the binary |
//!
//! Everything blocks; call it from a thread of its own.

pub mod additions;
pub mod architecture;
pub mod checkpoint;
pub mod config;
pub mod dataset;
pub mod device;
mod digits;
pub mod engine;
mod rng;
pub mod source;

pub use additions::{Additions, AdditionsError, check_needs};
pub use architecture::{Architecture, ArchitectureError};
pub use checkpoint::{Checkpoint, Keeper};
pub use config::{ConfigError, Optimizer, TrainConfig};
pub use dataset::{DataSet, DataSetError, Split};
pub use device::{Device, DeviceProbe};
pub use digits::digits;
pub use engine::{
    Control, Evaluation, Job, Progress, TrainError, Trained, evaluate, evaluate_on, train, train_on, train_resumably,
};
pub use source::{DataError, DataFault, DataSource, Limits, Schema};
