//! What a plugin may ask the host: log lines, and reads that the adapter document grants.
//!
//! Every call is checked against the grants; what is not granted answers `Denied`. Natively
//! the calls go to the [`Fake`](crate::testing::Fake) of the running test.

pub mod cluster;
pub mod fleet;
pub mod http;
pub mod log;

#[cfg(target_arch = "wasm32")]
use crate::__bindings::host;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::host;
