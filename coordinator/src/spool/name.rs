//! How the files of the spool are called.

use std::fmt;

use polder_core::{AssignmentId, Digest, RoundNumber, RunId, WorkerName};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Partial,
    Whole,
}

impl State {
    fn extension(self) -> &'static str {
        match self {
            Self::Partial => ".partial",
            Self::Whole => ".update",
        }
    }
}

/// At most 63 + 10 + 63 + 64 + 11 bytes, below the 255 that file systems allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileName {
    pub(super) assignment: AssignmentId,
    pub(super) digest: Digest,
    pub(super) state: State,
}

impl FileName {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (stem, state) = [State::Partial, State::Whole]
            .into_iter()
            .find_map(|state| Some((text.strip_suffix(state.extension())?, state)))?;
        let [run, round, worker, hex] = *stem.split('~').collect::<Vec<_>>() else { return None };
        let digest: Digest = format!("blake3:{hex}").parse().ok()?;
        let assignment = AssignmentId {
            run: RunId::new(run).ok()?,
            round: round.parse().ok()?,
            worker: WorkerName::new(worker).ok()?,
        };
        Some(Self { assignment, digest, state })
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", assignment_prefix(&self.assignment), self.digest.hex(), self.state.extension())
    }
}

/// What the names of all files of a round start with.
pub(super) fn round_prefix(run: &RunId, round: RoundNumber) -> String {
    format!("{run}~{round}~")
}

/// What the names of all files of an assignment start with.
pub(super) fn assignment_prefix(assignment: &AssignmentId) -> String {
    format!("{}~{}~{}~", assignment.run, assignment.round, assignment.worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let assignment = AssignmentId {
            run: RunId::new("digits-3f.partial").unwrap(),
            round: u32::MAX,
            worker: WorkerName::new("eu-west_1.update").unwrap(),
        };
        for state in [State::Partial, State::Whole] {
            let name = FileName { assignment: assignment.clone(), digest: Digest::blake3([0xab; 32]), state };
            assert_eq!(FileName::parse(&name.to_string()), Some(name));
        }
    }

    #[test]
    fn other_files_are_not_ours() {
        let hex = "ab".repeat(32);
        for text in [
            String::new(),
            "lost+found".into(),
            format!("a~1~b~{hex}"),
            format!("a~1~b~{hex}.tmp"),
            format!("a~-1~b~{hex}.update"),
            format!("A~1~b~{hex}.update"),
            format!("a~1~b~c~{hex}.update"),
            format!("a~1~b~{}.update", &hex[1..]),
        ] {
            assert_eq!(FileName::parse(&text), None, "{text}");
        }
    }
}
