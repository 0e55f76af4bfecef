//! Guests written in WebAssembly text: one function body each, wrapped into a component of the real contract.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The contract, as the files of `plugins/wit` say it.
pub(crate) const CONTRACT: &str = concat!(
    include_str!("../../../../plugins/wit/types.wit"),
    include_str!("../../../../plugins/wit/placement.wit"),
    include_str!("../../../../plugins/wit/aggregation.wit"),
    include_str!("../../../../plugins/wit/release.wit"),
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
pub(crate) const PLACE: &str = r#"(func $place (export "polder:policy/placer@0.2.0#place")
    (param $seed i64) (param $demands i32) (param $demands_len i32) (param $workers i32) (param $workers_len i32)
    (param $state i32) (param $state_len i32) (param $parameters i32) (param $parameters_len i32) (result i32)"#;

/// A `check` that takes all parameters.
pub(crate) const CHECK: &str =
    r#"(func (export "polder:policy/placer@0.2.0#check") (param i32 i32) (result i32) (i32.const 1024))"#;

/// A placement policy whose `place` has this body. An answer of zeros is an answer without assignments.
pub(crate) fn placement(body: &str) -> Vec<u8> {
    placement_in(16, body, "")
}

/// The same with `pages` pages of memory and other items beside `place`.
pub(crate) fn placement_in(pages: u32, body: &str, items: &str) -> Vec<u8> {
    component(CONTRACT, "placement", &frame(pages, &format!("{CHECK} {PLACE} {body}) {items}")))
}

/// The four functions of an aggregation policy, by their bodies. Answers of zeros are fine everywhere but in `describe`.
pub(crate) struct Aggregator<'a> {
    pub(crate) describe: &'a str,
    pub(crate) weigh: &'a str,
    pub(crate) combine: &'a str,
    pub(crate) step: &'a str,
    pub(crate) items: &'a str,
}

/// Where [`DESCRIPTION`] is.
pub(crate) const DESCRIBE: &str = "(i32.const 1024)";

impl Default for Aggregator<'_> {
    fn default() -> Self {
        Self {
            describe: DESCRIBE,
            weigh: "(i32.const 2048)",
            combine: "(i32.const 2048)",
            step: "(i32.const 2048)",
            items: "",
        }
    }
}

/// The names that bodies may use.
pub(crate) const WEIGH: &str = r#"(func (export "polder:policy/aggregator@0.2.0#weigh")
    (param $round i32) (param $seed i64) (param $model_parameters i64) (param $tensors i32) (param $tensors_len i32)
    (param $population i32) (param $updates i32) (param $updates_len i32) (param $norms i32) (param $norms_len i32)
    (param $products i32) (param $products_len i32) (param $state i32) (param $state_len i32)
    (param $parameters i32) (param $parameters_len i32) (result i32)"#;
const COMBINE: &str = r#"(func (export "polder:policy/aggregator@0.2.0#combine")
    (param $round i32) (param $seed i64) (param $tensor i32) (param $offset i64) (param $memo i32) (param $memo_len i32)
    (param $rows i32) (param $rows_len i32) (param $weights i32) (param $weights_len i32)
    (param $parameters i32) (param $parameters_len i32) (result i32)"#;
const STEP: &str = r#"(func (export "polder:policy/aggregator@0.2.0#step")
    (param $round i32) (param $seed i64) (param $tensor i32) (param $offset i64) (param $memo i32) (param $memo_len i32)
    (param $model i32) (param $model_len i32) (param $aggregate i32) (param $aggregate_len i32)
    (param $extra i32) (param $extra_len i32) (param $state i32) (param $state_len i32)
    (param $parameters i32) (param $parameters_len i32) (result i32)"#;

impl Aggregator<'_> {
    pub(crate) fn build(&self) -> Vec<u8> {
        component(CONTRACT, "aggregation", &self.module())
    }

    pub(crate) fn module(&self) -> String {
        let Self { describe, weigh, combine, step, items } = self;
        // updates-min is 1, everything else is zero: sums
        frame(
            16,
            &format!(
                r#"(func (export "polder:policy/aggregator@0.2.0#describe") (param i32 i32) (result i32) {describe})
                {WEIGH} {weigh}) {COMBINE} {combine}) {STEP} {step})
                (data (i32.const 1036) "\01") {items}"#
            ),
        )
    }
}

/// An aggregation policy whose `weigh` has this body, and whose `describe` says `sums`.
pub(crate) fn aggregation(body: &str, items: &str) -> Vec<u8> {
    Aggregator { weigh: body, items, ..Aggregator::default() }.build()
}

/// `bytes` as the text format writes them.
pub(crate) fn text(bytes: impl IntoIterator<Item = u8>) -> String {
    bytes.into_iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// Data at `at`.
pub(crate) fn data(at: u32, bytes: impl IntoIterator<Item = u8>) -> String {
    format!(r#"(data (i32.const {at}) "{}")"#, text(bytes))
}

/// Data of words at `at`.
pub(crate) fn words(at: u32, words: &[u32]) -> String {
    data(at, words.iter().flat_map(|word| word.to_le_bytes()))
}

/// Data of floats at `at`.
pub(crate) fn floats(at: u32, floats: &[f32]) -> String {
    data(at, floats.iter().flat_map(|float| float.to_le_bytes()))
}

/// An aggregation policy that always answers these weights.
pub(crate) fn weights(weights: &[f32]) -> Vec<u8> {
    // result at 2048: ok, weights at 4096, no reason
    aggregation(
        "(i32.const 2048)",
        &format!("{} {}", words(2052, &[4096, weights.len() as u32]), floats(4096, weights)),
    )
}

/// A release policy that always answers what `data` puts at 2048.
pub(crate) fn release(data: &str) -> Vec<u8> {
    let functions = r#"
        (func (export "polder:policy/releaser@0.2.0#check") (param i32 i32) (result i32) (i32.const 1024))
        (func (export "polder:policy/releaser@0.2.0#review") (param i32) (result i32) (i32.const 2048))"#;
    component(CONTRACT, "release", &frame(16, &format!("{functions} {data}")))
}

/// A placement policy that always answers one assignment.
pub(crate) fn assignment(demand: u32, worker: u32, gpu: Option<u32>) -> Vec<u8> {
    // result at 2048: ok, one assignment at 4096
    let assignment = [demand, worker, u32::from(gpu.is_some()), gpu.unwrap_or(0)];
    placement_in(16, "(i32.const 2048)", &format!("{} {}", words(2052, &[4096, 1]), words(4096, &assignment)))
}
