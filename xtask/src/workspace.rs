//! Where things are: the repository's root and the folders that tasks write to.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The repository's root.
///
/// The folder of this package when it was compiled, so that tasks work from any directory.
pub(crate) fn root() -> Result<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.parent().context("the folder `xtask` has no parent")?;
    root.canonicalize().with_context(|| {
        format!(
            "cannot open {}; was the repository moved? Run `cargo clean -p xtask`",
            root.display()
        )
    })
}

/// The guests' own target folder. Not `/target`: another toolchain compiles there.
pub(crate) fn guest_target(root: &Path) -> PathBuf {
    root.join("target-guests")
}

/// The folder of built components, `<name>.wasm`.
pub(crate) fn components(root: &Path) -> PathBuf {
    guest_target(root).join("components")
}

/// The folder for what is expensive to build and shared by all clones: `$XDG_CACHE_HOME/berth` or `~/.cache/berth`.
pub(crate) fn cache() -> Result<PathBuf> {
    let folder = match std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(cache) => PathBuf::from(cache),
        None => std::env::home_dir()
            .context("neither XDG_CACHE_HOME nor HOME is set: cannot tell where to cache")?
            .join(".cache"),
    };
    Ok(folder.join("berth"))
}
