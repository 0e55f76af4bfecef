//! The placement and release policies that ship, through the sandbox: what each must do by its definition, found without it.

mod counting;
mod federation;
mod placement;
mod release;
mod sharing;
