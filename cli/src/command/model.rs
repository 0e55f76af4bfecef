//! `polder model …`

pub(crate) mod list;
pub(crate) mod pull;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// The models of a run, or of all: version 0 is the one it started from.
    List(list::List),
    /// Download a model as a safetensors file.
    Pull(pull::Pull),
}
