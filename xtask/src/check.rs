//! The task `check`: whatever can be said of the sources without running them. Runs every check, then names those that failed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use xtask::arrows;

use crate::{
    bindings,
    cleanroom::{host_cargo, read, run as run_command},
    contract, licences, packages,
    progress::{Steps, say},
    setup,
};

/// All that berth can be built with. Tests and lints see it so; a plain build has less.
pub(crate) const EVERYTHING: &str = "--features=berth/keyless";

/// Checks format, lints, documentation, licences, the contract and the architecture.
pub(crate) fn run() -> Result<()> {
    let mut steps = Steps::new("check");
    let ready = steps.run("set-up", setup::run)?;
    let root = ready.root.clone();
    steps.attempt("architecture", || architecture(&root));
    steps.attempt("contract", || contract::check(&root));
    steps.attempt("bindings", || bindings::check(&root));
    steps.attempt("packages", || packages::check(&ready));
    steps.attempt("licences", || licences::check(&root));
    steps.attempt("cargo deny", || deny(&root));
    steps.attempt("format", || {
        run_command(host_cargo(&root).args(["fmt", "--all", "--", "--check"]))
    });
    steps.attempt("lints", || {
        run_command(host_cargo(&root).args([
            "clippy",
            "--locked",
            "--workspace",
            "--all-targets",
            EVERYTHING,
            "--",
            "-D",
            "warnings",
        ]))
    });
    // What a plain build has instead, of packages as they are published. The second package is there for the features of
    // what both depend on: so nothing but our own packages is looked at again.
    steps.attempt("lints of the packages", || {
        run_command(
            host_cargo(&packages::laid_out(&root))
                .args([
                    "clippy",
                    "--locked",
                    "--package",
                    "berth",
                    "--package",
                    "berth-test-sigstore",
                    "--",
                    "-D",
                    "warnings",
                ])
                .env("CARGO_TARGET_DIR", target(&root)),
        )
    });
    steps.attempt("documentation", || {
        run_command(
            host_cargo(&root)
                .args(["doc", "--locked", "--workspace", "--no-deps", EVERYTHING])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )
    });
    steps.finish()
}

/// Where cargo builds, which is the same for all workspaces here.
fn target(root: &Path) -> PathBuf {
    let chosen = std::env::var_os("CARGO_TARGET_DIR").filter(|value| !value.is_empty());
    root.join(chosen.unwrap_or_else(|| "target".into()))
}

fn architecture(root: &Path) -> Result<()> {
    let violations = arrows::violations(root)?;
    if !violations.is_empty() {
        bail!("{}", violations.join("\n"));
    }
    Ok(())
}

/// Asks `cargo deny`, where it is installed, for what needs no download. `licences` is checked by us either way.
fn deny(root: &Path) -> Result<()> {
    if read(host_cargo(root).args(["deny", "--version"])).is_err() {
        say("check: cargo-deny is not installed: duplicates, sources and advisories are not looked at");
        return Ok(());
    }
    run_command(host_cargo(root).args(["deny", "--workspace", "check", "bans", "licenses", "sources"]))?;
    if !has_advisories()? {
        say("check: no database of advisories is here: they are not looked at; `cargo deny fetch` gets one");
        return Ok(());
    }
    run_command(host_cargo(root).args(["deny", "--workspace", "check", "--disable-fetch", "advisories"]))
}

/// Whether `cargo deny` has fetched a database of advisories before: a folder in its own, in cargo's home.
fn has_advisories() -> Result<bool> {
    let home = match std::env::var_os("CARGO_HOME").filter(|value| !value.is_empty()) {
        Some(home) => PathBuf::from(home),
        None => std::env::home_dir()
            .context("neither CARGO_HOME nor HOME is set")?
            .join(".cargo"),
    };
    let databases = ["advisory-dbs", "advisory-db"].map(|name| home.join(name));
    Ok(databases
        .iter()
        .any(|folder| fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())))
}
