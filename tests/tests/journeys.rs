//! The journeys that users see, on a real control plane.
//!
//! Every outcome comes from the controllers and the fake kubelet: no test writes the status of
//! a Job or a pod.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics fails"
)]

#[path = "journeys/deletion.rs"]
mod deletion;
#[path = "journeys/dependencies.rs"]
mod dependencies;
#[path = "journeys/failures.rs"]
mod failures;
#[path = "journeys/generations.rs"]
mod generations;
#[path = "journeys/hosts.rs"]
mod hosts;
#[path = "journeys/outages.rs"]
mod outages;
#[path = "journeys/pods.rs"]
mod pods;
#[path = "journeys/refusals.rs"]
mod refusals;
#[path = "journeys/repairs.rs"]
mod repairs;
#[path = "journeys/success.rs"]
mod success;
