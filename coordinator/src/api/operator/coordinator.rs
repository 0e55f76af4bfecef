//! How this coordinator is doing.

use polder_core::view::{CoordinatorView, MemberView};
use polder_proto::{PROTOCOL_NEWEST, PROTOCOL_OLDEST};
use tonic::Status;

use crate::api::Services;
use crate::meter;

pub(super) async fn view(services: &Services) -> Result<CoordinatorView, Status> {
    let endpoint = services.endpoint.to_string();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let ours = MemberView { endpoint: endpoint.clone(), version: version.clone(), leads: true, seen_ms_ago: 0 };
    Ok(CoordinatorView {
        endpoint,
        version,
        protocol_oldest: PROTOCOL_OLDEST,
        protocol_newest: PROTOCOL_NEWEST,
        database: "sqlite".into(),
        blobs: "local".into(),
        coordinators: vec![ours],
        steps: meter::steps(),
        ..CoordinatorView::default()
    })
}
