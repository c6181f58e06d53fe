//! What the tasks share with the tests: the rules of the repository's architecture, and where a tool is.

pub mod arrows;
pub mod emulator;
pub mod invariants;
