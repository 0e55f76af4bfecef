//! `polder token …`

pub(crate) mod create;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Print a token that lets one worker or one operator join, once.
    Create(create::Create),
}
