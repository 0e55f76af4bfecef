//! What makes a component a policy: it exports one world of `polder:policy` in our version, and imports types at most.

use polder_core::policy::PolicyKind;
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use crate::NotAPolicy;

/// The version of `polder:policy` that this host speaks; components of any other are refused with both named.
pub const CONTRACT_VERSION: &str = "0.2.0";

/// The interface that each kind of policy exports, without its version.
const INTERFACES: [(PolicyKind, &str); 3] = [
    (PolicyKind::Placement, "polder:policy/placer"),
    (PolicyKind::Aggregation, "polder:policy/aggregator"),
    (PolicyKind::Release, "polder:policy/releaser"),
];

/// Longest list of a stranger's names in a message.
const NAMES_SHOWN_MAX: usize = 5;

/// Says by its first eight bytes what `bytes` are, before a compiler sees them.
pub(crate) fn check_layer(bytes: &[u8]) -> Result<(), NotAPolicy> {
    const CORE_MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";
    const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";
    if bytes.starts_with(&COMPONENT) {
        Ok(())
    } else if bytes.starts_with(&CORE_MODULE) {
        Err(NotAPolicy::CoreModule)
    } else {
        Err(NotAPolicy::NotWebAssembly)
    }
}

/// Holds imports and exports to the contract, and says which kind of policy this is.
pub(crate) fn check(engine: &Engine, component: &Component) -> Result<PolicyKind, NotAPolicy> {
    let ty = component.component_type();
    let exports: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
    // Versions first: what another version imports or exports is not to be judged by this one.
    let kind = kind_of(&exports);
    if let Err(NotAPolicy::OtherVersion { .. }) = kind {
        return kind;
    }
    for (name, import) in ty.imports(engine) {
        check_import(engine, name, &import.ty)?;
    }
    kind
}

/// The names of what a component imports and exports.
pub(crate) fn names_of(engine: &Engine, component: &Component) -> (Vec<String>, Vec<String>) {
    let ty = component.component_type();
    (
        ty.imports(engine).map(|(name, _)| shown(name)).collect(),
        ty.exports(engine).map(|(name, _)| shown(name)).collect(),
    )
}

fn kind_of(exports: &[&str]) -> Result<PolicyKind, NotAPolicy> {
    let mut kind = None;
    for export in exports {
        let Some((name, version)) = export.split_once('@') else { continue };
        let Some((found, _)) = INTERFACES.iter().find(|(_, interface)| *interface == name) else { continue };
        if version != CONTRACT_VERSION {
            return Err(NotAPolicy::OtherVersion { found: shown(version) });
        }
        if let Some(first) = kind.replace(*found) {
            return Err(NotAPolicy::TwoWorlds { first, second: *found });
        }
    }
    kind.ok_or_else(|| NotAPolicy::OtherWorld { exports: names(exports) })
}

/// An instance of types is a name for types and nothing more; anything else could be called.
fn check_import(engine: &Engine, name: &str, item: &ComponentItem) -> Result<(), NotAPolicy> {
    let refuse = |import: String| Err(NotAPolicy::Imports { import });
    match item {
        ComponentItem::Type(_) => Ok(()),
        ComponentItem::ComponentInstance(instance) => {
            for (member, export) in instance.exports(engine) {
                match export.ty {
                    ComponentItem::Type(_) => {}
                    ComponentItem::ComponentFunc(_) => {
                        return refuse(format!("the function {} of {}", shown(member), shown(name)));
                    }
                    _ => return refuse(format!("{} of {}", shown(member), shown(name))),
                }
            }
            Ok(())
        }
        ComponentItem::ComponentFunc(_) => refuse(format!("the function {}", shown(name))),
        _ => refuse(shown(name)),
    }
}

fn names(exports: &[&str]) -> String {
    if exports.is_empty() {
        return "nothing".into();
    }
    let mut names: Vec<String> = exports.iter().take(NAMES_SHOWN_MAX).map(|name| shown(name)).collect();
    if exports.len() > NAMES_SHOWN_MAX {
        names.push(format!("{} more", exports.len() - NAMES_SHOWN_MAX));
    }
    names.join(", ")
}

/// A stranger's name, cut to what fits a message.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}
