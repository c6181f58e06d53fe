//! The contract as generated from `wit/`. The only address of generated code.

mod generated {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "everything",
        imports: { default: async | trappable },
        exports: { default: async },
        require_store_data_send: true,
    });
}

pub(crate) use generated::{exports::hyperfleet::adapter as exported, hyperfleet::adapter as imported};
