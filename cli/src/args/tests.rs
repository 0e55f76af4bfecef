use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn clap_finds_no_contradiction() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_of_the_readme_parses() {
    let digest = format!("blake3:{}", "0".repeat(64));
    for line in [
        "polder coordinator start",
        "polder coordinator start --dir /srv/polder --listen [::]:7700 --advertise coordinator.example:7700 --json",
        "polder token create --region eu-west",
        "polder token create --operator ada --expires 7d",
        "polder login polder1.abc --coordinator 127.0.0.1:7700",
        "polder worker start --join polder1.abc --data digits=/srv/digits.csv.gz --data mnist=/srv/mnist",
        "polder worker start --data digits=x --name eu-west-1 --region eu-west --slots 2 --dir d",
        "polder worker list --json",
        "polder worker drain eu-west-1 --undo",
        "polder run submit run.toml --watch --set train.epochs=3 --set name=other",
        "polder run list",
        "polder run show digits-3f9a1c",
        "polder run watch digits-3f9a1c --after 7",
        "polder run log digits-3f9a1c",
        "polder run stop digits-3f9a1c --reason enough",
        "polder round show digits-3f9a1c 3",
        "polder policy list",
        "polder policy push policy.wasm --name mine",
        "polder model list",
        "polder model list digits-3f9a1c",
        "polder demo --regions 5 --rounds 5000",
        "polder token create --region eu-west --expires 30d",
        "polder model pull digits-3f9a1c",
        "polder model pull digits-3f9a1c --version 3 -o model.safetensors",
        &format!("polder --profile p model pull {digest} -o model.safetensors"),
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}\n{error}");
        }
    }
}

#[test]
fn what_is_wrong_is_refused_with_code_2() {
    for (line, kind) in [
        ("polder token create", ErrorKind::MissingRequiredArgument),
        ("polder token create --region eu-west --operator ada", ErrorKind::ArgumentConflict),
        ("polder token create --region EU", ErrorKind::ValueValidation),
        ("polder token create --region eu --expires soon", ErrorKind::ValueValidation),
        ("polder coordinator start --listen nowhere", ErrorKind::ValueValidation),
        ("polder coordinator start --advertise nowhere", ErrorKind::ValueValidation),
        ("polder worker start --join x", ErrorKind::MissingRequiredArgument),
        ("polder run submit", ErrorKind::MissingRequiredArgument),
        ("polder run submit run.toml --set train.epochs", ErrorKind::ValueValidation),
        ("polder run show", ErrorKind::MissingRequiredArgument),
        ("polder round show run one", ErrorKind::ValueValidation),
        ("polder model pull sha256:00 -o x", ErrorKind::ValueValidation),
        ("polder model pull", ErrorKind::MissingRequiredArgument),
        ("polder demo --rounds 5001", ErrorKind::ValueValidation),
        ("polder token create --region eu --expires 99d", ErrorKind::ValueValidation),
        ("polder token create --region eu --expires 0s", ErrorKind::ValueValidation),
        ("polder dance", ErrorKind::InvalidSubcommand),
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!((error.kind(), error.exit_code()), (kind, 2), "{line}\n{error}");
    }
}

#[test]
fn only_services_log_what_they_do_unasked() {
    let level = |line: &str| parse(line).unwrap().command.log_level();
    assert_eq!(level("polder coordinator start"), LevelFilter::INFO);
    assert_eq!(level("polder worker start --data digits=x"), LevelFilter::INFO);
    assert_eq!(level("polder run list"), LevelFilter::WARN);
}
