//! Guests written in WebAssembly text: one function body each, wrapped into a component of the real contract.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The contract, as the files of `plugins/wit` say it.
pub(crate) const CONTRACT: &str = concat!(
    include_str!("../../../../plugins/wit/types.wit"),
    include_str!("../../../../plugins/wit/placement.wit"),
    include_str!("../../../../plugins/wit/aggregation.wit"),
);

/// The component that a core module, as text, makes under a world of `wit`.
pub(crate) fn component(wit: &str, world: &str, module: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("contract.wit", wit).expect("the contract parses");
    let world = resolve.select_world(&[package], Some(world)).expect("the world exists");
    let mut module = wat::parse_str(module).expect("the module parses");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("the world is embedded");
    let encoder = ComponentEncoder::default().validate(true);
    let mut encoder = encoder.module(&module).expect("the module fits the world");
    encoder.encode().expect("the module becomes a component")
}

/// What every guest has: a memory of `pages` pages of zeros, and an allocator that only moves up.
fn frame(pages: u32, rest: &str) -> String {
    format!(
        r#"(module
            (memory (export "memory") {pages})
            (global $next (mut i32) (i32.const 16384))
            (func (export "cabi_realloc") (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and
                    (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
                    (i32.sub (i32.const 0) (local.get $align))))
                (global.set $next (i32.add (local.get $at) (local.get $len)))
                (local.get $at))
            {rest})"#
    )
}

/// The signature of `place`: a question of seed, demands, workers and state, then the parameters; returns where the answer is.
pub(crate) const PLACE: &str = r#"(func $place (export "polder:policy/placer@0.1.0#place")
    (param $seed i64) (param $demands i32) (param $demands_len i32) (param $workers i32) (param $workers_len i32)
    (param $state i32) (param $state_len i32) (param $parameters i32) (param $parameters_len i32) (result i32)"#;

/// A placement policy whose `place` has this body. An answer of zeros is an answer without assignments.
pub(crate) fn placement(body: &str) -> Vec<u8> {
    placement_in(16, body, "")
}

/// The same with `pages` pages of memory and other items beside `place`.
pub(crate) fn placement_in(pages: u32, body: &str, items: &str) -> Vec<u8> {
    component(CONTRACT, "placement", &frame(pages, &format!("{PLACE} {body}) {items}")))
}

/// An aggregation policy whose `weigh` has this body, and whose `describe` says `sums`.
pub(crate) fn aggregation(body: &str, items: &str) -> Vec<u8> {
    let module = frame(
        16,
        &format!(
            r#"(func (export "polder:policy/aggregator@0.1.0#describe") (param i32 i32) (result i32) (i32.const 1024))
            (func (export "polder:policy/aggregator@0.1.0#weigh")
                (param $round i32) (param $seed i64) (param $model_parameters i64) (param $updates i32) (param $updates_len i32)
                (param $parameters i32) (param $parameters_len i32) (result i32)
                {body})
            {items}"#
        ),
    );
    component(CONTRACT, "aggregation", &module)
}

/// An aggregation policy that always answers these weights.
pub(crate) fn weights(weights: &[f32]) -> Vec<u8> {
    let bytes: String = weights.iter().flat_map(|weight| weight.to_le_bytes()).map(|b| format!("\\{b:02x}")).collect();
    // result at 2048: ok, weights at 4096, no reason
    let len: String = (weights.len() as u32).to_le_bytes().iter().map(|b| format!("\\{b:02x}")).collect();
    let data = format!(r#"(data (i32.const 2052) "\00\10\00\00{len}") (data (i32.const 4096) "{bytes}")"#);
    aggregation("(i32.const 2048)", &data)
}

/// A placement policy that always answers one assignment.
pub(crate) fn assignment(demand: u32, worker: u32, gpu: Option<u32>) -> Vec<u8> {
    let words = [demand, worker, u32::from(gpu.is_some()), gpu.unwrap_or(0)];
    let bytes: String = words.iter().flat_map(|word| word.to_le_bytes()).map(|b| format!("\\{b:02x}")).collect();
    // result at 2048: ok, one assignment at 4096
    let data = format!(r#"(data (i32.const 2052) "\00\10\00\00\01\00\00\00") (data (i32.const 4096) "{bytes}")"#);
    placement_in(16, "(i32.const 2048)", &data)
}
