//! Workers of other versions: those of a release take part, those that share no version of the protocol are told so.

use polder_core::spec::CohortSpec;
use polder_proto::v1::coordinator_message::Message as FromCoordinator;
use polder_proto::v1::{self};
use polder_proto::{PROTOCOL_NEWEST, PROTOCOL_OLDEST};
use polder_tests::{Coordinator, Peer, update};
use prost::Message as _;
use tonic::Code;

/// The Hello of a worker of polder 0.1.0 with one slot, the data set `numbers` and the synthetic trainer.
pub(crate) const HELLO_0_1_0: &[u8] = b"\x0a\x050.1.0\x10\x01\x1a\x07numbers\x22\x09synthetic";

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_0_1_0_takes_part_in_a_round() {
    let coordinator = Coordinator::start().await;
    let mut peer = Peer::enrolled(&coordinator, "eu-west-1").await;
    let hello = v1::Hello::decode(HELLO_0_1_0).unwrap();
    assert_eq!(hello.software_version, "0.1.0");
    let mut session = peer.session_with(hello).await.unwrap();
    let Some(FromCoordinator::Welcome(welcome)) = session.next().await.unwrap() else { panic!("no welcome") };
    assert_eq!(welcome.protocol, 1);
    let mut spec = coordinator.spec().await;
    spec.cohort = CohortSpec { size: 1, quorum: 1, ..spec.cohort };
    let run = coordinator.submit(&spec).await.unwrap();
    let id = session.assignment().await.assignment.unwrap();
    peer.upload(&id, &update::filled(1.0).to_safetensors(), |_| ()).await.unwrap();
    let view = coordinator.ended(&run).await;
    assert_eq!((view.status.as_str(), view.model.version), ("completed", 1));
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_common_protocol_a_worker_is_told_both_sides_versions() {
    let coordinator = Coordinator::start().await;
    let mut peer = Peer::enrolled(&coordinator, "eu-west-1").await;
    let (oldest, newest) = (PROTOCOL_NEWEST + 1, PROTOCOL_NEWEST + 3);
    let hello = v1::Hello { protocol_min: oldest, protocol_max: newest, ..v1::Hello::decode(HELLO_0_1_0).unwrap() };
    let Err(refused) = peer.session_with(hello).await else { panic!("it was let in") };
    assert_eq!(refused.code(), Code::FailedPrecondition);
    for range in [format!("{oldest} to {newest}"), format!("{PROTOCOL_OLDEST} to {PROTOCOL_NEWEST}")] {
        assert!(refused.message().contains(&range), "{refused:?}");
    }
    coordinator.stop().await;
}
