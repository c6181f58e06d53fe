//! `berth adapter`: what documents say, how their adapters stand, and what is left of them.

mod check;
mod list;
mod purge;

use std::process::ExitCode;

use clap::Subcommand;

pub use self::check::{CheckArgs, report};
use super::{Failure, Output, admin, print};

#[derive(Debug, Subcommand)]
pub(super) enum AdapterCommand {
    /// Checks adapter documents and tells all that is wrong with them.
    Check(CheckArgs),
    /// Lists the adapters of a running host, and how they stand.
    List(list::ListArgs),
    /// Shows one adapter of a running host: what is live, and why what is wanted is not.
    Show(list::ShowArgs),
    /// Deletes the objects of an adapter that was removed.
    Purge(purge::PurgeArgs),
}

pub(super) fn run(command: AdapterCommand) -> Result<ExitCode, Failure> {
    match command {
        AdapterCommand::Check(args) => check::run(&args),
        AdapterCommand::List(args) => list::list(&args),
        AdapterCommand::Show(args) => list::show(&args),
        AdapterCommand::Purge(args) => purge::run(&args),
    }
}
