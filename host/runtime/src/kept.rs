//! An instance that answers more than one call.
//!
//! Partners' plugins get a fresh instance for every call, as the contract says. One that is berth's own, and is known
//! to remember nothing, may answer the calls of one reconcile that follow each other in one instance: making an
//! instance costs more than most of its answers. See [`CallContext::one_instance`](crate::CallContext).

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::{Store, component::Instance};

use crate::{plugin::Plugin, state::State};

/// An instance that has used more than this part of its memory is not kept: a call has its limit for itself.
const PART: usize = 8;

/// Where an instance waits for the next call. Empty at first; it is dropped before the host acts, since it holds a
/// place of the pool.
#[derive(Default)]
pub struct Kept(Option<Box<Warm>>);

/// An instance between two calls.
pub(crate) struct Warm {
    /// Where the plugin's code is. It stays there for as long as the store lives.
    pub(crate) code: usize,
    pub(crate) store: Store<State>,
    pub(crate) instance: Instance,
    /// After the store: the pool has one slot per permit.
    pub(crate) permit: OwnedSemaphorePermit,
}

impl Kept {
    /// What waits, if it is of this plugin. Nothing waits after this.
    pub(crate) fn take(&mut self, plugin: &Plugin) -> Option<Warm> {
        let warm = self.0.take()?;
        (warm.code == plugin.code()).then_some(*warm)
    }

    /// Keeps an instance whose call has ended well.
    pub(crate) fn put(&mut self, warm: Warm) {
        if !warm.store.data().memory.is_beyond(PART) {
            self.0 = Some(Box::new(warm));
        }
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Kept").field(&self.0.is_some()).finish()
    }
}
