//! The number that makes a guest's random choices repeatable.

use sha2::{Digest as _, Sha256};

use crate::{
    bindings::imported::types::{AdapterStatus, Facts, Reference, Trigger, Truth},
    canonical::write_string,
    plugin::Digest,
};

/// The first eight bytes, big-endian, of the SHA-256 of the canonical JSON of the facts
/// followed by the plugin's digest in hex.
pub(crate) fn seed(facts: &Facts, digest: &Digest) -> u64 {
    let hash = Sha256::new()
        .chain_update(json(facts))
        .chain_update(digest.as_str())
        .finalize();
    hash.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// All but what the runtime adds itself. Documents are canonical already.
fn json(facts: &Facts) -> String {
    let documents = facts.subject.document.len() + facts.config.len() + facts.carry.len();
    let mut out = String::with_capacity(documents + 2048);
    out.push_str("{\"adapter\":");
    write_string(&facts.adapter, &mut out);
    out.push_str(",\"carry\":");
    out.push_str(&facts.carry);
    out.push_str(",\"config\":");
    out.push_str(&facts.config);
    out.push_str(",\"now\":");
    write_string(&facts.now, &mut out);
    out.push_str(",\"statuses\":");
    statuses(&facts.statuses, &mut out);
    out.push_str(",\"subject\":{\"deleting\":");
    out.push_str(if facts.subject.deleting { "true" } else { "false" });
    out.push_str(",\"document\":");
    out.push_str(&facts.subject.document);
    out.push_str(",\"generation\":");
    out.push_str(&facts.subject.generation.to_string());
    text("href", &facts.subject.href, &mut out);
    text("id", &facts.subject.id, &mut out);
    text("kind", &facts.subject.kind, &mut out);
    if let Some(owner) = &facts.subject.owner {
        out.push_str(",\"owner\":{\"document\":");
        out.push_str(&owner.document);
        text("href", &owner.href, &mut out);
        text("id", &owner.id, &mut out);
        text("kind", &owner.kind, &mut out);
        out.push_str(",\"statuses\":");
        statuses(&owner.statuses, &mut out);
        out.push('}');
    }
    out.push_str("},\"trigger\":");
    match &facts.trigger {
        Trigger::Event(event) => {
            out.push_str("{\"event\":");
            out.push_str(event);
            out.push('}');
        }
        Trigger::Change(reference) => change(reference, &mut out),
        Trigger::Timer => out.push_str("\"timer\""),
    }
    out.push('}');
    out
}

fn text(key: &str, value: &str, out: &mut String) {
    out.push_str(",\"");
    out.push_str(key);
    out.push_str("\":");
    write_string(value, out);
}

fn change(reference: &Reference, out: &mut String) {
    out.push_str("{\"change\":{\"apiVersion\":");
    write_string(&reference.api_version, out);
    text("kind", &reference.kind, out);
    text("name", &reference.name, out);
    if let Some(namespace) = &reference.namespace {
        text("namespace", namespace, out);
    }
    out.push_str("}}");
}

fn statuses(list: &[AdapterStatus], out: &mut String) {
    out.push('[');
    for (index, status) in list.iter().enumerate() {
        out.push_str(if index > 0 { ",{\"adapter\":" } else { "{\"adapter\":" });
        write_string(&status.adapter, out);
        out.push_str(",\"conditions\":[");
        for (index, condition) in status.conditions.iter().enumerate() {
            out.push_str(if index > 0 { ",{\"message\":" } else { "{\"message\":" });
            write_string(&condition.message, out);
            text("reason", &condition.reason, out);
            let truth = match condition.status {
                Truth::True => "True",
                Truth::False => "False",
                Truth::Unknown => "Unknown",
            };
            text("status", truth, out);
            text("type", &condition.type_name, out);
            out.push('}');
        }
        out.push_str("],\"data\":");
        out.push_str(&status.data);
        out.push_str(",\"observed_generation\":");
        out.push_str(&status.observed_generation.to_string());
        out.push('}');
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::imported::types::{Condition, Owner, Subject};

    fn facts() -> Facts {
        let status = AdapterStatus {
            adapter: "dns".to_owned(),
            observed_generation: 2,
            conditions: vec![Condition {
                type_name: "Available".to_owned(),
                status: Truth::Unknown,
                reason: "A".to_owned(),
                message: "say \"b\"".to_owned(),
            }],
            data: r#"{"a":1}"#.to_owned(),
        };
        Facts {
            adapter: "lz".to_owned(),
            trigger: Trigger::Change(Reference {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                namespace: Some("n".to_owned()),
                name: "p".to_owned(),
            }),
            subject: Subject {
                kind: "NodePool".to_owned(),
                id: "n-1".to_owned(),
                href: "/n-1".to_owned(),
                generation: 3,
                deleting: false,
                owner: Some(Owner {
                    kind: "Cluster".to_owned(),
                    id: "c-1".to_owned(),
                    href: "/c-1".to_owned(),
                    document: "null".to_owned(),
                    statuses: vec![],
                }),
                document: r#"{"id":"n-1"}"#.to_owned(),
            },
            statuses: vec![status.clone(), status],
            config: "{}".to_owned(),
            prepared: vec![],
            carry: "null".to_owned(),
            variables: vec![],
            now: "2026-01-01T00:00:00.000000Z".to_owned(),
            seed: 0,
            extras: vec![],
        }
    }

    #[test]
    fn what_is_hashed_is_canonical_json() {
        let text = json(&facts());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!(crate::canonical::text(&value), text);
    }

    #[test]
    fn every_fact_and_the_plugin_change_the_seed() {
        let digest = Digest::of(b"plugin");
        let first = seed(&facts(), &digest);
        assert_eq!(first, seed(&facts(), &digest));
        assert_ne!(first, seed(&facts(), &Digest::of(b"other")));
        assert_ne!(
            first,
            seed(
                &Facts {
                    now: "2027".to_owned(),
                    ..facts()
                },
                &digest
            )
        );
        assert_ne!(
            first,
            seed(
                &Facts {
                    carry: "1".to_owned(),
                    ..facts()
                },
                &digest
            )
        );
        assert_ne!(
            first,
            seed(
                &Facts {
                    trigger: Trigger::Timer,
                    ..facts()
                },
                &digest
            )
        );
    }
}
