//! What a policy's name stands for: a name means its newest version, a digest means itself.

use polder_core::policy::PolicyRef;
use polder_core::view::PolicyView;
use polder_core::{Digest, Federation, PolicyId, PolicyName};
use polder_policy::{Builtin, builtin_named, builtins};
use polder_proto::convert::parsed;
use polder_proto::unwelcome;
use tonic::{Code, Status};

use super::internal;
use crate::api::Services;

/// Most names in a sentence.
const NAMES_MAX: usize = 12;

pub(in crate::api::operator) fn builtin_view(builtin: &Builtin) -> Result<PolicyView, Status> {
    Ok(PolicyView {
        name: PolicyName::new(builtin.name).map_err(internal)?,
        version: builtin.version.parse().map_err(internal)?,
        kind: builtin.kind,
        digest: builtin.digest(),
        bytes: builtin.bytes.len() as u64,
        is_builtin: true,
        summary: Some(builtin.summary.into()),
        signer: None,
        pushed_at: None,
    })
}

/// The policy that `text` stands for: `name`, `name@version` or a digest.
pub(in crate::api::operator) async fn find(services: &Services, text: &str) -> Result<PolicyView, Status> {
    let wanted = Wanted::parse(text)?;
    if let Some(builtin) = wanted.builtin() {
        return builtin_view(builtin);
    }
    let asked = text.to_owned();
    let found = services.handle.ask(move |federation| {
        wanted.among(federation).ok_or_else(|| {
            let known = federation.policies.keys().map(ToString::to_string);
            let builtins = builtins().iter().map(|builtin| builtin.name.to_owned());
            let mut known: Vec<String> = known.chain(builtins).collect();
            let more = known.len().saturating_sub(NAMES_MAX);
            known.truncate(NAMES_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let text = format!("there is no policy `{asked}` here; there are {}{more}", known.join(", "));
            unwelcome(Code::NotFound, "unknown_policy", text)
        })
    });
    found.await?
}

enum Wanted {
    Newest(PolicyName),
    Version(PolicyId),
    Digest(Digest),
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, Status> {
        if text.contains(':') {
            Ok(Self::Digest(parsed("policy", text)?))
        } else if text.contains('@') {
            Ok(Self::Version(parsed("policy", text)?))
        } else {
            Ok(Self::Newest(parsed("policy", text)?))
        }
    }

    fn builtin(&self) -> Option<&'static Builtin> {
        match self {
            Self::Newest(name) => builtin_named(name.as_str(), None),
            Self::Version(id) => builtin_named(id.name.as_str(), Some(id.version.as_str())),
            Self::Digest(digest) => builtins().iter().find(|builtin| builtin.digest() == *digest),
        }
    }

    fn among(&self, federation: &Federation) -> Option<PolicyView> {
        let (id, stored) = match self {
            Self::Newest(name) => federation.newest(name)?,
            Self::Version(id) => federation.policies.get_key_value(id)?,
            Self::Digest(digest) => federation.policies.iter().find(|(_, stored)| stored.digest == *digest)?,
        };
        Some(PolicyView::of(id, stored))
    }
}

/// The same pinned policy with what the coordinator knows of it: its version and who vouches for it. What the caller said of
/// these is not believed.
pub(in crate::api::operator) async fn vouched(services: &Services, pinned: PolicyRef) -> Result<PolicyRef, Status> {
    let (name, digest) = (pinned.name.clone(), pinned.digest);
    let of_ours = builtins().iter().find(|builtin| builtin.name == name.as_str() && builtin.digest() == digest);
    if let Some(builtin) = of_ours {
        let version = builtin.version.parse().map_err(internal)?;
        return Ok(PolicyRef { version: Some(version), signature: None, ..pinned });
    }
    let known = services.handle.ask(move |federation| {
        let mut named = federation.policies.iter().filter(|(id, _)| id.name == name);
        let found = named.rfind(|(_, stored)| stored.digest == digest);
        found.map(|(id, stored)| (id.version.clone(), stored.signature.clone()))
    });
    let Some((version, signature)) = known.await? else {
        let text = format!("policy `{}` with {digest} is not here; push it first", pinned.name);
        return Err(unwelcome(Code::InvalidArgument, "bad_policy", text));
    };
    services
        .policies
        .check_signer(&pinned.name, signature.as_ref())
        .map_err(|error| unwelcome(Code::PermissionDenied, "untrusted_signer", error.to_string()))?;
    Ok(PolicyRef { version: Some(version), signature, ..pinned })
}
