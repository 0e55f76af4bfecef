//! The release guard: nothing of an update leaves before the region's own release policy has said so, and then only treated as
//! it said.
//!
//! The region pins the policy when it starts its worker; no run can choose another. The policy sees numbers about the update
//! and what this region released to the run before. What it decides is written down durably first ([`ledger`]), then done
//! natively ([`treatment`]), then digested: the digest that leaves is that of the treated update, which is made once however
//! often its upload has to be tried. A policy that fails releases nothing.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use polder_core::policy::{
    PolicyKind, ReleaseAnswer, ReleaseContext, ReleaseQuestion, ReleaseVerdict, Treatment, UpdateNumbers,
};
use polder_core::{Region, effect};
use polder_policy::{Builtin, Limits, Policy, PolicyError, PolicyHost};

use crate::allow_list::{named, of_kind};
use crate::channel::chain;
use crate::trainer::Trained;
use ledger::{Binding, Ledger, Ledgers};

mod ledger;
mod treatment;

use treatment::{measure, treat};

/// Which release policy a region has, and its parameters.
#[derive(Clone, Debug)]
pub struct ReleaseChoice {
    source: Source,
    parameters: String,
}

#[derive(Clone, Debug)]
enum Source {
    /// The first release policy that ships with the program: it lets everything through.
    Default,
    Builtin(&'static Builtin),
    File(PathBuf),
}

impl Default for ReleaseChoice {
    fn default() -> Self {
        Self { source: Source::Default, parameters: "{}".into() }
    }
}

/// Why a release policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error(
        "`--release {text}`: no release policy of that name ships with this program; write one of {builtins}, or the path of a \
         component, `FILE.wasm`"
    )]
    Unknown { text: String, builtins: String },
    #[error("`--release-parameters` is no JSON object; write something like '{{\"key\": 1}}'")]
    NoObject(#[source] serde_json::Error),
    #[error("cannot read the release policy `{}`", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("this program has no release policy of its own; give one with `--release FILE.wasm`")]
    NoDefault,
    #[error("the release policy {policy} cannot be used")]
    Policy { policy: String, source: Box<PolicyError> },
    #[error("{policy} is a policy for {found}; `--release` takes one for release")]
    Kind { policy: String, found: PolicyKind },
}

impl ReleaseChoice {
    /// Reads what people write: a name of ours, or a file. Looks at no file yet.
    pub fn parse(policy: Option<&str>, parameters: Option<String>) -> Result<Self, ReleaseError> {
        let source = match policy {
            None => Source::Default,
            Some(text) => match named(PolicyKind::Release, text) {
                Some(builtin) => Source::Builtin(builtin),
                None if text.ends_with(".wasm") || text.contains('/') => Source::File(text.into()),
                None => {
                    let names: Vec<_> = of_kind(PolicyKind::Release).map(|builtin| builtin.name).collect();
                    return Err(ReleaseError::Unknown { text: text.into(), builtins: names.join(", ") });
                }
            },
        };
        let parameters = parameters.unwrap_or_else(|| "{}".into());
        serde_json::from_str::<serde_json::Map<_, _>>(&parameters).map_err(ReleaseError::NoObject)?;
        Ok(Self { source, parameters })
    }

    fn read(&self, limit_bytes: u64) -> Result<(String, Vec<u8>), ReleaseError> {
        let builtin = match &self.source {
            Source::Default => of_kind(PolicyKind::Release).next().ok_or(ReleaseError::NoDefault)?,
            Source::Builtin(builtin) => builtin,
            Source::File(path) => {
                let mut bytes = Vec::new();
                // One byte more than is allowed, so that the host can say that it is too large.
                let read = File::open(path).and_then(|file| file.take(limit_bytes + 1).read_to_end(&mut bytes));
                read.map_err(|source| ReleaseError::File { path: path.clone(), source })?;
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
                return Ok((name, bytes));
            }
        };
        Ok((format!("{}@{}", builtin.name, builtin.version), builtin.bytes.to_vec()))
    }
}

/// The region's release policy at work.
pub(crate) struct ReleaseGuard {
    host: PolicyHost,
    policy: Policy,
    /// What reasons call it.
    name: String,
    parameters: String,
    mark: String,
    ledgers: Ledgers,
    /// One review at a time: each sees what the one before it left.
    turn: Mutex<()>,
}

/// That an update was reviewed and treated. Only the guard makes one, and no update is sent without.
#[derive(Debug)]
pub(crate) struct Released {
    is_settled: bool,
}

impl Released {
    /// Nothing else will be released for this round, not even the same update treated once more.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_settled
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self { is_settled: false }
    }
}

/// An update that may not leave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("withheld by release policy {policy}: {reason}")]
pub(crate) struct Withheld {
    policy: String,
    reason: String,
}

impl ReleaseGuard {
    /// Loads the policy and tries its parameters. It keeps what it compiled and what it released in `dir`.
    pub(crate) fn open(choice: &ReleaseChoice, dir: &Path) -> Result<Self, ReleaseError> {
        let limits = Limits::default();
        let (name, bytes) = choice.read(limits.component_bytes_max)?;
        let refuse = |source| ReleaseError::Policy { policy: name.clone(), source: Box::new(source) };
        let host = PolicyHost::new(limits, Some(dir.join("policy-cache"))).map_err(refuse)?;
        let policy = host.load(&bytes).map_err(refuse)?;
        if policy.kind() != PolicyKind::Release {
            return Err(ReleaseError::Kind { policy: name, found: policy.kind() });
        }
        host.check_parameters(&policy, &choice.parameters).map_err(refuse)?;
        tracing::info!(digest = %policy.digest(), "release policy {name}");
        let binding = if matches!(choice.source, Source::Default) { Binding::Loose } else { Binding::Strict };
        let ledgers = Ledgers::at(dir.join("released"), binding);
        let (parameters, mark) = (choice.parameters.clone(), format!("{} {}", policy.digest(), choice.parameters));
        Ok(Self { host, policy, name, parameters, mark, ledgers, turn: Mutex::default() })
    }

    /// Asks the policy about the update in `trained.parameters`, and does to it what the policy says.
    pub(crate) fn release(
        &self,
        assignment: &effect::Assignment,
        region: &Region,
        trained: &mut Trained,
    ) -> Result<Released, Withheld> {
        let values = trained.parameters.values_mut();
        let (norm, max_norm) = measure(values);
        let numbers = UpdateNumbers {
            parameters: values.len() as u64,
            examples: trained.examples,
            loss: trained.loss.filter(|loss| loss.is_finite()),
            steps: trained.steps,
            norm,
            max_norm,
        };
        let treatment = self.review(assignment, region, numbers)?;
        treat(values, norm, &treatment).map_err(|unfit| self.withheld(unfit.to_string()))?;
        Ok(Released { is_settled: is_noisy(&treatment) })
    }

    /// Names the policy and its parameters: what was released under another name is not sent any more.
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }

    /// Asks what may leave of an update. What it decided counts from now on, whether or not the update ever arrives.
    fn review(
        &self,
        assignment: &effect::Assignment,
        region: &Region,
        update: UpdateNumbers,
    ) -> Result<Treatment, Withheld> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let run = &assignment.id.run;
        let mut ledger = self.ledgers.open(run).map_err(|why| self.without_ledger(&why))?;
        let round = assignment.id.round;
        if ledger.is_settled(round) {
            return Err(self.withheld(format!("what it decided about round {round} before stands; it decides once")));
        }
        let question = ReleaseQuestion {
            seed: rand::random(),
            update,
            context: context(assignment, region),
            budget: ledger.budget(),
            state: ledger.state_of(self.policy.digest()),
        };
        let decided = self.decide(&question, &mut ledger);
        if decided.as_ref().map_or(true, is_noisy) {
            ledger.settle(round);
        }
        self.ledgers.save(run, &ledger).map_err(|why| self.without_ledger(&why))?;
        decided.map_err(|reason| self.withheld(reason))
    }

    fn decide(&self, question: &ReleaseQuestion, ledger: &mut Ledger) -> Result<Treatment, String> {
        let digest = self.policy.digest();
        match self.host.review(&self.policy, &self.parameters, question) {
            Ok(ReleaseAnswer { verdict: ReleaseVerdict::Release(treatment), state, reason }) => {
                tracing::info!("{} releases the update as {treatment:?}: {reason}", self.name);
                ledger.released(digest, state);
                Ok(treatment)
            }
            Ok(ReleaseAnswer { verdict: ReleaseVerdict::Withhold, state, reason }) => {
                ledger.withheld(digest, state);
                Err(if reason.is_empty() { "it gave no reason".into() } else { reason })
            }
            Err(error) => {
                ledger.withheld(digest, question.state.clone());
                Err(format!("it failed: {}", chain(&error)))
            }
        }
    }

    fn without_ledger(&self, why: &io::Error) -> Withheld {
        tracing::error!("the record of what was released to the run cannot be kept: {why}");
        self.withheld("the record of what was released before cannot be kept; the worker's log says why".into())
    }

    fn withheld(&self, reason: String) -> Withheld {
        Withheld { policy: self.name.clone(), reason }
    }
}

fn is_noisy(treatment: &Treatment) -> bool {
    treatment.noise.is_some_and(|noise| noise > 0.0)
}

fn context(assignment: &effect::Assignment, region: &Region) -> ReleaseContext {
    let policy = &assignment.aggregation;
    let version = policy.version.as_ref().map(|version| format!("@{version}")).unwrap_or_default();
    ReleaseContext {
        run: assignment.id.run.to_string(),
        round: assignment.id.round,
        region: region.to_string(),
        aggregation: format!("{}{version}", policy.name),
        cohort: assignment.cohort,
        quorum: assignment.quorum,
    }
}

#[cfg(test)]
mod tests;
