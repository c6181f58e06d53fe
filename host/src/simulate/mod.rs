//! The world in memory: the demo, dry runs and scenarios run on it.

pub mod cluster;
pub mod fleet;
