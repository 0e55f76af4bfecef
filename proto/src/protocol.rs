//! Versions of the wire protocol. Within a version messages only gain fields; what an older peer would misunderstand
//! takes a new version, and the two sides of a session go by the highest that both speak.
//!
//! | version | what it added |
//! | --- | --- |
//! | 1 | polder 0.1.0 |
//! | 2 | both sides say which versions they speak; `Welcome` names the federation's coordinators |

/// The oldest version that this program speaks.
pub const PROTOCOL_OLDEST: u32 = 1;
/// The newest version that this program speaks.
pub const PROTOCOL_NEWEST: u32 = 2;

/// Two programs that have no version of the protocol in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it speaks versions {oldest} to {newest} of the protocol, and this program ({ours}) speaks {PROTOCOL_OLDEST} to \
     {PROTOCOL_NEWEST}; bring the older of the two up to date",
    ours = env!("CARGO_PKG_VERSION")
)]
pub struct NoCommonProtocol {
    pub oldest: u32,
    pub newest: u32,
}

/// The version to go by with a peer that speaks `oldest` to `newest`; zeros are a peer from before versions were said.
pub fn negotiate(oldest: u32, newest: u32) -> Result<u32, NoCommonProtocol> {
    let (theirs_oldest, theirs_newest) = (oldest.max(1), newest.max(1));
    let common = theirs_newest.min(PROTOCOL_NEWEST);
    if theirs_oldest <= theirs_newest && common >= theirs_oldest.max(PROTOCOL_OLDEST) {
        Ok(common)
    } else {
        Err(NoCommonProtocol { oldest, newest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_taken() {
        assert_eq!(negotiate(1, 1), Ok(1));
        assert_eq!(negotiate(1, PROTOCOL_NEWEST), Ok(PROTOCOL_NEWEST));
        assert_eq!(negotiate(PROTOCOL_NEWEST, PROTOCOL_NEWEST + 7), Ok(PROTOCOL_NEWEST));
    }

    #[test]
    fn a_peer_that_says_nothing_is_of_the_first_version() {
        assert_eq!(negotiate(0, 0), Ok(1));
    }

    #[test]
    fn without_a_common_version_both_ranges_are_named() {
        let refused = negotiate(PROTOCOL_NEWEST + 1, PROTOCOL_NEWEST + 2).unwrap_err().to_string();
        assert!(refused.contains(&format!("versions {} to {}", PROTOCOL_NEWEST + 1, PROTOCOL_NEWEST + 2)), "{refused}");
        assert!(refused.contains("bring the older of the two up to date"), "{refused}");
    }

    #[test]
    fn a_range_that_runs_backwards_is_refused() {
        assert!(negotiate(2, 1).is_err());
    }
}
