//! The files of a new policy, and the commands that build it.

use std::borrow::Cow;

use polder_core::PolicyName;
use polder_core::policy::PolicyKind;

use super::Language;

/// The contract, the SDKs and the templates, made by `build.rs`: names such as `sdk/c/runtime.c` and contents.
const EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/policy_files.rs"));

/// Crates that a policy in Rust is built with, and words that can name none.
const NOT_FOR_RUST: [&str; 12] = [
    "abstract",
    "alloc",
    "core",
    "polder-policy-sdk",
    "proc-macro",
    "self",
    "serde",
    "serde-json",
    "std",
    "super",
    "test",
    "wit-bindgen",
];
const RUST_KEYWORDS: [&str; 45] = [
    "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else", "enum",
    "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move",
    "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "where",
];

/// What a new policy's folder holds.
pub(super) struct Project {
    files: Vec<(String, Cow<'static, [u8]>)>,
    commands: Vec<String>,
}

/// A folder of embedded files, or one of them, and where it goes.
type Source = (String, &'static str);

impl Project {
    /// # Errors
    /// A sentence that says why the language cannot take the name.
    pub(super) fn new(name: &PolicyName, kind: PolicyKind, language: Language) -> Result<Self, String> {
        check(name.as_str(), language)?;
        let component = component(name.as_str(), language);
        let mut commands = build(kind, language, name.as_str());
        commands.push(format!("polder policy test {component} --cases cases"));
        let blanks = [
            ("{{name}}", name.to_string()),
            ("{{module}}", module(name.as_str())),
            ("{{article}}", if kind == PolicyKind::Aggregation { "An" } else { "A" }.into()),
            ("{{kind}}", kind.to_string()),
            ("{{component}}", component),
            ("{{commands}}", commands.join("\n")),
        ];
        let mut files = Vec::new();
        for (from, to) in folders(kind, language) {
            for (path, content) in below(&from) {
                files.push((placed(to, path), Cow::Borrowed(content)));
            }
        }
        let texts = [format!("template/{}/{kind}", folder(language)), format!("template/{}", folder(language))];
        for from in texts {
            for (path, content) in below(&from).filter(|(path, _)| !path.contains('/')) {
                files.push((renamed(path, language), Cow::Owned(filled(content, &blanks))));
            }
        }
        files.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Self { files, commands })
    }

    /// Paths below the folder, and what is in them.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(path, content)| (path.as_str(), &**content))
    }

    /// What builds and tests the policy, in its folder.
    pub(super) fn commands(&self) -> &[String] {
        &self.commands
    }
}

/// What every file but the templates' own is taken from.
fn folders(kind: PolicyKind, language: Language) -> Vec<Source> {
    let case = (format!("template/cases/{kind}"), "cases/first-round");
    let wit = "wit".to_owned();
    match language {
        Language::Rust => vec![case, (wit, "polder/wit"), ("sdk/rust".into(), "polder/sdk/rust")],
        Language::C => {
            vec![case, (wit, "wit"), (format!("sdk/c/{kind}"), "polder"), ("sdk/c/libc".into(), "polder/libc")]
        }
        Language::Typescript | Language::Python => vec![case, (wit, "wit")],
    }
    .into_iter()
    .chain(shared(kind, language))
    .collect()
}

/// Single files of an SDK.
fn shared(kind: PolicyKind, language: Language) -> Vec<Source> {
    match language {
        Language::Rust => Vec::new(),
        Language::C => {
            vec![("sdk/c/runtime.c".into(), "polder/runtime.c"), ("sdk/c/runtime.h".into(), "polder/runtime.h")]
        }
        Language::Typescript => vec![
            ("sdk/typescript/types.ts".into(), "polder/types.ts"),
            match kind {
                PolicyKind::Placement => ("sdk/typescript/placement.ts".into(), "polder/placement.ts"),
                PolicyKind::Aggregation => ("sdk/typescript/aggregation.ts".into(), "polder/aggregation.ts"),
                PolicyKind::Release => ("sdk/typescript/release.ts".into(), "polder/release.ts"),
            },
        ],
        Language::Python => vec![("sdk/python/polder.py".into(), "polder.py")],
    }
}

/// Embedded files below `folder`, with their paths in it; of a file, the file itself with an empty path.
fn below(folder: &str) -> impl Iterator<Item = (&'static str, &'static [u8])> {
    EMBEDDED.iter().filter_map(move |&(name, content)| {
        let rest = name.strip_prefix(folder)?;
        if rest.is_empty() { Some((rest, content)) } else { Some((rest.strip_prefix('/')?, content)) }
    })
}

fn placed(to: &str, path: &str) -> String {
    if path.is_empty() { to.into() } else { format!("{to}/{path}") }
}

/// Names under which a template cannot lie in this repository.
fn renamed(path: &str, language: Language) -> String {
    match path {
        "gitignore" => ".gitignore".into(),
        "cargo.toml" => "Cargo.toml".into(),
        "config.toml" => ".cargo/config.toml".into(),
        "lib.rs" if language == Language::Rust => "src/lib.rs".into(),
        path => path.into(),
    }
}

fn filled(template: &[u8], blanks: &[(&str, String)]) -> Vec<u8> {
    let template = String::from_utf8_lossy(template).into_owned();
    blanks.iter().fold(template, |text, (blank, word)| text.replace(blank, word)).into_bytes()
}

fn folder(language: Language) -> &'static str {
    match language {
        Language::Rust => "rust",
        Language::C => "c",
        Language::Typescript => "typescript",
        Language::Python => "python",
    }
}

fn check(name: &str, language: Language) -> Result<(), String> {
    if language != Language::Rust {
        return Ok(());
    }
    let module = module(name);
    if NOT_FOR_RUST.contains(&name) || RUST_KEYWORDS.contains(&module.as_str()) {
        return Err(format!(
            "a Rust crate cannot be called `{name}`, as Rust or the SDK uses that name; choose another"
        ));
    }
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.contains('.') {
        return Err(format!(
            "a Rust crate cannot be called `{name}`; begin with a letter, and use letters, digits, - and _"
        ));
    }
    Ok(())
}

/// As Rust calls a crate of this name.
fn module(name: &str) -> String {
    name.replace('-', "_")
}

fn component(name: &str, language: Language) -> String {
    match language {
        Language::Rust => format!("target/wasm32-unknown-unknown/release/{}.wasm", module(name)),
        _ => format!("{name}.wasm"),
    }
}

fn build(kind: PolicyKind, language: Language, name: &str) -> Vec<String> {
    let commands: &[&str] = match language {
        Language::Rust => &["cargo test", "cargo build --release --target wasm32-unknown-unknown"],
        Language::C => &["make"],
        Language::Typescript => &["npm install", "npm test", "npm run build"],
        Language::Python => &[
            "python3 -m venv .venv",
            ".venv/bin/pip install -r requirements.txt",
            ".venv/bin/componentize-py -d wit -w {{kind}} bindings bindings",
            "PYTHONPATH=bindings .venv/bin/python -m unittest",
            ".venv/bin/componentize-py -d wit -w {{kind}} componentize -s -p . policy -o {{name}}.wasm",
        ],
    };
    let fill = |command: &&str| command.replace("{{kind}}", &kind.to_string()).replace("{{name}}", name);
    commands.iter().map(fill).collect()
}
