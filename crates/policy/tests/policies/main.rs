//! The host as its users see it: our policies against native references, strangers' against the contract and the limits.

mod builtins;
mod cases;
mod chunks;
mod guest;
mod hostile;
mod loading;
mod nonsense;
mod questions;
mod reference;
mod traits;
