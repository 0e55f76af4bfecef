//! What a worker needs to know to start. People write [`RawConfig`]; the program goes by [`Config`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use polder_core::id::NameError;
use polder_core::worker::{DATASETS_MAX, SLOTS_MAX};
use polder_core::{Region, RunId, Timestamp, WorkerName};
use polder_security::endpoint::EndpointError;
use polder_security::token::TokenError;
use polder_security::{Endpoint, JoinToken};

use crate::allow_list::{AllowList, AllowListError};
use crate::release::{ReleaseChoice, ReleaseError};

mod raw;

pub use raw::RawConfig;

/// Largest model that is fetched if nobody says otherwise, in bytes.
pub const MODEL_BYTES_MAX: u64 = 16 << 30;
/// Most bytes that updates and checkpoints take on disk if nobody says otherwise.
pub const KEPT_BYTES_MAX: u64 = 64 << 30;
/// How long a trainer may say nothing before it is taken to hang, if nobody says otherwise.
pub const TRAINER_SILENCE: Duration = Duration::from_secs(30 * 60);
/// How often a checkpoint of training is kept if nobody says otherwise.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
/// How long running trainers get to notice that the worker stops.
pub const STOP: Duration = Duration::from_millis(1500);

#[derive(Clone, Debug)]
pub struct Config {
    /// Credentials lie here between starts, and what outlives a worker: what was released to each run (`released`), what
    /// SCAFFOLD and FedDyn keep (`corrections`), updates on their way (`updates`), where training stands (`checkpoints`), compiled
    /// policies (`policy-cache`). Made, mode 0700, if it is not there. One worker at a time may use it.
    pub dir: PathBuf,
    pub join: Option<JoinToken>,
    /// Where the coordinator is, in place of what the token or the last start said.
    pub endpoint: Option<Endpoint>,
    /// By default `<region>-1`, or `worker-<token id>` where no region is given.
    pub name: Option<WorkerName>,
    /// By default what the token says.
    pub region: Option<Region>,
    /// Data sets by the name under which runs ask for them; one without a path is a name that only the synthetic
    /// trainer can use.
    pub datasets: BTreeMap<String, Option<PathBuf>>,
    /// Assignments at once, 1 to [`SLOTS_MAX`].
    pub slots: u32,
    /// Assignments with a larger model are declined, in bytes.
    pub model_bytes_max: u64,
    /// Assignments under another aggregation policy are declined.
    pub allow_list: AllowList,
    /// What decides on every update before it leaves.
    pub release: ReleaseChoice,
    /// How often a checkpoint of training is kept.
    pub checkpoint_every: Duration,
    /// How long a trainer may say nothing before it is taken to hang.
    pub trainer_silence: Duration,
    /// Whether the coordinator is told whatever a trainer that panics says; it may quote data.
    pub shares_trainer_output: bool,
    /// Most bytes that updates and checkpoints take on disk; what does not fit is not kept.
    pub kept_bytes_max: u64,
}

/// What is wrong with a configuration, and how to write it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("`--join`: the token cannot be used")]
    Token(#[source] TokenError),
    #[error("the coordinator's address cannot be used")]
    Endpoint(#[source] EndpointError),
    #[error("`--name` cannot be used")]
    Name(#[source] NameError),
    #[error("`--region` cannot be used")]
    Region(#[source] NameError),
    #[error("`--data {text}` is no data set; write `--data NAME=PATH`")]
    DataSyntax { text: String },
    #[error(
        "`--data {text}`: `{name}` cannot name a data set; use 1 to 63 of a-z, 0-9, `-`, `_` and `.`, starting with a \
         letter or digit"
    )]
    DataName { text: String, name: String },
    #[error("`--data` names `{name}` twice; give every data set a name of its own")]
    DataTwice { name: String },
    #[error("a worker without data sets is never asked; give at least one with `--data NAME=PATH`")]
    NoData,
    #[error("`--data` was given {count} times; a worker offers at most {DATASETS_MAX} data sets")]
    TooMuchData { count: usize },
    #[error("`--slots` is {slots}; use 1 to {SLOTS_MAX}")]
    Slots { slots: u32 },
    #[error(transparent)]
    AllowList(#[from] AllowListError),
    #[error(transparent)]
    Release(#[from] ReleaseError),
}

impl Config {
    /// A worker in `dir` with one slot and no data sets yet.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            join: None,
            endpoint: None,
            name: None,
            region: None,
            datasets: BTreeMap::new(),
            slots: 1,
            model_bytes_max: MODEL_BYTES_MAX,
            allow_list: AllowList::default(),
            release: ReleaseChoice::default(),
            checkpoint_every: CHECKPOINT_EVERY,
            trainer_silence: TRAINER_SILENCE,
            shares_trainer_output: false,
            kept_bytes_max: KEPT_BYTES_MAX,
        }
    }

    /// The name to enrol by. Names are unique in a federation, so one that nobody chose comes from the region or, where
    /// that is for the token to say, from the token's id.
    pub(crate) fn name_for(&self, token: &JoinToken) -> Result<WorkerName, NameError> {
        match (&self.name, &self.region) {
            (Some(name), _) => Ok(name.clone()),
            (None, Some(region)) => WorkerName::new(format!("{region}-1")),
            (None, None) => WorkerName::new(format!("worker-{}", token.id)),
        }
    }
}

impl TryFrom<RawConfig> for Config {
    type Error = ConfigError;

    /// Checks everything that needs no look at files or network.
    fn try_from(raw: RawConfig) -> Result<Self, ConfigError> {
        let slots = raw.slots.unwrap_or(1);
        if slots == 0 || slots > SLOTS_MAX {
            return Err(ConfigError::Slots { slots });
        }
        let region = raw.region.map(Region::new).transpose().map_err(ConfigError::Region)?;
        if raw.name.is_none()
            && let Some(region) = &region
        {
            // A long region name leaves no room for the default; that is better said here than at enrolment.
            WorkerName::new(format!("{region}-1")).map_err(ConfigError::Name)?;
        }
        Ok(Self {
            join: raw.join.as_deref().map(JoinToken::parse).transpose().map_err(ConfigError::Token)?,
            endpoint: raw.endpoint.map(|text| text.parse()).transpose().map_err(ConfigError::Endpoint)?,
            name: raw.name.map(WorkerName::new).transpose().map_err(ConfigError::Name)?,
            region,
            datasets: datasets(&raw.data)?,
            slots,
            allow_list: AllowList::parse(&raw.allow_aggregation)?,
            release: ReleaseChoice::parse(raw.release.as_deref(), raw.release_parameters)?,
            checkpoint_every: raw.checkpoint_every.unwrap_or(CHECKPOINT_EVERY),
            trainer_silence: raw.trainer_silence.unwrap_or(TRAINER_SILENCE),
            shares_trainer_output: raw.shares_trainer_output,
            ..Self::new(raw.dir)
        })
    }
}

fn datasets(texts: &[String]) -> Result<BTreeMap<String, Option<PathBuf>>, ConfigError> {
    if texts.is_empty() {
        return Err(ConfigError::NoData);
    }
    if texts.len() > DATASETS_MAX {
        return Err(ConfigError::TooMuchData { count: texts.len() });
    }
    let mut datasets = BTreeMap::new();
    for text in texts {
        let (name, path) = text.split_once('=').map_or((text.as_str(), None), |(name, path)| (name, Some(path)));
        if path == Some("") || name.is_empty() {
            return Err(ConfigError::DataSyntax { text: text.clone() });
        }
        // Data sets share the alphabet of every other name, so that they fit run files, logs and the wire.
        if RunId::new(name).is_err() {
            return Err(ConfigError::DataName { text: text.clone(), name: name.into() });
        }
        if datasets.insert(name.to_owned(), path.map(PathBuf::from)).is_some() {
            return Err(ConfigError::DataTwice { name: name.into() });
        }
    }
    Ok(datasets)
}

/// The clock, for those who hand time in.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
