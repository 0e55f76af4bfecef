//! `polder run submit`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use polder_core::RunId;
use polder_core::policy::{PolicyKind, PolicyRef};
use polder_core::spec::ModelSpec;
use serde::Serialize;

use crate::args::Context;
use crate::client::{CallError, Client};
use crate::command::policy::push::read_component;
use crate::failure::{Ended, Exit};
use crate::output::{plain, talk};
use crate::run_file::{Override, PolicyPlan, PolicySource, RunFile, keys, model_spec};

#[derive(Debug, Args)]
#[command(after_long_help = keys::help())]
pub(crate) struct Submit {
    /// Describes the run; `--help` lists its keys, examples/ has files to start from.
    #[arg(value_name = "RUN.toml")]
    file: PathBuf,
    /// Put a value in place of what the file says, e.g. `--set train.epochs=3`.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<Override>,
    /// Follow the run until it ends, as `polder run watch` does.
    #[arg(long)]
    watch: bool,
}

/// A run that was accepted, and what it is pinned to. `--json` prints it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Submitted {
    pub(crate) run: RunId,
    pub(crate) model: ModelSpec,
    pub(crate) placement: PolicyRef,
    pub(crate) aggregation: PolicyRef,
}

/// The same where objects of other types follow.
#[derive(Serialize)]
#[serde(tag = "type", rename = "submitted")]
struct First<'a> {
    #[serde(flatten)]
    submitted: &'a Submitted,
}

impl Submit {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let file = RunFile::load(&self.file, &self.set)?;
        let client = context.client().await?;
        let submitted = submit(&client, &file).await?;
        match (context.output.is_json(), self.watch) {
            (true, true) => context.output.object(&First { submitted: &submitted })?,
            (true, false) => context.output.object(&submitted)?,
            (false, _) => context.output.line(submitted.run.as_str())?,
        }
        if self.watch {
            return super::watch::watch(context, &client, &submitted.run, 0).await;
        }
        if context.output.is_json() {
            return Ok(());
        }
        talk(&format!("Follow it with: polder run watch {}", submitted.run))
    }
}

/// Makes the first model, sees to it that the coordinator has model and policies, and submits the run.
pub(crate) async fn submit(client: &Client, file: &RunFile) -> anyhow::Result<Submitted> {
    let (plan, seed) = (file.model.clone(), file.seed);
    let parameters = tokio::task::spawn_blocking(move || plan.initial(seed)).await??;
    let placement = pin(client, &file.placement, PolicyKind::Placement).await?;
    let aggregation = pin(client, &file.aggregation, PolicyKind::Aggregation).await?;
    client.upload_model(&parameters).await.context("the run's first model cannot be uploaded")?;
    let model = model_spec(&parameters);
    let spec = file.spec(model.clone(), placement.clone(), aggregation.clone());
    let run = client.submit_run(&spec).await.map_err(policy_refused)?;
    Ok(Submitted { run, model, placement, aggregation })
}

/// A policy was found before, so that only its parameters can be why the coordinator will not have it: says which key.
fn policy_refused(error: CallError) -> anyhow::Error {
    let CallError::Refused { sentence, word: Some(word), .. } = &error else { return error.into() };
    let kinds = [PolicyKind::Placement, PolicyKind::Aggregation];
    match kinds.iter().find(|kind| sentence.starts_with(&format!("{kind} "))) {
        Some(kind) if word == "bad_policy" => {
            Ended::usage(format!("the run file's `policies.{kind}.parameters` cannot be used: {sentence}"))
        }
        _ => error.into(),
    }
}

/// Finds the policy, pushing it first if it comes from a file, and pins it by digest.
async fn pin(client: &Client, plan: &PolicyPlan, kind: PolicyKind) -> anyhow::Result<PolicyRef> {
    let digest = match &plan.source {
        PolicySource::Coordinator => find(client, plan, kind).await?,
        PolicySource::File(path) => {
            let pushed = client.push_policy(&plan.name, read_component(path)?).await?;
            if pushed.kind != kind {
                let found = format!("`{}` is for {}, and the run wants it for {kind}", path.display(), pushed.kind);
                return Err(Ended::usage(found));
            }
            pushed.digest
        }
    };
    Ok(PolicyRef { name: plan.name.clone(), digest, parameters: plan.parameters.clone() })
}

async fn find(client: &Client, plan: &PolicyPlan, kind: PolicyKind) -> anyhow::Result<polder_core::Digest> {
    let policies = client.policies().await?;
    let of_kind: Vec<_> = policies.iter().filter(|policy| policy.kind == kind).collect();
    if let Some(found) = of_kind.iter().find(|policy| policy.name == plan.name) {
        return Ok(found.digest);
    }
    let known: Vec<&str> = of_kind.iter().map(|policy| policy.name.as_str()).collect();
    let sentence = format!(
        "the coordinator has no {kind} policy `{}`; it has {}. Push yours with `polder policy push FILE --name {}`",
        plan.name,
        known.join(", "),
        plan.name
    );
    Err(Ended::error(Exit::NotFound, plain(&sentence)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::exit_of;

    #[test]
    fn refused_parameters_name_their_key() {
        let refused = |word: &str, sentence: &str| {
            let (code, word) = (tonic::Code::InvalidArgument, Some(word.into()));
            policy_refused(CallError::Refused { sentence: sentence.into(), code, word })
        };
        let parameters = refused("bad_policy", "aggregation policy `fedavg` cannot be used: no such key");
        assert_eq!(exit_of(&parameters), Exit::BadInput);
        assert!(parameters.to_string().contains("`policies.aggregation.parameters`"), "{parameters}");
        let other = refused("bad_spec", "aggregation policy `fedavg` is odd");
        assert_eq!(exit_of(&other), Exit::Refused);
    }
}
