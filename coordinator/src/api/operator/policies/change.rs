//! `run set-policy`: other policies for a run, from its next round on.

use polder_core::federation::Refusal;
use polder_core::policy::{OnFailure, PolicyKind, PolicyRef};
use polder_core::{Event, RoundNumber, RunId};
use polder_proto::convert::parsed;
use polder_proto::unwelcome;
use polder_proto::v1::{PolicyChange, SetPoliciesRequest, SetPoliciesResponse};
use tonic::{Code, Status};

use super::{find, vouched};
use crate::api::Services;
use crate::api::operator::{document, runs};

/// What is in force before the change.
struct Before {
    placement: PolicyRef,
    aggregation: PolicyRef,
    next_round: RoundNumber,
}

pub(in crate::api::operator) async fn set(
    services: &Services,
    request: SetPoliciesRequest,
) -> Result<SetPoliciesResponse, Status> {
    let run: RunId = parsed("run", &request.run)?;
    if request.placement.is_none() && request.aggregation.is_none() {
        let text = "nothing is to change; name a placement or an aggregation policy, or other parameters for one";
        return Err(unwelcome(Code::InvalidArgument, "malformed", text));
    }
    let before = before(services, &run).await?;
    let placement = match request.placement {
        Some(change) => Some(changed(services, &before.placement, change, PolicyKind::Placement).await?),
        None => None,
    };
    let aggregation = match request.aggregation {
        Some(change) => Some(changed(services, &before.aggregation, change, PolicyKind::Aggregation).await?),
        None => None,
    };
    if let Some(policy) = &placement {
        runs::check_policy(services, policy, PolicyKind::Placement).await?;
    }
    let aggregation = match aggregation {
        Some(policy) => {
            let traits = runs::describe_policy(services, &policy).await?;
            Some((policy, traits))
        }
        None => None,
    };
    let in_force = SetPoliciesResponse {
        placement_json: document(placement.as_ref().unwrap_or(&before.placement))?,
        aggregation_json: document(aggregation.as_ref().map_or(&before.aggregation, |(policy, _)| policy))?,
        from_round: before.next_round,
    };
    services.handle.apply(Event::PoliciesSet { run, placement, aggregation }).await?;
    Ok(in_force)
}

async fn before(services: &Services, run: &RunId) -> Result<Before, Status> {
    let id = run.clone();
    let before = services.handle.ask(move |federation| {
        let run = federation.runs.get(&id).ok_or(Refusal::UnknownRun { run: id })?;
        let next_round = run.history.closed().saturating_add(1 + RoundNumber::from(run.round.is_some()));
        Ok(Before { placement: run.placement.clone(), aggregation: run.aggregation.clone(), next_round })
    });
    before.await?.map_err(|refusal: Refusal| polder_proto::refused(&refusal))
}

/// What will be in force instead of `before`.
async fn changed(
    services: &Services,
    before: &PolicyRef,
    change: PolicyChange,
    kind: PolicyKind,
) -> Result<PolicyRef, Status> {
    let on_failure = match &change.on_failure {
        None => before.on_failure,
        Some(word) => on_failure(word)?,
    };
    let Some(wanted) = change.policy else {
        let parameters = change.parameters.unwrap_or_else(|| before.parameters.clone());
        return Ok(PolicyRef { parameters, on_failure, ..before.clone() });
    };
    let found = find(services, &wanted).await?;
    if found.kind != kind {
        let text = format!("`{}` decides {}, not {kind}", found.id(), found.kind);
        return Err(unwelcome(Code::InvalidArgument, "bad_policy", text));
    }
    let parameters = change
        .parameters
        .unwrap_or_else(|| if found.digest == before.digest { before.parameters.clone() } else { "{}".into() });
    let pinned = PolicyRef { parameters, on_failure, ..PolicyRef::new(found.name, found.digest) };
    vouched(services, pinned).await
}

fn on_failure(word: &str) -> Result<OnFailure, Status> {
    let all = [OnFailure::Retry, OnFailure::Previous, OnFailure::Builtin, OnFailure::Abandon];
    all.into_iter().find(|choice| choice.to_string() == word).ok_or_else(|| {
        let text = format!("`{word}` is nothing to do on failure; there are retry, previous, builtin and abandon");
        unwelcome(Code::InvalidArgument, "malformed", text)
    })
}
