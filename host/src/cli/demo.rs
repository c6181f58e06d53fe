//! `berth demo`: what can be typed. What it does is in `demo.rs`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, ValueEnum, builder::PossibleValuesParser};

use super::Failure;
use crate::telemetry::{self, Format};

const AFTER_HELP: &str = "\
Examples:
  berth demo                         Tell the journeys in words
  berth demo --output json           One JSON object a line, for machines
  berth demo --only A5 --only chain  Some journeys only
  berth demo --world outage.yaml     In a world of your own";

/// Shows every journey in a simulated world, without a cluster.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub struct DemoArgs {
    /// How it is told.
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
    /// The file that describes the world; by default the one that berth contains.
    #[arg(long, value_name = "FILE")]
    pub world: Option<PathBuf>,
    /// Play this journey only; can be repeated. Names are case-sensitive.
    #[arg(long, value_name = "JOURNEY", value_parser = PossibleValuesParser::new(crate::demo::JOURNEYS))]
    pub only: Vec<String>,
}

/// How results are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// Plays the demo. Its logs are warnings and errors: a clean journey has none.
pub(super) fn run(args: DemoArgs) -> Result<ExitCode, Failure> {
    let level = std::env::var("BERTH_LOG_LEVEL").unwrap_or_else(|_| "error".to_owned());
    telemetry::init(Format::Text, &level).map_err(anyhow::Error::new)?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the asynchronous runtime")?;
    let options = crate::demo::Options {
        world: args.world,
        json: args.output == Output::Json,
        only: args.only,
    };
    Ok(runtime.block_on(crate::demo::run(options))?)
}
