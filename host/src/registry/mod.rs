//! Plugins from OCI registries: a reference becomes verified bytes.

pub mod component;
pub mod layout;
mod reference;
pub mod remote;
pub mod signature;

pub use reference::{At, Digest, Reference, ReferenceError, Repository};
