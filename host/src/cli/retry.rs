//! `berth retry`.

use std::process::ExitCode;

use clap::Args;

use super::{Failure, admin::AdminArgs};
use crate::telemetry::admin::Retry;

const AFTER_HELP: &str = "\
Examples:
  berth retry Cluster/0198c2f0 --adapter landing-zone
  berth retry NodePool/0198c2f1 --adapter dns --admin http://berth.hyperfleet.svc:9090";

/// Asks a running host to run one adapter for one subject, for example after a cause
/// outside of HyperFleet was removed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct RetryArgs {
    /// The subject, such as `Cluster/0198c2f0`.
    #[arg(value_name = "KIND/ID", value_parser = subject)]
    subject: (String, String),
    /// The adapter.
    #[arg(long, value_name = "NAME")]
    adapter: String,
    #[command(flatten)]
    admin: AdminArgs,
}

fn subject(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((kind, id)) if !kind.is_empty() && !id.is_empty() && !id.contains('/') => {
            Ok((kind.to_owned(), id.to_owned()))
        }
        Some(_) | None => Err("write the kind and the identifier: `Cluster/0198c2f0`".to_owned()),
    }
}

pub(super) fn run(args: &RetryArgs) -> Result<ExitCode, Failure> {
    let (kind, id) = args.subject.clone();
    let retry = Retry {
        adapter: args.adapter.clone(),
        kind,
        id,
    };
    args.admin.send("retry", &retry)?.known()?;
    Ok(ExitCode::SUCCESS)
}
