//! What became of every update that a worker was told to be safe: it counted in a round, its round was given up, or it lies in the
//! spool.

use std::collections::BTreeMap;
use std::fmt;

use polder_coordinator::spool::Spool;
use polder_coordinator::store::{Objects, StoreConfig};
use polder_core::{AssignmentId, Digest, RunId, WorkerName};
use polder_tests::node::Node;

use crate::past::Past;

/// What a worker logs when the coordinator has answered that it has the update.
const ACKNOWLEDGED: &str = "the update was received";

#[derive(Default)]
pub(crate) struct Fates {
    pub(crate) committed: usize,
    pub(crate) spooled: usize,
    pub(crate) abandoned: usize,
    pub(crate) lost: Vec<String>,
}

impl fmt::Display for Fates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { committed, spooled, abandoned, lost } = self;
        let all = committed + spooled + abandoned + lost.len();
        write!(
            f,
            "of {all} acknowledged updates {committed} are in a committed round, {spooled} in the spool of an open one, \
             {abandoned} were in rounds that were abandoned, {} are lost",
            lost.len()
        )
    }
}

/// Every update that a worker's log calls received.
pub(crate) fn acknowledged(workers: &[Node]) -> BTreeMap<AssignmentId, Digest> {
    let mut acknowledged = BTreeMap::new();
    for node in workers {
        let worker = WorkerName::new(node.name.as_str()).unwrap();
        let log = node.log();
        for line in log.lines().filter(|line| line.contains(ACKNOWLEDGED)) {
            let field = |name: &str| {
                let rest = line.split_once(name).unwrap_or_else(|| panic!("no `{name}` in: {line}")).1;
                rest.split([' ', '}', ':', '"']).find(|text| !text.is_empty()).unwrap()
            };
            let run = RunId::new(field("run=")).unwrap();
            let round = field("round=").parse().unwrap();
            let digest = line.split_once("digest=").unwrap().1.trim_matches('"').parse().unwrap();
            acknowledged.insert(AssignmentId { run, round, worker: worker.clone() }, digest);
        }
    }
    assert!(!acknowledged.is_empty(), "the workers' logs say of no update that it was received");
    acknowledged
}

/// Looks for each of them. The coordinators that kept their files where `store` says must not be alive; this blocks.
pub(crate) fn of(acknowledged: &BTreeMap<AssignmentId, Digest>, past: &Past, store: &StoreConfig) -> Fates {
    let objects = store.blobs.as_ref().map(|url| Objects::open(&url.parse().unwrap()).unwrap());
    let spool = Spool::open(&store.dir.join("spool"), objects).unwrap();
    let mut fates = Fates::default();
    for (assignment, digest) in acknowledged {
        let run = &past.runs[&assignment.run];
        let committed = run.committed.get(&assignment.round);
        if past.accepted.get(assignment) != Some(digest) {
            fates.lost.push(format!("{assignment} {digest}: the journal does not know it"));
        } else if let Some(committed) = committed {
            match committed.updates.get(&assignment.worker) {
                Some(counted) if counted == digest => fates.committed += 1,
                other => fates.lost.push(format!("{assignment} {digest}: its round counted {other:?}")),
            }
        } else if run.abandoned.contains_key(&assignment.round) {
            fates.abandoned += 1;
        } else if spool.find(assignment, digest).unwrap().is_some() {
            fates.spooled += 1;
        } else {
            fates.lost.push(format!("{assignment} {digest}: its round is open, and the spool has not got it"));
        }
    }
    fates
}
