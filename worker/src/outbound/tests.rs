use std::collections::BTreeMap;

use protox::prost_reflect::{DescriptorPool, Kind, MessageDescriptor};

use super::*;

fn contract() -> DescriptorPool {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto");
    let files = protox::compile(["polder/v1/worker.proto", "polder/v1/enrolment.proto"], [root]).unwrap();
    DescriptorPool::from_file_descriptor_set(files).unwrap()
}

fn gather(message: &MessageDescriptor, found: &mut BTreeMap<String, Vec<String>>) {
    let fields: Vec<_> = message.fields().collect();
    let mut names: Vec<_> = fields.iter().map(|field| (field.number(), field.name().to_owned())).collect();
    names.sort();
    let names = names.into_iter().map(|(_, name)| name).collect();
    if found.insert(message.name().to_owned(), names).is_none() {
        for field in fields {
            if let Kind::Message(inside) = field.kind() {
                gather(&inside, found);
            }
        }
    }
}

/// Everything that a worker can be made to send by the contract's services.
#[test]
fn the_list_is_what_the_contract_lets_out() {
    let contract = contract();
    let mut sent = BTreeMap::new();
    for service in ["polder.v1.WorkerService", "polder.v1.EnrolmentService"] {
        for method in contract.get_service_by_name(service).unwrap().methods() {
            gather(&method.input(), &mut sent);
        }
    }
    let listed: BTreeMap<String, Vec<String>> = LEAVES
        .iter()
        .map(|leaves| (leaves.message.to_owned(), leaves.fields.iter().map(ToString::to_string).collect()))
        .collect();
    assert_eq!(listed, sent, "what leaves a region has changed: say so in `outbound::LEAVES`");
    assert_eq!(listed.len(), LEAVES.len(), "a message is listed twice");
}

/// A new kind of message does not compile here before it is listed.
#[test]
fn every_message_of_a_session_is_listed() {
    let kinds = LEAVES.iter().find(|leaves| leaves.message == "WorkerMessage").unwrap().fields;
    let id = AssignmentId {
        run: polder_core::RunId::new("r").unwrap(),
        round: 1,
        worker: polder_core::WorkerName::new("w").unwrap(),
    };
    let metrics = Evaluation { examples: 1, loss: 0.5, accuracy: 0.5 };
    let load = WorkerLoad::default();
    let messages = [
        hello(1, &BTreeSet::new(), &[], &[], &load),
        heartbeat(&load),
        accepted(&id),
        declined(&id, "no"),
        failed(&id, "no"),
        Message::Progress(v1::Progress::default()),
        evaluation(&id, &metrics),
    ];
    let names = messages.iter().map(|message| match message {
        Message::Hello(_) => "hello",
        Message::Heartbeat(_) => "heartbeat",
        Message::Accepted(_) => "accepted",
        Message::Declined(_) => "declined",
        Message::Failed(_) => "failed",
        Message::Progress(_) => "progress",
        Message::Evaluation(_) => "evaluation",
    });
    assert_eq!(names.collect::<Vec<_>>(), kinds);
}

#[test]
fn reasons_are_bounded_before_they_leave() {
    let id = AssignmentId {
        run: polder_core::RunId::new("r").unwrap(),
        round: 1,
        worker: polder_core::WorkerName::new("w").unwrap(),
    };
    let Message::Failed(failed) = failed(&id, &"x\n".repeat(10_000)) else { panic!("another message") };
    assert!(failed.reason.len() <= polder_core::policy::REASON_BYTES_MAX && !failed.reason.contains('\n'));
}
