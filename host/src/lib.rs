//! Runs HyperFleet adapters whose decisions are WebAssembly components.

pub mod simulate;
pub mod world;
