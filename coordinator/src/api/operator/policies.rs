//! Policies come in: checked, compiled and dry-run in the sandbox before they get a name.

use bytes::{Bytes, BytesMut};
use polder_core::digest::Algorithm;
use polder_core::view::PolicyView;
use polder_core::{Event, PolicyName};
use polder_policy::builtins;
use polder_proto::convert::parsed;
use polder_proto::unwelcome;
use polder_proto::v1::PushPolicyRequest;
use polder_proto::v1::push_policy_request::Message;
use tonic::{Code, Status, Streaming};

use super::{internal, transfer};
use crate::api::Services;
use crate::driver::{blocking, chain};

pub(super) async fn list(services: &Services) -> Result<Vec<PolicyView>, Status> {
    let mut views = Vec::new();
    for builtin in builtins() {
        views.push(PolicyView {
            name: PolicyName::new(builtin.name).map_err(internal)?,
            kind: builtin.kind,
            digest: builtin.digest(),
            bytes: builtin.bytes.len() as u64,
            is_builtin: true,
        });
    }
    let pushed = services.handle.ask(|federation| {
        let view = |(name, policy): (&PolicyName, &polder_core::federation::StoredPolicy)| PolicyView {
            name: name.clone(),
            kind: policy.kind,
            digest: policy.digest,
            bytes: policy.bytes,
            is_builtin: false,
        };
        federation.policies.iter().map(view).collect::<Vec<_>>()
    });
    views.extend(pushed.await?);
    Ok(views)
}

pub(super) async fn push(services: &Services, mut stream: Streaming<PushPolicyRequest>) -> Result<PolicyView, Status> {
    let refuse = |word, text: String| unwelcome(Code::InvalidArgument, word, text);
    let first = transfer::next(&mut stream).await?.and_then(|first| first.message);
    let Some(Message::Header(header)) = first else {
        return Err(refuse("malformed", "an upload starts with its header".into()));
    };
    let name: PolicyName = parsed("name", &header.name)?;
    if builtins().iter().any(|builtin| builtin.name == name.as_str()) {
        return Err(refuse("name_taken", format!("`{name}` is a built-in policy; choose another name")));
    }
    let bytes = collect(services, &mut stream).await?;
    let host = services.policies.clone();
    let component = bytes.clone();
    let policy = blocking(move || host.host().load(&component)).await;
    let policy = policy.map_err(|error| refuse("bad_policy", format!("`{name}` was not taken: {}", chain(&error))))?;

    let size = bytes.len() as u64;
    let digest = services.store.blobs().put(Algorithm::Sha256, bytes).await.map_err(internal)?;
    let kind = policy.kind();
    services.handle.apply(Event::PolicyPushed { name: name.clone(), kind, digest, bytes: size }).await?;
    Ok(PolicyView { name, kind, digest, bytes: size, is_builtin: false })
}

/// The component's bytes, at most as many as the sandbox takes.
async fn collect(services: &Services, stream: &mut Streaming<PushPolicyRequest>) -> Result<Bytes, Status> {
    let limit = services.policies.host().limits().component_bytes_max;
    let mut bytes = BytesMut::new();
    while let Some(request) = transfer::next(stream).await? {
        let Some(Message::Data(data)) = request.message else {
            return Err(unwelcome(Code::InvalidArgument, "malformed", "only data follows the header"));
        };
        if bytes.len() as u64 + data.len() as u64 > limit {
            let text = format!("the component is larger than {limit} bytes");
            return Err(unwelcome(Code::InvalidArgument, "bad_policy", text));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}
