//! The number that makes a guest's random choices repeatable.

use berth_engine::contract::Facts;

use crate::{hash::Hash, plugin::Digest};

/// The first eight bytes, big-endian, of a SHA-256 over all facts, the configuration and the plugin's digest.
pub(crate) fn seed(facts: &Facts, config: &str, digest: &Digest) -> u64 {
    let mut hash = Hash::new();
    hash.text(digest.as_str())
        .text(&facts.adapter)
        .text(&facts.now)
        .text(config)
        .value(&facts.carry)
        .trigger(&facts.trigger)
        .subject(&facts.subject)
        .statuses(&facts.statuses)
        .owner(facts);
    hash.end()
        .iter()
        .take(8)
        .fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}
