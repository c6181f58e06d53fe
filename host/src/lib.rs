//! Runs HyperFleet adapters whose decisions are WebAssembly components.

<<<<<<< HEAD
pub mod simulate;
=======
pub mod cluster;
>>>>>>> cluster
pub mod world;
