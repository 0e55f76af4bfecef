//! The authorization table covers the wire contract: an RPC that is not in it fails here before it fails a user.

use std::collections::BTreeSet;

use polder_security::authorization::TABLE;

/// Every RPC path of the `.proto` files.
fn rpcs() -> BTreeSet<String> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto");
    let files = ["enrolment", "worker", "operator"].map(|name| format!("{root}/polder/v1/{name}.proto"));
    let descriptors = protox::compile(files, [root]).unwrap();
    let services = descriptors.file.iter().flat_map(|file| {
        let package = file.package().to_owned();
        file.service.iter().map(move |service| (package.clone(), service))
    });
    services
        .flat_map(|(package, service)| {
            let path = move |method: &str| format!("/{package}.{}/{method}", service.name());
            service.method.iter().map(move |method| path(method.name()))
        })
        .collect()
}

#[test]
fn every_rpc_is_in_the_table_and_the_table_holds_nothing_else() {
    let listed: BTreeSet<String> = TABLE.iter().map(|rule| rule.path.to_owned()).collect();
    assert_eq!(listed, rpcs());
}
