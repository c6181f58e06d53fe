//! The task `check`: whatever can be said of the sources without running them. Runs every check, then names those that failed.

use std::path::Path;

use anyhow::{Context, Result, bail};
use wit_parser::Resolve;
use xtask::arrows;

use crate::{
    cleanroom::{host_cargo, read, run as run_command},
    licences, packages,
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
    steps.attempt("contract", || contract(&root));
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
    // What a plain build has instead. The second package is there for the features of what both depend on: so nothing but
    // berth itself is looked at again.
    steps.attempt("lints of a plain build", || {
        run_command(host_cargo(&root).args([
            "clippy",
            "--locked",
            "--package",
            "berth",
            "--package",
            "berth-test-sigstore",
            "--",
            "-D",
            "warnings",
        ]))
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

fn architecture(root: &Path) -> Result<()> {
    let violations = arrows::violations(root)?;
    if !violations.is_empty() {
        bail!("{}", violations.join("\n"));
    }
    Ok(())
}

/// Sees that `wit/` is one package whose worlds and interfaces resolve.
fn contract(root: &Path) -> Result<()> {
    let folder = root.join("wit");
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_path(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?;
    if resolve.packages[package].worlds.is_empty() {
        bail!("{} has no world", folder.display());
    }
    Ok(())
}

/// Asks `cargo deny`, where it is installed, for what needs no download. `licences` is checked by us either way.
fn deny(root: &Path) -> Result<()> {
    if read(host_cargo(root).args(["deny", "--version"])).is_err() {
        say("check: cargo-deny is not installed: duplicates, sources and advisories are not looked at");
        return Ok(());
    }
    run_command(host_cargo(root).args(["deny", "--workspace", "check", "bans", "licenses", "sources"]))
}
