//! The checked-in Rust types are what the `.proto` files say. `POLDER_REGENERATE=1 cargo test -p polder-proto` rewrites
//! them.

use std::path::Path;

const FILES: [&str; 3] = ["polder/v1/enrolment.proto", "polder/v1/worker.proto", "polder/v1/operator.proto"];

#[test]
fn generated_types_match_the_proto_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().unwrap();
    let descriptors = protox::compile(FILES.map(|file| root.join(file)), [root]).unwrap();
    tonic_prost_build::configure().bytes(".polder.v1").out_dir(out.path()).compile_fds(descriptors).unwrap();
    let fresh = std::fs::read_to_string(out.path().join("polder.v1.rs")).unwrap();
    let checked_in = root.join("src/generated/polder.v1.rs");
    if std::env::var_os("POLDER_REGENERATE").is_some() {
        std::fs::write(&checked_in, &fresh).unwrap();
    }
    let held = std::fs::read_to_string(&checked_in).unwrap_or_default();
    assert!(held == fresh, "run POLDER_REGENERATE=1 cargo test -p polder-proto --test generated, and commit");
}
