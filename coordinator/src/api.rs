//! The gRPC services, one file each. They convert, ask the handle, convert back; nothing is decided here.

mod authorize;
mod enrolment;
mod operator;
mod transfer;
mod worker;

use std::sync::Arc;

use polder_core::Timestamp;
use polder_proto::v1::enrolment_service_server::EnrolmentServiceServer;
use polder_proto::v1::operator_service_server::OperatorServiceServer;
use polder_proto::v1::worker_service_server::WorkerServiceServer;
use polder_proto::{MESSAGE_BYTES_MAX, unwelcome};
use polder_security::{CertificateAuthority, Endpoint, Permit};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};

pub(crate) use authorize::Authorize;
pub(crate) use transfer::Recent;
pub(crate) use worker::{Uploads, tell_of_coordinators};

use crate::config::Times;
use crate::handle::CoordinatorHandle;
use crate::layouts::Layouts;
use crate::lead::members::Members;
use crate::policies::Policies;
use crate::sessions::Sessions;
use crate::spool::Spool;
use crate::store::{Store, StoreError};

/// What the services share.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) handle: CoordinatorHandle,
    pub(crate) store: Arc<Store>,
    pub(crate) spool: Spool,
    pub(crate) authority: Arc<CertificateAuthority>,
    pub(crate) endpoint: Endpoint,
    pub(crate) policies: Policies,
    pub(crate) sessions: Sessions,
    pub(crate) layouts: Layouts,
    pub(crate) uploads: Uploads,
    pub(crate) recent: Recent,
    pub(crate) times: Times,
    pub(crate) members: Members,
    pub(crate) tenure: Tenure,
}

/// This coordinator's term.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tenure {
    pub(crate) epoch: u64,
    pub(crate) since: Timestamp,
}

impl Services {
    pub(crate) fn enrolment_service(&self) -> EnrolmentServiceServer<enrolment::Enrolment> {
        EnrolmentServiceServer::new(enrolment::Enrolment(self.clone())).max_decoding_message_size(64 * 1024)
    }

    pub(crate) fn worker_service(&self) -> WorkerServiceServer<worker::Workers> {
        WorkerServiceServer::new(worker::Workers(self.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn operator_service(&self, shutdown: CancellationToken) -> OperatorServiceServer<operator::Operators> {
        let operators = operator::Operators { services: self.clone(), shutdown };
        OperatorServiceServer::new(operators).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

/// Refuses what would bring bytes to a disk that is nearly full.
fn room(services: &Services) -> Result<(), Status> {
    services.handle.room().map_err(|reason| unwelcome(Code::ResourceExhausted, "storage_full", reason))
}

/// The permit that the authorization layer put on the request.
fn permit<T>(request: &Request<T>) -> Result<Permit, Status> {
    request.extensions().get::<Permit>().cloned().ok_or_else(|| Status::internal("the request carries no permit"))
}

/// A status for what the store could not do; what passes by itself has a word of its own.
fn storage_failed(error: StoreError) -> Status {
    match &error {
        StoreError::Full { .. } => unwelcome(Code::ResourceExhausted, "storage_full", error.to_string()),
        passing if passing.is_passing() => unwelcome(Code::Unavailable, "storage_away", crate::driver::chain(passing)),
        _ => internal(error),
    }
}

/// A status for what went wrong on our side: the log has the details, the caller a sentence.
fn internal(error: impl std::error::Error) -> Status {
    let error = crate::driver::chain(&error);
    tracing::error!(error, "a request failed");
    Status::internal(error)
}
