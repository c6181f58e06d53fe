//! Many subjects, random faults of everything, virtual time: at the end all is as it should be.
//!
//! `BERTH_SEED=<number>` runs that seed, such as that of a run that failed, with as many
//! subjects as `BERTH_SUBJECTS` says.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test may fail by panicking"
)]

use std::time::{Duration, Instant};

use berth_tests::scenario::{Scenario, Summary};

fn run(scenario: Scenario) -> Summary {
    eprintln!("BERTH_SEED={} {scenario:?}", scenario.seed);
    let (begin, spent) = (Instant::now(), cpu());
    match scenario.run() {
        Ok(summary) => {
            // Told and not asserted: a busy machine has nothing to do with berth.
            eprintln!(
                "{summary}\n{:?} of the machine's time, {:?} of it on a core",
                begin.elapsed(),
                cpu().saturating_sub(spent)
            );
            summary
        }
        Err(error) => panic!("{error:#}"),
    }
}

/// What this thread has had of a core. One thread does everything.
fn cpu() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = told.split_whitespace().next();
    Duration::from_nanos(first.and_then(|one| one.parse().ok()).unwrap_or_default())
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

fn small(seed: u64, hosts: usize) -> Scenario {
    Scenario {
        seed,
        subjects: 60,
        hosts,
        trouble: Duration::from_mins(5),
    }
}

#[test]
fn a_thousand_subjects_end_right_whatever_goes_wrong() {
    let summary = run(Scenario {
        seed: variable("BERTH_SEED").unwrap_or(20_260_821),
        subjects: variable("BERTH_SUBJECTS").unwrap_or(1000),
        hosts: 1,
        trouble: Duration::from_mins(12),
    });
    // All that went wrong is over, looked at for five minutes, and deleted soon after the trouble.
    assert!(summary.took < Duration::from_mins(40), "{summary}");
    // A run in which nothing went wrong would prove nothing.
    for what in [
        "hosts killed",
        "HyperFleet down",
        "HyperFleet errors",
        "HyperFleet throttled",
        "HyperFleet slow",
        "HyperFleet answers lost",
        "HyperFleet reports swallowed",
        "Kubernetes down",
        "Kubernetes throttled",
        "answers of the cluster lost",
        "late lists",
        "objects deleted by hand",
        "partitions from HyperFleet",
        "partitions from Kubernetes",
        "achieved",
        "work-failed",
        "waiting",
        "not-applicable",
        "unreachable",
        "creation-failed",
        "finalized",
    ] {
        assert!(
            summary.counts.get(what).is_some_and(|count| *count > 0),
            "no {what} in {summary}"
        );
    }
}

#[test]
fn some_subjects_end_right_with_other_seeds_and_more_hosts() {
    // What nobody has seen yet is tried too; the seed is printed.
    let fresh = variable("BERTH_SEED").unwrap_or_else(rand::random);
    for (seed, hosts) in [(1, 1), (2, 2), (fresh, 3)] {
        run(small(seed, hosts));
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let summary = run(small(7, 2));
    assert_eq!(run(small(7, 2)), summary);
    assert_ne!(run(small(8, 2)).trace, summary.trace);
}
