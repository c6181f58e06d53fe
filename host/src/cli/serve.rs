//! `berth serve`: what can be typed. What it does is in `serve.rs`.

use clap::Args;

use super::SettingsArgs;

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
