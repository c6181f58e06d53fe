//! Documents and plugins change while the host works, on the simulated APIs: what is good goes live without a lost
//! event, what is bad leaves what was there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics fails"
)]

mod live {
    mod documents;
    mod guest;
    mod registries;
    mod registry_swaps;
    mod stage;
    mod swaps;
    mod witness;
}

#[path = "registry_access/registry.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod running;
#[path = "registry/world.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod world;
