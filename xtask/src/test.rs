//! The task `test`: all tests, the cheapest first.

use std::{ffi::OsString, path::Path, process::Command};

use anyhow::Result;

use crate::{
    cleanroom::{host_cargo, run as run_command},
    plugins,
    progress::Steps,
    setup, tools,
};

/// What to test.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Stop after the tests that need neither a control plane nor other languages.
    #[arg(long, conflicts_with = "arguments")]
    quick: bool,

    /// Passed to `cargo test` of the integration tests, for example a test's name.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs the tests, and stops at the first step that fails.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut steps = Steps::new("test");
    let ready = steps.run("set-up", setup::run)?;

    let quick = |kind: &str| {
        let mut command = cargo_test(&ready.root, &ready.components);
        command.args(["--workspace", "--exclude", "berth-tests", kind]);
        command
    };
    // `--tests` is every library, program and `tests` folder; examples in documentation are extra.
    steps.run("quick tests", || run_command(&mut quick("--tests")))?;
    steps.run("examples in the documentation", || run_command(&mut quick("--doc")))?;
    steps.run("the tutorial's plugin", || {
        // A workspace of its own, as a partner's is.
        let manifest = ready.root.join("examples/hello/Cargo.toml");
        let mut command = host_cargo(&ready.root);
        command.args(["test", "--locked", "--manifest-path"]).arg(manifest);
        command.env("CARGO_TARGET_DIR", ready.root.join("target/examples"));
        run_command(&mut command)
    })?;
    if arguments.quick {
        return steps.finish();
    }

    let tools = steps.run("test tools", tools::run)?;
    steps.run("plugins in other languages", || plugins::build(&ready))?;
    // Cargo builds a package's programs for its own tests only; these tests run the program too.
    steps.run("the program", || {
        run_command(host_cargo(&ready.root).args(["build", "--locked", "--package", "berth"]))
    })?;
    steps.run("wkg and cosign", tools::run_slow)?;
    steps.run("integration tests", || {
        let mut command = cargo_test(&ready.root, &ready.components);
        command
            .args(["--package", "berth-tests"])
            .args(&arguments.arguments)
            .env(tools::VARIABLE, &tools);
        run_command(&mut command)
    })?;
    steps.finish()
}

fn cargo_test(root: &Path, components: &Path) -> Command {
    let mut command = host_cargo(root);
    command
        .args(["test", "--locked", "--no-fail-fast"])
        .env("BERTH_COMPONENTS", components);
    command
}
