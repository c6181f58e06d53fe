//! Runs HyperFleet adapters whose decisions are WebAssembly components.

pub mod cli;
pub mod config;
pub mod source;
pub mod telemetry;
pub mod world;
