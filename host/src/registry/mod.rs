//! Plugins from OCI registries: a reference becomes verified bytes.

pub mod access;
pub mod component;
pub mod layout;
mod reference;
pub mod remote;
pub mod session;
pub mod signature;

pub use reference::{At, Digest, Reference, ReferenceError, Repository};
