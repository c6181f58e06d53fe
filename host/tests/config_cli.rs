//! `berth config` as people run it.
#![allow(clippy::unwrap_used, reason = "tests: a panic fails them")]

use std::process::{Command, Output};

use berth::config::host::KEYS;
use serde_json::Value;

/// The program with these variables, free of the developer's settings.
fn config(arguments: &[&str], variables: &[(String, String)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BERTH_") {
            command.env_remove(name);
        }
    }
    command.env_remove("HOSTNAME").arg("config").args(arguments);
    command.envs(variables.iter().cloned()).output().unwrap()
}

fn required() -> Vec<(String, String)> {
    [
        ("BERTH_FLEET_URL", "http://fleet.example"),
        ("BERTH_ADAPTERS", "adapters"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn text(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn every_setting_is_shown_with_the_variable_that_it_comes_from() {
    // Whoever sets something of a broker, or of leases, must say more.
    let with_default = KEYS
        .iter()
        .filter(|key| !key.path.starts_with("sources.") && !key.path.starts_with("leases."));
    let mut variables: Vec<(String, String)> = with_default
        .filter_map(|key| Some((key.variable(), key.default?.to_owned())))
        .collect();
    variables.extend(required());
    let shown = text(&config(&["show", "--output", "json"], &variables));
    let shown: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keys: Vec<&str> = shown.iter().map(|one| one["key"].as_str().unwrap()).collect();
    let all: Vec<&str> = KEYS.iter().map(|key| key.path).collect();
    assert_eq!(keys, all, "every key is shown, in order");
    for (one, key) in shown.iter().zip(KEYS) {
        let name = key.variable();
        match variables.iter().find(|(variable, _)| *variable == name) {
            Some((_, value)) => {
                assert_eq!(one["value"], *value, "{name}");
                assert_eq!(one["origin"], format!("variable {name}"));
            }
            None => assert_eq!(one["origin"], "default", "{name}"),
        }
    }
}

#[test]
fn settings_are_shown_as_a_table() {
    let mut variables = required();
    variables.push(("BERTH_FLEET_TIMEOUT".to_owned(), "3s".to_owned()));
    let shown = text(&config(&["show"], &variables));
    let row = |key: &str| {
        let line = shown.lines().find(|line| line.split_whitespace().next() == Some(key));
        line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("fleet.timeout"), "fleet.timeout 3s variable BERTH_FLEET_TIMEOUT");
    assert_eq!(row("limits.eventSize"), "limits.eventSize 1MiB default");
    assert_eq!(row("cache"), "cache - default");
}

#[test]
fn every_key_is_listed_with_its_variable() {
    let listed = text(&config(&["keys"], &[]));
    for key in KEYS {
        let line = listed
            .lines()
            .find(|line| line.split_whitespace().next() == Some(key.path));
        let line = line.unwrap_or_else(|| panic!("{} is not listed", key.path));
        assert!(line.contains(&key.variable()) && line.contains(key.meaning), "{line}");
    }
}
