// Tests say what they skip.
#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use clap::ValueEnum as _;
use polder_policy::cases::{Case, contract_checks, run_case};
use polder_policy::{Limits, PolicyHost};
use tempfile::TempDir;

use super::*;

/// A project in a folder of its own.
fn made(name: &str, kind: Kind, lang: Language) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    let project = Project::new(&PolicyName::new(name).unwrap(), kind.into(), lang).unwrap();
    write(&path, dir.path(), &project).unwrap();
    (dir, path)
}

fn every_combination() -> impl Iterator<Item = (Kind, Language)> {
    let languages = Language::value_variants();
    Kind::value_variants().iter().flat_map(move |&kind| languages.iter().map(move |&lang| (kind, lang)))
}

fn files_below(path: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.insert(path);
        }
    }
    files
}

#[test]
fn every_kind_in_every_language_is_whole() {
    for (kind, lang) in every_combination() {
        let (_dir, path) = made("my-policy", kind, lang);
        let source = match lang {
            Language::Rust => "src/lib.rs",
            Language::C => "policy.c",
            Language::Typescript => "policy.ts",
            Language::Python => "policy.py",
        };
        let files = files_below(&path);
        for file in
            [source, "README.md", ".gitignore", "cases/first-round/question.json", "cases/first-round/answer.json"]
        {
            assert!(files.contains(&path.join(file)), "{kind:?} in {lang:?} has no {file}, but {files:?}");
        }
        assert!(files.iter().any(|file| file.ends_with("wit/types.wit")));
        for file in files.iter().filter(|file| file.extension().is_none_or(|extension| extension != "o")) {
            let text = fs::read_to_string(file).unwrap();
            assert!(!text.contains("{{"), "{} has a blank left", file.display());
        }
        let cases = Case::read_all(&path.join("cases")).unwrap();
        assert_eq!(cases.len(), 1);
        let readme = fs::read_to_string(path.join("README.md")).unwrap();
        let project = Project::new(&PolicyName::new("my-policy").unwrap(), kind.into(), lang).unwrap();
        for command in project.commands() {
            assert!(readme.contains(command), "README.md of {kind:?} in {lang:?} does not say `{command}`");
        }
    }
}

/// The projects in Rust are workspaces of their own: they must ask for what the SDK is built with here.
#[test]
fn the_rust_template_has_the_sdks_dependencies() {
    let (_dir, path) = made("my-policy", Kind::Release, Language::Rust);
    let read = |path: &Path| toml::from_str::<toml::Table>(&fs::read_to_string(path).unwrap()).unwrap();
    let ours = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/Cargo.toml"));
    let theirs = read(&path.join("Cargo.toml"));
    let sdk = read(&path.join("polder/sdk/rust/Cargo.toml"));
    for name in sdk["dependencies"].as_table().unwrap().keys() {
        let wanted = |table: &toml::Table| table["workspace"]["dependencies"][name].clone();
        assert_eq!(wanted(&theirs), wanted(&ours), "{name}");
    }
    for key in ["version", "edition", "rust-version", "license"] {
        assert_eq!(theirs["workspace"]["package"][key], ours["workspace"]["package"][key], "{key}");
    }
}

#[test]
fn nothing_is_overwritten_and_nothing_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    let project = Project::new(&PolicyName::new("mine").unwrap(), PolicyKind::Release, Language::C).unwrap();
    let path = dir.path().join("mine");
    fs::write(&path, "precious").unwrap();
    let error = write(&path, dir.path(), &project).unwrap_err();
    assert!(error.to_string().contains("is there already; choose another name or --dir"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(write(&path, dir.path(), &project).is_err());
    fs::remove_dir(&path).unwrap();
    let error = write(&path, &dir.path().join("nowhere"), &project).unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "something was left behind");
    write(&path, dir.path(), &project).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "something was left behind");
}

#[test]
fn names_that_a_language_cannot_take_are_refused() {
    let refused = |name: &str, lang| Project::new(&PolicyName::new(name).unwrap(), PolicyKind::Release, lang).err();
    for name in ["serde", "match", "std", "7up", "a.b", "polder-policy-sdk"] {
        assert!(refused(name, Language::Rust).is_some(), "{name} was accepted");
        assert_eq!(refused(name, Language::C), None);
    }
    assert_eq!(refused("trimmed-mean_2", Language::Rust), None);
    assert_eq!(quoted(Path::new("a b's")), r"'a b'\''s'");
}

/// Whether a program can be had here, and says that it has what is wanted of it.
fn says(program: &str, arguments: &[&str], wanted: impl Fn(&str) -> bool) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success() && wanted(&String::from_utf8_lossy(&output.stdout)))
}

/// Builds what was made as its commands say, and tries it as `polder policy test` does.
fn builds(path: &Path, kind: Kind, lang: Language, component: &str) {
    let project = Project::new(&PolicyName::new("mine").unwrap(), kind.into(), lang).unwrap();
    let command = project.commands().iter().rev().nth(1).unwrap();
    let words: Vec<&str> = command.split(' ').collect();
    let mut build = Command::new(words[0]);
    build.args(&words[1..]).current_dir(path);
    for variable in ["CARGO_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "MAKEFLAGS"] {
        build.env_remove(variable);
    }
    let output = build.output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    let component = crate::component::read(&path.join(component)).unwrap();
    let host = PolicyHost::new(Limits { question_ms_max: 60_000, ..Limits::default() }, None).unwrap();
    let policy = host.load(&component).unwrap();
    assert_eq!(policy.kind(), kind.into());
    for check in contract_checks(&host, &policy, "{}") {
        assert!(check.passed, "{kind:?} in {lang:?}: {}: {}", check.name, check.detail);
    }
    for case in Case::read_all(&path.join("cases")).unwrap() {
        let result = run_case(&host, &policy, &case);
        assert!(result.passed, "{kind:?} in {lang:?}: case {}: {}", result.name, result.difference);
    }
}

#[test]
fn c_builds_where_clang_is() {
    let targets = |text: &str| text.contains("wasm32");
    if !says("make", &["--version"], |_| true)
        || !says("clang", &["--print-targets"], targets)
        || !says("wasm-ld", &["--version"], |_| true)
    {
        println!("skipped: make, clang with the wasm32 target and wasm-ld are not all on PATH");
        return;
    }
    for &kind in Kind::value_variants() {
        let (_dir, path) = made("mine", kind, Language::C);
        builds(&path, kind, Language::C, "mine.wasm");
    }
}

/// Without the network: with the crates that this machine has.
#[test]
fn rust_builds_where_the_target_is() {
    let has_core = |folder: &str| {
        fs::read_dir(folder.trim()).is_ok_and(|mut files| {
            files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("libcore-")))
        })
    };
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    if !says(&rustc, &["--print", "target-libdir", "--target", "wasm32-unknown-unknown"], has_core) {
        println!("skipped: {rustc} cannot compile for wasm32-unknown-unknown");
        return;
    }
    let (_dir, path) = made("mine", Kind::Aggregation, Language::Rust);
    let manifest = path.join("Cargo.toml").display().to_string();
    if !says("cargo", &["fetch", "--offline", "--manifest-path", &manifest], |_| true) {
        println!("skipped: cargo has not fetched the SDK's crates on this machine");
        return;
    }
    builds(&path, Kind::Aggregation, Language::Rust, "target/wasm32-unknown-unknown/release/mine.wasm");
}
