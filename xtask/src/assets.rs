//! The task `assets`: puts the components into the host's package, so that it can be published and installed
//! without a WebAssembly target.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    files,
    progress::say,
    setup::{self, Ready},
};

/// The components that the program contains.
pub(crate) const CONTAINED: [&str; 2] = ["declarative.wasm", "landing-zone.wasm"];

/// Builds what is not up to date, and copies it to `host/assets`.
pub(crate) fn run() -> Result<()> {
    let ready = setup::run()?;
    for name in CONTAINED {
        let (asset, size) = put(&ready.root, &ready.components, name)?;
        say(&format!("assets: {} ({} KiB)", asset.display(), size / 1024));
    }
    Ok(())
}

/// Brings those up to date that are in the package: the program is built with them rather than with what was just built.
pub(crate) fn refresh(root: &Path, components: &Path) -> Result<()> {
    for name in CONTAINED {
        if place(root, name).exists() {
            put(root, components, name)?;
        }
    }
    Ok(())
}

/// Components that are in the package for a while.
#[derive(Debug)]
pub(crate) struct Lent(Vec<PathBuf>);

impl Drop for Lent {
    fn drop(&mut self) {
        for asset in &self.0 {
            if let Err(error) = fs::remove_file(asset) {
                say(&format!("assets: cannot remove {}: {error}", asset.display()));
            }
        }
    }
}

/// Puts those into the package that are not in it, and takes them away when the answer is dropped.
pub(crate) fn lend(ready: &Ready) -> Result<Lent> {
    let mut lent = Lent(Vec::new());
    for name in CONTAINED {
        if !place(&ready.root, name).exists() {
            lent.0.push(put(&ready.root, &ready.components, name)?.0);
        }
    }
    Ok(lent)
}

fn place(root: &Path, name: &str) -> PathBuf {
    root.join("host/assets").join(name)
}

/// Copies a component; answers with where to, and its size in bytes.
fn put(root: &Path, components: &Path, name: &str) -> Result<(PathBuf, usize)> {
    let built = components.join(name);
    let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    let asset = place(root, name);
    files::replace(&asset, &bytes)?;
    Ok((asset, bytes.len()))
}
