//! A policy comes in: checked, compiled and tried in the sandbox before it is stored, and stored before it has a name.

use bytes::{Bytes, BytesMut};
use polder_core::digest::Algorithm;
use polder_core::federation::{Refusal, StoredPolicy};
use polder_core::policy::PolicySignature;
use polder_core::view::PolicyView;
use polder_core::{Digest, Event, PolicyId, PolicyName, PolicyVersion};
use polder_policy::{Policy, builtins};
use polder_proto::convert::parsed;
use polder_proto::unwelcome;
use polder_proto::v1::push_policy_request::Message;
use polder_proto::v1::{PolicyHeader, PushPolicyRequest};
use tonic::{Code, Status, Streaming};

use super::{claim, storage_failed, transfer};
use crate::api::Services;
use crate::config::now;
use crate::driver::{blocking, chain};
use crate::handle::HandleError;
use crate::policies::trial;

/// How often a version is looked for that nobody else takes meanwhile.
const VERSION_ATTEMPTS: u32 = 5;

/// What the first message says, read.
struct Announced {
    name: PolicyName,
    version: Option<PolicyVersion>,
    bytes: u64,
    signature: Option<PolicySignature>,
    dry_run: bool,
}

pub(in crate::api::operator) async fn push(
    services: &Services,
    mut stream: Streaming<PushPolicyRequest>,
) -> Result<PolicyView, Status> {
    let first = transfer::next(&mut stream).await?.and_then(|first| first.message);
    let Some(Message::Header(header)) = first else {
        return Err(refuse("malformed", "an upload starts with its header"));
    };
    let announced = Announced::read(header)?;
    let bytes = collect(services, &mut stream, announced.bytes).await?;
    let policy = check(services, &announced, bytes.clone()).await?;
    let stored = StoredPolicy {
        kind: policy.kind(),
        digest: policy.digest(),
        bytes: bytes.len() as u64,
        signature: announced.signature.clone(),
        pushed_at: now(),
    };
    if announced.dry_run {
        return foresee(services, &announced, stored).await;
    }
    // Until it has its name, nothing refers to it.
    let _claim = claim(services, stored.digest)?;
    services.store.blobs().put(Algorithm::Sha256, bytes).await.map_err(storage_failed)?;
    name(services, &announced, stored).await
}

impl Announced {
    fn read(header: PolicyHeader) -> Result<Self, Status> {
        let PolicyHeader { name, bytes, version, signer, signature, dry_run } = header;
        let name: PolicyName = parsed("name", &name)?;
        if builtins().iter().any(|builtin| builtin.name == name.as_str()) {
            let text = format!("`{name}` is a built-in policy; choose another name");
            return Err(unwelcome(Code::AlreadyExists, "name_taken", text));
        }
        let version = version.map(|version| parsed("version", &version)).transpose()?;
        let signature = match (signer.is_empty(), signature.is_empty()) {
            (true, true) => None,
            (false, false) => Some(PolicySignature { signer, signature }),
            _ => return Err(refuse("malformed", "a signature needs its signer, and a signer a signature")),
        };
        Ok(Self { name, version, bytes, signature, dry_run })
    }
}

/// The component's bytes: as many as were announced, and no more than the sandbox takes.
async fn collect(
    services: &Services,
    stream: &mut Streaming<PushPolicyRequest>,
    announced: u64,
) -> Result<Bytes, Status> {
    let limit = services.policies.host().limits().component_bytes_max;
    let too_large =
        || refuse("bad_policy", format!("the component is larger than {limit} bytes (component_bytes_max)"));
    if announced > limit {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    while let Some(request) = transfer::next(stream).await? {
        let Some(Message::Data(data)) = request.message else {
            return Err(refuse("malformed", "only data follows the header"));
        };
        if bytes.len() as u64 + data.len() as u64 > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    if bytes.len() as u64 != announced {
        return Err(refuse("malformed", format!("{announced} bytes were announced, and {} came", bytes.len())));
    }
    Ok(bytes.freeze())
}

/// Compiles the component, holds it to the contract, checks who vouches for it, and tries it.
async fn check(services: &Services, announced: &Announced, bytes: Bytes) -> Result<Policy, Status> {
    let name = &announced.name;
    let host = services.policies.host().clone();
    let policy = blocking(move || host.load(&bytes)).await;
    let bad = |error: &dyn std::error::Error| refuse("bad_policy", format!("`{name}` was not taken: {}", chain(error)));
    let policy = policy.map_err(|error| bad(&error))?;
    if let Some(signature) = &announced.signature {
        polder_security::signature::verify(&policy.digest().to_string(), signature)
            .map_err(|error| refuse("bad_signature", format!("`{name}` was not taken: {}", chain(&error))))?;
    }
    services.policies.check_signer(name, announced.signature.as_ref()).map_err(|error| {
        unwelcome(Code::PermissionDenied, "untrusted_signer", format!("`{name}` was not taken: {error}"))
    })?;
    let (host, tried) = (services.policies.host().clone(), policy.clone());
    blocking(move || trial::try_out(&host, &tried)).await.map_err(|error| bad(&error))?;
    Ok(policy)
}

/// The name and version that the component gets.
async fn free_id(services: &Services, announced: &Announced, digest: Digest) -> Result<PolicyId, Status> {
    let (name, version) = (announced.name.clone(), announced.version.clone());
    let found = services.handle.ask(move |federation| {
        let version = match (version, federation.newest(&name)) {
            (Some(version), _) => version,
            // The same bytes again are the same policy, not a new version of it.
            (None, Some((id, held))) if held.digest == digest => id.version.clone(),
            (None, _) => federation.next_version(&name)?,
        };
        Some(PolicyId { name, version })
    });
    found
        .await?
        .ok_or_else(|| refuse("bad_version", "there is no next version of this name; give one with `NAME@VERSION`"))
}

/// What pushing would say, without storing anything.
async fn foresee(services: &Services, announced: &Announced, stored: StoredPolicy) -> Result<PolicyView, Status> {
    let id = free_id(services, announced, stored.digest).await?;
    let would = id.clone();
    let pushed = stored.digest;
    let refusal = services.handle.ask(move |federation| match federation.policies.get(&would) {
        Some(held) if held.digest != pushed => {
            Some(Refusal::PolicyExists { policy: would, digest: held.digest, pushed })
        }
        _ => None,
    });
    match refusal.await? {
        Some(refusal) => Err(polder_proto::refused(&refusal)),
        None => Ok(PolicyView::of(&id, &stored)),
    }
}

/// Gives the stored component its name. Of two that want the same one, the core decides.
async fn name(services: &Services, announced: &Announced, stored: StoredPolicy) -> Result<PolicyView, Status> {
    let mut attempts = 0;
    let id = loop {
        let id = free_id(services, announced, stored.digest).await?;
        let PolicyId { name, version } = id.clone();
        let StoredPolicy { kind, digest, bytes, signature, .. } = stored.clone();
        attempts += 1;
        match services.handle.apply(Event::PolicyPushed { name, version, kind, digest, bytes, signature }).await {
            Ok(()) => break id,
            Err(HandleError::Refused(_)) if announced.version.is_none() && attempts < VERSION_ATTEMPTS => {}
            Err(error) => return Err(error.into()),
        }
    };
    let asked = id.clone();
    let held = services.handle.ask(move |federation| federation.policies.get(&asked).cloned()).await?;
    Ok(PolicyView::of(&id, &held.unwrap_or(stored)))
}

fn refuse(word: &'static str, text: impl Into<String>) -> Status {
    unwelcome(Code::InvalidArgument, word, text)
}
