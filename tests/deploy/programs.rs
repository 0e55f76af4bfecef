//! Every way in which `deploy/` starts `polder`, held against `--help`.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::{deploy, documents, manifests};

/// One start of the program: its arguments, and the variables it is given.
#[derive(Debug)]
struct Start {
    arguments: Vec<String>,
    variables: BTreeSet<String>,
}

/// What `--help` says of the verb that the arguments begin with.
fn help(arguments: &[String]) -> String {
    let verb = arguments.iter().take(2);
    let help = Command::new(env!("CARGO_BIN_EXE_polder-under-test")).args(verb).arg("--help").output().unwrap();
    assert!(help.status.success(), "{arguments:?}: {help:?}");
    String::from_utf8(help.stdout).unwrap()
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn of_manifests() -> Vec<Start> {
    let all = manifests().into_iter().flat_map(|path| documents(&path));
    let containers = all.flat_map(|document| {
        document["spec"]["template"]["spec"]["containers"].as_array().cloned().unwrap_or_default()
    });
    containers
        .map(|container| Start {
            arguments: texts(&container["args"]),
            variables: container["env"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|variable| variable["name"].as_str().unwrap().to_owned())
                .collect(),
        })
        .collect()
}

/// Words of a shell script that begin with `polder`, up to the end of that command.
fn of_script(script: &str) -> Vec<Vec<String>> {
    let commands = script.split(['\n', ';']).flat_map(|line| line.split("||").flat_map(|part| part.split("&&")));
    let from_polder = |command: &str| {
        let mut words = command.split_whitespace().skip_while(|word| *word != "polder");
        words.next()?;
        let mut words: Vec<String> = words.take_while(|word| *word != ">").map(ToOwned::to_owned).collect();
        // A profile may come before the verb.
        if words.first().is_some_and(|word| word == "--profile") {
            words.drain(..2);
        }
        Some(words)
    };
    commands.filter_map(from_polder).collect()
}

fn of_compose() -> Vec<Start> {
    let compose = documents(&deploy().join("compose/compose.yaml")).remove(0);
    let services = compose["services"].as_object().unwrap().values();
    let ours = services.filter(|service| service["image"] == "polder");
    ours.flat_map(|service| {
        let variables: BTreeSet<String> =
            service["environment"].as_object().into_iter().flat_map(|map| map.keys().cloned()).collect();
        let starts = match &service["entrypoint"] {
            Value::Null => vec![texts(&service["command"])],
            _ => texts(&service["command"]).iter().flat_map(|script| of_script(script)).collect(),
        };
        starts.into_iter().map(move |arguments| Start { arguments, variables: variables.clone() })
    })
    .collect()
}

#[test]
fn every_flag_and_variable_is_one_that_the_program_takes() {
    let starts: Vec<Start> = of_manifests().into_iter().chain(of_compose()).collect();
    assert!(starts.len() >= 7, "{starts:?}");
    for Start { arguments, variables } in starts {
        let help = help(&arguments);
        for flag in arguments.iter().filter(|argument| argument.starts_with("--")) {
            assert!(
                help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")),
                "{flag} of {arguments:?}"
            );
        }
        for variable in variables.iter().filter(|variable| variable.starts_with("POLDER_")) {
            assert!(help.contains(variable.as_str()), "{variable} of {arguments:?}");
        }
    }
}

#[test]
fn coordinators_listen_where_the_services_and_probes_look() {
    let all: Vec<Value> = manifests().into_iter().flat_map(|path| documents(&path)).collect();
    let of_kind = |kind: &str| all.iter().filter(|document| document["kind"] == kind).cloned().collect::<Vec<_>>();
    let set = of_kind("StatefulSet").into_iter().find(|set| set["metadata"]["name"] == "coordinator").unwrap();
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    let port = &container["ports"][0];
    assert!(texts(&container["args"]).contains(&format!("0.0.0.0:{}", port["containerPort"])));
    for probe in ["readinessProbe", "livenessProbe"] {
        assert_eq!(container[probe]["tcpSocket"]["port"], port["name"]);
    }
    let services = of_kind("Service");
    assert!(services.iter().any(|service| service["metadata"]["name"] == set["spec"]["serviceName"]));
    for service in &services {
        assert_eq!(service["spec"]["selector"], set["spec"]["template"]["metadata"]["labels"]);
        assert_eq!(service["spec"]["ports"][0]["targetPort"], port["name"]);
    }
}

#[test]
fn a_worker_asks_for_a_gpu_and_nobody_is_let_in() {
    let all: Vec<Value> = manifests().into_iter().flat_map(|path| documents(&path)).collect();
    let worker =
        all.iter().find(|document| document["kind"] == "StatefulSet" && document["metadata"]["name"] == "worker");
    let limits = &worker.unwrap()["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"];
    assert_eq!(limits["nvidia.com/gpu"], "1");
    let policy =
        all.iter().find(|document| document["kind"] == "NetworkPolicy" && document["metadata"]["name"] == "worker");
    let policy = &policy.unwrap()["spec"];
    assert_eq!(texts(&policy["policyTypes"]), ["Ingress", "Egress"]);
    assert!(policy["ingress"].is_null(), "a worker dials out; nothing dials it");
}

#[test]
fn no_container_may_more_than_it_needs() {
    let sets = manifests().into_iter().flat_map(|path| documents(&path));
    for set in sets.filter(|document| document["kind"] == "StatefulSet") {
        let pod = &set["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        for container in pod["containers"].as_array().unwrap() {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["readOnlyRootFilesystem"], true);
            assert_eq!(texts(&security["capabilities"]["drop"]), ["ALL"]);
        }
    }
}
