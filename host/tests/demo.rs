//! `berth demo` as people run it: the program, its exit code, stdout and stderr.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests: a panic fails them"
)]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

const WORLD: &str = include_str!("../assets/demo/world.yaml");

/// The program, free of the developer's settings.
fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BERTH_") {
            command.env_remove(name);
        }
    }
    command
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR_FORCE")
        .arg("demo")
        .args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    demo(arguments).output().unwrap()
}

/// The journeys on stdout, one JSON object a line.
fn journeys(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A journey's conditions in short: `Applied=True`.
fn conditions(journey: &Value) -> Vec<String> {
    let conditions = journey["conditions"].as_array().unwrap();
    conditions
        .iter()
        .map(|one| format!("{}={}", one["type"].as_str().unwrap(), one["status"].as_str().unwrap()))
        .collect()
}

fn says<'a>(journey: &'a Value, kind: &str, what: &str) -> &'a str {
    let conditions = journey["conditions"].as_array().unwrap();
    let condition = conditions.iter().find(|one| one["type"] == kind);
    condition.unwrap_or_else(|| panic!("{kind} is missing: {journey}"))[what]
        .as_str()
        .unwrap()
}

/// The world that berth contains with one text exchanged, and little patience, as it will not be as it should be.
fn changed_world(folder: &Path, from: &str, to: &str) -> PathBuf {
    assert!(WORLD.contains(from), "the world says `{from}`");
    let world = WORLD.replacen(from, to, 1).replacen("patience: 20s", "patience: 4s", 1);
    assert!(world.contains("patience: 4s"));
    let file = folder.join("world.yaml");
    std::fs::write(&file, world).unwrap();
    file
}

/// Plays one journey in a changed world, where it must not be as it should be.
fn played_wrong(journey: &str, from: &str, to: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let world = changed_world(folder.path(), from, to);
    let output = run(&[
        "--output",
        "json",
        "--only",
        journey,
        "--world",
        world.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let mut journeys = journeys(&output);
    assert_eq!(journeys.len(), 1);
    let shown = journeys.remove(0);
    assert!(shown["problem"].is_string(), "{shown}");
    shown
}

#[test]
fn every_journey_is_as_it_should_be() {
    let output = run(&["--output", "json"]);
    let journeys = journeys(&output);
    assert_eq!(output.status.code(), Some(0), "{}{journeys:#?}", stderr(&output));

    let names: Vec<_> = journeys
        .iter()
        .map(|journey| journey["journey"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "A1",
            "A2",
            "A3",
            "A4",
            "A5",
            "A5-retry",
            "A6",
            "A6-after-success",
            "not-applicable",
            "nodepool",
            "chain",
            "deletion"
        ]
    );
    for journey in &journeys {
        let mut keys: Vec<_> = journey.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            ["adapter", "conditions", "duration_ms", "journey", "message", "subject"]
        );
        for condition in journey["conditions"].as_array().unwrap() {
            for key in ["type", "status", "reason", "message"] {
                assert!(condition[key].is_string(), "{key} of {condition}");
            }
        }
        assert!(journey["duration_ms"].as_u64().is_some());
    }
    let nodepool = &journeys[9];
    assert!(
        nodepool["subject"].as_str().unwrap().starts_with("NodePool/"),
        "{nodepool}"
    );
    assert_eq!(conditions(&journeys[10]).last().unwrap(), "Reconciled=True");
    let failed = says(&journeys[4], "Available", "message");
    assert!(failed.contains("permission denied on project demo"), "{failed}");
}

#[test]
fn nothing_is_warned_of_where_nothing_is_wrong() {
    let output = demo(&["--only", "A1", "--only", "A2"])
        .env("BERTH_LOG_LEVEL", "warn")
        .output()
        .unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
}

#[test]
fn text_has_no_escape_sequences_where_nobody_looks_on() {
    let output = run(&["--only", "A2"]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
    assert!(
        text.starts_with("✓ A2  the work is done\n    landing-zone on Cluster/"),
        "{text}"
    );
    assert!(text.ends_with("\n\nthe journey is as it should be\n"), "{text}");
    assert!(!text.contains('\x1b'), "{text:?}");
}

#[test]
fn another_exit_code_gives_another_journey() {
    let shown = played_wrong(
        "A2",
        "A2:\n    spec: {provider: gcp, region: europe-west1, jobAnnotations: {test/outcome: ok}}",
        "A2:\n    spec: {provider: gcp, region: europe-west1, jobAnnotations: {test/outcome: fail, test/exit-code: '11'}}",
    );
    assert_eq!(
        conditions(&shown)[..3],
        ["Applied=True", "Available=False", "Health=True"]
    );
    let ten = run(&["--output", "json", "--only", "A5"]);
    let ten = journeys(&ten).remove(0);
    // Ten and eleven mean different things to the landing zone.
    assert_ne!(says(&shown, "Available", "reason"), says(&ten, "Available", "reason"));
}

#[test]
fn another_provider_is_not_applicable() {
    let shown = played_wrong("A2", "A2:\n    spec: {provider: gcp,", "A2:\n    spec: {provider: aws,");
    assert_eq!(conditions(&shown)[..2], ["Applied=False", "Available=False"]);
}

#[test]
fn a_region_without_room_waits() {
    let shown = played_wrong("A2", "{europe-west1: 10,", "{europe-west1: 0,");
    assert_eq!(
        conditions(&shown)[..3],
        ["Applied=False", "Available=False", "Health=True"]
    );
    let message = says(&shown, "Available", "message");
    assert!(message.starts_with("Waiting for dependencies to be met: "), "{message}");
}

#[test]
fn a_plugin_that_traps_is_shown_and_fails_the_demo() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = berth_test_guests::component("traps-after-setup");
    std::fs::write(folder.path().join("trap.wasm"), plugin).unwrap();
    let world = changed_world(
        folder.path(),
        "# landingZone: ./my-plugin.wasm",
        "landingZone: ./trap.wasm",
    );
    let output = run(&["--output", "json", "--only", "A2", "--world", world.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let shown = journeys(&output).remove(0);
    assert_eq!(
        conditions(&shown)[..3],
        ["Applied=False", "Available=False", "Health=False"]
    );
    assert_eq!(says(&shown, "Health", "reason"), "PluginTrapped");
}

#[test]
fn a_world_that_is_none_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let world = changed_world(folder.path(), "regions:", "zones:");
    let output = run(&["--world", world.to_str().unwrap()]);
    let told = stderr(&output);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{told}");
    assert!(
        told.starts_with(&format!("error: {} does not describe a world\n", world.display())),
        "{told}"
    );
    assert!(told.contains("zones"), "{told}");
}
