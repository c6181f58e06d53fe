//! What the tests in `tests/tests` share.

pub mod cluster_contract;
pub mod control_plane;
