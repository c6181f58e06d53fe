//! What the tasks share with the tests: the rules of the repository's architecture.

pub mod arrows;
