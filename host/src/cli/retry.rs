//! `berth retry`.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::Value;
use url::Url;

use super::Failure;
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
    /// The host's administration endpoint.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    admin: Url,
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(ask(args))
}

async fn ask(args: &RetryArgs) -> Result<ExitCode, Failure> {
    // A provider that is installed already is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let (kind, id) = args.subject.clone();
    let retry = Retry {
        adapter: args.adapter.clone(),
        kind,
        id,
    };
    let url = args
        .admin
        .join("retry")
        .context("the administration endpoint's URL cannot have a path")?;
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .build()
        .context("cannot start")?;
    let response = match client.post(url.clone()).json(&retry).send().await {
        Ok(response) => response,
        Err(error) => {
            let error = anyhow::Error::new(error.without_url()).context(format!("no answer from {url}"));
            return Err(Failure::from(error).with_hint("name the running host's `admin.listen` address with --admin"));
        }
    };
    let status = response.status();
    if status.is_success() {
        return Ok(ExitCode::SUCCESS);
    }
    let problem: Value = response.json().await.unwrap_or_default();
    let detail = problem
        .get("detail")
        .and_then(Value::as_str)
        .unwrap_or("it gave no reason");
    Err(Failure::from(
        anyhow!("{detail}").context(format!("the host refused with {status}")),
    ))
}
