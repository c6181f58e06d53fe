//! A HyperFleet API in memory.
//!
//! Owns a model of the API's observable rules: resources, generations, status reports,
//! aggregation, deletion, and the events that Sentinel publishes. The demo, dry runs and
//! tests use it in place of the real API, over HTTP ([`Server`]) or without ([`InMemory`]).
//!
//! # Guarantees
//! - [`FleetState`] is pure: time is passed in, and the same calls give the same answers.
//! - Both ways in run the same rules and the same faults.
//! - It is no store: nothing outlives the process.

mod aggregate;
mod clock;
mod memory;
mod problem;
mod resource;
mod route;
mod sentinel;
mod server;
mod simulation;
mod state;
mod status;
#[cfg(test)]
mod tests;

pub use self::{
    clock::ManualClock,
    memory::InMemory,
    resource::Kind,
    sentinel::Cadence,
    server::Server,
    simulation::{Fault, Simulation},
    state::FleetState,
};
