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
    mod stage;
    mod swaps;
}
