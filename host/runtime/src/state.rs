//! What a store holds during one call: its limits and what its imports need.

use std::{sync::Arc, time::Duration};

use berth_engine::adapter::{Grants, Limits};
use wasmtime::{ResourceLimiter, component::ResourceTable};

use crate::{grants::Substitutions, hosts::HostCalls, journal::Journal, meter::Meter, wasi::Wasi};

/// The data of a store.
pub(crate) struct State {
    pub(crate) memory: Memory,
    pub(crate) meter: Arc<Meter>,
    pub(crate) access: Access,
    pub(crate) journal: Journal,
    /// Bytes that may be handed over at once, in either direction.
    pub(crate) output: usize,
    pub(crate) table: ResourceTable,
    pub(crate) wasi: Wasi,
}

/// What the imports may do.
pub(crate) struct Access {
    pub(crate) grants: Arc<Grants>,
    pub(crate) known: Substitutions,
    /// The adapter's namespace.
    pub(crate) namespace: Arc<str>,
    pub(crate) host: Arc<dyn HostCalls>,
    /// How much time is left for what the host does.
    pub(crate) time_left: Duration,
}

/// A limit that ended a call. It travels in the error of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("the guest ran for too long")]
    Deadline,
    #[error("the guest waited for too long")]
    HostTime,
    #[error("the guest wants too much memory")]
    Memory,
}

/// One limit over all memories and tables of a store.
#[derive(Debug)]
pub(crate) struct Memory {
    used: usize,
    limit: usize,
}

impl Memory {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            used: 0,
            limit: limits.memory,
        }
    }

    /// Whether more than one `part` of what is allowed is used.
    pub(crate) fn is_beyond(&self, part: usize) -> bool {
        self.used > self.limit / part
    }

    /// Goes on from what another call's instance has used.
    pub(crate) fn with_used_of(self, other: &Self) -> Self {
        Self {
            used: other.used,
            ..self
        }
    }

    fn grow(&mut self, current: usize, desired: usize) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.limit {
            return Err(Violation::Memory.into());
        }
        self.used = used;
        Ok(true)
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            // The module's own maximum, or the slot's: the guest is told, as the standard says.
            return Ok(false);
        }
        self.grow(current, desired)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let element = size_of::<usize>();
        self.grow(current.saturating_mul(element), desired.saturating_mul(element))
    }

    // Limits of one store; the engine's own defaults of 10 000 are far more than any guest needs.
    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        16
    }
}
