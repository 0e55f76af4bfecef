//! Policies, as an operator deals with them.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use polder_core::policy::{OnFailure, PolicyKind, PolicyRef, PolicySignature};
use polder_core::view::{PolicyDetails, PolicyView};
use polder_core::{Digest, RoundNumber, RunId};
use polder_proto::v1::{
    GetPolicyRequest, ListPoliciesRequest, PolicyChange, PolicyHeader, PullPolicyRequest, PushPolicyRequest,
    RemovePolicyRequest, SetPoliciesRequest, push_policy_request,
};
use serde::Serialize;
use sha2::Digest as _;

use super::error::CallError;
use super::transfer::{STALL, chunks};
use super::{Client, Document, within, within_limit};
use crate::called::Called;

/// A pushed policy is compiled and tried before the answer comes.
const PUSH: Duration = Duration::from_secs(120);
/// Larger than any policy that a coordinator may have.
const COMPONENT_BYTES_MAX: usize = 256 << 20;

/// A policy on its way to the coordinator.
#[derive(Clone, Debug)]
pub struct NewPolicy {
    /// Without a version it gets the next one.
    pub called: Called,
    pub component: Bytes,
    pub signature: Option<PolicySignature>,
    /// Check and try it, but keep nothing.
    pub dry_run: bool,
}

/// What is to be changed about one policy of a run; what is none stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyWish {
    /// `NAME`, `NAME@VERSION` or a digest.
    pub policy: Option<String>,
    /// One JSON object.
    pub parameters: Option<String>,
    pub on_failure: Option<OnFailure>,
}

/// What decides a run from a round on. `--json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Swapped {
    pub run: RunId,
    pub from_round: RoundNumber,
    pub placement: PolicyRef,
    pub aggregation: PolicyRef,
}

impl Client {
    /// The built-in policies, then those pushed.
    pub async fn policies(&self) -> Result<Vec<Document<PolicyView>>, CallError> {
        Document::parse_all(within(self.service().list_policies(ListPoliciesRequest {})).await?.policies_json)
    }

    /// The policy of `kind` that goes by `name` (or `name@version`), if there is one.
    pub async fn policy(&self, kind: PolicyKind, name: &str) -> Result<Option<PolicyView>, CallError> {
        match self.policy_details(name, "{}").await {
            Ok(found) => Ok(Some(found.view.policy).filter(|policy| policy.kind == kind)),
            Err(CallError::Refused { code: tonic::Code::NotFound, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All there is to know of the policy `NAME`, `NAME@VERSION` or digest, under these parameters.
    pub async fn policy_details(&self, policy: &str, parameters: &str) -> Result<Document<PolicyDetails>, CallError> {
        let request = GetPolicyRequest { policy: policy.into(), parameters: parameters.into() };
        let mut service = self.service();
        // One that was not asked for long is compiled first.
        let answer = within_limit(PUSH, service.get_policy(request)).await?;
        Document::parse(answer.into_inner().policy_json)
    }

    /// Uploads a policy component.
    pub async fn push_policy(&self, policy: NewPolicy) -> Result<Document<PolicyView>, CallError> {
        let NewPolicy { called, component, signature, dry_run } = policy;
        let (signer, signature) = signature.map(|by| (by.signer, by.signature)).unwrap_or_default();
        let header = PolicyHeader {
            name: called.name.to_string(),
            bytes: component.len() as u64,
            version: called.version.map(|version| version.to_string()),
            signer,
            signature,
            dry_run,
        };
        let message = |message| PushPolicyRequest { message: Some(message) };
        let first = message(push_policy_request::Message::Header(header));
        let rest = chunks(component).map(move |data| message(push_policy_request::Message::Data(data)));
        let mut service = self.service();
        let answer = within_limit(PUSH, service.push_policy(stream::iter([first]).chain(rest))).await?;
        Document::parse(answer.into_inner().policy_json)
    }

    /// The policy and its component, checked against the digest.
    pub async fn pull_policy(&self, policy: &str) -> Result<(Document<PolicyView>, Vec<u8>), CallError> {
        let mut service = self.service();
        let mut stream = within(service.pull_policy(PullPolicyRequest { policy: policy.into() })).await?;
        let first = within_limit(STALL, stream.message()).await?.and_then(|first| first.policy_json);
        let view: Document<PolicyView> =
            Document::parse(first.ok_or_else(|| CallError::answer("the policy's document is missing"))?)?;
        let mut bytes = Vec::new();
        while let Some(piece) = within_limit(STALL, stream.message()).await? {
            if bytes.len() + piece.data.len() > COMPONENT_BYTES_MAX {
                return Err(CallError::answer(format!("the policy is larger than {COMPONENT_BYTES_MAX} bytes")));
            }
            bytes.extend_from_slice(&piece.data);
        }
        if digest_of(&bytes) != view.digest {
            return Err(CallError::answer(format!("what came is not {}; try again", view.digest)));
        }
        Ok((view, bytes))
    }

    /// Takes `NAME@VERSION` away.
    pub async fn remove_policy(&self, policy: &str) -> Result<Document<PolicyView>, CallError> {
        let request = RemovePolicyRequest { policy: policy.into() };
        Document::parse(within(self.service().remove_policy(request)).await?.policy_json)
    }

    /// Gives a run other policies from its next round on.
    pub async fn set_policies(
        &self,
        run: &RunId,
        placement: Option<PolicyWish>,
        aggregation: Option<PolicyWish>,
    ) -> Result<Swapped, CallError> {
        let change = |wish: PolicyWish| PolicyChange {
            policy: wish.policy,
            parameters: wish.parameters,
            on_failure: wish.on_failure.map(|choice| choice.to_string()),
        };
        let request = SetPoliciesRequest {
            run: run.to_string(),
            placement: placement.map(change),
            aggregation: aggregation.map(change),
        };
        let mut service = self.service();
        let answer = within_limit(PUSH, service.set_policies(request)).await?.into_inner();
        let read = |text: &str| serde_json::from_str(text).map_err(CallError::answer);
        Ok(Swapped {
            run: run.clone(),
            from_round: answer.from_round,
            placement: read(&answer.placement_json)?,
            aggregation: read(&answer.aggregation_json)?,
        })
    }
}

/// SHA-256, which policies go by.
#[must_use]
pub(crate) fn digest_of(component: &[u8]) -> Digest {
    Digest::sha256(sha2::Sha256::digest(component).into())
}
