//! The conditions of a resource, from the reports about it.

use jiff::Timestamp;

use super::resource::{Aggregated, Resource, Row, Truth};

/// Recomputes the conditions of a resource.
pub(super) fn aggregate(resource: &mut Resource, required: &[String], has_children: bool, now: Timestamp) {
    // A kind that requires nothing is never reconciled, and says so only once somebody reports.
    if required.is_empty() && resource.rows.is_empty() {
        return;
    }
    let mut conditions = vec![
        reconciled(resource, required, has_children, now),
        last_known(resource, required, now),
    ];
    conditions.extend(
        required
            .iter()
            .filter_map(|adapter| successful(resource, resource.row(adapter)?, now)),
    );
    resource.conditions = conditions;
}

/// Whether everything that must be finalized is, so that the resource may vanish.
pub(super) fn finalized(resource: &Resource, required: &[String]) -> bool {
    required.iter().all(|adapter| {
        resource
            .row(adapter)
            .is_some_and(|row| row.generation == resource.generation && row.says("Finalized", Truth::True))
    })
}

fn reconciled(resource: &Resource, required: &[String], has_children: bool, now: Timestamp) -> Aggregated {
    let wanted = if resource.deleted.is_some() {
        "Finalized"
    } else {
        "Available"
    };
    let current = |adapter: &&String| {
        resource
            .row(adapter)
            .filter(|row| row.generation == resource.generation)
    };
    let (reporting, missing): (Vec<&String>, Vec<&String>) = required
        .iter()
        .partition(|adapter| current(adapter).is_some_and(|row| row.says(wanted, Truth::True)));
    let updated = required
        .iter()
        .filter_map(|adapter| current(&adapter).map(|row| row.reported))
        .min()
        .unwrap_or(resource.updated);
    let (status, reason, message) = if required.is_empty() || !missing.is_empty() {
        let message = format!(
            "Required adapters not reporting {wanted}=True: [{}]. Currently reporting: [{}]",
            join(&missing),
            join(&reporting)
        );
        (false, "ReconciledMissingAdapters", message)
    } else if resource.deleted.is_some() && has_children {
        (
            false,
            "ReconciledWaitingForChildren",
            "Waiting for children to be deleted".to_owned(),
        )
    } else {
        (
            true,
            "ReconciledAll",
            format!("All required adapters report {wanted}=True for the current generation"),
        )
    };
    condition(
        resource,
        "Reconciled",
        status,
        reason,
        message,
        resource.generation,
        updated,
        now,
    )
}

fn last_known(resource: &Resource, required: &[String], now: Timestamp) -> Aggregated {
    const KIND: &str = "LastKnownReconciled";
    let rows: Vec<&Row> = required.iter().filter_map(|adapter| resource.row(adapter)).collect();
    let complete = rows.len() == required.len() && !rows.is_empty();
    let common = rows
        .first()
        .map(|row| row.generation)
        .filter(|one| rows.iter().all(|row| row.generation == *one));
    let available = rows.iter().all(|row| row.says("Available", Truth::True));
    let updated = rows.iter().map(|row| row.reported).min().unwrap_or(resource.updated);
    let all = |generation| {
        let message = format!("All required adapters reported Available=True for generation {generation}");
        condition(
            resource,
            KIND,
            true,
            "AllAdaptersReconciled",
            message,
            generation,
            updated,
            now,
        )
    };
    let not = |reason: &str, message: &str, generation| {
        condition(
            resource,
            KIND,
            false,
            reason,
            message.to_owned(),
            generation,
            updated,
            now,
        )
    };
    if let Some(generation) = common.filter(|_| complete && available) {
        return all(generation);
    }
    if let Some(known) = resource.condition(KIND).filter(|known| known.status) {
        let lost = rows
            .iter()
            .any(|row| row.generation == known.generation && row.says("Available", Truth::False));
        return if lost {
            not(
                "AdapterReportedNotAvailable",
                "A required adapter reported Available=False",
                known.generation,
            )
        } else {
            known.clone()
        };
    }
    if !complete {
        not(
            "AdaptersMissingReports",
            "Not every required adapter has reported",
            resource.generation,
        )
    } else if common.is_none() {
        not(
            "AdaptersNotAtSameGeneration",
            "Required adapters reported on different generations",
            resource.generation,
        )
    } else {
        not(
            "AdapterReportedNotAvailable",
            "A required adapter reported Available=False",
            resource.generation,
        )
    }
}

fn successful(resource: &Resource, row: &Row, now: Timestamp) -> Option<Aggregated> {
    let available = row.condition("Available")?;
    let status = match available.status {
        Truth::True => true,
        Truth::False => false,
        Truth::Unknown => return None,
    };
    Some(condition(
        resource,
        &format!("{}Successful", pascal(&row.adapter)),
        status,
        available.reason.as_deref().unwrap_or_default(),
        available.message.clone().unwrap_or_default(),
        row.generation,
        row.reported,
        now,
    ))
}

#[expect(
    clippy::too_many_arguments,
    reason = "one for each field of the condition that is made"
)]
fn condition(
    resource: &Resource,
    kind: &str,
    status: bool,
    reason: &str,
    message: String,
    generation: u32,
    updated: Timestamp,
    now: Timestamp,
) -> Aggregated {
    let before = resource.condition(kind);
    Aggregated {
        kind: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message,
        generation,
        created: before.map_or(now, |before| before.created),
        updated,
        transition: before
            .filter(|before| before.status == status)
            .map_or(now, |before| before.transition),
    }
}

fn join(names: &[&String]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

/// `landing-zone` becomes `LandingZone`.
fn pascal(name: &str) -> String {
    name.split('-')
        .map(|word| {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| first.to_uppercase().chain(letters).collect::<String>())
                .unwrap_or_default()
        })
        .collect()
}
