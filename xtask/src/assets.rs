//! The task `assets`: puts the components into the host's package, so that it can be published and installed
//! without a WebAssembly target.

use std::fs;

use anyhow::{Context, Result};

use crate::{files, progress::say, setup};

/// The components that the program contains.
const CONTAINED: [&str; 2] = ["declarative.wasm", "landing-zone.wasm"];

/// Builds what is not up to date, and copies it to `host/assets`.
pub(crate) fn run() -> Result<()> {
    let ready = setup::run()?;
    for name in CONTAINED {
        let built = ready.components.join(name);
        let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
        let asset = ready.root.join("host/assets").join(name);
        files::replace(&asset, &bytes)?;
        say(&format!("assets: {} ({} KiB)", asset.display(), bytes.len() / 1024));
    }
    Ok(())
}
