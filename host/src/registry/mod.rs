//! Plugins from OCI registries: a reference becomes verified bytes.

pub mod access;
mod reference;
pub mod remote;
pub mod session;

pub use reference::{At, Digest, Reference, ReferenceError, Repository};
