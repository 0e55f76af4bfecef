//! Submitting a run: everything that can be checked is checked before it is accepted.

use polder_core::policy::{AggregationTraits, PolicyKind, PolicyRef};
use polder_core::spec::RunSpec;
use polder_core::{Digest, Event, RunId};
use polder_proto::unwelcome;
use tonic::{Code, Status};

use super::{internal, policies, storage_failed};
use crate::api::Services;
use crate::driver::chain;
use crate::layouts::LayoutError;
use crate::policies::UnusablePolicy;
use crate::store::StoreError;

pub(super) async fn submit(services: &Services, spec: &str) -> Result<RunId, Status> {
    let bad = |text: String| unwelcome(Code::InvalidArgument, "bad_spec", text);
    let mut spec: RunSpec =
        serde_json::from_str(spec).map_err(|error| bad(format!("the run cannot be read: {error}")))?;
    spec.check().map_err(|error| bad(error.to_string()))?;
    // Until the run is there, its model must not go.
    let digest = spec.model.digest;
    let _claim = services.handle.claims().claim(digest).ok_or_else(|| missing(&digest))?;
    // It may be gone nevertheless, though its shape is still known.
    if !services.store.blobs().ensure_shared(&digest).await.map_err(storage_failed)? {
        return Err(missing(&digest));
    }
    check_model(services, &spec).await?;
    spec.placement = policies::vouched(services, spec.placement).await?;
    spec.aggregation = policies::vouched(services, spec.aggregation).await?;
    check_policy(services, &spec.placement, PolicyKind::Placement).await?;
    let traits = describe_policy(services, &spec.aggregation).await?;
    let run = RunId::new(format!("{}-{:06x}", spec.name, rand::random::<u32>() >> 8)).map_err(internal)?;
    services.handle.apply(Event::RunSubmitted { run: run.clone(), spec: Box::new(spec), traits }).await?;
    Ok(run)
}

fn missing(digest: &Digest) -> Status {
    let text = format!("model {digest} is not here; upload it before the run is submitted");
    unwelcome(Code::InvalidArgument, "bad_spec", text)
}

async fn check_model(services: &Services, spec: &RunSpec) -> Result<(), Status> {
    let bad = |text: String| unwelcome(Code::InvalidArgument, "bad_spec", text);
    let layout = services.layouts.of(&spec.model.digest).await.map_err(|error| match error {
        LayoutError::Store(StoreError::BlobMissing { digest }) => missing(&digest),
        LayoutError::Store(error) => storage_failed(error),
        error => bad(chain(&error)),
    })?;
    let (parameters, bytes) = (layout.parameter_count(), layout.file_bytes());
    if (parameters, bytes) == (spec.model.parameters, spec.model.bytes) {
        Ok(())
    } else {
        Err(bad(format!(
            "the run says its model has {} parameters in {} bytes; it has {parameters} in {bytes}",
            spec.model.parameters, spec.model.bytes
        )))
    }
}

/// Whether the policy can be loaded, is of `kind` and takes its parameters.
pub(super) async fn check_policy(services: &Services, policy: &PolicyRef, kind: PolicyKind) -> Result<(), Status> {
    services.policies.check(policy, kind).await.map_err(|error| cannot_be_used(policy, kind, &error))
}

/// The same for an aggregation policy, with what it says of itself.
pub(super) async fn describe_policy(services: &Services, policy: &PolicyRef) -> Result<AggregationTraits, Status> {
    let described = services.policies.describe(policy).await;
    described.map_err(|error| cannot_be_used(policy, PolicyKind::Aggregation, &error))
}

fn cannot_be_used(policy: &PolicyRef, kind: PolicyKind, error: &UnusablePolicy) -> Status {
    let text = format!("{kind} policy `{}` cannot be used: {}", policy.name, chain(error));
    unwelcome(Code::InvalidArgument, "bad_policy", text)
}
