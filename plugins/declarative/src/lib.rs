//! Expressions and templates of adapter documents, as a berth plugin.
//!
//! Owns what `expression`, `when`, `message`, `manifest` and `data` of an adapter document mean. It is a plugin like
//! everybody's: it sees what the contract gives to any plugin, runs under the same limits, and needs nothing private.
//! Never reads a clock, a file or the network; never panics on any input.
//!
//! `setup` turns the configuration into a [`program::Program`]; the phases evaluate it. See [`config::Config`] for the
//! shape of the configuration, [`facts`] for what expressions and templates see, [`phases`] for what they mean.

pub mod compile;
pub mod config;
pub mod expression;
pub mod facts;
pub mod fault;
mod guest;
mod names;
mod numbers;
pub mod phases;
pub mod problem;
pub mod program;
mod reads;
mod scene;
pub mod template;
mod yaml;
