//! How a newcomer gets its certificate.

use polder_core::enrolment::{Applicant, EnrolmentRefusal, Grant};
use polder_core::federation::Refusal;
use polder_core::{Event, Region, TokenId, WorkerName};
use polder_proto::convert::parsed;
use polder_proto::v1::enrolment_service_server::EnrolmentService;
use polder_proto::v1::{EnrolRequest, EnrolResponse};
use polder_proto::{refused, unwelcome};
use polder_security::{CertificateRequest, Identity, OperatorName, TokenSecret};
use tonic::{Code, Request, Response, Status};

use super::{Services, internal};
use crate::config::{CERTIFICATE_LIFETIME, wall_clock};

pub(crate) struct Enrolment(pub(super) Services);

#[tonic::async_trait]
impl EnrolmentService for Enrolment {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        let request = request.into_inner();
        let token = parsed::<TokenId>("token_id", &request.token_id)?;
        let unknown = || refused(&EnrolmentRefusal::UnknownToken.into());
        let secret = TokenSecret::from_bytes(&request.secret).map_err(|_| unknown())?;
        let csr = CertificateRequest::verify(&request.certificate_request)
            .map_err(|error| unwelcome(Code::InvalidArgument, "bad_certificate_request", error.to_string()))?;

        let wanted = token.clone();
        let grant =
            self.0.handle.ask(move |federation| federation.tokens.get(&wanted).map(|token| token.grant.clone()));
        let grant = grant.await?.ok_or_else(unknown)?;
        let (identity, worker) = who(&grant, &request)?;
        let applicant = Applicant { secret_hash: secret.hash(), key_hash: csr.key_hash(), worker };
        self.0.handle.apply(Event::TokenRedeemed { token, applicant }).await?;

        let signed =
            self.0.authority.sign_request(&csr, &identity, wall_clock(), CERTIFICATE_LIFETIME).map_err(internal)?;
        let (worker_name, region) = match identity {
            Identity::Worker { name, region } => (name.to_string(), region.to_string()),
            _ => (String::new(), String::new()),
        };
        let certificate_chain = vec![signed.to_vec().into(), self.0.authority.certificate().to_vec().into()];
        Ok(Response::new(EnrolResponse { certificate_chain, worker_name, region }))
    }
}

type Claim = Option<(WorkerName, Option<Region>)>;

/// Who the token makes of the bearer, and whom the bearer takes itself for.
fn who(grant: &Grant, request: &EnrolRequest) -> Result<(Identity, Claim), Status> {
    match grant {
        Grant::Operator { name } => {
            let name = OperatorName::new(name).map_err(internal)?;
            let worker = if request.worker_name.is_empty() {
                None
            } else {
                Some((parsed("worker_name", &request.worker_name)?, None))
            };
            Ok((Identity::Operator { name }, worker))
        }
        Grant::Worker { region } => {
            if request.worker_name.is_empty() {
                let refusal = EnrolmentRefusal::NotForOperators { region: region.clone() };
                return Err(refused(&Refusal::Enrolment(refusal)));
            }
            let name: WorkerName = parsed("worker_name", &request.worker_name)?;
            let claimed = if request.region.is_empty() { None } else { Some(parsed("region", &request.region)?) };
            Ok((Identity::Worker { name: name.clone(), region: region.clone() }, Some((name, claimed))))
        }
    }
}
