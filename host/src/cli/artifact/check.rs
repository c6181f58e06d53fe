//! `berth registry check`.

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{AccessArgs, Failure, TrustArgs, block};
use crate::{
    artifacts,
    registry::{
        Reference,
        access::doctor::{Finding, Step, examine},
    },
};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RegistryCommand {
    /// Looks for what is wrong between here and a plugin: allow-list, mirrors, name, connection, TLS, log-in, manifest, layout, signatures.
    Check(CheckArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth registry check registry.example.com/partners/landing-zone:1.4.0
  berth registry check registry.example.com/partners/landing-zone:1.4.0 --config berth.yaml --output json
  berth registry check localhost:5000/lz:dev --insecure localhost:5000 --key cosign.pub

Each step is told with what to do where it fails. The exit code is 1 if one does.")]
pub(in crate::cli) struct CheckArgs {
    /// The plugin.
    #[arg(value_name = "REGISTRY/PATH[:TAG][@DIGEST]")]
    reference: Reference,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    access: AccessArgs,
}

pub(in crate::cli) fn run(command: &RegistryCommand) -> Result<ExitCode, Failure> {
    match command {
        RegistryCommand::Check(args) => check(args),
    }
}

fn check(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let settings = args.access.settings(Some(&args.trust))?;
    let (policy, allow) = (artifacts::policy(&settings)?, artifacts::allow(&settings)?);
    let access = artifacts::access(&settings);
    let max = settings.max_size as u64;
    let steps = block(async { Ok(examine(&access, &args.reference, &allow, &policy, max).await) })?;
    let json: Vec<Value> = steps.iter().map(json).collect();
    let text: String = steps.iter().map(text).collect();
    let told = args.access.tell(&json.into(), &text)?;
    let failed = steps.iter().any(|step| matches!(step.finding, Finding::Bad { .. }));
    Ok(if failed { ExitCode::FAILURE } else { told })
}

fn json(step: &Step) -> Value {
    match &step.finding {
        Finding::Good(found) => json!({"step": step.name, "result": "ok", "found": found}),
        Finding::Bad { problem, advice } => {
            json!({"step": step.name, "result": "failed", "problem": problem, "advice": advice})
        }
        Finding::Skipped(why) => json!({"step": step.name, "result": "skipped", "why": why}),
    }
}

fn text(step: &Step) -> String {
    let name = step.name;
    match &step.finding {
        Finding::Good(found) => format!("{GOOD}ok{GOOD:#}       {name}: {found}\n"),
        Finding::Bad { problem, advice } => format!("{BAD}failed{BAD:#}   {name}: {problem}\n         {advice}\n"),
        Finding::Skipped(why) => format!("skipped  {name}: {why}\n"),
    }
}
