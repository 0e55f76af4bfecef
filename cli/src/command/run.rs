//! `polder run …`

pub(crate) mod list;
pub(crate) mod log;
pub(crate) mod set_policy;
pub(crate) mod show;
pub(crate) mod stop;
pub(crate) mod submit;
pub(crate) mod watch;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Start a run that a file describes.
    Submit(submit::Submit),
    /// All runs, oldest first.
    List(list::List),
    /// One run: how far it is, what it waits for, its newest round.
    Show(show::Show),
    /// Follow a run until it ends; exits with 0 only if it completed.
    Watch(watch::Watch),
    /// What happened in a run.
    Log(log::Log),
    /// Let other policies decide a run, from its next round on.
    SetPolicy(set_policy::SetPolicy),
    /// End a run early; its models are kept.
    Stop(stop::Stop),
}
