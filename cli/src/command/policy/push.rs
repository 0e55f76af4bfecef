//! `polder policy push`

use std::path::PathBuf;

use clap::Args;
use polder_core::policy::PolicyKind;
use polder_security::Signer;

use crate::args::Context;
use crate::called::Called;
use crate::client::{NewPolicy, digest_of};
use crate::component;
use crate::failure::Ended;
use crate::output::{plain, talk};

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// A WebAssembly component, or the core module that a compiler made of a policy's source (.wasm).
    file: PathBuf,
    /// What runs call it by; without a version it gets the next whole number [default: the file's name].
    #[arg(long, value_name = "NAME[@VERSION]")]
    name: Option<Called>,
    /// Sign it with this Ed25519 key, as `openssl genpkey -algorithm ed25519 -out KEY.pem` makes one.
    #[arg(long, value_name = "KEY.pem")]
    key: Option<PathBuf>,
    /// Let the coordinator check and try it, but keep nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Push {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let called = match self.name {
            Some(called) => called,
            None => self.file.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).ok_or_else(|| {
                Ended::usage(format!("`{}` makes no name for a policy; give --name NAME", self.file.display()))
            })?,
        };
        let component = component::read(&self.file)?;
        let signature = match &self.key {
            None => None,
            Some(path) => {
                let signer = Signer::from_pem_file(path).map_err(|error| Ended::usage(error.to_string()))?;
                Some(signer.sign(&digest_of(&component).to_string()))
            }
        };
        let dry_run = self.dry_run;
        let policy = NewPolicy { called, component, signature, dry_run };
        let policy = context.client().await?.push_policy(policy).await?;
        if context.output.is_json() {
            return context.output.line(&policy.text);
        }
        context.output.line(&policy.digest.to_string())?;
        let kind = match policy.kind {
            PolicyKind::Aggregation => "an aggregation",
            PolicyKind::Placement => "a placement",
            PolicyKind::Release => "a release",
        };
        let signed = policy.signer.as_ref().map(|signer| format!(", signed by {signer}")).unwrap_or_default();
        let text = match dry_run {
            true => format!("{} would be {kind} policy{signed}; nothing was stored.", policy.id()),
            false => format!("{} is {kind} policy now{signed}.", policy.id()),
        };
        talk(&plain(&text))
    }
}
