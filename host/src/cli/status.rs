//! `berth plugin status`.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Args;

use super::{
    Failure, Output,
    admin::{AdminArgs, table},
    print,
};
use crate::telemetry::admin::{PluginState, Plugins};

/// How long a host may take to ask all of its registries.
const REFRESH: Duration = Duration::from_secs(120);

const AFTER_HELP: &str = "\
Examples:
  berth plugin status
  berth plugin status --refresh                 Ask the registries now whether tags have moved
  berth plugin status --admin http://berth.hyperfleet.svc:9090 --output json

Exit codes:
  0  the host answered
  1  it did not";

/// Shows the plugins of a running host: what is wanted, what is live, and why nothing newer is.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// Has the host ask its registries first, and waits for what comes of it.
    #[arg(long)]
    refresh: bool,
    /// How it is shown.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(args: &StatusArgs) -> Result<ExitCode, Failure> {
    let plugins: Plugins = if args.refresh {
        args.admin.post("plugins/refresh", REFRESH)?.known()?
    } else {
        args.admin.get("plugins")?.known()?
    };
    match args.output {
        Output::Text => print(&lines(&plugins.plugins)),
        Output::Json => {
            let text = serde_json::to_string_pretty(&plugins).context("cannot write the answer")?;
            print(&format!("{text}\n"))
        }
    }
}

fn lines(plugins: &[PluginState]) -> String {
    let head = [
        "ADAPTER",
        "PLUGIN",
        "WANTED",
        "LIVE",
        "SINCE",
        "SIGNED BY",
        "NOT NEWER BECAUSE",
    ];
    let dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let rows = plugins.iter().map(|one| {
        let why = one.why.as_deref().and_then(|why| why.lines().next());
        vec![
            one.adapter.clone(),
            one.plugin.clone(),
            one.source.clone(),
            dash(one.live.as_deref().map(short)),
            dash(one.since.as_deref()),
            dash(Some(one.signed_by.join(", ").as_str()).filter(|text| !text.is_empty())),
            dash(why),
        ]
    });
    let head = std::iter::once(head.map(str::to_owned).to_vec());
    table(&head.chain(rows).collect::<Vec<_>>())
}

/// Enough of a digest to tell it from others.
fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_has_a_line_with_what_is_wanted_and_what_is_live() {
        let plugin = |name: &str, live: Option<&str>, why: Option<&str>| PluginState {
            adapter: "landing-zone".to_owned(),
            plugin: name.to_owned(),
            source: format!("oci://registry.example/{name}:1"),
            live: live.map(str::to_owned),
            since: live.map(|_| "2026-01-01T00:00:00Z".to_owned()),
            signed_by: live.map(|_| "platform".to_owned()).into_iter().collect(),
            newer: None,
            why: why.map(str::to_owned),
        };
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        let plugins = [
            plugin("lz", Some(&digest), None),
            plugin("dns", None, Some("no signature is by a key that counts\nmore")),
        ];
        insta::assert_snapshot!(lines(&plugins), @r"
        ADAPTER       PLUGIN  WANTED                        LIVE                 SINCE                 SIGNED BY  NOT NEWER BECAUSE
        landing-zone  lz      oci://registry.example/lz:1   sha256:0123456789ab  2026-01-01T00:00:00Z  platform   -
        landing-zone  dns     oci://registry.example/dns:1  -                    -                     -          no signature is by a key that counts
        ");
    }
}
