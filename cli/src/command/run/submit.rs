//! `polder run submit`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use polder_core::RunId;
use polder_core::policy::{PolicyKind, PolicyRef};
use polder_core::spec::ModelSpec;
use polder_core::view::PolicyView;
use serde::Serialize;

use crate::args::Context;
use crate::client::{CallError, Client, NewPolicy};
use crate::component;
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
            Ended::usage(format!("the run file's `policy.{kind}.parameters` cannot be used: {sentence}"))
        }
        _ => error.into(),
    }
}

/// Finds the policy, pushing it first if it comes from a file, and pins it by digest.
async fn pin(client: &Client, plan: &PolicyPlan, kind: PolicyKind) -> anyhow::Result<PolicyRef> {
    let (found, called) = match &plan.source {
        PolicySource::Coordinator => (find(client, plan).await?, format!("policy `{}`", plan.called)),
        PolicySource::File(path) => {
            let (called, component) = (plan.called.clone(), component::read(path)?);
            let policy = NewPolicy { called, component, signature: None, dry_run: false };
            (client.push_policy(policy).await?.view, format!("`{}`", path.display()))
        }
    };
    if found.kind != kind {
        return Err(Ended::usage(format!("{called} is for {}, and the run wants it for {kind}", found.kind)));
    }
    let PolicyPlan { parameters, on_failure, .. } = plan.clone();
    let version = Some(found.version);
    Ok(PolicyRef { version, parameters, on_failure, ..PolicyRef::new(found.name, found.digest) })
}

async fn find(client: &Client, plan: &PolicyPlan) -> anyhow::Result<PolicyView> {
    match client.policy_details(&plan.called.to_string(), &plan.parameters).await {
        Ok(found) => Ok(found.view.policy),
        Err(CallError::Refused { sentence, code: tonic::Code::NotFound, .. }) => {
            let hint = format!("{sentence}. Push yours with `polder policy push FILE --name {}`", plan.called);
            Err(Ended::error(Exit::NotFound, plain(&hint)))
        }
        Err(error) => Err(error.into()),
    }
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
        assert!(parameters.to_string().contains("`policy.aggregation.parameters`"), "{parameters}");
        let other = refused("bad_spec", "aggregation policy `fedavg` is odd");
        assert_eq!(exit_of(&other), Exit::Refused);
    }
}
