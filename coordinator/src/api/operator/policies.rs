//! Policies: listed, shown, pulled and removed here; `push` takes new ones in, `change` gives them to runs.

pub(super) mod change;
mod find;
mod push;

use futures_util::{Stream, StreamExt};
use polder_core::view::{LimitView, PolicyDetails, PolicyView};
use polder_core::{Digest, Event, Federation, PolicyId, RunId};
use polder_policy::{CONTRACT_VERSION, Policy, PolicyError};
use polder_proto::convert::parsed;
use polder_proto::unwelcome;
use polder_proto::v1::{GetPolicyRequest, PullPolicyResponse};
use tonic::{Code, Status};

use super::{claim, document, internal, storage_failed};
use crate::api::Services;
use crate::api::transfer;
use crate::driver::{blocking, chain};
use crate::policies::UnusablePolicy;

pub(super) use find::{builtin_view, find, vouched};
pub(super) use push::push;

/// The built-in policies, then those pushed.
pub(super) async fn list(services: &Services) -> Result<Vec<PolicyView>, Status> {
    let mut views = polder_policy::builtins().iter().map(builtin_view).collect::<Result<Vec<_>, _>>()?;
    let pushed = services.handle.ask(|federation| {
        federation.policies.iter().map(|(id, stored)| PolicyView::of(id, stored)).collect::<Vec<_>>()
    });
    views.extend(pushed.await?);
    Ok(views)
}

/// One policy, with what it says of itself and what it is held to.
pub(super) async fn get(services: &Services, request: GetPolicyRequest) -> Result<PolicyDetails, Status> {
    let policy = find(services, &request.policy).await?;
    let parameters = if request.parameters.is_empty() { "{}".into() } else { request.parameters };
    let digest = policy.digest;
    let runs = services.handle.ask(move |federation| users(federation, digest)).await?;
    let loaded = services.policies.load(digest).await.map_err(|error| unusable(&policy, &error))?;
    let (host, asked) = (services.policies.host().clone(), parameters.clone());
    let described = blocking(move || describe(&host, &loaded, &asked)).await;
    let (traits, refuses) = match described {
        Ok(traits) => (traits, None),
        Err(error) => (None, Some(chain(&error))),
    };
    let limits = services.policies.host().limits().entries();
    let limits =
        limits.into_iter().map(|(key, value, about)| LimitView { key: key.into(), value, about: about.into() });
    let limits = limits.collect();
    Ok(PolicyDetails { policy, contract: CONTRACT_VERSION.into(), parameters, traits, refuses, runs, limits })
}

/// What an aggregation policy says of itself; of the others only whether they take the parameters.
fn describe(
    host: &polder_policy::PolicyHost,
    policy: &Policy,
    parameters: &str,
) -> Result<Option<polder_core::policy::AggregationTraits>, PolicyError> {
    match policy.kind() {
        polder_core::policy::PolicyKind::Aggregation => host.describe(policy, parameters).map(Some),
        _ => host.check_parameters(policy, parameters).map(|()| None),
    }
}

/// The runs that `digest` is pinned by, in the order of submission.
fn users(federation: &Federation, digest: Digest) -> Vec<RunId> {
    let uses = |run: &&polder_core::run::Run| run.placement.digest == digest || run.aggregation.digest == digest;
    federation.runs_in_order().filter(uses).map(|run| run.id.clone()).collect()
}

/// The policy's document, then its bytes.
pub(super) async fn pull(
    services: &Services,
    policy: &str,
) -> Result<impl Stream<Item = Result<PullPolicyResponse, Status>> + Send + 'static, Status> {
    let policy = find(services, policy).await?;
    let first = PullPolicyResponse { policy_json: Some(document(&policy)?), data: bytes::Bytes::new() };
    let bytes = match polder_policy::builtins().iter().find(|builtin| builtin.digest() == policy.digest) {
        Some(builtin) => bytes::Bytes::from_static(builtin.bytes),
        None => services.store.blobs().get(&policy.digest).await.map_err(storage_failed)?,
    };
    let chunks = transfer::chunks(bytes).map(|data| Ok(PullPolicyResponse { policy_json: None, data }));
    Ok(futures_util::stream::iter([Ok(first)]).chain(chunks))
}

/// Takes a name and version away; its bytes stay for the runs that pinned them.
pub(super) async fn remove(services: &Services, policy: &str) -> Result<PolicyView, Status> {
    if !policy.contains('@') {
        let text = format!("`{policy}` names no version; say which one goes, as `{policy}@1`");
        return Err(unwelcome(Code::InvalidArgument, "malformed", text));
    }
    let PolicyId { name, version } = parsed("policy", policy)?;
    let view = find(services, policy).await?;
    if view.is_builtin {
        let text = format!("`{policy}` is built in and cannot be removed");
        return Err(unwelcome(Code::FailedPrecondition, "is_builtin", text));
    }
    services.handle.apply(Event::PolicyRemoved { name, version }).await?;
    Ok(view)
}

fn unusable(policy: &PolicyView, error: &UnusablePolicy) -> Status {
    let text = format!("policy `{}` cannot be used: {}", policy.id(), chain(error));
    unwelcome(Code::FailedPrecondition, "bad_policy", text)
}
