//! A worker's configuration as people write it: text, nothing checked.

use std::path::PathBuf;
use std::time::Duration;

/// What the flags of `polder worker start` said.
#[derive(Clone, Debug, Default)]
pub struct RawConfig {
    /// Credentials lie here between starts; made, for its owner only, if it is not there.
    pub dir: PathBuf,
    /// The join token; not needed once the directory holds credentials.
    pub join: Option<String>,
    /// `host:port` of the coordinator, in place of the one in the token.
    pub endpoint: Option<String>,
    /// By default `<region>-1`, or a name made from the token where no region was given.
    pub name: Option<String>,
    /// The region that this worker believes it is in; the token decides, and a mismatch is refused.
    pub region: Option<String>,
    /// Data sets, each `NAME=PATH`; or `NAME` alone, which only the synthetic trainer can use.
    pub data: Vec<String>,
    /// Assignments at once; by default 1.
    pub slots: Option<u32>,
    /// Aggregation policies that the region accepts: digests, signers, names of ours; none for all.
    pub allow_aggregation: Vec<String>,
    /// The release policy: a name of ours or a component's file; by default the one that lets everything through.
    pub release: Option<String>,
    /// Its parameters: one JSON object; by default `{}`.
    pub release_parameters: Option<String>,
    /// How often a checkpoint of training is kept; by default every 30 s.
    pub checkpoint_every: Option<Duration>,
    /// How long a trainer may say nothing before it is taken to hang; by default 30 minutes.
    pub trainer_silence: Option<Duration>,
    /// Whether the coordinator is told whatever a trainer that panics says.
    pub shares_trainer_output: bool,
}
