//! Finds a Rust toolchain that compiles to WebAssembly, or installs one.
//!
//! In this order: the toolchain of `rust-toolchain.toml` with its target `wasm32-unknown-unknown`, which rustup is
//! asked to add; the system's own compiler with the sources of the standard library, which is then built once.
//! Nothing is installed silently: each attempt says what it does and why.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    cleanroom::{program, read, run, run_within},
    progress::say,
};

/// What guests are compiled to: no WASI, so no authority that the contract does not give.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Chooses between the toolchains where both are there: `rustup` or `system`.
const CHOICE: &str = "BERTH_GUEST_TOOLCHAIN";
const RUSTUP_LIMIT: Duration = Duration::from_secs(300);
const SYSTEM_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-22"];

/// A toolchain that compiles guests.
#[derive(Debug)]
pub(crate) struct GuestToolchain {
    compiler: Compiler,
    standard_library: StandardLibrary,
    identity: String,
}

#[derive(Debug)]
enum Compiler {
    /// The `cargo` on the path, which rustup resolves by `rust-toolchain.toml`.
    OnPath,
    /// The system's compiler, and the linker it needs.
    System { linker: PathBuf },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StandardLibrary {
    Installed,
    /// Built by cargo, into the guests' target folder.
    FromSource,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Any,
    Rustup,
    System,
}

impl GuestToolchain {
    /// Finds a toolchain, or installs one.
    ///
    /// # Errors
    /// Names what to install, where this task cannot do it.
    pub(crate) fn find_or_install(root: &Path) -> Result<Self> {
        let choice = choice()?;
        let mut tried = Vec::new();
        if choice != Choice::System {
            match on_path(root).or_else(|missing| add_target(root, missing)) {
                Ok(toolchain) => return Ok(toolchain),
                Err(error) => tried.push(format!("{error:#}")),
            }
        }
        if choice != Choice::Rustup {
            match system(root).or_else(|missing| install_packages(root, missing)) {
                Ok(toolchain) => return Ok(toolchain),
                Err(error) => tried.push(format!("{error:#}")),
            }
        }
        bail!(
            "no Rust toolchain compiles for {TARGET}.\n  {}\nInstall one of these, then run the task again:\n  \
             rustup target add {TARGET}\n  \
             apt-get install {}     (Debian 12, as root)",
            tried.join("\n  "),
            SYSTEM_PACKAGES.join(" ")
        )
    }

    /// A `cargo build` for guests, without packages: locked, and into `target_folder`.
    pub(crate) fn cargo_build(&self, root: &Path, target_folder: &Path) -> Command {
        let mut command = match &self.compiler {
            Compiler::OnPath => program("cargo", root),
            Compiler::System { linker } => {
                let mut command = program("/usr/bin/cargo", root);
                command
                    .env("RUSTC", "/usr/bin/rustc")
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
                command
            }
        };
        command.args(["build", "--locked", "--profile", "guest", "--target", TARGET]);
        match self.standard_library {
            StandardLibrary::Installed => {}
            StandardLibrary::FromSource => {
                // Cargo builds the standard library only for those who say that it may change with the compiler.
                command.env("RUSTC_BOOTSTRAP", "1").arg("-Zbuild-std=std,panic_abort");
            }
        }
        command.env("CARGO_TARGET_DIR", target_folder);
        command
    }

    /// What is used, for the user.
    pub(crate) fn summary(&self) -> &'static str {
        match (&self.compiler, self.standard_library) {
            (Compiler::OnPath, StandardLibrary::Installed | StandardLibrary::FromSource) => {
                "the repository's toolchain"
            }
            (Compiler::System { .. }, StandardLibrary::Installed) => "the system's toolchain",
            (Compiler::System { .. }, StandardLibrary::FromSource) => {
                "the system's toolchain, and once the standard library: minutes"
            }
        }
    }

    /// What the compiler says of itself: another compiler makes other components.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }
}

fn choice() -> Result<Choice> {
    match std::env::var(CHOICE) {
        Err(std::env::VarError::NotPresent) => Ok(Choice::Any),
        Ok(value) if value == "rustup" => Ok(Choice::Rustup),
        Ok(value) if value == "system" => Ok(Choice::System),
        Ok(value) => bail!("{CHOICE} is `{value}`; it can be `rustup` or `system`"),
        Err(error) => Err(error).context(CHOICE),
    }
}

/// The toolchain of the repository, if it has the target.
fn on_path(root: &Path) -> Result<GuestToolchain> {
    let version = read(program("rustc", root).arg("-vV")).context("no compiler on the path")?;
    expect_new_enough(&version)?;
    if !has_target(&mut program("rustc", root))? {
        bail!("the toolchain `{}` lacks the target {TARGET}", first_line(&version));
    }
    Ok(GuestToolchain {
        compiler: Compiler::OnPath,
        standard_library: StandardLibrary::Installed,
        identity: format!("on path\n{version}"),
    })
}

/// Asks rustup for the target. Falls on where there is no rustup, or it cannot download.
fn add_target(root: &Path, missing: anyhow::Error) -> Result<GuestToolchain> {
    if read(program("rustup", root).arg("--version")).is_err() {
        return Err(missing);
    }
    say(&format!("setup: {missing:#}; asking rustup for it"));
    let mut command = program("rustup", root);
    // One quick attempt: without access to rustup's server there is another way.
    command.args(["target", "add", TARGET]).env("RUSTUP_MAX_RETRIES", "0");
    run_within(&mut command, RUSTUP_LIMIT)?;
    on_path(root)
}

/// The system's compiler, with the target or with the sources to build it from.
fn system(root: &Path) -> Result<GuestToolchain> {
    let rustc = || program("/usr/bin/rustc", root);
    let version = read(rustc().arg("-vV")).context("no compiler in /usr/bin")?;
    expect_new_enough(&version)?;
    read(program("/usr/bin/cargo", root).arg("--version")).context("no cargo in /usr/bin")?;
    let linker = find_linker().context("no WebAssembly linker (wasm-ld) on the path")?;
    let standard_library = if has_target(&mut rustc())? {
        StandardLibrary::Installed
    } else {
        let sysroot = read(rustc().args(["--print", "sysroot"]))?;
        let sources = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std");
        if !sources.is_dir() {
            bail!("the compiler in /usr/bin has neither the target {TARGET} nor the sources of the standard library");
        }
        StandardLibrary::FromSource
    };
    let identity = format!("system\n{version}\n{}\n{standard_library:?}", linker.display());
    Ok(GuestToolchain {
        compiler: Compiler::System { linker },
        standard_library,
        identity,
    })
}

/// Installs the system's compiler, where that is ours to do.
fn install_packages(root: &Path, missing: anyhow::Error) -> Result<GuestToolchain> {
    if read(program("apt-get", root).arg("--version")).is_err() {
        return Err(missing);
    }
    if read(program("id", root).arg("-u"))?.trim() != "0" {
        return Err(missing.context("its packages can be installed by root only"));
    }
    say(&format!(
        "setup: {missing:#}; plugins need one, so these Debian packages are installed now: {}",
        SYSTEM_PACKAGES.join(" ")
    ));
    let apt = || {
        let mut command = program("apt-get", root);
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
        command
    };
    run(apt().arg("update"))?;
    run(apt()
        .args(["install", "--yes", "--no-install-recommends"])
        .args(SYSTEM_PACKAGES))?;
    system(root)
}

/// Whether the standard library is installed for guests.
fn has_target(rustc: &mut Command) -> Result<bool> {
    let folder = read(rustc.args(["--print", "target-libdir", "--target", TARGET]))?;
    // The folder may exist without a library in it.
    let Ok(mut entries) = std::fs::read_dir(folder.trim()) else {
        return Ok(false);
    };
    Ok(entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))))
}

fn find_linker() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let names =
        std::iter::once("wasm-ld".to_owned()).chain((18..=30).rev().map(|version| format!("wasm-ld-{version}")));
    names
        .flat_map(|name| folders.iter().map(move |folder| folder.join(&name)).collect::<Vec<_>>())
        .find(|file| file.is_file())
}

fn expect_new_enough(version: &str) -> Result<()> {
    let wanted = env!("CARGO_PKG_RUST_VERSION");
    let release = version
        .lines()
        .find_map(|line| line.strip_prefix("release: "))
        .unwrap_or_default();
    match (numbers(release), numbers(wanted)) {
        (Some(found), Some(needed)) if found >= needed => Ok(()),
        (Some(_) | None, Some(_) | None) => bail!("`{}` is older than {wanted}", first_line(version)),
    }
}

/// Major and minor version.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(expect_new_enough("rustc 1.100.0\nrelease: 1.100.0").is_ok());
        assert!(expect_new_enough("rustc 2.0.0-nightly\nrelease: 2.0.0-nightly").is_ok());
        let error = expect_new_enough("rustc 1.63.0\nhost: x\nrelease: 1.63.0").map_err(|error| error.to_string());
        assert_eq!(
            error,
            Err(format!(
                "`rustc 1.63.0` is older than {}",
                env!("CARGO_PKG_RUST_VERSION")
            ))
        );
    }

    #[test]
    fn an_answer_that_is_no_version_is_refused() {
        assert!(expect_new_enough("hello").is_err());
    }
}
