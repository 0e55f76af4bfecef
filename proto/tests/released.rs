//! What was released stays understood, in both directions: an older and a newer program talk to each other during a
//! rolling upgrade, and workers are upgraded whenever their regions please.
//!
//! `released/<version>/polder` is the contract of a release, `released/<version>/messages.json` one full message of every
//! kind as that release sent it. A release adds its own with `POLDER_RELEASE=<version> cargo test -p polder-proto --test
//! released`, once, and nobody changes them afterwards.

mod released {
    pub(crate) mod compatible;
    pub(crate) mod sample;
}

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Value;

use released::{compatible, sample};

const FILES: [&str; 3] = ["polder/v1/enrolment.proto", "polder/v1/worker.proto", "polder/v1/operator.proto"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn contract(root: &Path) -> DescriptorPool {
    let descriptors = protox::compile(FILES.map(|file| root.join(file)), [root]).unwrap();
    DescriptorPool::from_file_descriptor_set(descriptors).unwrap()
}

/// The folders of all releases, oldest first.
fn releases() -> Vec<PathBuf> {
    let folders = std::fs::read_dir(root().join("tests/released")).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = folders.filter(|path| path.is_dir()).collect();
    folders.sort();
    assert!(!folders.is_empty());
    folders
}

fn json(message: &DynamicMessage) -> Value {
    let options = SerializeOptions::new().skip_default_fields(true).stringify_64_bit_integers(false);
    message.serialize_with_options(serde_json::value::Serializer, &options).unwrap()
}

/// Messages of a release by their full name: what they say, and their bytes in hexadecimal digits.
fn recorded(release: &Path) -> BTreeMap<String, (Value, String)> {
    let path = release.join("messages.json");
    if std::env::var("POLDER_RELEASE").is_ok_and(|version| release.ends_with(version)) && !path.exists() {
        let messages: BTreeMap<_, _> = contract(release)
            .all_messages()
            .map(|descriptor| {
                let message = sample::full(&descriptor);
                let bytes: String = message.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect();
                (descriptor.full_name().to_owned(), (json(&message), bytes))
            })
            .collect();
        std::fs::write(&path, serde_json::to_string_pretty(&messages).unwrap() + "\n").unwrap();
    }
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits = hexadecimal.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

#[test]
fn nothing_that_was_released_means_something_else_today() {
    let today = contract(root());
    for release in releases() {
        let broken = compatible::broken(&contract(&release), &today);
        assert!(broken.is_empty(), "against {}:\n{}", release.display(), broken.join("\n"));
    }
}

#[test]
fn a_change_of_meaning_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    for file in FILES {
        let path = dir.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let text = text.replace("uint32 slots = 2;", "uint64 slots = 2;");
        let text = text.replace("  Heartbeat heartbeat = 4;\n", "");
        std::fs::write(
            path,
            text.replace("rpc StopRun(StopRunRequest) returns", "rpc StopRun(StopRunRequest) returns stream"),
        )
        .unwrap();
    }
    let text = std::fs::read_to_string(dir.path().join(FILES[2])).unwrap();
    std::fs::write(
        dir.path().join(FILES[2]),
        text.replace("returns stream (StopRunResponse)", "returns (stream StopRunResponse)"),
    )
    .unwrap();
    let broken = compatible::broken(&contract(root()), &contract(dir.path())).join("\n");
    for expected in ["polder.v1.Hello.slots", "polder.v1.CoordinatorMessage.heartbeat", "StopRun"] {
        assert!(broken.contains(expected), "{expected} is not among:\n{broken}");
    }
}

#[test]
fn messages_of_a_release_say_today_what_they_said_then() {
    let today = contract(root());
    for release in releases() {
        let messages = recorded(&release);
        assert_eq!(messages.len(), contract(&release).all_messages().count(), "{}", release.display());
        for (name, (said, hexadecimal)) in messages {
            let descriptor = today.get_message_by_name(&name).unwrap();
            let message = DynamicMessage::decode(descriptor, bytes(&hexadecimal).as_slice()).unwrap();
            assert_eq!(json(&message), said, "{name} of {}", release.display());
        }
    }
}

#[test]
fn a_release_understands_what_it_knows_of_todays_messages() {
    for release in releases() {
        let then = contract(&release);
        for descriptor in contract(root()).all_messages() {
            let Some(known) = then.get_message_by_name(descriptor.full_name()) else { continue };
            let sent = sample::full(&descriptor);
            let read = DynamicMessage::decode(known, sent.encode_to_vec().as_slice()).unwrap();
            let (sent, read) = (json(&sent), json(&read));
            assert!(compatible::is_part_of(&read, &sent), "{}: {read} is not part of {sent}", descriptor.full_name());
        }
    }
}
