//! The task `bench`: measures an optimised build, on a real control plane where the benchmark asks for one.

use std::{ffi::OsString, process::ExitCode};

use anyhow::{Context, Result};

use crate::{
    check::EVERYTHING,
    cleanroom::{describe, host_cargo, run as run_command},
    setup, tools,
};

/// Sets up, builds the tools and runs the benchmark; answers as it does.
pub(crate) fn run(arguments: &[OsString]) -> Result<ExitCode> {
    let ready = setup::run()?;
    let tools = tools::run()?;
    // Some figures are those of the program. With the features of the long tests, so that one build serves both.
    run_command(host_cargo(&ready.root).args([
        "build",
        "--locked",
        "--profile",
        "bench",
        "--package",
        "berth",
        EVERYTHING,
    ]))?;
    let mut command = host_cargo(&ready.root);
    command
        .env(tools::VARIABLE, tools)
        .env("BERTH_COMPONENTS", &ready.components)
        .args([
            "run",
            "--locked",
            "--profile",
            "bench",
            "--package",
            "berth-tests",
            "--bin",
            "bench",
            EVERYTHING,
            "--",
        ])
        .args(arguments);
    let status = command
        .status()
        .with_context(|| format!("cannot run `{}`", describe(&command)))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
