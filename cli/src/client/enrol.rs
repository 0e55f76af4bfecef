//! A token becomes an operator's credentials.

use polder_proto::v1::EnrolRequest;
use polder_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use polder_security::{Credentials, Endpoint, Identity, JoinToken, KeyRequest};

use super::channel::{now, open_for_enrolment};
use super::error::CallError;
use super::within;

/// Redeems `token` at `endpoint` (the token's own unless the way there is another), for an operator.
pub async fn enrol_operator(token: &JoinToken, endpoint: &Endpoint) -> Result<Credentials, CallError> {
    let credentials = redeem(token, endpoint, String::new()).await?;
    match credentials.identity() {
        Identity::Operator { .. } => Ok(credentials),
        other => Err(CallError::answer(format!("the certificate is for {other}, not for an operator"))),
    }
}

/// The same for a worker of this name; its region is the token's.
pub(crate) async fn enrol_worker(token: &JoinToken, endpoint: &Endpoint, name: &str) -> Result<Credentials, CallError> {
    redeem(token, endpoint, name.into()).await
}

async fn redeem(token: &JoinToken, endpoint: &Endpoint, worker_name: String) -> Result<Credentials, CallError> {
    let channel = open_for_enrolment(endpoint.clone(), token.fingerprint).await?;
    let key = KeyRequest::generate().map_err(CallError::answer)?;
    let request = EnrolRequest {
        token_id: token.id.to_string(),
        secret: token.secret.expose().to_vec().into(),
        certificate_request: key.request().to_vec().into(),
        worker_name,
        region: String::new(),
    };
    let mut service = EnrolmentServiceClient::new(channel).max_decoding_message_size(64 * 1024);
    let answer = within(service.enrol(request)).await?;
    let [certificate, authority] = answer.certificate_chain.as_slice() else {
        let sent = answer.certificate_chain.len();
        return Err(CallError::answer(format!("expected two certificates, got {sent}")));
    };
    key.complete(certificate, authority, &token.fingerprint, now()).map_err(CallError::answer)
}
