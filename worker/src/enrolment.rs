//! Who this worker is: credentials from its directory, or a join token that becomes credentials; and their renewal.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use polder_core::{Region, WorkerName};
use polder_proto::refusal_word;
use polder_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use polder_proto::v1::{EnrolRequest, RenewCertificateRequest};
use polder_security::{Connector, Credentials, Endpoint, EnrolmentConnector, Identity, JoinToken, KeyRequest};
use tonic::{Code, Status};

use crate::WorkerError;
use crate::backoff::Backoff;
use crate::channel::{self, Client};
use crate::config::{Config, now};

/// Inside the worker's directory.
pub const CREDENTIALS_FILE: &str = "credentials.pem";
/// Where the coordinator was at the last start, as `host:port`.
pub const ENDPOINT_FILE: &str = "endpoint";

/// How long a request for a certificate may wait for its answer.
const ANSWER: Duration = Duration::from_secs(30);

/// What a worker is when it starts.
#[derive(Debug)]
pub(crate) enum Standing {
    Member(Membership),
    Newcomer(Newcomer),
}

/// A worker with a token and no certificate yet.
#[derive(Debug)]
pub(crate) struct Newcomer {
    dir: PathBuf,
    token: JoinToken,
    endpoint: Endpoint,
    name: WorkerName,
    /// What the region's owner believes; a coordinator that thinks otherwise refuses.
    region: Option<Region>,
}

/// A worker with a certificate. A cheap handle: clones share the credentials, which are renewed while in use.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) name: WorkerName,
    pub(crate) region: Region,
    pub(crate) endpoint: Endpoint,
    pub(crate) connector: Connector,
    /// The coordinator itself made the certificate since the program started.
    pub(crate) is_new: bool,
    credentials: Arc<Mutex<Arc<Credentials>>>,
    path: PathBuf,
}

impl Standing {
    /// Looks into the directory, and at the token where there is one.
    pub(crate) fn of(config: &Config) -> Result<Self, WorkerError> {
        let path = config.dir.join(CREDENTIALS_FILE);
        if !path.exists() {
            return Self::newcomer(config);
        }
        let credentials = Credentials::load(&path)?;
        if let Some(token) = &config.join {
            if token.fingerprint != credentials.fingerprint() {
                tracing::info!("the token is another coordinator's; the credentials of the last one are replaced");
                return Self::newcomer(config);
            }
            if credentials.is_expired(now()) {
                tracing::info!("the credentials have expired; the token gets new ones");
                // The same worker, unless somebody says otherwise: it goes on under its name.
                let held = match credentials.identity() {
                    Identity::Worker { name, .. } => Some(name.clone()),
                    _ => None,
                };
                return Self::newcomer(&Config { name: config.name.clone().or(held), ..config.clone() });
            }
            tracing::info!("this worker is enrolled already; the token is not needed and was not used");
        }
        let saved = saved_endpoint(&config.dir);
        let from_token = config.join.as_ref().map(|token| token.endpoint.clone());
        let endpoint = config.endpoint.clone().or(from_token).or(saved);
        let endpoint = endpoint.ok_or_else(|| WorkerError::NoEndpoint { dir: config.dir.clone() })?;
        let member = Membership::new(credentials, endpoint, path)?;
        member.must_be(config)?;
        Ok(Self::Member(member))
    }

    fn newcomer(config: &Config) -> Result<Self, WorkerError> {
        let dir = config.dir.clone();
        let token = config.join.clone().ok_or_else(|| WorkerError::NotEnrolled { dir: dir.clone() })?;
        let name = config.name_for(&token).map_err(|source| WorkerError::Name { source })?;
        let endpoint = config.endpoint.clone().unwrap_or_else(|| token.endpoint.clone());
        Ok(Self::Newcomer(Newcomer { dir, token, endpoint, name, region: config.region.clone() }))
    }
}

fn saved_endpoint(dir: &Path) -> Option<Endpoint> {
    fs::read_to_string(dir.join(ENDPOINT_FILE)).ok()?.trim().parse().ok()
}

impl Newcomer {
    /// Enrols, and tries again for as long as the network is what is wrong.
    pub(crate) async fn enrol(self) -> Result<Membership, WorkerError> {
        // One key for all tries: if an answer was lost, the coordinator knows the key again.
        let key = KeyRequest::generate().map_err(WorkerError::Key)?;
        let connector = EnrolmentConnector::new(self.token.fingerprint)?;
        let mut backoff = Backoff::default();
        let mut said = String::new();
        loop {
            let sentence = match self.ask(&connector, &key).await? {
                Answer::Credentials(credentials) => return self.save(credentials),
                Answer::Unreachable(sentence) => sentence,
            };
            if said != sentence {
                tracing::warn!(worker = %self.name, "cannot enrol yet: {sentence}");
                said = sentence;
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn ask(&self, connector: &EnrolmentConnector, key: &KeyRequest) -> Result<Answer, WorkerError> {
        let channel = match channel::dial_to_enrol(connector, &self.endpoint).await {
            Ok(channel) => channel,
            Err(error) if error.is_final() => {
                return Err(WorkerError::CannotConnect { sentence: error.sentence() });
            }
            Err(error) => return Ok(Answer::Unreachable(error.sentence())),
        };
        let request = EnrolRequest {
            token_id: self.token.id.to_string(),
            secret: self.token.secret.expose().to_vec().into(),
            certificate_request: key.request().to_vec().into(),
            worker_name: self.name.to_string(),
            region: self.region.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        let mut client = EnrolmentServiceClient::new(channel);
        match answered(client.enrol(request)).await {
            Ok(answer) => {
                let chain = answer.into_inner().certificate_chain;
                let chain: Vec<&[u8]> = chain.iter().map(AsRef::as_ref).collect();
                let credentials = complete(key, &chain, &self.token.fingerprint)?;
                Ok(Answer::Credentials(credentials))
            }
            Err(status) if is_refusal(&status) => Err(WorkerError::Refused { said: status.message().into() }),
            Err(status) => Ok(Answer::Unreachable(channel::said(&status))),
        }
    }

    fn save(self, credentials: Credentials) -> Result<Membership, WorkerError> {
        let path = self.dir.join(CREDENTIALS_FILE);
        let member = Membership { is_new: true, ..Membership::new(credentials, self.endpoint, path)? };
        if member.name != self.name || self.region.as_ref().is_some_and(|region| *region != member.region) {
            return Err(WorkerError::Answer { problem: format!("it made us {}", member.identity()) });
        }
        // The endpoint first: credentials without it would be of no use at the next start.
        member.save_endpoint()?;
        member.credentials().save(&member.path)?;
        tracing::info!(worker = %member.name, region = %member.region, "enrolled");
        Ok(member)
    }
}

enum Answer {
    Credentials(Credentials),
    Unreachable(String),
}

/// The answer, unless it takes too long.
async fn answered<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = || Status::deadline_exceeded(format!("the coordinator did not answer within {} s", ANSWER.as_secs()));
    tokio::time::timeout(ANSWER, call).await.unwrap_or_else(|_| Err(late()))
}

/// Makes credentials of a certificate chain: ours, then the authority.
fn complete(
    key: &KeyRequest,
    chain: &[&[u8]],
    fingerprint: &polder_security::Fingerprint,
) -> Result<Credentials, WorkerError> {
    let [certificate, authority] = chain else {
        return Err(WorkerError::Answer { problem: format!("it sent {} certificates instead of 2", chain.len()) });
    };
    key.complete(certificate, authority, fingerprint, now()).map_err(WorkerError::Certificate)
}

/// Whether the coordinator understood and said no.
fn is_refusal(status: &Status) -> bool {
    let code = status.code();
    refusal_word(status).is_some()
        || matches!(code, Code::InvalidArgument | Code::PermissionDenied | Code::Unimplemented)
}

impl Membership {
    fn new(credentials: Credentials, endpoint: Endpoint, path: PathBuf) -> Result<Self, WorkerError> {
        let Identity::Worker { name, region } = credentials.identity().clone() else {
            return Err(WorkerError::NotAWorker { path, found: credentials.identity().to_string() });
        };
        let connector = Connector::new(&credentials)?;
        let credentials = Arc::new(Mutex::new(Arc::new(credentials)));
        Ok(Self { name, region, endpoint, connector, is_new: false, credentials, path })
    }

    fn identity(&self) -> String {
        format!("worker `{}` of region `{}`", self.name, self.region)
    }

    /// That the credentials are those of the worker that was asked for.
    fn must_be(&self, config: &Config) -> Result<(), WorkerError> {
        let other_name = config.name.as_ref().is_some_and(|name| *name != self.name);
        let other_region = config.region.as_ref().is_some_and(|region| *region != self.region);
        if other_name || other_region {
            return Err(WorkerError::AnotherWorker { dir: config.dir.clone(), found: self.identity() });
        }
        Ok(())
    }

    pub(crate) fn credentials(&self) -> Arc<Credentials> {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Refuses to go on with a certificate that nobody will accept.
    pub(crate) fn must_hold(&self) -> Result<(), WorkerError> {
        if self.credentials().is_expired(now()) {
            let (path, name, region) = (self.path.clone(), self.name.clone(), self.region.clone());
            return Err(WorkerError::Expired { path, name, region });
        }
        Ok(())
    }

    /// The coordinator lets the certificate in, and has never heard of us.
    pub(crate) fn unknown(&self, said: String) -> WorkerError {
        WorkerError::Unknown { said, path: self.path.clone(), region: self.region.clone() }
    }

    /// So that the next start needs neither token nor address.
    pub(crate) fn save_endpoint(&self) -> Result<(), WorkerError> {
        let path = self.path.with_file_name(ENDPOINT_FILE);
        let text = format!("{}\n", self.endpoint);
        if fs::read_to_string(&path).is_ok_and(|saved| saved == text) {
            return Ok(());
        }
        fs::write(&path, text).map_err(|source| WorkerError::Directory { path, source })
    }

    pub(crate) fn needs_renewal(&self) -> bool {
        self.credentials().needs_renewal(now())
    }

    /// Gets a new certificate over a connection made with the old one; connections made from now on show it.
    pub(crate) async fn renew(&self, client: &mut Client) -> Result<(), WorkerError> {
        let key = KeyRequest::generate().map_err(WorkerError::Key)?;
        let request = RenewCertificateRequest { certificate_request: key.request().to_vec().into() };
        let answer = answered(client.renew_certificate(request)).await;
        let answer = answer.map_err(|status| match is_refusal(&status) {
            true => WorkerError::Refused { said: status.message().into() },
            false => WorkerError::CannotConnect { sentence: channel::said(&status) },
        })?;
        let chain = answer.into_inner().certificate_chain;
        let chain: Vec<&[u8]> = chain.iter().map(AsRef::as_ref).collect();
        let held = self.credentials();
        let renewed = complete(&key, &chain, &held.fingerprint())?;
        if renewed.identity() != held.identity() {
            return Err(WorkerError::Answer { problem: format!("it would make us {}", renewed.identity()) });
        }
        renewed.save(&self.path)?;
        self.connector.replace(&renewed)?;
        *self.credentials.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(renewed);
        tracing::info!(worker = %self.name, "the certificate was renewed");
        Ok(())
    }
}
