//! Runs other programs: with an environment of their own, and with errors that name the command.
//!
//! `cargo xtask` runs inside cargo, which leaves its variables behind: the toolchain in use, the package in
//! progress, a library path. A nested cargo that saw them would use the wrong compiler or build everything again.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Which toolchain a cargo command uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Toolchain {
    /// The one that runs this task.
    Same,
    /// Whatever the command itself chooses.
    Other,
}

/// Cargo for the host's packages, with the toolchain that runs this task, in `root`.
pub(crate) fn host_cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    clean(&mut command, Toolchain::Same);
    command
}

/// A program that sees nothing of the outer cargo, in `root`.
pub(crate) fn program(name: impl AsRef<OsStr>, root: &Path) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root);
    clean(&mut command, Toolchain::Other);
    command
}

/// Runs a command to its end. Its output is the user's.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = describe(command);
    let status = command.status().with_context(|| format!("cannot run `{line}`"))?;
    expect_success(status, &line)
}

/// Runs a command and answers with its standard output. What it says on standard error is in the error, if it fails.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let line = describe(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{line}`"))?;
    if !output.status.success() {
        bail!(
            "`{line}` failed with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` did not answer in UTF-8"))
}

/// Runs a command, its standard output to the caller and its standard error to the user.
pub(crate) fn read_with_progress(command: &mut Command) -> Result<String> {
    let line = describe(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run `{line}`"))?;
    expect_success(output.status, &line)?;
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` did not answer in UTF-8"))
}

/// Runs a command that may hang, and ends it after `limit`.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let line = describe(command);
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run `{line}`"))?;
    match wait_within(&mut child, limit).with_context(|| format!("cannot wait for `{line}`"))? {
        Some(status) => expect_success(status, &line),
        None => {
            child.kill().with_context(|| format!("cannot end `{line}`"))?;
            child.wait().with_context(|| format!("cannot end `{line}`"))?;
            bail!("`{line}` did not end within {} s", limit.as_secs());
        }
    }
}

/// A command as one would type it.
pub(crate) fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn wait_within(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begun.elapsed() >= limit {
            return Ok(None);
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the standard library cannot wait for a process with a limit"
        )]
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn expect_success(status: ExitStatus, line: &str) -> Result<()> {
    if !status.success() {
        bail!("`{line}` failed with {status}");
    }
    Ok(())
}

fn clean(command: &mut Command, toolchain: Toolchain) {
    for (name, value) in std::env::vars_os() {
        let Some(name_text) = name.to_str() else { continue };
        if name_text == "LD_LIBRARY_PATH" {
            // Cargo puts the toolchain's own libraries first; another compiler must not load them.
            let kept: Vec<_> = std::env::split_paths(&value)
                .filter(|path| !is_of_cargo(path))
                .collect();
            match std::env::join_paths(&kept) {
                Ok(joined) if !kept.is_empty() => command.env(name, joined),
                Ok(_) | Err(_) => command.env_remove(name),
            };
        } else if leaks(name_text, toolchain) {
            command.env_remove(name);
        }
    }
}

fn is_of_cargo(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str() == "rustlib" || part.as_os_str() == "deps")
        || path.ends_with("target/debug")
        || path
            .parent()
            .is_some_and(|parent| parent.parent().is_some_and(|folder| folder.ends_with("toolchains")))
}

/// Whether a variable of the outer cargo would change what an inner one does.
fn leaks(name: &str, toolchain: Toolchain) -> bool {
    const OF_THE_PACKAGE: [&str; 5] = [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_NAME",
        "CARGO_PRIMARY_PACKAGE",
    ];
    const OF_THE_TOOLCHAIN: [&str; 3] = ["RUST", "CARGO", "CLIPPY"];
    // Where crates come from and how cargo talks is the user's choice for every toolchain.
    const OF_THE_USER: [&str; 8] = [
        "CARGO_HOME",
        "CARGO_NET_",
        "CARGO_HTTP_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
        "RUSTUP_HOME",
        "RUSTUP_AUTO_INSTALL",
    ];
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    match toolchain {
        Toolchain::Same => begins(&OF_THE_PACKAGE),
        Toolchain::Other => {
            begins(&OF_THE_TOOLCHAIN)
                && !begins(&OF_THE_USER)
                && !matches!(
                    name,
                    "RUSTUP_DIST_SERVER" | "RUSTUP_UPDATE_ROOT" | "RUST_BACKTRACE" | "RUST_LOG"
                )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_build_sees_no_toolchain_of_the_outer_cargo() {
        for name in [
            "CARGO",
            "RUSTC",
            "RUSTUP_TOOLCHAIN",
            "RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "CARGO_ENCODED_RUSTFLAGS",
        ] {
            assert!(leaks(name, Toolchain::Other), "{name}");
        }
    }

    #[test]
    fn the_users_registries_and_homes_reach_every_build() {
        for name in [
            "CARGO_HOME",
            "CARGO_REGISTRIES_MIRROR_INDEX",
            "CARGO_HTTP_PROXY",
            "RUSTUP_HOME",
            "HOME",
            "PATH",
        ] {
            assert!(!leaks(name, Toolchain::Other), "{name}");
        }
    }

    #[test]
    fn a_host_build_keeps_the_toolchain_and_forgets_the_package() {
        assert!(!leaks("RUSTUP_TOOLCHAIN", Toolchain::Same));
        assert!(!leaks("CARGO_TARGET_DIR", Toolchain::Same));
        assert!(!leaks("CARGO_INCREMENTAL", Toolchain::Same));
        assert!(leaks("CARGO_PKG_NAME", Toolchain::Same));
        assert!(leaks("CARGO_MANIFEST_DIR", Toolchain::Same));
    }

    #[test]
    fn the_library_path_of_cargo_is_recognised() {
        assert!(is_of_cargo(Path::new("/home/me/berth/target/debug/deps")));
        assert!(is_of_cargo(Path::new("/home/me/berth/target/debug")));
        assert!(is_of_cargo(Path::new(
            "/home/me/.rustup/toolchains/1.95.0-x86_64-unknown-linux-gnu/lib"
        )));
        assert!(!is_of_cargo(Path::new("/opt/vendor/lib")));
    }

    #[test]
    fn a_hanging_command_is_ended_and_named() {
        let error = run_within(Command::new("sleep").arg("60"), Duration::from_millis(100)).map_err(|e| e.to_string());

        assert_eq!(error, Err("`sleep 60` did not end within 0 s".to_owned()));
    }
}
