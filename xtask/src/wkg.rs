//! wkg, with which others push and pull components: the tests pass artifacts back and forth with it.
//!
//! It is pinned by its version and by the lock file that its authors published with it, and built once.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context, Result};

use crate::{
    cleanroom::{host_cargo, run},
    files,
    progress::{say, seconds},
};

/// The version; its folder is named after it.
const VERSION: &str = "0.16.1";

/// Builds `wkg-<version>/wkg` below `folder` if it is missing.
///
/// # Errors
/// When it cannot be built.
pub(crate) fn ensure(root: &Path, folder: &Path) -> Result<()> {
    let home = folder.join(format!("wkg-{VERSION}"));
    let binary = home.join("wkg");
    if binary.is_file() {
        return Ok(());
    }
    files::create_folder(&home)?;
    let _lock = files::lock(&folder.join(".wkg.lock"))?;
    // Another task may have built it while this one waited.
    if binary.is_file() {
        return Ok(());
    }
    say(&format!("tools: building wkg {VERSION} from source (once; minutes)"));
    let begun = Instant::now();
    // Outside of this repository's own build, which has other versions of much of it.
    let built = home.join("build");
    let mut command = host_cargo(root);
    command
        .args([
            "install",
            "wkg",
            "--locked",
            "--version",
            VERSION,
            "--no-track",
            "--root",
        ])
        .arg(&built)
        .env("CARGO_TARGET_DIR", built.join("target"))
        // It is run a few times: what takes long is building it.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_LTO", "off");
    run(&mut command).with_context(|| format!("the tests need wkg {VERSION}, which cannot be built"))?;
    let from = built.join("bin/wkg");
    fs::rename(&from, &binary).with_context(|| format!("cannot write {}", binary.display()))?;
    fs::remove_dir_all(&built).with_context(|| format!("cannot remove {}", built.display()))?;
    say(&format!(
        "tools: {} is built, after {}",
        binary.display(),
        seconds(begun.elapsed())
    ));
    Ok(())
}
