//! `berth serve`: what can be typed. What it does is in `serve.rs`.

use std::{path::Path, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use clap::Args;

use super::{Failure, SettingsArgs};
use crate::{
    config::{Problem, host::LogFormat},
    live::{Configuration, Seen},
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
    let file = args.settings.file().map(Path::to_owned);
    let seen = file.as_deref().map(Seen::of);
    let (settings, shown) = args.settings.load()?;
    let format = match settings.log.format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    telemetry::init(format, &settings.log.level).map_err(anyhow::Error::new)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the asynchronous runtime")?;
    let again = args.settings.clone();
    let configuration = Configuration {
        file,
        seen,
        shown,
        read: Arc::new(move || again.load().map_err(problems)),
    };
    let code = runtime.block_on(crate::serve::run(settings, configuration))?;
    // All is drained. What is still compiled is not waited for, and ends with this process.
    runtime.shutdown_background();
    Ok(code)
}

/// A file that cannot be read is a problem like those of its contents.
fn problems(failure: Failure) -> Vec<Problem> {
    match failure {
        Failure::Configuration(problems) => problems,
        Failure::Other { error, .. } => vec![Problem {
            file: "configuration".into(),
            line: 0,
            column: 0,
            path: String::new(),
            message: format!("{error:#}"),
            hint: None,
            adapter: None,
        }],
    }
}
