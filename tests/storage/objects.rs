//! Blobs and spooled updates where coordinators share an object store: the same tests without one, with a shared directory
//! and with S3. Those on S3 run in a process of their own, whose environment has the credentials, as a user's would.

mod faults;
mod full;
mod owner;
mod shared;
mod world;

use std::process::Command;

use polder_tests::s3::S3;
use world::S3_PORT;

#[test]
#[allow(clippy::print_stderr)]
fn everything_holds_on_s3() {
    let Some(s3) = S3::start() else {
        eprintln!(
            "skipped: there is no S3 server here; `pip install 'moto[server]'`, or name a Python with it in POLDER_TEST_MOTO"
        );
        return;
    };
    s3.make_bucket(world::BUCKET);
    run_with(&s3, "objects::shared::s3");
}

#[test]
#[allow(clippy::print_stderr)]
fn a_server_that_goes_away_comes_back_or_lies_is_borne() {
    let Some(mut s3) = S3::start() else {
        eprintln!(
            "skipped: there is no S3 server here; `pip install 'moto[server]'`, or name a Python with it in POLDER_TEST_MOTO"
        );
        return;
    };
    // The tests start and stop it themselves.
    s3.kill();
    run_with(&s3, "objects::faults::s3");
}

/// Runs the tests under `path` in this same program.
fn run_with(s3: &S3, path: &str) {
    let program = std::env::current_exe().unwrap();
    let said = Command::new(program)
        .args([path, "--test-threads=1"])
        .envs(s3.environment())
        .env(S3_PORT, s3.port().to_string())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&said.stderr));
    assert!(!stdout.contains("running 0 tests"), "{stdout}");
}
