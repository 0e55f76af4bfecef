//! `polder policy new`

mod project;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use polder_core::PolicyName;
use polder_core::policy::PolicyKind;
use serde::Serialize;

use self::project::Project;
use crate::args::Context;
use crate::failure::{Ended, Exit};
use crate::output::talk;

#[derive(Debug, Args)]
pub(crate) struct New {
    /// What the policy is called, and the folder that is made.
    name: PolicyName,
    /// What it decides.
    #[arg(long, value_enum)]
    kind: Kind,
    /// What it is written in.
    #[arg(long, value_enum)]
    lang: Language,
    /// Where the folder is made.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Who trains, where, on which GPU.
    Placement,
    /// How updates become a model.
    Aggregation,
    /// What may leave a region.
    Release,
}

impl From<Kind> for PolicyKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Placement => Self::Placement,
            Kind::Aggregation => Self::Aggregation,
            Kind::Release => Self::Release,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Language {
    /// The fastest, and the best for loops over parameters.
    Rust,
    /// As fast; needs clang and lld, no libc.
    C,
    /// For decisions, not for loops over parameters; needs Node.js.
    Typescript,
    /// For decisions, not for loops over parameters; needs Python 3.10 or newer.
    Python,
}

/// What was made, as `--json` prints it.
#[derive(Serialize)]
struct Made<'a> {
    path: &'a Path,
    name: &'a PolicyName,
    kind: PolicyKind,
    lang: Language,
    /// What builds and tests it, to be run in `path`.
    commands: &'a [String],
}

impl New {
    pub(crate) fn perform(self, context: &Context) -> anyhow::Result<()> {
        let Self { name, lang, dir, .. } = self;
        let kind = PolicyKind::from(self.kind);
        let project = Project::new(&name, kind, lang).map_err(Ended::usage)?;
        let path = dir.join(name.as_str());
        write(&path, &dir, &project)?;
        let commands = project.commands();
        if context.output.is_json() {
            return context.output.object(&Made { path: &path, name: &name, kind, lang, commands });
        }
        talk(&format!(
            "{name}, a policy for {kind}, is in {}. Build it, and try it on its recorded case:\n",
            path.display()
        ))?;
        context.output.line(&format!("cd {}", quoted(&path)))?;
        commands.iter().try_for_each(|command| context.output.line(command))
    }
}

/// Writes everything or nothing: the folder is made beside its place and moved there when it is whole.
fn write(path: &Path, dir: &Path, project: &Project) -> anyhow::Result<()> {
    let taken = || Ended::usage(format!("`{}` is there already; choose another name or --dir", path.display()));
    if path.symlink_metadata().is_ok() {
        return Err(taken());
    }
    let cannot = || format!("cannot write into `{}`", dir.display());
    let unfinished = tempfile::Builder::new().prefix(".polder-new-").tempdir_in(dir).with_context(cannot)?;
    let root = unfinished.path().join("project");
    for (name, content) in project.files() {
        let file = root.join(name);
        let folder = file.parent().unwrap_or(&root);
        fs::create_dir_all(folder).and_then(|()| fs::write(&file, content)).with_context(cannot)?;
    }
    // onto a folder that somebody filled meanwhile, this fails
    fs::rename(&root, path).map_err(|error| match error.kind() {
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => taken(),
        _ => Ended::error(Exit::Failed, format!("cannot make `{}`: {error}", path.display())),
    })
}

/// As a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@".contains(c));
    if is_plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests;
