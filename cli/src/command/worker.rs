//! `polder worker …`

pub(crate) mod drain;
pub(crate) mod list;
pub(crate) mod start;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Run a worker until Ctrl-C or SIGTERM.
    Start(Box<start::Start>),
    /// The workers that joined, and what they are doing.
    List(list::List),
    /// Give a worker nothing new; it finishes what it has.
    Drain(drain::Drain),
}
