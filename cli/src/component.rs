//! A policy from a file on this machine: a component as it is, or a core module that says which world it is made for, as
//! `cargo build` and clang leave it, which is wrapped into a component here.

use std::io::Read;
use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use wit_component::ComponentEncoder;

use crate::failure::Ended;

/// More than any coordinator takes.
const COMPONENT_BYTES_MAX: u64 = 64 << 20;
const CORE_MODULE: &[u8; 8] = b"\0asm\x01\0\0\0";

/// The component in the file at `path`.
pub(crate) fn read(path: &Path) -> anyhow::Result<Bytes> {
    let unusable = |why: String| Ended::usage(format!("`{}` cannot be a policy: {why}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| unusable(error.to_string()))?;
    let mut bytes = Vec::new();
    let read = file.take(COMPONENT_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("cannot read `{}`", path.display()))?;
    if bytes.len() as u64 > COMPONENT_BYTES_MAX {
        return Err(unusable(format!("it is larger than {COMPONENT_BYTES_MAX} bytes, and no policy is")));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(unusable("it is no WebAssembly; build it for the wasm32 target as plugins/README.md shows".into()));
    }
    if bytes.starts_with(CORE_MODULE) {
        bytes = wrap(&bytes).map_err(unusable)?;
    }
    Ok(bytes.into())
}

/// What a worker should read in place of the release policy that it was given: where that is a file with a core module, a component of
/// the same name, in a folder to keep until the worker has read it.
pub(crate) fn for_worker(release: &str) -> anyhow::Result<Option<(tempfile::TempDir, String)>> {
    // as the worker tells files from built-in names
    if !release.ends_with(".wasm") && !release.contains('/') {
        return Ok(None);
    }
    let path = Path::new(release);
    let mut start = [0; CORE_MODULE.len()];
    let is_module = std::fs::File::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok());
    let Some(name) = path.file_name().filter(|_| is_module && start == *CORE_MODULE) else { return Ok(None) };
    let folder = tempfile::tempdir()?;
    let component = folder.path().join(name);
    std::fs::write(&component, read(path)?)?;
    let text = component.display().to_string();
    Ok(Some((folder, text)))
}

/// The component that a core module's custom sections describe.
fn wrap(module: &[u8]) -> Result<Vec<u8>, String> {
    let wrapped = ComponentEncoder::default().validate(true).module(module).and_then(|mut encoder| encoder.encode());
    wrapped.map_err(|error| format!("it is a core module that makes no component: {error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_is_refused_before_it_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.wasm");
        assert!(read(&path).unwrap_err().to_string().contains("cannot be a policy: No such file"));
        std::fs::write(&path, "fn main() {}").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("it is no WebAssembly"));
        std::fs::write(&path, b"\0asm\x0d\0\x01\0").unwrap();
        assert_eq!(read(&path).unwrap().len(), 8);
    }

    #[test]
    fn only_core_modules_are_wrapped_for_a_worker() {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sdk-module.wasm");
        let (folder, file) = for_worker(module.to_str().unwrap()).unwrap().unwrap();
        assert_eq!(Path::new(&file), folder.path().join("sdk-module.wasm"));
        assert_eq!(std::fs::read(&file).unwrap(), read(&module).unwrap());
        assert!(for_worker(&file).unwrap().is_none(), "a component was wrapped again");
        for other in ["allow-all", "no-such-file.wasm"] {
            assert!(for_worker(other).unwrap().is_none(), "{other}");
        }
    }

    #[test]
    fn a_module_that_a_compiler_left_becomes_a_policy() {
        // `allow-all` of plugins/policies as rustc left it, with the sections of wit-bindgen in it
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sdk-module.wasm");
        let component = read(&path).unwrap();
        let host = polder_policy::PolicyHost::new(polder_policy::Limits::default(), None).unwrap();
        assert_eq!(host.load(&component).unwrap().kind(), polder_core::policy::PolicyKind::Release);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.wasm");
        std::fs::write(&path, b"\0asm\x01\0\0\0\x01").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("a core module that makes no component"));
        // a module without a world makes a component that exports nothing; the host says so
        std::fs::write(&path, CORE_MODULE).unwrap();
        let refused = host.load(&read(&path).unwrap()).unwrap_err().to_string();
        assert!(refused.contains("it exports neither placer nor aggregator nor releaser"), "{refused}");
    }
}
