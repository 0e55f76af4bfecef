//! Makes components of the sources in `guests`.
//!
//! A guest's source is a list of fields of a core module in WebAssembly text. The first line is a comment that says what kind of
//! policy it is and what it does: `;; placement: loops for ever.` The frame of its kind (`guests/frames`) brings an honest policy of
//! that kind, and what the source defines replaces what the frame has under the same name. Beside a source there may be a `.wit` file
//! with a world `guest` of its own, and a second comment line may name another version of the contract: `;; contract: 0.1.0`.
//! Sources of the kind `component` or `module` are whole, and stay what they are.

use std::path::{Path, PathBuf};

use crate::guest::{CONTRACT, component};

/// The version in [`CONTRACT`] and in the frames.
const VERSION: &str = polder_policy::CONTRACT_VERSION;

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/guests")
}

/// A guest's file; names may hold dots.
fn file(name: &str, extension: &str) -> PathBuf {
    folder().join(format!("{name}.{extension}"))
}

/// Every guest there is a source for, by name.
pub(crate) fn names() -> Vec<String> {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let sources = files.filter(|path| path.extension().is_some_and(|extension| extension == "wat"));
    let mut names: Vec<_> = sources.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort_unstable();
    names
}

/// The built guest, as it is checked in.
pub(crate) fn built(name: &str) -> Vec<u8> {
    let path = file(name, "wasm");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; main.rs says how to build it", path.display()))
}

/// Builds a guest from its source.
pub(crate) fn build(name: &str) -> Vec<u8> {
    let source = std::fs::read_to_string(file(name, "wat")).unwrap();
    let wit = std::fs::read_to_string(file(name, "wit")).ok();
    let (kind, version) = header(&source).unwrap_or_else(|| panic!("{name}: the first line does not say what it is"));
    if ["component", "module"].contains(&kind) {
        return wat::parse_str(&source).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let of_version = |text: &str| text.replace(&format!("@{VERSION}"), &format!("@{version}"));
    let (contract, world) = match wit {
        Some(wit) => (format!("{CONTRACT}\n{wit}"), "guest"),
        None => (CONTRACT.to_owned(), kind),
    };
    component(&of_version(&contract), world, &of_version(&module(kind, &source)))
}

/// The kinds and the contract's version that the first lines name.
fn header(source: &str) -> Option<(&str, &str)> {
    let mut lines = source.lines();
    let (kind, _) = lines.next()?.strip_prefix(";; ")?.split_once(':')?;
    Some((kind, lines.next().and_then(|line| line.strip_prefix(";; contract: ")).unwrap_or(VERSION)))
}

/// The guest's fields, and those of its frame that it did not replace; imports come first, as the text format wants it.
fn module(kind: &str, source: &str) -> String {
    let own = fields(source);
    let mut frame = Vec::new();
    if kind != "nothing" {
        for name in std::iter::once("shared").chain(kind.split(" + ")) {
            let path = file(&format!("frames/{name}"), "wat");
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            frame.extend(fields(&text));
        }
    }
    let names: Vec<_> = own.iter().filter_map(|field| defined(field)).collect();
    frame.retain(|field| defined(field).is_none_or(|name| !names.contains(&name)));
    let (imports, rest): (Vec<_>, Vec<_>) = own.iter().partition(|field| field.starts_with("(import"));
    let all: Vec<_> = imports.into_iter().chain(&frame).chain(rest).map(String::as_str).collect();
    format!("(module\n{}\n)", all.join("\n"))
}

/// What a field defines under a name of its own, such as `func $weigh`.
fn defined(field: &str) -> Option<(&str, &str)> {
    let mut words = field.trim_start_matches('(').split(|c: char| c.is_whitespace() || c == '(' || c == ')');
    let (what, name) = (words.next()?, words.next()?);
    (what != "export" && name.starts_with('$')).then_some((what, name))
}

/// The parentheses that stand on their own, without the comments between and inside them.
fn fields(text: &str) -> Vec<String> {
    let (mut fields, mut field, mut depth) = (Vec::new(), String::new(), 0);
    let (mut in_text, mut in_comment, mut last) = (false, false, ' ');
    for c in text.chars() {
        in_comment = if in_comment { c != '\n' } else { !in_text && c == ';' && last == ';' };
        match c {
            '"' if !in_comment && last != '\\' => in_text = !in_text,
            '(' if !in_comment && !in_text => depth += 1,
            _ => {}
        }
        if depth > 0 {
            field.push(c);
        }
        if c == ')' && !in_comment && !in_text {
            depth -= 1;
            if depth == 0 {
                fields.push(std::mem::take(&mut field));
            }
        }
        last = c;
    }
    assert!(depth == 0 && !in_text, "unbalanced: {field}");
    fields
}

#[test]
fn what_is_checked_in_is_what_the_sources_give() {
    let regenerate = std::env::var_os("POLDER_REGENERATE").is_some();
    for name in names() {
        let made = build(&name);
        let path = file(&name, "wasm");
        if regenerate {
            std::fs::write(&path, &made).unwrap();
        }
        let is_same = std::fs::read(&path).is_ok_and(|found| found == made);
        assert!(
            is_same,
            "{} is not what its source gives; `POLDER_REGENERATE=1 cargo test -p polder-tests --test policies` writes it",
            path.display()
        );
    }
    let built = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    for path in built.filter(|path| path.extension().is_some_and(|extension| extension == "wasm")) {
        assert!(path.with_extension("wat").exists(), "{} has no source", path.display());
    }
}
