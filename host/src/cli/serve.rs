//! `berth serve`: what can be typed. What it does is in `serve.rs`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::{Failure, SettingsArgs};
use crate::{
    config::host::LogFormat,
    telemetry::{self, Format},
};

const AFTER_HELP: &str = "\
Examples:
  berth serve --config /etc/berth/berth.yaml
  berth serve --fleet-url https://hyperfleet.example.com --adapters ./adapters
  BERTH_FLEET_TOKEN_FILE=/run/token berth serve --log-format json";

/// Receives events and takes care of their subjects, until it is told to end.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub struct ServeArgs {
    /// The configuration.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Runs the host.
pub(super) fn run(args: &ServeArgs) -> Result<ExitCode, Failure> {
    let (settings, _) = args.settings.load()?;
    let format = match settings.log.format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    telemetry::init(format, &settings.log.level).map_err(anyhow::Error::new)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the asynchronous runtime")?;
    Ok(runtime.block_on(crate::serve::run(settings))?)
}
