//! What a host decides about its sandbox.

use std::{num::NonZeroU32, path::PathBuf};

use crate::compiler::Compiler;

/// Settings of a [`crate::Runtime`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where compiled plugins are kept; none compiles at every start.
    pub cache: Option<CacheSettings>,
    /// How instances get their memory.
    pub pool: Pool,
    /// How many calls may run at once. Further calls wait.
    pub concurrency: NonZeroU32,
    /// How much room answers take that may be given again, in bytes; 0 asks every question.
    pub answers: u64,
    /// The largest plugin that is compiled, in bytes.
    pub max_plugin_size: usize,
    /// What compiles; none: this process, without a bound in time.
    pub compiler: Option<Compiler>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache: None,
            pool: Pool::default(),
            concurrency: NonZeroU32::new(128).unwrap_or(NonZeroU32::MIN),
            answers: 16 << 20,
            max_plugin_size: 64 << 20,
            compiler: None,
        }
    }
}

/// Where compiled plugins are kept.
#[derive(Debug, Clone)]
pub struct CacheSettings {
    /// The folder; made if missing. Several processes may share it.
    pub folder: PathBuf,
    /// How large the folder may grow, in bytes. What was used longest ago goes first.
    pub size: u64,
    /// The file with the key that authenticates entries: at least 32 bytes that only the
    /// host can read. None makes one beside the folder, named `<folder>.key`.
    pub key: Option<PathBuf>,
}

/// How instances get their memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// From slots reserved at start, which makes fresh instances cheap. Where the machine
    /// has not enough address space, instances are made on demand.
    Slots {
        /// How many memories are reserved. At least as many as plugins in frequent use, so
        /// that each finds its slot warm.
        memories: NonZeroU32,
        /// The largest memory of a guest in bytes, whatever its limits say.
        max_memory: usize,
    },
    /// From the operating system at each call.
    OnDemand,
}

impl Default for Pool {
    fn default() -> Self {
        Self::Slots {
            memories: NonZeroU32::new(1024).unwrap_or(NonZeroU32::MIN),
            max_memory: 1 << 30,
        }
    }
}
