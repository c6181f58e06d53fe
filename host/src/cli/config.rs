//! `berth config show` and `berth config keys`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, Output, SettingsArgs, print};
use crate::config::host::{KEYS, Shown};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Shows every setting and where it comes from. The contents of secret files are never shown.
    Show(Box<ShowArgs>),
    /// Lists every key of berth.yaml with its variable, its default and its meaning.
    Keys,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  berth config show --config berth.yaml\n  BERTH_FLEET_TIMEOUT=3s berth config show --output json"
)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// How it is shown.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(command: ConfigCommand) -> Result<ExitCode, Failure> {
    match command {
        ConfigCommand::Show(args) => {
            let (_, shown) = args.settings.load()?;
            match args.output {
                Output::Text => print(&table(&shown)),
                Output::Json => print(&objects(&shown)),
            }
        }
        ConfigCommand::Keys => print(&keys()),
    }
}

fn table(shown: &[Shown]) -> String {
    let width = |text: fn(&Shown) -> usize| shown.iter().map(text).max().unwrap_or_default();
    let keys = width(|shown| shown.key.len());
    let values = width(|shown| shown.value.as_deref().unwrap_or("-").len());
    shown
        .iter()
        .map(|shown| {
            let value = shown.value.as_deref().unwrap_or("-");
            format!("{:keys$}  {value:values$}  {}\n", shown.key, shown.origin)
        })
        .collect()
}

fn objects(shown: &[Shown]) -> String {
    shown
        .iter()
        .map(|shown| json!({"key": shown.key, "value": shown.value, "origin": shown.origin.to_string()}))
        .map(|object| format!("{object}\n"))
        .collect()
}

fn keys() -> String {
    KEYS.iter()
        .map(|key| {
            let default = key
                .default
                .map(|default| format!(" [default: {default}]"))
                .unwrap_or_default();
            format!("{:24}  {:32}  {}{default}\n", key.path, key.variable(), key.meaning)
        })
        .collect()
}
