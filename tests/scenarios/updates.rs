//! Every bad update gets its own answer, disturbs nobody, and leaves the good one welcome.

use polder_core::Digest;
use polder_proto::v1::AssignmentId;
use polder_proto::{refusal_word, v1};
use polder_tensor::{Layout, Parameters, TensorSpec};
use polder_tests::{Coordinator, Peer, Session, update};
use tonic::Status;

struct World {
    coordinator: Coordinator,
    peer: Peer,
    _session: Session,
    assignment: AssignmentId,
    run: polder_core::RunId,
}

impl World {
    /// One worker with one assignment.
    async fn new() -> Self {
        let coordinator = Coordinator::start().await;
        let mut peer = Peer::enrolled(&coordinator, "eu-west-1").await;
        let mut session = peer.session().await;
        let run = coordinator.submit(&coordinator.spec().await).await.unwrap();
        let assignment = session.assignment().await.assignment.unwrap();
        Self { coordinator, peer, _session: session, assignment, run }
    }

    async fn refused(&mut self, bytes: &[u8], alter: impl FnOnce(&mut v1::UpdateHeader)) -> Status {
        let assignment = self.assignment.clone();
        self.peer.upload(&assignment, bytes, alter).await.expect_err("the update was taken")
    }

    /// Nothing was lost: the good update still makes the round.
    async fn good_update_still_counts(mut self) {
        let assignment = self.assignment.clone();
        self.peer.upload(&assignment, &update::filled(1.0).to_safetensors(), |_| ()).await.unwrap();
        let view = self.coordinator.ended(&self.run).await;
        assert_eq!((view.status.as_str(), view.model.digest), ("completed", update::filled(1.5).digest()));
        self.coordinator.stop().await;
    }
}

fn says(status: &Status, word: &str, text: &str) {
    assert_eq!(refusal_word(status), Some(word), "{status}");
    assert!(status.message().contains(text), "`{}` does not say `{text}`", status.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_no_numbers_are_named() {
    let mut world = World::new().await;
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut update = update::filled(1.0);
        update.values_mut()[10] = bad;
        let status = world.refused(&update.to_safetensors(), |_| ()).await;
        says(&status, "bad_update", "bias");
    }
    world.good_update_still_counts().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_shape_is_refused() {
    let mut world = World::new().await;
    let specs = vec![TensorSpec::new("weight", [4, 2]), TensorSpec::new("bias", [4])];
    let layout = Layout::new(specs).unwrap().into();
    let other = Parameters::new(layout, vec![1.0; 12]).unwrap().to_safetensors();
    let status = world.refused(&other, |_| ()).await;
    assert!(["bad_update", "wrong_size"].contains(&refusal_word(&status).unwrap()), "{status}");
    world.good_update_still_counts().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_long_and_too_short_are_refused() {
    let mut world = World::new().await;
    let good = update::filled(1.0).to_safetensors();
    let long = [good.as_slice(), &[0; 4]].concat();
    let honest = world.refused(&long, |_| ()).await;
    says(&honest, "wrong_size", "bytes");
    let lying = world.refused(&long, |header| header.bytes = good.len() as u64).await;
    says(&lying, "bad_update", "bytes");
    let short = world.refused(&good[..good.len() - 4], |header| header.bytes = good.len() as u64).await;
    says(&short, "bad_update", "bytes");
    world.good_update_still_counts().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_digest_is_refused() {
    let mut world = World::new().await;
    let good = update::filled(1.0).to_safetensors();
    let status = world.refused(&good, |header| header.digest = Digest::blake3([7; 32]).to_string()).await;
    says(&status, "wrong_digest", "digest");
    let status = world.refused(&good, |header| header.digest = "blake3:zz".into()).await;
    says(&status, "malformed", "`digest`");
    world.good_update_still_counts().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_claims_are_refused() {
    let mut world = World::new().await;
    let good = update::filled(1.0).to_safetensors();
    says(&world.refused(&good, |header| header.examples = 0).await, "malformed", "examples is 0");
    says(&world.refused(&good, |header| header.loss = Some(f64::NAN)).await, "malformed", "loss");
    says(&world.refused(&good, |header| header.assignment = None).await, "malformed", "`assignment`");
    says(&world.refused(&good, |header| header.offset = 8).await, "bad_offset", "go on from there");
    world.good_update_still_counts().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_runs_and_rounds_are_refused() {
    let mut world = World::new().await;
    let good = update::filled(1.0).to_safetensors();
    let elsewhere = |run: &str, round| Some(AssignmentId { run: run.into(), round });
    let run = world.run.to_string();
    says(&world.refused(&good, |h| h.assignment = elsewhere("nowhere", 1)).await, "unknown_run", "`nowhere`");
    says(&world.refused(&good, |h| h.assignment = elsewhere(&run, 9)).await, "unknown_round", "no round 9");
    says(&world.refused(&good, |h| h.assignment = elsewhere("../x", 1)).await, "malformed", "not a run");
    world.good_update_still_counts().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outsiders_second_updates_and_closed_rounds_are_refused() {
    let coordinator = Coordinator::start().await;
    let mut outsider = Peer::enrolled(&coordinator, "us-east-1").await;
    let mut peer = Peer::enrolled(&coordinator, "eu-west-1").await;
    let mut session = peer.session().await;
    let mut second = Peer::enrolled(&coordinator, "eu-west-2").await;
    let mut second_session = second.session().await;
    let mut spec = coordinator.spec().await;
    spec.cohort.size = 2;
    spec.cohort.quorum = 2;
    let run = coordinator.submit(&spec).await.unwrap();
    let id = session.assignment().await.assignment.unwrap();
    second_session.assignment().await;
    let good = update::filled(1.0).to_safetensors();

    let status = outsider.upload(&id, &good, |_| ()).await.unwrap_err();
    says(&status, "not_in_cohort", "`us-east-1` is not in this round's cohort");

    peer.upload(&id, &good, |_| ()).await.unwrap();
    let other = update::filled(9.0).to_safetensors();
    let status = peer.upload(&id, &other, |_| ()).await.unwrap_err();
    says(&status, "duplicate_update", "already reported");
    peer.upload(&id, &good, |_| ()).await.expect("the same update again is no news and no harm");

    second.upload(&id, &good, |_| ()).await.unwrap();
    let view = coordinator.ended(&run).await;
    assert_eq!(view.model.digest, update::filled(1.5).digest(), "each update counted once");
    let status = peer.upload(&id, &other, |_| ()).await.unwrap_err();
    assert!(["duplicate_update", "round_closed"].contains(&refusal_word(&status).unwrap()), "{status}");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_upload_goes_on_where_it_stopped() {
    let mut world = World::new().await;
    let good = update::filled(1.0).to_safetensors();
    let assignment = world.assignment.clone();
    // The stream ends with an error after 64 bytes: the line was cut.
    let digest = update::digest(&good).to_string();
    let header = v1::UpdateHeader {
        assignment: Some(assignment.clone()),
        digest: digest.clone(),
        bytes: good.len() as u64,
        examples: 10,
        ..Default::default()
    };
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let mut client = world.peer.client.clone();
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let upload = tokio::spawn(async move { client.upload_update(stream).await });
    let message = |message| v1::UploadUpdateRequest { message: Some(message) };
    sender.send(message(v1::upload_update_request::Message::Header(header))).await.unwrap();
    let data = good[..64].to_vec().into();
    sender.send(message(v1::upload_update_request::Message::Data(data))).await.unwrap();
    let status = async |peer: &mut Peer| {
        let request = v1::UploadStatusRequest { assignment: Some(assignment.clone()), digest: digest.clone() };
        peer.client.upload_status(request).await.unwrap().into_inner()
    };
    polder_tests::eventually("the coordinator holds what was sent", async || {
        (status(&mut world.peer).await.held_bytes == 64).then_some(())
    })
    .await;
    upload.abort();
    assert!(upload.await.unwrap_err().is_cancelled());
    // Until the broken stream is noticed the upload is busy; after that the rest is enough.
    polder_tests::eventually("the rest is taken", async || {
        let sent = world.peer.upload(&assignment, &good, |header| header.offset = 64).await;
        match sent {
            Ok(()) => Some(()),
            Err(status) => {
                says(&status, "upload_busy", "already going on");
                None
            }
        }
    })
    .await;
    assert!(status(&mut world.peer).await.is_complete);
    let view = world.coordinator.ended(&world.run).await;
    assert_eq!(view.model.digest, update::filled(1.5).digest());
    world.coordinator.stop().await;
}
