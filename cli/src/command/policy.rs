//! `polder policy …`

pub(crate) mod list;
pub(crate) mod new;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod rm;
pub(crate) mod show;
pub(crate) mod test;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Begin a policy: a folder with its source, its tests, a recorded case and everything that builds it.
    New(new::New),
    /// Try a policy on this machine, without a coordinator: the contract's checks, then your recorded cases.
    Test(test::Test),
    /// Upload a policy; it is checked and tried in the sandbox before it gets its name.
    Push(push::Push),
    /// The built-in policies, then those pushed.
    List(list::List),
    /// One policy: what it says of itself, who vouches for it, which runs it decides, what it is held to.
    Show(show::Show),
    /// Download a policy's component.
    Pull(pull::Pull),
    /// Take a name and version away; runs that use the component keep it.
    Rm(rm::Rm),
}
