//! Tokens are made here and shown once; what is kept is a hash.

use polder_core::Event;
use polder_core::enrolment::Grant;
use polder_proto::convert::parsed;
use polder_proto::unwelcome;
use polder_proto::v1::create_token_request::Grant as Wanted;
use polder_proto::v1::{CreateTokenRequest, CreateTokenResponse};
use polder_security::{JoinToken, OperatorName};
use tonic::{Code, Status};

use super::internal;
use crate::api::Services;
use crate::config::now;

/// Longest life of a token: 30 days.
const LIFETIME_MS_MAX: u64 = 30 * 24 * 3600 * 1000;
/// Tokens that are neither used nor expired, at most.
const OPEN_MAX: usize = 10_000;

pub(super) async fn create(services: &Services, request: CreateTokenRequest) -> Result<CreateTokenResponse, Status> {
    let refuse = |text: String| unwelcome(Code::InvalidArgument, "malformed", text);
    let grant = match request.grant {
        Some(Wanted::Region(region)) => Grant::Worker { region: parsed("region", &region)? },
        Some(Wanted::Operator(name)) => {
            let name = OperatorName::new(&name).map_err(|error| refuse(error.to_string()))?;
            Grant::Operator { name: name.as_str().into() }
        }
        None => return Err(refuse("a token is for a region or for an operator".into())),
    };
    let lifetime_ms = request.expires_in_ms;
    if lifetime_ms == 0 || lifetime_ms > LIFETIME_MS_MAX {
        return Err(refuse(format!("a token lives for 1 ms to 30 days, not {lifetime_ms} ms")));
    }
    let at = now();
    let open = services.handle.ask(move |federation| {
        federation.tokens.values().filter(|token| token.redeemed.is_none() && token.expires_at > at).count()
    });
    if open.await? >= OPEN_MAX {
        let text = format!("{OPEN_MAX} tokens are open; use some or let them expire");
        return Err(unwelcome(Code::ResourceExhausted, "too_many_tokens", text));
    }
    let token = JoinToken::generate(services.endpoint.clone(), services.authority.fingerprint()).map_err(internal)?;
    let expires_at = at.plus_ms(lifetime_ms);
    let created = Event::TokenCreated { token: token.id.clone(), secret_hash: token.secret.hash(), grant, expires_at };
    services.handle.apply(created).await?;
    Ok(CreateTokenResponse { token: token.encode(), expires_at_ms: expires_at.0 })
}
