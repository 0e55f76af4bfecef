//! `polder policy push`

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use polder_core::PolicyName;

use crate::args::Context;
use crate::failure::Ended;
use crate::output::talk;

/// More than any coordinator takes.
const COMPONENT_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// A WebAssembly component (.wasm).
    file: PathBuf,
    /// What runs call it by [default: the file's name].
    #[arg(long)]
    name: Option<PolicyName>,
}

impl Push {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        let name = match self.name {
            Some(name) => name,
            None => self.file.file_stem().and_then(|stem| PolicyName::new(stem.to_str()?).ok()).ok_or_else(|| {
                Ended::usage(format!("`{}` makes no name for a policy; give --name NAME", self.file.display()))
            })?,
        };
        let component = read_component(&self.file)?;
        let policy = context.client().await?.push_policy(&name, component).await?;
        if context.output.is_json() {
            return context.output.line(&policy.text);
        }
        context.output.line(&policy.digest.to_string())?;
        talk(&format!("{} is an {} policy now.", policy.name, policy.kind).replace("an placement", "a placement"))
    }
}

/// The file's bytes, if they can be a component at all.
pub(crate) fn read_component(path: &Path) -> anyhow::Result<Bytes> {
    let unusable = |why: String| Ended::usage(format!("`{}` cannot be pushed: {why}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| unusable(error.to_string()))?.len();
    if size > COMPONENT_BYTES_MAX {
        return Err(unusable(format!("it has {size} bytes, and no policy has more than {COMPONENT_BYTES_MAX}")));
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    if !bytes.starts_with(b"\0asm") {
        return Err(unusable("it is no WebAssembly; build it for the wasm32 target as plugins/README.md shows".into()));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_is_refused_before_it_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.wasm");
        assert!(read_component(&path).unwrap_err().to_string().contains("cannot be pushed: No such file"));
        std::fs::write(&path, "fn main() {}").unwrap();
        assert!(read_component(&path).unwrap_err().to_string().contains("it is no WebAssembly"));
        std::fs::write(&path, b"\0asm\x0d\0\x01\0").unwrap();
        assert_eq!(read_component(&path).unwrap().len(), 8);
    }
}
