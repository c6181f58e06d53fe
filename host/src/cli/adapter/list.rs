//! `berth adapter list` and `berth adapter show`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::{
    Failure, Output,
    admin::{AdminArgs, table},
    print,
};
use crate::telemetry::admin::{AdapterState, Adapters};

const LIST_HELP: &str = "\
Examples:
  berth adapter list
  berth adapter list --admin http://berth.hyperfleet.svc:9090 --output json

States:
  live      what is wanted is live
  outdated  what is wanted cannot be live; what was live before still is
  refused   what is wanted cannot be live, and nothing is
  loading   its plugins are being fetched for the first time
  removed   its document was taken away; its objects stay until `berth adapter purge`

Exit codes:
  0  the host answered
  1  it did not";

const SHOW_HELP: &str = "\
Examples:
  berth adapter show landing-zone
  berth adapter show landing-zone --output json

Exit codes:
  0  the host knows the adapter
  1  it does not, or it did not answer";

/// Which host is asked.
#[derive(Debug, Args)]
#[command(after_help = LIST_HELP)]
pub(in crate::cli) struct ListArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// How it is shown.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Which adapter is shown.
#[derive(Debug, Args)]
#[command(after_help = SHOW_HELP)]
pub(in crate::cli) struct ShowArgs {
    /// The adapter.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    admin: AdminArgs,
    /// How it is shown.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn list(args: &ListArgs) -> Result<ExitCode, Failure> {
    let adapters: Adapters = args.admin.get("adapters")?.known()?;
    match args.output {
        Output::Text => print(&lines(&adapters)),
        Output::Json => print(&json(&adapters)?),
    }
}

pub(super) fn show(args: &ShowArgs) -> Result<ExitCode, Failure> {
    let path = format!("adapters/{}", args.name);
    let adapter: AdapterState = args.admin.get(&path)?.known()?;
    match args.output {
        Output::Text => print(&details(&adapter)),
        Output::Json => print(&json(&adapter)?),
    }
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).context("cannot write the answer")?;
    Ok(format!("{text}\n"))
}

fn or_dash(text: Option<&String>) -> String {
    text.cloned().unwrap_or_else(|| "-".to_owned())
}

fn lines(adapters: &Adapters) -> String {
    let head = ["NAME", "STATE", "SINCE", "FILE"].map(str::to_owned).to_vec();
    let rows = adapters.adapters.iter().map(|one| {
        vec![
            one.name.clone(),
            one.state.name().to_owned(),
            or_dash(one.since.as_ref()),
            or_dash(one.file.as_ref()),
        ]
    });
    let mut text = table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    let named = adapters.adapters.iter().flat_map(|one| one.problems.iter());
    let mut told: Vec<&String> = Vec::new();
    for problem in named.chain(&adapters.problems) {
        // A problem of a file concerns every adapter in it.
        if !told.contains(&problem) {
            text.push_str(&format!("\n{problem}\n"));
            told.push(problem);
        }
    }
    text
}

fn details(adapter: &AdapterState) -> String {
    let pair = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        pair("name", adapter.name.clone()),
        pair("state", adapter.state.name().to_owned()),
        pair("since", or_dash(adapter.since.as_ref())),
        pair("file", or_dash(adapter.file.as_ref())),
        pair("live", or_dash(adapter.live.as_ref())),
        pair("wanted", or_dash(adapter.wanted.as_ref())),
        pair("subjects", adapter.subjects.join(", ")),
        pair("namespace", or_dash(adapter.namespace.as_ref())),
        pair("account", or_dash(adapter.service_account.as_ref())),
    ];
    for kind in &adapter.kinds {
        let namespace = kind.namespace.as_deref().unwrap_or("all namespaces");
        rows.push(pair(
            "kind",
            format!("{} {} in {namespace}", kind.api_version, kind.kind),
        ));
    }
    for plugin in &adapter.plugins {
        let live = or_dash(plugin.live.as_ref());
        rows.push(pair("plugin", format!("{} {} {live}", plugin.plugin, plugin.source)));
        if let Some(newer) = &plugin.newer {
            rows.push(pair("", format!("newer: {newer}")));
        }
        if let Some(why) = &plugin.why {
            rows.push(pair("", format!("not newer: {why}")));
        }
    }
    let mut text = table(&rows);
    for problem in &adapter.problems {
        text.push_str(&format!("\n{problem}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::admin::{PluginState, Scope, Standing};

    fn adapter(name: &str, state: Standing, problems: &[&str]) -> AdapterState {
        AdapterState {
            name: name.to_owned(),
            state,
            file: Some(format!("adapters/{name}.yaml")),
            live: Some("0123456789ab".to_owned()),
            since: Some("2026-01-01T00:00:00Z".to_owned()),
            wanted: None,
            problems: problems.iter().map(|one| (*one).to_owned()).collect(),
            subjects: vec!["Cluster".to_owned(), "NodePool".to_owned()],
            namespace: Some("work".to_owned()),
            service_account: None,
            kinds: vec![Scope {
                api_version: "batch/v1".to_owned(),
                kind: "Job".to_owned(),
                namespace: Some("work".to_owned()),
            }],
            plugins: vec![PluginState {
                adapter: name.to_owned(),
                plugin: "lz".to_owned(),
                source: "oci://registry.example/lz:1".to_owned(),
                live: Some("sha256:1".to_owned()),
                since: None,
                signed_by: Vec::new(),
                newer: None,
                why: Some("the registry does not answer".to_owned()),
            }],
        }
    }

    #[test]
    fn a_list_has_a_line_for_each_adapter_and_tells_each_problem_once() {
        let adapters = Adapters {
            adapters: vec![
                adapter("dns", Standing::Live, &[]),
                adapter("landing-zone", Standing::Outdated, &["lz.yaml: not YAML"]),
            ],
            problems: vec![
                "lz.yaml: not YAML".to_owned(),
                "x.yaml: contains no document".to_owned(),
            ],
        };
        insta::assert_snapshot!(lines(&adapters), @r"
        NAME          STATE     SINCE                 FILE
        dns           live      2026-01-01T00:00:00Z  adapters/dns.yaml
        landing-zone  outdated  2026-01-01T00:00:00Z  adapters/landing-zone.yaml

        lz.yaml: not YAML

        x.yaml: contains no document
        ");
    }

    #[test]
    fn one_adapter_is_shown_with_its_plugins() {
        let one = adapter(
            "lz",
            Standing::Outdated,
            &["adapters/lz.yaml:3:1: it is wrong\n  hint: mend it"],
        );
        insta::assert_snapshot!(details(&one), @r"
        name       lz
        state      outdated
        since      2026-01-01T00:00:00Z
        file       adapters/lz.yaml
        live       0123456789ab
        wanted     -
        subjects   Cluster, NodePool
        namespace  work
        account    -
        kind       batch/v1 Job in work
        plugin     lz oci://registry.example/lz:1 sha256:1
                   not newer: the registry does not answer

        adapters/lz.yaml:3:1: it is wrong
          hint: mend it
        ");
    }
}
