//! The rules under the table of journeys, for every journey.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::json;

use super::*;

/// A journey with its conditions' statuses in order, and those whose message is the journey's own text.
struct Row {
    journey: Journey,
    statuses: &'static str,
    told_on: &'static [&'static str],
}

/// Every journey with every flag. The match names every case, so that a new one is missed here.
fn table() -> Vec<Row> {
    let text = || "something happened".to_owned();
    let reason = || "QuotaExceeded".to_owned();
    let mut rows = vec![
        (
            Journey::InProgress {
                reason: reason(),
                message: text(),
            },
            "True False True",
            &["Available"][..],
        ),
        (Journey::Achieved { message: text() }, "True True True", &["Available"]),
        (
            Journey::Waiting {
                reason: reason(),
                specifics: text(),
            },
            "False False True",
            &["Applied", "Available"],
        ),
        (
            Journey::CreationFailed {
                reason: reason(),
                message: text(),
            },
            "False False False",
            &["Applied", "Available", "Health"],
        ),
        (
            Journey::WorkFailed {
                reason: reason(),
                message: text(),
            },
            "True False True",
            &["Available"],
        ),
        (
            Journey::Deleting { message: text() },
            "True False True False",
            &["Available", "Finalized"],
        ),
        (
            Journey::Finalized,
            "False False True True",
            &["Applied", "Available", "Finalized"],
        ),
    ];
    for (after_success, statuses, told_on) in [
        (false, "False False False", &["Applied", "Available", "Health"][..]),
        (true, "True True False", &["Health"]),
    ] {
        let reason = Reason::FleetApiUnreachable;
        rows.push((
            Journey::Unreachable {
                reason,
                message: text(),
                after_success,
            },
            statuses,
            told_on,
        ));
    }
    for (available, statuses) in [(false, "False False True"), (true, "False True True")] {
        let journey = Journey::NotApplicable { why: text(), available };
        rows.push((journey, statuses, &["Applied", "Available"]));
    }
    for (applied, after_success, statuses, told_on) in [
        (
            false,
            false,
            "False False False",
            &["Applied", "Available", "Health"][..],
        ),
        (true, false, "True False False", &["Available", "Health"]),
        (true, true, "True True False", &["Health"]),
        (false, true, "False True False", &["Applied", "Health"]),
    ] {
        let journey = Journey::PluginFailed {
            reason: reason(),
            message: text(),
            applied,
            after_success,
        };
        rows.push((journey, statuses, told_on));
    }
    for outage in [false, true] {
        let journey = Journey::DeletionFailed {
            reason: reason(),
            message: text(),
            outage,
        };
        rows.push((journey, "True False False False", &["Available", "Health", "Finalized"]));
    }
    let rows: Vec<Row> = rows
        .into_iter()
        .map(|(journey, statuses, told_on)| Row {
            journey,
            statuses,
            told_on,
        })
        .collect();
    let case = |journey: &Journey| match journey {
        Journey::InProgress { .. } => 0,
        Journey::Achieved { .. } => 1,
        Journey::Waiting { .. } => 2,
        Journey::CreationFailed { .. } => 3,
        Journey::WorkFailed { .. } => 4,
        Journey::Unreachable { .. } => 5,
        Journey::NotApplicable { .. } => 6,
        Journey::PluginFailed { .. } => 7,
        Journey::Deleting { .. } => 8,
        Journey::DeletionFailed { .. } => 9,
        Journey::Finalized => 10,
    };
    let cases: std::collections::BTreeSet<_> = rows.iter().map(|row| case(&row.journey)).collect();
    assert_eq!(cases, (0..=10).collect());
    rows
}

#[test]
fn every_journey_has_its_conditions_and_its_text_stands_where_the_table_says() {
    for row in table() {
        let conditions = row.journey.conditions();
        let kinds: Vec<&str> = conditions.iter().map(|one| one.kind.as_str()).collect();
        assert_eq!(kinds[..3], ["Applied", "Available", "Health"], "{:?}", row.journey);
        let statuses: Vec<String> = conditions.iter().map(|one| format!("{:?}", one.status)).collect();
        assert_eq!(statuses.join(" "), row.statuses, "{:?}", row.journey);
        let text = row.journey.message();
        let told_on: Vec<&str> = conditions
            .iter()
            .filter(|one| one.message == text)
            .map(|one| one.kind.as_str())
            .collect();
        assert_eq!(told_on, row.told_on, "{:?}", row.journey);
    }
}

#[test]
fn the_text_of_a_journey_begins_as_the_table_says() {
    for row in table() {
        let text = row.journey.message();
        let lead = match &row.journey {
            Journey::Waiting { .. } => "Waiting for dependencies to be met: something",
            Journey::CreationFailed { .. } => "Failed to create workload: something happened. Raise the quota",
            Journey::NotApplicable { .. } => "NotApplicable: something",
            Journey::Finalized => "All objects are gone",
            _ => "something",
        };
        assert!(text.starts_with(lead), "{text}");
    }
}

#[test]
fn every_condition_has_a_reason_and_a_message_even_where_nobody_gave_one() {
    let none = String::new;
    let silent = [
        Journey::InProgress {
            reason: none(),
            message: none(),
        },
        Journey::Achieved { message: none() },
        Journey::Waiting {
            reason: none(),
            specifics: none(),
        },
        Journey::CreationFailed {
            reason: none(),
            message: none(),
        },
        Journey::WorkFailed {
            reason: none(),
            message: none(),
        },
        Journey::PluginFailed {
            reason: none(),
            message: none(),
            applied: false,
            after_success: false,
        },
        Journey::Deleting { message: none() },
        Journey::DeletionFailed {
            reason: none(),
            message: none(),
            outage: false,
        },
    ];
    let told = table().into_iter().map(|row| row.journey).chain(silent.clone());
    for journey in told {
        for condition in journey.conditions() {
            assert!(
                condition.reason.starts_with(|letter: char| letter.is_ascii_uppercase()),
                "{journey:?}: {condition:?}"
            );
            assert!(!condition.message.trim().is_empty(), "{journey:?}: {condition:?}");
        }
    }
    assert_eq!(silent[0].message(), "The work is under way");
}

#[test]
fn only_what_the_platform_team_can_mend_is_trouble() {
    for row in table() {
        let unhealthy = row
            .journey
            .conditions()
            .iter()
            .any(|one| one.kind == "Health" && one.status == Truth::False);
        assert_eq!(row.journey.is_trouble(), unhealthy, "{:?}", row.journey);
    }
}

fn laid_over(data: Value) -> Result<Map<String, Value>, String> {
    let mut conditions = Journey::Finalized.conditions();
    let mut merged = Map::new();
    let report = StatusReport {
        conditions: Vec::new(),
        data,
    };
    merge(&mut conditions, &mut merged, report).map(|()| merged)
}

#[test]
fn data_is_taken_up_to_its_limit_and_refused_beyond() {
    let of_size = |size: usize| {
        let data = json!({ "k": "x".repeat(size - json!({ "k": "" }).to_string().len()) });
        assert_eq!(data.to_string().len(), size);
        data
    };
    assert_eq!(laid_over(of_size(DATA_LIMIT)).unwrap().len(), 1);
    assert_eq!(
        laid_over(of_size(DATA_LIMIT + 1)),
        Err("data has 65537 bytes, more than 65536".to_owned())
    );
}

#[test]
fn whoever_has_to_act_is_told_what_to_do_on_every_condition_that_tells_of_it() {
    let message = || "Something: it broke".to_owned();
    for reason in Reason::ALL.iter().copied().filter(|one| !one.remediation().is_empty()) {
        let name = || reason.name().to_owned();
        for journey in [
            Journey::CreationFailed {
                reason: name(),
                message: message(),
            },
            Journey::WorkFailed {
                reason: name(),
                message: message(),
            },
            Journey::Unreachable {
                reason,
                message: message(),
                after_success: true,
            },
            Journey::PluginFailed {
                reason: name(),
                message: message(),
                applied: false,
                after_success: false,
            },
        ] {
            let told = journey.conditions();
            let told: Vec<_> = told.iter().filter(|one| one.reason == reason.name()).collect();
            assert!(!told.is_empty(), "{journey:?}");
            for condition in told {
                let end = format!("Something: it broke. {}", reason.remediation());
                assert!(condition.message.ends_with(&end), "{condition:?}");
            }
        }
    }
}

#[test]
fn what_to_do_follows_a_whole_sentence_and_no_reason_of_an_adapter() {
    let advice = Reason::WorkloadFailed.remediation();
    for (message, whole) in [
        ("no quota.", "no quota."),
        ("no quota...\n", "no quota."),
        ("who are you?", "who are you?"),
    ] {
        assert_eq!(advised("WorkloadFailed", message), format!("{whole} {advice}"));
    }
    assert_eq!(advised("ValidationFailed", "no quota."), "no quota.");
    assert_eq!(advised("WorkloadInProgress", "it runs"), "it runs");
}
