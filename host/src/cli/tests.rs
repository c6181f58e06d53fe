#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use anyhow::anyhow;

use super::*;
use crate::config::{Problem, Problems};

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
    clap::Command::new("serve").augment::<ServeArgs>().debug_assert();
    clap::Command::new("demo").augment::<DemoArgs>().debug_assert();
}

/// Says `augment_args` where a type is passed.
trait Augment {
    fn augment<A: clap::Args>(self) -> Self;
}

impl Augment for clap::Command {
    fn augment<A: clap::Args>(self) -> Self {
        A::augment_args(self)
    }
}

fn plain(failure: &Failure) -> String {
    anstream::adapter::strip_str(&failure.render()).to_string()
}

#[test]
fn a_failure_is_told_once_with_its_causes_and_a_hint() {
    let error = anyhow!("connection refused").context("no answer from http://127.0.0.1:9090/retry");
    insta::assert_snapshot!(plain(&Failure::from(error).with_hint("start the host")), @r"
    error: no answer from http://127.0.0.1:9090/retry
      because: connection refused
      hint: start the host
    ");
}

#[test]
fn every_problem_of_a_configuration_is_told() {
    let problem = |path: &str, hint: Option<&str>| Problem {
        file: "berth.yaml".into(),
        line: 3,
        column: 7,
        path: path.to_owned(),
        message: "unknown key".to_owned(),
        hint: hint.map(str::to_owned),
        adapter: None,
    };
    let problems = Problems(vec![
        problem("cashe", Some("did you mean `cache`?")),
        problem("x", None),
    ]);
    let failure = Failure::from(problems);
    assert!(matches!(failure, Failure::Configuration(_)));
    insta::assert_snapshot!(plain(&failure), @r"
    error: berth.yaml:3:7: cashe: unknown key
      hint: did you mean `cache`?
    error: berth.yaml:3:7: x: unknown key
    ");
}

#[test]
fn a_subject_needs_a_kind_and_an_identifier() {
    let told = |subject: &str| {
        Cli::try_parse_from(["berth", "retry", subject, "--adapter", "dns"])
            .map(|_| ())
            .map_err(|error| error.kind())
    };
    assert_eq!(told("Cluster/c-1"), Ok(()));
    for wrong in ["Cluster", "Cluster/", "/c-1", "Cluster/c-1/x"] {
        assert_eq!(told(wrong), Err(clap::error::ErrorKind::ValueValidation));
    }
}
