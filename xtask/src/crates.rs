//! Programs from the registry of crates, each built once: wkg, with which the tests pass artifacts back and forth as others
//! do, and the generator of the bindings for Go.
//!
//! Each is pinned by its version and by the lock file that its authors published with it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result};

use crate::{
    cleanroom::{host_cargo, run},
    files,
    progress::{say, seconds},
};

/// A program, its package, and what of it is built.
pub(crate) struct Program {
    name: &'static str,
    package: &'static str,
    version: &'static str,
    /// None for those that its authors chose.
    features: Option<&'static str>,
}

pub(crate) const WKG: Program = Program {
    name: "wkg",
    package: "wkg",
    version: "0.16.1",
    features: None,
};

/// Its version is in what it writes, and so in the repository.
pub(crate) const WIT_BINDGEN: Program = Program {
    name: "wit-bindgen",
    package: "wit-bindgen-cli",
    version: "0.63.0",
    features: Some("go"),
};

/// Builds `<name>-<version>/<name>` below `folder` if it is missing; answers with its path.
///
/// # Errors
/// When it cannot be built.
pub(crate) fn ensure(root: &Path, folder: &Path, program: &Program) -> Result<PathBuf> {
    let Program {
        name,
        package,
        version,
        features,
    } = program;
    let home = folder.join(format!("{name}-{version}"));
    let binary = home.join(name);
    if binary.is_file() {
        return Ok(binary);
    }
    files::create_folder(&home)?;
    let _lock = files::lock(&folder.join(format!(".{name}.lock")))?;
    // Another task may have built it while this one waited.
    if binary.is_file() {
        return Ok(binary);
    }
    say(&format!("tools: building {name} {version} from source (once; minutes)"));
    let begun = Instant::now();
    // Outside of this repository's own build, which has other versions of much of it.
    let built = home.join("build");
    let mut command = host_cargo(root);
    command
        .args(["install", package, "--locked", "--version", version])
        .args(["--no-track", "--root"])
        .arg(&built)
        .env("CARGO_TARGET_DIR", built.join("target"))
        // It is run a few times: what takes long is building it.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_LTO", "off");
    if let Some(features) = features {
        command.args(["--no-default-features", "--features", features]);
    }
    run(&mut command).with_context(|| format!("{name} {version} is needed, and cannot be built"))?;
    let from = built.join("bin").join(name);
    fs::rename(&from, &binary).with_context(|| format!("cannot write {}", binary.display()))?;
    fs::remove_dir_all(&built).with_context(|| format!("cannot remove {}", built.display()))?;
    say(&format!(
        "tools: {} is built, after {}",
        binary.display(),
        seconds(begun.elapsed())
    ));
    Ok(binary)
}
