//! `polder policy …`

pub(crate) mod list;
pub(crate) mod push;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// The built-in policies, then those pushed.
    List(list::List),
    /// Upload a policy; it is checked and tried in the sandbox before it gets its name.
    Push(push::Push),
}
