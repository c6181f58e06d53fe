//! The task `setup`: everything that the host needs before it compiles.

use std::path::PathBuf;

use anyhow::Result;

use crate::{assets, guest_toolchain::GuestToolchain, guests, workspace};

/// What a set-up repository offers to the other tasks.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The repository's root.
    pub(crate) root: PathBuf,
    /// The folder of built components.
    pub(crate) components: PathBuf,
}

/// Sets up, or sees that nothing is to do.
pub(crate) fn run() -> Result<Ready> {
    let root = workspace::root()?;
    let toolchain = GuestToolchain::find_or_install(&root)?;
    let components = guests::build(&root, &toolchain)?;
    assets::refresh(&root, &components)?;
    Ok(Ready { root, components })
}
