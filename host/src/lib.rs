//! Runs HyperFleet adapters whose decisions are WebAssembly components.

pub mod cluster;
pub mod simulate;
pub mod world;
