//! `polder round …`

pub(crate) mod show;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Who took part in a round, what each did, and why.
    Show(show::Show),
}
