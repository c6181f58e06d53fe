//! Builds the reference plugin in languages other than Rust, for the contract test.

use anyhow::Result;

use crate::setup::Ready;

/// Builds the plugins whose folders exist.
pub(crate) fn build(_ready: &Ready) -> Result<()> {
    Ok(())
}
