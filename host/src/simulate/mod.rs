//! The world in memory: what effects do when no real service is there.
//!
//! Owns simulations of the services behind [`crate::world`], for the demo, dry runs and
//! scenarios. They know the rules of the services that they stand for and nothing of berth's
//! own decisions, so that what works here works there.

pub mod cluster;
