//! What `polder demo` is made of: the data and how it is split, the baselines, the plot, the report.

pub(crate) mod baseline;
pub(crate) mod data;
pub(crate) mod plot;
pub(crate) mod report;
