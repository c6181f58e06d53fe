//! `berth reasons`: what `docs/reasons.md` consists of.

use berth_engine::reason::{Actor, Reason};

/// Every reason that berth itself reports, as Markdown.
pub(super) fn document() -> String {
    let mut text =
        "# Reasons\n\nEvery `reason` that berth sets on a condition. They are stable: alerts and tools may rely on \
        them. Plugins add reasons of their own.\n\n*Seen in* names the journeys of the [README](../README.md#what-a-user-sees). \
        While a subject is being deleted, what keeps the deletion from going on has the reason that it has in life.\n\nThis file is the output of `berth reasons`.\n\n\
        | Reason | Meaning | Seen in | Who acts | What to do |\n|---|---|---|---|---|\n"
            .to_owned();
    for reason in Reason::ALL {
        let remediation = reason.remediation();
        let remediation = if remediation.is_empty() {
            "Nothing."
        } else {
            remediation
        };
        let cases: Vec<&str> = reason.cases().iter().map(|case| case.name()).collect();
        let cases = if cases.is_empty() {
            "the log alone".to_owned()
        } else {
            cases.join(", ")
        };
        let cells =
            [reason.meaning().trim(), &cases, actor(reason.actor()), remediation].map(|cell| cell.replace('|', "\\|"));
        text.push_str(&format!("| `{}` | {} |\n", reason.name(), cells.join(" | ")));
    }
    text
}

fn actor(actor: Actor) -> &'static str {
    match actor {
        Actor::Nobody => "Nobody",
        Actor::User => "The cluster's owner",
        Actor::Partner => "The adapter's author",
        Actor::Platform => "The platform team",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::path::Path;

    /// Write it anew with `BERTH_UPDATE=1 cargo test -p berth --lib reasons`.
    #[test]
    fn the_written_reasons_are_those_of_the_code() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reasons.md");
        if std::env::var_os("BERTH_UPDATE").is_some() {
            std::fs::write(&file, super::document()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(file).unwrap(), super::document());
    }
}
