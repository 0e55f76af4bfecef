//! Generated from `plugins/wit`: the guest's types and how to call it.

#![allow(missing_docs, dead_code, clippy::all)]

pub(crate) mod placement {
    wasmtime::component::bindgen!({
        path: "../../plugins/wit",
        world: "placement",
    });
}

pub(crate) mod aggregation {
    wasmtime::component::bindgen!({
        path: "../../plugins/wit",
        world: "aggregation",
        with: { "polder:policy/types": crate::bindings::placement::polder::policy::types },
    });
}

pub(crate) mod release {
    wasmtime::component::bindgen!({
        path: "../../plugins/wit",
        world: "release",
        with: { "polder:policy/types": crate::bindings::placement::polder::policy::types },
    });
}
