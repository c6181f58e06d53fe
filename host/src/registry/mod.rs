//! Plugins from OCI registries: a reference becomes verified bytes.

mod reference;
pub mod remote;

pub use reference::{At, Digest, Reference, ReferenceError, Repository};
