//! Runs HyperFleet adapters whose decisions are WebAssembly components.

pub mod artifacts;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod demo;
pub mod dispatch;
pub mod driver;
pub mod fleet;
pub mod intake;
pub mod lease;
pub mod live;
pub mod plugins;
pub mod registry;
pub mod serve;
pub mod shared_fetch;
pub mod simulate;
pub mod source;
pub mod telemetry;
pub mod web;
pub mod world;
