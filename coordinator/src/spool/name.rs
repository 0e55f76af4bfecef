//! How the files of the spool are called, here and in the object store.

use std::fmt;

use object_store::path::Path as Key;
use polder_core::{AssignmentId, Digest, RoundNumber, RunId, WorkerName};

/// What the objects' names start with.
pub(crate) const OBJECTS: &str = "spool";

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

    fn of(text: &str) -> Option<(&str, Self)> {
        [Self::Partial, Self::Whole].into_iter().find_map(|state| Some((text.strip_suffix(state.extension())?, state)))
    }
}

/// A file in its round's folder: `<worker>~<hex>.partial` or `.update`. At most 63 + 64 + 9 bytes, below the 255 that
/// file systems allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileName {
    pub(super) worker: WorkerName,
    pub(super) digest: Digest,
    pub(super) state: State,
}

impl FileName {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (stem, state) = State::of(text)?;
        let (worker, hex) = stem.split_once('~')?;
        Some(Self { worker: WorkerName::new(worker).ok()?, digest: blake3(hex)?, state })
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{}{}", self.worker, self.digest.hex(), self.state.extension())
    }
}

/// Reads a name of 0.1.0, which kept all files in one folder: `<run>~<round>~<worker>~<hex>.update`.
pub(super) fn parse_flat(text: &str) -> Option<(RunId, RoundNumber, FileName)> {
    let mut parts = text.splitn(3, '~');
    let (run, round) = (RunId::new(parts.next()?).ok()?, parts.next()?.parse().ok()?);
    Some((run, round, FileName::parse(parts.next()?)?))
}

fn blake3(hex: &str) -> Option<Digest> {
    format!("blake3:{hex}").parse().ok()
}

/// What a finished update is called in the object store.
pub(super) fn key(assignment: &AssignmentId, digest: &Digest) -> Key {
    let AssignmentId { run, round, worker } = assignment;
    Key::from_iter([OBJECTS, &run.to_string(), &round.to_string(), &worker.to_string(), &digest.hex()])
}

pub(super) fn assignment_of(key: &Key) -> Option<(AssignmentId, Digest)> {
    let [OBJECTS, run, round, worker, hex] = *key.as_ref().split('/').collect::<Vec<_>>() else { return None };
    let assignment =
        AssignmentId { run: RunId::new(run).ok()?, round: round.parse().ok()?, worker: WorkerName::new(worker).ok()? };
    Some((assignment, blake3(hex)?))
}

/// What an object that is an update should hold.
pub(crate) fn digest_in(key: &Key) -> Option<Digest> {
    assignment_of(key).map(|(_, digest)| digest)
}

/// The folder of all updates in the object store; of a round's; of an assignment's.
pub(super) fn all_keys() -> Key {
    Key::from(OBJECTS)
}

pub(super) fn round_keys(run: &RunId, round: RoundNumber) -> Key {
    Key::from_iter([OBJECTS, &run.to_string(), &round.to_string()])
}

pub(super) fn assignment_keys(AssignmentId { run, round, worker }: &AssignmentId) -> Key {
    Key::from_iter([OBJECTS, &run.to_string(), &round.to_string(), &worker.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment() -> AssignmentId {
        AssignmentId {
            run: RunId::new("digits-3f.partial").unwrap(),
            round: u32::MAX,
            worker: WorkerName::new("eu-west_1.update").unwrap(),
        }
    }

    #[test]
    fn names_are_read_back() {
        let digest = Digest::blake3([0xab; 32]);
        let AssignmentId { run, round, worker } = assignment();
        for state in [State::Partial, State::Whole] {
            let name = FileName { worker: worker.clone(), digest, state };
            assert_eq!(FileName::parse(&name.to_string()), Some(name.clone()));
            assert_eq!(parse_flat(&format!("{run}~{round}~{name}")), Some((run.clone(), round, name)));
        }
        assert_eq!(assignment_of(&key(&assignment(), &digest)), Some((assignment(), digest)));
    }

    #[test]
    fn other_files_are_not_ours() {
        let hex = "ab".repeat(32);
        for text in [
            String::new(),
            "lost+found".into(),
            format!("b~{hex}"),
            format!("b~{hex}.tmp"),
            format!("B~{hex}.update"),
            format!("b~c~{hex}.update"),
            format!("b~{}.update", &hex[1..]),
        ] {
            assert_eq!(FileName::parse(&text), None, "{text}");
            assert_eq!(parse_flat(&format!("a~1~{text}")), None, "{text}");
        }
        let update = format!("b~{hex}.update");
        for text in [format!("a~-1~{update}"), format!("A~1~{update}"), format!("1~{update}"), update] {
            assert_eq!(parse_flat(&text), None, "{text}");
        }
    }
}
