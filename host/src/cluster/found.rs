//! Objects of a holder, as they are found.

use std::sync::Arc;

use berth_engine::effect::Observed;
use serde_json::Value;

use super::{ended::Known, packed::Packed, store::Key};

/// An object that carries a holder's labels.
pub(super) enum Held {
    /// As a watch keeps it, and where.
    Kept(Arc<Key>, Packed),
    /// As the API server told it just now.
    Read(Value),
}

impl Held {
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Kept(_, packed) => packed.document().into_value(),
            Self::Read(document) => document,
        }
    }
}

/// An object of ours.
pub(super) struct Found {
    pub(super) object: Observed,
    /// Its document as a watch keeps it, and where.
    pub(super) kept: Option<(Arc<Key>, Packed)>,
    /// What was found out about it before.
    pub(super) known: Option<Arc<Known>>,
}

impl From<Observed> for Found {
    fn from(object: Observed) -> Self {
        Self {
            object,
            kept: None,
            known: None,
        }
    }
}
