//! `berth adapter check`.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

use super::{Failure, print};
use crate::config::{
    document::{self, Loading},
    host::HostLimits,
};

#[derive(Debug, Subcommand)]
pub(super) enum AdapterCommand {
    /// Checks adapter documents and tells all that is wrong with them.
    Check(CheckArgs),
}

/// Which documents are checked.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  berth adapter check landing-zone.yaml\n  berth adapter check adapters/")]
pub struct CheckArgs {
    /// Files, or folders of which all *.yaml files are checked.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

impl CheckArgs {
    /// Reads the documents and checks them together.
    #[must_use]
    pub fn load(&self) -> Loading {
        document::load_paths(&self.files, &HostLimits::default_caps())
    }
}

pub(super) fn run(command: AdapterCommand) -> Result<ExitCode, Failure> {
    match command {
        AdapterCommand::Check(args) => report(args.load()),
    }
}

/// Tells which documents are good, or all that is wrong.
///
/// # Errors
/// When there is any problem.
pub fn report(loading: Loading) -> Result<ExitCode, Failure> {
    let loaded = loading.strict()?;
    let lines: String = loaded
        .iter()
        .map(|loaded| format!("{}: ok ({})\n", loaded.adapter.name, loaded.origin.file().display()))
        .collect();
    print(&lines)
}
