//! What no single room can prove.

pub mod fleet_contract;
