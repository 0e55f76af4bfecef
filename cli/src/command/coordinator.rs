//! `polder coordinator …`

pub(crate) mod start;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Run a coordinator until Ctrl-C or SIGTERM.
    Start(start::Start),
}
