//! Rebuilds `plugins/dist`: every crate of `plugins/policies`, compiled for wasm32-unknown-unknown, wrapped into a component.
//!
//! ```text
//! cd plugins
//! cargo xtask            write dist/NAME.wasm and dist/SHA256SUMS
//! cargo xtask NAME...    the same for these policies, and leave the others as they are
//! cargo xtask --check    build them, write nothing, and fail if dist holds other bytes
//! ```
//!
//! The same compiler gives the same bytes on every machine and in every folder. Other compilers give other bytes.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use wit_component::ComponentEncoder;

const TARGET: &str = "wasm32-unknown-unknown";

fn main() -> Result<()> {
    let mut asked: Vec<String> = env::args().skip(1).collect();
    let check = asked.iter().any(|argument| argument == "--check");
    if asked.iter().any(|argument| argument.starts_with('-')) && asked != ["--check"] {
        bail!("usage: cargo xtask [--check | NAME...]");
    }
    asked.retain(|argument| argument != "--check");
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in plugins/")?;
    let toolchain = Toolchain::find()?;
    let all = policy_names(plugins)?;
    if let Some(unknown) = asked.iter().find(|name| !all.contains(name)) {
        bail!("plugins/policies has no crate {unknown}");
    }
    let names = if asked.is_empty() { all.clone() } else { asked };
    toolchain.build(plugins, &names)?;

    let mut components = BTreeMap::new();
    for name in names {
        let module =
            plugins.join("target").join(TARGET).join("release").join(format!("{}.wasm", name.replace('-', "_")));
        components.insert(name, component_of(&module)?);
    }
    let dist = plugins.join("dist");
    if check { compare(&dist, &components) } else { write(&dist, &components, &all) }
}

/// One crate a folder.
fn policy_names(plugins: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(plugins.join("policies")).context("list plugins/policies")? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            names.push(entry.file_name().into_string().map_err(|name| anyhow::anyhow!("{name:?} is no crate name"))?);
        }
    }
    names.sort();
    ensure!(!names.is_empty(), "plugins/policies holds no crate");
    Ok(names)
}

/// The compiler that cargo will use, and the folders whose names must not end up in what it compiles.
struct Toolchain {
    rustc: String,
    cargo: String,
    sysroot: String,
}

impl Toolchain {
    fn find() -> Result<Self> {
        let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
        let libraries = output(Command::new(&rustc).args(["--print", "target-libdir", "--target", TARGET]))?;
        let has_core = fs::read_dir(&libraries).is_ok_and(|entries| {
            entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
        });
        ensure!(
            has_core,
            "{rustc} cannot compile for {TARGET}; run\n\n    rustup target add {TARGET}\n\nand try again"
        );
        let sysroot = output(Command::new(&rustc).args(["--print", "sysroot"]))?;
        Ok(Self { rustc, cargo: env::var("CARGO").unwrap_or_else(|_| "cargo".into()), sysroot })
    }

    fn build(&self, plugins: &Path, names: &[String]) -> Result<()> {
        // first, as the remappings name the folders that it fills
        self.cargo(plugins, &["fetch", "--locked", "--target", TARGET])?;
        let flags = serde_json::to_string(&self.remappings(plugins)?)?;
        // appended to the flags in .cargo/config.toml
        let flags = format!("target.{TARGET}.rustflags={flags}");
        let mut arguments = vec!["build", "--release", "--locked", "--target", TARGET, "--config", &flags];
        for name in names {
            arguments.extend(["--package", name]);
        }
        self.cargo(plugins, &arguments)
    }

    /// Runs cargo without the variables that would replace what .cargo/config.toml says, or where the result is looked for.
    fn cargo(&self, plugins: &Path, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.cargo);
        command.current_dir(plugins).args(arguments);
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"] {
            command.env_remove(name);
        }
        let status = command.status().with_context(|| format!("run {}", self.cargo))?;
        ensure!(status.success(), "cargo {} ended with {status} (compiler: {})", arguments[0], self.rustc);
        Ok(())
    }

    /// Panic messages carry source paths; these make them the same on every machine. Later flags win.
    fn remappings(&self, plugins: &Path) -> Result<Vec<String>> {
        let cargo_home = match env::var_os("CARGO_HOME") {
            Some(home) => PathBuf::from(home),
            None => PathBuf::from(env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?).join(".cargo"),
        };
        let mut flags = vec![
            format!("--remap-path-prefix={}=/cargo", cargo_home.display()),
            format!("--remap-path-prefix={}=/plugins", plugins.display()),
            format!("--remap-path-prefix={}/lib/rustlib/src/rust=/rust", self.sysroot),
        ];
        // one folder a registry, named after its address and cargo's version
        for entry in fs::read_dir(cargo_home.join("registry/src")).context("list the crates that cargo fetched")? {
            flags.push(format!("--remap-path-prefix={}=/crates", entry?.path().display()));
        }
        // Compilers name their own library by commit, `/rustc/<hash>/`, unless its source lies beside them.
        let version = output(Command::new(&self.rustc).arg("-vV"))?;
        if let Some(hash) = version.lines().find_map(|line| line.strip_prefix("commit-hash: ")) {
            flags.push(format!("--remap-path-prefix=/rustc/{hash}=/rust"));
        }
        Ok(flags)
    }
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {:?}", command.get_program()))?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout).context("the compiler printed no UTF-8")?.trim().to_owned())
}

/// Wraps a core module, whose custom section says which world it implements.
fn component_of(module: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(module).with_context(|| format!("read {}", module.display()))?;
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(&bytes).with_context(|| format!("{} is no policy module", module.display()))?;
    encoder.encode().with_context(|| format!("wrap {} into a component", module.display()))
}

/// As `sha256sum` prints them, so that `sha256sum --check SHA256SUMS` works in `dist`.
fn sums(components: &BTreeMap<String, Vec<u8>>) -> String {
    let mut sums = String::new();
    for (name, bytes) in components {
        for byte in Sha256::digest(bytes) {
            let _ = write!(sums, "{byte:02x}");
        }
        let _ = writeln!(sums, "  {name}.wasm");
    }
    sums
}

/// Writes the components, takes away those that no crate makes any more, and sums up what lies there then.
fn write(dist: &Path, components: &BTreeMap<String, Vec<u8>>, all: &[String]) -> Result<()> {
    fs::create_dir_all(dist)?;
    for (name, bytes) in components {
        fs::write(dist.join(format!("{name}.wasm")), bytes)?;
        println!("{name}.wasm  {} bytes", bytes.len());
    }
    let mut lying = BTreeMap::new();
    for entry in fs::read_dir(dist)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        match path.file_stem().and_then(|stem| stem.to_str()) {
            Some(name) if all.iter().any(|crate_name| crate_name == name) => {
                lying.insert(name.to_owned(), fs::read(&path)?);
            }
            _ => fs::remove_file(&path)?,
        }
    }
    fs::write(dist.join("SHA256SUMS"), sums(&lying))?;
    Ok(())
}

fn compare(dist: &Path, components: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    let committed = fs::read_to_string(dist.join("SHA256SUMS")).context("read dist/SHA256SUMS")?;
    let built = sums(components);
    ensure!(committed == built, "dist is not what this compiler builds.\ncommitted:\n{committed}\nbuilt:\n{built}");
    println!("dist is what this compiler builds");
    Ok(())
}
