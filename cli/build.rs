//! Makes the table of files that `polder policy new` writes: the contract, the SDKs and the templates, as they are in this repository.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Folders, relative to this crate, and what the table calls them.
const FOLDERS: [(&str, &str); 6] = [
    ("../plugins/wit", "wit"),
    ("../plugins/sdk/c", "sdk/c"),
    ("../plugins/sdk/python", "sdk/python"),
    ("../plugins/sdk/rust", "sdk/rust"),
    ("../plugins/sdk/typescript", "sdk/typescript"),
    ("templates/policy", "template"),
];

fn main() -> io::Result<()> {
    let here = env::current_dir()?;
    let mut files = Vec::new();
    for (folder, name) in FOLDERS {
        println!("cargo::rerun-if-changed={folder}");
        collect(&here.join(folder), name, &mut files)?;
    }
    files.sort();
    let mut table = String::from("&[\n");
    for (name, path) in files {
        let _ = writeln!(table, "    ({name:?}, include_bytes!({path:?})),");
    }
    table.push_str("]\n");
    let out = env::var_os("OUT_DIR").map(PathBuf::from).ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(out.join("policy_files.rs"), table)
}

/// What compilers and interpreters leave behind is left out.
fn collect(folder: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(file) = entry.file_name().into_string() else { continue };
        if file.starts_with('.') || ["target", "node_modules", "__pycache__", "Cargo.lock"].contains(&file.as_str()) {
            continue;
        }
        let name = format!("{name}/{file}");
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &name, files)?;
        } else {
            files.push((name, entry.path()));
        }
    }
    Ok(())
}
