//! How the coordinator that leads is doing, and which others there are.

use polder_core::view::{CoordinatorView, MemberView};
use polder_proto::{PROTOCOL_NEWEST, PROTOCOL_OLDEST};
use tonic::Status;

use crate::api::Services;
use crate::meter;

pub(super) async fn view(services: &Services) -> Result<CoordinatorView, Status> {
    let coordinators = services.members.all().into_iter().map(|seen| MemberView {
        endpoint: seen.member.endpoint,
        version: seen.member.version,
        leads: seen.leads,
        seen_ms_ago: seen.seen_ms_ago,
    });
    let standing = services.handle.standing().borrow().clone();
    Ok(CoordinatorView {
        endpoint: services.endpoint.to_string(),
        version: env!("CARGO_PKG_VERSION").into(),
        protocol_oldest: PROTOCOL_OLDEST,
        protocol_newest: PROTOCOL_NEWEST,
        leads_since: services.tenure.since,
        epoch: services.tenure.epoch,
        database: services.store.database_kind().into(),
        blobs: services.store.blobs().objects().map_or("local", |objects| objects.address()).into(),
        intake: standing.intake(),
        disk_free_bytes: standing.disk_free_bytes,
        journal_seq: standing.journal_seq,
        snapshot_seq: standing.snapshot_seq,
        invariant_violations: standing.violations,
        coordinators: coordinators.collect(),
        steps: meter::steps(),
    })
}
