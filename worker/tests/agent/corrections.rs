//! What aggregation policies want of local training: it reaches the trainer, and what SCAFFOLD and FedDyn keep stays in step with
//! what the coordinator counted.

use polder_core::policy::{Correction, TrainingNeeds};
use polder_proto::unwelcome;
use polder_proto::v1;
use polder_proto::v1::training_needs;
use polder_tensor::Parameters;
use serde_json::json;
use tonic::Code;

use crate::support::session::assignment;
use crate::support::trainer::settings;
use crate::support::{FakeCoordinator, Running, Session, config, model};

const SCAFFOLD: training_needs::Correction = training_needs::Correction::ControlVariates(0);

fn needs(correction: training_needs::Correction) -> Option<v1::TrainingNeeds> {
    Some(v1::TrainingNeeds { correction: Some(correction), ..v1::TrainingNeeds::default() })
}

/// SCAFFOLD's c with these values everywhere.
fn variate(value: f32) -> Parameters {
    let mut parameters = Parameters::zeros(model(12).layout().clone());
    parameters.values_mut().fill(value);
    parameters
}

/// Round `round` of SCAFFOLD on the model of twelve parameters; the scripted trainer takes 4 steps at 0.5 and moves by 0.5.
fn scaffold(round: u32, c: Option<&Parameters>) -> v1::Assignment {
    let control_variate =
        c.map(|c| v1::ControlVariate { digest: c.digest().to_string(), bytes: c.layout().file_bytes() });
    v1::Assignment { training: needs(SCAFFOLD), control_variate, ..assignment(round, &model(12), &settings("add")) }
}

/// What the last training was given to add to every gradient, the same for all parameters.
fn given(worker: &Running) -> Option<f32> {
    let linear = worker.gate.given.lock().unwrap().last().unwrap().1.clone()?;
    assert!(linear.len() == 12 && linear.iter().all(|value| *value == linear[0]), "{linear:?}");
    Some(linear[0])
}

async fn connected() -> (FakeCoordinator, Running, Session) {
    let mut coordinator = FakeCoordinator::start().await;
    coordinator.has(&model(12));
    let worker = Running::start(&coordinator);
    let session = coordinator.session().await;
    (coordinator, worker, session)
}

#[tokio::test]
async fn control_variates_follow_what_the_coordinator_acknowledged() {
    let (mut coordinator, worker, mut session) = connected().await;
    let c = variate(0.125);
    coordinator.has(&c);
    session.assign(scaffold(1, None)).await;
    coordinator.uploaded().await;
    assert_eq!(given(&worker), None);
    // c_i = −0.5 / (4 · 0.5), so that the next round gets c − c_i.
    session.assign(scaffold(2, Some(&c))).await;
    coordinator.uploaded().await;
    assert_eq!(given(&worker), Some(0.125 + 0.25));
    // c_i = −0.25 − 0.125 − 0.25; the coordinator will not have this update, so that nothing changes.
    let refusal = unwelcome(Code::FailedPrecondition, "round_closed", "the round is closed");
    coordinator.script().refuse_uploads.insert(3, [refusal].into());
    session.assign(scaffold(3, Some(&c))).await;
    worker.gate.until("round 3 is trained", |counts| counts.finished == 3).await;
    assert_eq!(given(&worker), Some(0.125 + 0.625));
    session.assign(scaffold(4, Some(&c))).await;
    coordinator.uploaded().await;
    assert_eq!(given(&worker), Some(0.125 + 0.625));

    // The worker has heard so once it holds nothing any more.
    session.end();
    session = coordinator.session().await;
    while !session.hello.holding.is_empty() {
        session.end();
        session = coordinator.session().await;
    }

    // What was acknowledged outlives the worker: c_i = −0.625 − 0.125 − 0.25.
    session.end();
    let (dir, stopped) = worker.stop().await;
    stopped.unwrap();
    let again = config(&dir);
    let worker = Running::build(dir, again).unwrap();
    let mut session = coordinator.session().await;
    session.assign(scaffold(5, Some(&c))).await;
    coordinator.uploaded().await;
    assert_eq!(given(&worker), Some(0.125 + 1.0));
    // Another policy's control variates are others.
    let mut other = scaffold(6, Some(&c));
    other.aggregation.as_mut().unwrap().name = "theirs".into();
    session.assign(other).await;
    coordinator.uploaded().await;
    assert_eq!(given(&worker), Some(0.125));
}

#[tokio::test]
async fn the_dynamic_regularizer_gathers_from_round_to_round() {
    let (mut coordinator, worker, mut session) = connected().await;
    for (round, expected) in [(1, None), (2, Some(0.125)), (3, Some(0.25))] {
        let correction = training_needs::Correction::DynamicRegularizer(0.25);
        let round = v1::Assignment { training: needs(correction), ..assignment(round, &model(12), &settings("add")) };
        session.assign(round).await;
        coordinator.uploaded().await;
        // −h_i, which is α times all updates so far.
        assert_eq!(given(&worker), expected);
    }
}

#[tokio::test]
async fn needs_reach_the_trainer_and_its_answers_the_coordinator() {
    let (mut coordinator, worker, mut session) = connected().await;
    let training = v1::TrainingNeeds { proximal_mu: Some(0.5), base_loss: true, ..v1::TrainingNeeds::default() };
    session.assign(v1::Assignment { training: Some(training), ..assignment(1, &model(12), &settings("add")) }).await;
    coordinator.uploaded().await;
    let asked = worker.gate.given.lock().unwrap().pop().unwrap();
    assert_eq!(asked, (TrainingNeeds { proximal_mu: Some(0.5), correction: None, base_loss: true }, None));
    let header = coordinator.upload(1).headers.pop().unwrap();
    assert_eq!((header.base_loss, header.steps), (Some(2.5), Some(4)));
    assert_eq!((header.normalizer, header.learning_rate), (Some(3.5), Some(0.5)));

    // An evaluation trains nothing, and needs no control variate.
    let evaluate = v1::Assignment { task: "evaluate".into(), ..scaffold(2, Some(&variate(1.0))) };
    session.assign(evaluate).await;
    assert!(matches!(session.next().await, v1::worker_message::Message::Evaluation(_)));
    let asked = worker.gate.given.lock().unwrap().pop();
    assert_eq!(asked, None, "an evaluation was given {:?}", Correction::ControlVariates { state_tensor: 0 });
}

#[tokio::test]
async fn what_a_trainer_cannot_add_is_declined() {
    let (_coordinator, _worker, mut session) = connected().await;
    let synthetic =
        |training| v1::Assignment { trainer: "synthetic".into(), training, ..assignment(1, &model(12), &json!({})) };
    let reason = session.declined(synthetic(needs(SCAFFOLD))).await;
    assert!(reason.contains("the synthetic trainer cannot add"), "{reason}");
    let base_loss = v1::TrainingNeeds { base_loss: true, ..v1::TrainingNeeds::default() };
    assert!(session.declined(synthetic(Some(base_loss))).await.contains("cannot add"));
    let small = v1::ControlVariate { digest: variate(1.0).digest().to_string(), bytes: 10 };
    let reason = session.declined(v1::Assignment { control_variate: Some(small), ..scaffold(1, None) }).await;
    assert!(reason.contains("the control variate has 10 bytes and the model"), "{reason}");
}

#[tokio::test]
async fn a_control_variate_is_resumed_and_checked_like_a_model() {
    let (mut coordinator, worker, mut session) = connected().await;
    let (c, other) = (variate(0.5), variate(0.25));
    coordinator.has(&c);
    coordinator.script().cut_downloads.extend([usize::MAX, 20]);
    session.assign(scaffold(1, Some(&c))).await;
    coordinator.uploaded().await;
    assert_eq!(given(&worker), Some(0.5));
    assert_eq!(coordinator.script().fetches, [0, 0, 20]);
    // What is sent under a digest must have it.
    coordinator.script().models.insert(c.digest().to_string(), other.to_safetensors());
    let reason = session.fails(scaffold(2, Some(&c))).await;
    assert!(reason.contains("cannot get SCAFFOLD's control variate") && reason.contains("digest is"), "{reason}");
}
