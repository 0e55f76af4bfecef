//! Why an aggregation came to nothing, and whom that says something about.

use std::time::Duration;

use polder_core::AssignmentId;
use polder_policy::PolicyError;

use crate::aggregation::AggregationError;
use crate::layouts::LayoutError;
use crate::policies::UnusablePolicy;
use crate::spool::SpoolError;

/// Pauses before an aggregation that this machine could not do is tried again: what passes by itself, such as a file system
/// that is away for a moment, has twenty seconds to pass.
pub(super) const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15)];

/// Pause before the next attempt at what passes by itself, however often it takes: a full disk, an object store that is away.
pub(super) const PASSING_PAUSE: Duration = Duration::from_secs(2);

/// Its text is the reason that the round records.
#[derive(Debug, thiserror::Error)]
pub(super) enum AggregationFailure {
    #[error(transparent)]
    Policy(#[from] UnusablePolicy),
    #[error(transparent)]
    Answer(#[from] PolicyError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("the update of {assignment} is no longer in the spool")]
    Missing { assignment: AssignmentId },
    #[error(transparent)]
    Pipeline(#[from] AggregationError),
}

impl AggregationFailure {
    /// Whether the policy is to blame; otherwise it is this machine, where another policy would not fare better.
    pub(super) fn is_policys_fault(&self) -> bool {
        match self {
            Self::Policy(UnusablePolicy::Kind { .. } | UnusablePolicy::Parameters { .. }) => true,
            Self::Policy(UnusablePolicy::Policy(error)) | Self::Answer(error) => is_policys(error),
            Self::Pipeline(error) => error.is_policys_fault(),
            Self::Policy(UnusablePolicy::Store(_)) | Self::Layout(_) | Self::Spool(_) | Self::Missing { .. } => false,
        }
    }

    /// Whether another look would find the same: what is damaged was put aside. What is not there may be there in a moment.
    pub(super) fn is_final(&self) -> bool {
        self.lost().is_some() && !matches!(self, Self::Missing { .. })
    }

    /// The update that cannot be had any more, if that is what is wrong: the others can be aggregated without it.
    pub(super) fn lost(&self) -> Option<&AssignmentId> {
        match self {
            Self::Missing { assignment }
            | Self::Spool(SpoolError::Corrupt { assignment, .. } | SpoolError::ObjectCorrupt { assignment, .. }) => {
                Some(assignment)
            }
            _ => None,
        }
    }

    /// Whether it is worth waiting, however long: somebody will free some space, or bring the storage back.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Policy(UnusablePolicy::Store(error))
            | Self::Layout(LayoutError::Store(error))
            | Self::Pipeline(AggregationError::Store(error)) => error.is_passing(),
            Self::Spool(error) => error.is_passing(),
            _ => false,
        }
    }
}

fn is_policys(error: &PolicyError) -> bool {
    // A question that cannot be put is ours, too: a statistic of a damaged file, for instance.
    !matches!(error, PolicyError::Host { .. } | PolicyError::Cache { .. } | PolicyError::Question { .. })
}

#[cfg(test)]
mod tests {
    use polder_core::Digest;

    use super::*;
    use crate::store::StoreError;

    #[test]
    fn a_trap_is_the_policys_and_a_lost_file_is_ours() {
        let trapped = || PolicyError::Trapped { reason: "unreachable".into() };
        assert!(AggregationFailure::from(trapped()).is_policys_fault());
        assert!(AggregationFailure::from(UnusablePolicy::from(trapped())).is_policys_fault());
        assert!(AggregationFailure::from(AggregationError::NothingWeighed).is_policys_fault());
        let lost = || StoreError::BlobMissing { digest: Digest::sha256([1; 32]) };
        assert!(!AggregationFailure::from(UnusablePolicy::from(lost())).is_policys_fault());
        assert!(!AggregationFailure::from(LayoutError::from(lost())).is_policys_fault());
        assert!(!AggregationFailure::from(AggregationError::from(lost())).is_policys_fault());
        assert!(!AggregationFailure::from(PolicyError::Host { reason: "no memory".into() }).is_policys_fault());
    }

    #[test]
    fn a_full_disk_is_waited_for_and_a_lost_update_is_left_out() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let spool = || SpoolError::Full { action: "write", path: "spool".into(), source: full() };
        let store = || StoreError::io("write", std::path::Path::new("blobs"))(full());
        let assignment = AssignmentId { run: "r".parse().unwrap(), round: 3, worker: "eu-west-1".parse().unwrap() };
        for failure in [
            AggregationFailure::from(spool()),
            AggregationFailure::from(AggregationError::from(store())),
            AggregationFailure::from(LayoutError::from(store())),
            AggregationFailure::from(UnusablePolicy::from(store())),
        ] {
            assert!(failure.is_passing() && !failure.is_policys_fault() && failure.lost().is_none(), "{failure}");
        }
        let missing = AggregationFailure::Missing { assignment: assignment.clone() };
        assert!(!missing.is_passing() && !missing.is_final(), "it may be there in a moment");
        assert_eq!(missing.lost(), Some(&assignment));
        let (found, kept) = (Digest::blake3([1; 32]), "quarantine/x".into());
        let corrupt = AggregationFailure::from(SpoolError::Corrupt { assignment: assignment.clone(), found, kept });
        assert!(!corrupt.is_passing() && corrupt.is_final());
        assert_eq!(corrupt.lost(), Some(&assignment));
    }
}
