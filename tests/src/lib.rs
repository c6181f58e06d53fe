//! What no single room can prove.

pub mod fleet_contract;
//! What the tests in `tests/tests` share.

pub mod control_plane;
