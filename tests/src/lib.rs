//! What several tests share.

pub mod cluster_contract;
