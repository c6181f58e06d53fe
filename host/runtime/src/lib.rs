//! Runs plugins: WebAssembly components behind the contract in `wit/`, in a bounded sandbox.
//!
//! Owns everything that knows wasmtime: [`Runtime::load`] takes bytes and gives a [`Plugin`];
//! [`Plugin::call`] takes a question and gives an answer, or the cause why there is none.
//! Never does IO of its own but for the compile cache; what plugins may ask of the world is
//! answered by [`hosts::HostCalls`], once [`grants`] has allowed it.
//!
//! # Guarantees
//! - Every call runs in a fresh instance, which is gone when the call returns. One that is known to remember nothing
//!   may answer the calls of one reconcile that follow each other ([`CallContext::one_instance`]).
//! - An answer is given again only where the plugin says what its answers vary by, and nothing else differs ([`Vary`]).
//! - Every call is bounded: fuel, guest time, time in imports, memory over all memories and
//!   tables, stack, bytes per hand-over, log lines. Each limit has its own [`Cause`].
//! - A plugin can only ask what its grants cover; by default nothing.
//! - The same plugin, facts, answers of imports and limits give the same answer and fuel.
//! - Native code is loaded from our own compiler and our own authenticated cache only.

pub mod cache;
pub mod grants;
pub mod hosts;
pub mod plain;

mod again;
mod bindings;
mod call;
mod compiler;
mod convert;
mod engine;
mod error;
mod hash;
mod imports;
mod journal;
mod kept;
mod meter;
mod plugin;
mod runtime;
mod seed;
mod settings;
mod state;
mod wasi;

pub use self::{
    again::Vary,
    call::{Answered, CallContext},
    compiler::{Compiler, compile_component},
    error::{CallError, Cause, LoadError, PrepareError, Problem, RuntimeError},
    journal::{Level, LogLine},
    kept::Kept,
    plugin::{Digest, NotADigest, Plugin},
    runtime::Runtime,
    settings::{CacheSettings, Pool, Settings},
};

#[cfg(test)]
mod tests;
