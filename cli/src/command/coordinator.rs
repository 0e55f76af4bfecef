//! `polder coordinator …`

pub(crate) mod show;
pub(crate) mod start;
pub(crate) mod verify;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Run a coordinator until Ctrl-C or SIGTERM.
    Start(Box<start::Start>),
    /// Which coordinator leads, since when, and how it is doing.
    Show(show::Show),
    /// Read every blob and spooled update, and name those that are corrupt. The coordinator may run meanwhile.
    Verify(verify::Verify),
}
