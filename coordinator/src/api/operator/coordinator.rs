//! How the coordinator that leads is doing, and which others there are.

use polder_core::view::{CoordinatorView, MemberView};
use polder_proto::{PROTOCOL_NEWEST, PROTOCOL_OLDEST};
use tonic::Status;

use crate::api::Services;

pub(super) async fn view(services: &Services) -> Result<CoordinatorView, Status> {
    let coordinators = services.members.all().into_iter().map(|seen| MemberView {
        endpoint: seen.member.endpoint,
        version: seen.member.version,
        leads: seen.leads,
        seen_ms_ago: seen.seen_ms_ago,
    });
    Ok(CoordinatorView {
        endpoint: services.endpoint.to_string(),
        version: env!("CARGO_PKG_VERSION").into(),
        protocol_oldest: PROTOCOL_OLDEST,
        protocol_newest: PROTOCOL_NEWEST,
        leads_since: services.tenure.since,
        epoch: services.tenure.epoch,
        database: services.store.database_kind().into(),
        blobs: services.store.blobs().objects().map_or("local", |objects| objects.address()).into(),
        coordinators: coordinators.collect(),
        ..CoordinatorView::default()
    })
}
