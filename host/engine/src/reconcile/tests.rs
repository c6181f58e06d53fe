//! Every row of the journeys and every rule under them, with plain values.
//!
//! [`World`] answers effects from what it holds and writes down each in a line; a plugin is
//! a closure. Kubernetes' own behaviour is the simulator's and the real control plane's to
//! show: here an object is what a test says it is.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test may fail by panicking"
)]

mod causes;
mod deleting;
mod dropped;
mod hard_moments;
mod journeys;
mod kinds;
mod objects;
mod plugins;
mod troubles;
mod world;
