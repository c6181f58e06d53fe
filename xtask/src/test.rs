//! The task `test`: all tests, the cheapest first.

use std::{ffi::OsString, path::Path, process::Command};

use anyhow::Result;

use crate::{
    check::EVERYTHING,
    cleanroom::{host_cargo, run as run_command},
    demo, plugins,
    progress::Steps,
    setup, tools,
};

/// What to test.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Stop after the tests that need neither a control plane nor other languages.
    #[arg(long, conflicts_with = "arguments")]
    quick: bool,

    /// Only the kill test: three hosts that are killed at random while everything around them fails.
    #[arg(long, conflicts_with_all = ["quick", "arguments"])]
    kill: bool,

    /// Only the long tests, in their long form, which takes an hour or more: the kill test with 10,000 events and
    /// 1,000 kills, and ten minutes of a HyperFleet API that is slow; with `--kill` the kill test alone. The kill
    /// test writes its progress to `target/kill/progress.json` after every 500 steps that were found right, and
    /// goes on there when it is run again.
    #[arg(long, conflicts_with_all = ["quick", "arguments"])]
    long: bool,

    /// The seed of the kill test, which decides its faults; else that of an unfinished long run, or a random one.
    /// It is printed, and a run that fails tells it.
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["quick", "arguments"])]
    seed: Option<u64>,

    /// Passed to `cargo test` of the integration tests, for example a test's name.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs the tests, and stops at the first step that fails.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut steps = Steps::new("test");
    let ready = steps.run("set-up", setup::run)?;
    if arguments.kill || arguments.long {
        let tools = steps.run("test tools", tools::run)?;
        steps.run("the program", || {
            program(&ready.root, arguments.long.then_some(OPTIMISED))
        })?;
        steps.run("long tests", || {
            run_command(&mut long(arguments, &ready.root, &ready.components, &tools))
        })?;
        return steps.finish();
    }

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
    steps.run("the program", || program(&ready.root, None))?;
    steps.run("the demo starts soon", demo::starts_soon)?;
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

/// Cargo builds a package's programs for its own tests only; integration tests run the program too.
fn program(root: &Path, profile: Option<[&str; 2]>) -> Result<()> {
    let mut command = host_cargo(root);
    command.args(["build", "--locked", "--package", "berth", EVERYTHING]);
    run_command(command.args(profile.into_iter().flatten()))
}

/// Long tests would take hours in the profile of tests: they run what operators run.
const OPTIMISED: [&str; 2] = ["--profile", "bench"];

/// The kill test alone, or all tests that have a long form.
fn long(arguments: &Arguments, root: &Path, components: &Path, tools: &Path) -> Command {
    let mut command = cargo_test(root, components);
    command.args(["--package", "berth-tests", "--test", "kill"]);
    if !arguments.kill {
        command.args(["--test", "backpressure"]);
    }
    if arguments.long {
        command.args(OPTIMISED);
    }
    // They tell what they do.
    command.args(["--", "--nocapture"]).env(tools::VARIABLE, tools);
    if arguments.long {
        command.env("BERTH_LONG", "1");
    }
    if let Some(seed) = arguments.seed {
        command.env("BERTH_KILL_SEED", seed.to_string());
    }
    command
}

fn cargo_test(root: &Path, components: &Path) -> Command {
    let mut command = host_cargo(root);
    command
        .args(["test", "--locked", "--no-fail-fast", EVERYTHING])
        .env("BERTH_COMPONENTS", components);
    command
}
