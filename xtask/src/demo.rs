//! The task `demo`: the journeys in a terminal, by `berth demo`.

use std::{ffi::OsString, process::ExitCode};

use anyhow::{Context, Result};

use crate::{
    cleanroom::{describe, host_cargo},
    setup,
};

/// Sets up, builds `berth` and runs its demo; answers as the demo does.
pub(crate) fn run(arguments: &[OsString]) -> Result<ExitCode> {
    let ready = setup::run()?;
    let mut command = host_cargo(&ready.root);
    command
        .args(["run", "--locked", "--package", "berth", "--bin", "berth", "--", "demo"])
        .args(arguments);
    let status = command
        .status()
        .with_context(|| format!("cannot run `{}`", describe(&command)))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
