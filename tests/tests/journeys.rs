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
#[path = "journeys/documents.rs"]
mod documents;
#[path = "journeys/failures.rs"]
mod failures;
#[path = "journeys/generations.rs"]
mod generations;
#[path = "journeys/hook.rs"]
mod hook;
#[path = "journeys/hosts.rs"]
mod hosts;
#[path = "journeys/kinds.rs"]
mod kinds;
#[path = "journeys/outages.rs"]
mod outages;
#[path = "journeys/plans.rs"]
mod plans;
#[path = "journeys/pods.rs"]
mod pods;
#[path = "journeys/refusals.rs"]
mod refusals;
#[path = "journeys/repairs.rs"]
mod repairs;
#[path = "journeys/rollouts.rs"]
mod rollouts;
#[path = "journeys/success.rs"]
mod success;
#[path = "journeys/webhooks.rs"]
mod webhooks;
#[path = "journeys/workloads.rs"]
mod workloads;
#[path = "journeys/writes.rs"]
mod writes;
