//! What the tests in `tests/tests` share: what no single room can prove.

pub mod backpressure;
pub mod bench;
pub mod brokers;
pub mod cluster_contract;
pub mod control_plane;
pub mod fleet_contract;
pub mod kill;
pub mod program;
pub mod rabbitmq;
pub mod scenario;
pub mod simulated_stage;
pub mod stage;
