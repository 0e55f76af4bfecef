//! Why a worker did not start, or stopped.

use std::io;
use std::path::PathBuf;

use polder_core::id::NameError;
use polder_core::{Region, WorkerName};
use polder_security::credentials::{InvalidCredentials, KeyRequestError};

use crate::datasets::DataSetRefused;
use crate::release::ReleaseError;

/// Why a worker did not start, or stopped. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("cannot use `{}`", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("another worker is running with `{}`; give each its own directory with `--dir`", dir.display())]
    InUse { dir: PathBuf },
    #[error(transparent)]
    Data(#[from] DataSetRefused),
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error(
        "there are no credentials in `{}` yet; start this worker once with `--join TOKEN` (from `polder token create \
         --region REGION` on the coordinator)",
        dir.display()
    )]
    NotEnrolled { dir: PathBuf },
    #[error(
        "`{}` does not say where the coordinator is; give its address as HOST:PORT, or a token of it with `--join`",
        dir.display()
    )]
    NoEndpoint { dir: PathBuf },
    #[error("no name for this worker could be made; choose one with `--name`")]
    Name { source: NameError },
    #[error(transparent)]
    Credentials(#[from] polder_security::CredentialsError),
    #[error("`{}` holds the credentials of {found}; a worker needs its own", path.display())]
    NotAWorker { path: PathBuf, found: String },
    #[error(
        "`{}` holds the credentials of {found}; leave out `--name` and `--region`, or choose another directory",
        dir.display()
    )]
    AnotherWorker { dir: PathBuf, found: String },
    #[error(
        "the certificate in `{}` has expired; ask for a new token (`polder token create --region {region}`) and start \
         the worker with `--name {name} --join TOKEN`",
        path.display()
    )]
    Expired { path: PathBuf, name: WorkerName, region: Region },
    #[error("{sentence}")]
    CannotConnect { sentence: String },
    #[error("the coordinator refused: {said}")]
    Refused { said: String },
    #[error(
        "the coordinator does not know this worker ({said}); if it was set up anew, remove `{}` and start the worker \
         with a new token (`polder token create --region {region}`)",
        path.display()
    )]
    Unknown { said: String, path: PathBuf, region: Region },
    #[error("the coordinator's answer makes no sense: {problem}")]
    Answer { problem: String },
    #[error("the coordinator sent a certificate that cannot be used")]
    Certificate(#[source] InvalidCredentials),
    #[error(transparent)]
    Key(KeyRequestError),
    #[error(transparent)]
    Tls(#[from] polder_security::tls::TlsSetupError),
    #[error("too many trainers hang, and only another process is rid of them; start the worker again")]
    TrainersHang,
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}
