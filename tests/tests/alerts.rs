//! What whoever is on call relies on: the alerts fire when they must, and the runbook knows every reason and alert.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests: a panic fails them")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use berth_engine::reason::{Actor, Reason};

const PROMTOOL: &str = "promtool-v0.308.1/promtool";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(file: &str) -> String {
    fs::read_to_string(repository().join(file)).unwrap()
}

/// Runs promtool in a folder that has the rules as Prometheus reads them, and their tests.
fn promtool(rules: &str, arguments: &[&str]) -> Output {
    let tools = std::env::var_os("BERTH_TOOLS").map_or_else(
        || std::env::home_dir().unwrap().join(".cache/berth/tools"),
        PathBuf::from,
    );
    let tool = tools.join(PROMTOOL);
    assert!(
        tool.is_file(),
        "{} is missing. Run `cargo xtask setup`, or run the tests by `cargo xtask test`; BERTH_TOOLS names another \
         folder.",
        tool.display()
    );
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yaml"), rules).unwrap();
    fs::write(folder.path().join("alerts_test.yaml"), text("deploy/alerts_test.yaml")).unwrap();
    Command::new(tool)
        .args(arguments)
        .current_dir(folder.path())
        .output()
        .unwrap()
}

fn told(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The rules without the object of the Prometheus operator around them.
fn rules() -> String {
    let all = text("deploy/alerts.yaml");
    let (_, spec) = all.split_once("\nspec:\n").unwrap();
    spec.lines()
        .map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or(line)))
        .collect()
}

/// What stands behind `key:` in the lines of a text.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    text.lines()
        .filter_map(|line| {
            line.trim_start()
                .strip_prefix("- ")
                .unwrap_or(line.trim_start())
                .strip_prefix(key)
        })
        .map(str::trim)
        .collect()
}

#[test]
fn prometheus_accepts_the_rules() {
    let output = promtool(
        &rules(),
        &["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"],
    );
    assert!(output.status.success(), "{}", told(&output));
    let alerts = values(&rules(), "alert:").len();
    assert!(
        told(&output).contains(&format!("{alerts} rules found")),
        "{}",
        told(&output)
    );
}

#[test]
fn every_alert_fires_when_it_must_and_not_otherwise() {
    let output = promtool(&rules(), &["test", "rules", "alerts_test.yaml"]);
    assert!(output.status.success(), "{}", told(&output));

    let tests = text("deploy/alerts_test.yaml");
    let rules = rules();
    for alert in values(&rules, "alert:") {
        let expectations: Vec<&str> = tests
            .split("- alertname: ")
            .skip(1)
            .filter(|one| one.lines().next() == Some(alert))
            .collect();
        let silent = expectations.iter().filter(|one| one.contains("exp_alerts: []")).count();
        assert!(silent > 0, "no test sees that {alert} does not fire");
        assert!(expectations.len() > silent, "no test sees that {alert} fires");
    }
}

#[test]
fn a_rule_that_never_fires_is_noticed() {
    let rules = rules();
    for alert in values(&rules, "alert:") {
        // `unless` of the same leaves nothing.
        let begin = rules.find(&format!("alert: {alert}\n")).unwrap();
        let expression = begin + rules[begin..].find("expr: ").unwrap();
        let end = expression + rules[expression..].find("\n      ").unwrap();
        let first = &rules[expression + "expr: ".len()..end];
        let dead = if first == "|" {
            let body = end + rules[end..].find("\n        labels:").unwrap();
            let body = rules[..body]
                .rfind("\n        for:")
                .filter(|at| *at > end)
                .unwrap_or(body);
            format!("{}expr: vector(0) > 1{}", &rules[..expression], &rules[body..])
        } else {
            format!("{}expr: vector(0) > 1{}", &rules[..expression], &rules[end..])
        };
        let output = promtool(&dead, &["test", "rules", "alerts_test.yaml"]);
        assert!(!output.status.success(), "nobody misses {alert}");
        assert!(told(&output).contains(alert), "{alert}: {}", told(&output));
    }
}

/// The sections of the runbook, by their headings.
fn section<'a>(runbook: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = runbook.split_once(&format!("\n### `{name}`\n"))?;
    Some(rest.split("\n#").next().unwrap_or(rest))
}

#[test]
fn the_runbook_says_for_every_reason_what_is_seen_who_acts_and_how() {
    let runbook = text("docs/operations.md");
    let mut missing = Vec::new();
    for reason in Reason::ALL {
        let acts = match reason.actor() {
            Actor::Nobody => "- **Acts**: nobody.",
            Actor::User => "- **Acts**: the cluster's owner.",
            Actor::Partner => "- **Acts**: the adapter's author.",
            Actor::Platform => "- **Acts**: the platform team.",
        };
        match section(&runbook, reason.name()) {
            None => missing.push(format!(
                "docs/operations.md has no section \"### `{reason}`\": write it under the heading it belongs to, with \
                 the lines **Seen**, **Acts** and **Do**"
            )),
            Some(section) => {
                let cases: Vec<&str> = reason.cases().iter().map(|case| case.name()).collect();
                let seen = if cases.is_empty() {
                    "- **Seen**: in the log alone".to_owned()
                } else {
                    format!("- **Seen**: {}: ", cases.join(", "))
                };
                for line in [seen.as_str(), acts, "- **Do**: "] {
                    if !section.lines().any(|found| found.starts_with(line)) {
                        missing.push(format!(
                            "the section `{reason}` of docs/operations.md has no line `{line}`"
                        ));
                    }
                }
                let acts = reason.actor() != Actor::Nobody;
                if acts && section.lines().any(|line| line.starts_with("- **Do**: Nothing")) {
                    missing.push(format!(
                        "the section `{reason}` of docs/operations.md tells nobody what to do"
                    ));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn the_runbook_says_for_every_alert_when_it_fires_and_what_comes_first() {
    let runbook = text("docs/operations.md");
    let rules = rules();
    let alerts = values(&rules, "alert:");
    for (alert, severity) in alerts.iter().zip(values(&rules, "severity:")) {
        let Some(section) = section(&runbook, alert) else {
            panic!("docs/operations.md has no section \"### `{alert}`\"");
        };
        for line in [format!("- **Fires** ({severity}): "), "- **First steps**: ".to_owned()] {
            assert!(
                section.lines().any(|found| found.starts_with(&line)),
                "the section `{alert}` has no line `{line}`"
            );
        }
    }
    let unique: BTreeSet<&str> = alerts.iter().copied().collect();
    assert_eq!(unique.len(), alerts.len(), "two alerts have one name");
}

#[test]
fn the_runbook_has_no_section_twice_and_none_about_an_alert_that_is_gone() {
    let runbook = text("docs/operations.md");
    let rules = rules();
    let alerts = values(&rules, "alert:");
    let mut seen = BTreeSet::new();
    for name in values(&runbook, "### `") {
        assert!(seen.insert(name), "{name} is told twice");
        let name = name.trim_end_matches('`');
        assert!(
            !name.starts_with("Berth") || alerts.contains(&name),
            "there is no alert {name}"
        );
    }
    assert!(seen.len() >= Reason::ALL.len() + alerts.len());
}
