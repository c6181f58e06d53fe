//! What the tests in `tests/tests` share.

pub mod control_plane;
