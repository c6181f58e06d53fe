//! What the seed depends on.

use std::collections::HashSet;

use berth_engine::{
    contract::{AdapterStatus, Condition, Owner, Reference, Truth},
    subject::OwnerRef,
};
use serde_json::json;

use super::*;
use crate::{convert::to_guest, plugin::Digest};

fn all_facts() -> Facts {
    let status = AdapterStatus {
        adapter: "dns".to_owned(),
        observed_generation: 2,
        conditions: vec![Condition {
            kind: "Available".to_owned(),
            status: Truth::Unknown,
            reason: "A".to_owned(),
            message: "b".to_owned(),
        }],
        data: json!({"a": 1}),
        last_report_time: String::new(),
    };
    let owner = OwnerRef {
        key: SubjectKey {
            kind: "Org".to_owned(),
            id: "o-1".to_owned(),
        },
        href: "/o-1".to_owned(),
    };
    let mut facts = Facts {
        trigger: Trigger::Event(json!({"id": "e-1"}).into()),
        owner: Some(Owner {
            reference: owner.clone(),
            document: json!({"name": "org"}).into(),
            statuses: vec![status.clone()],
        }),
        statuses: vec![status],
        carry: json!({"step": 1}),
        ..facts()
    };
    facts.subject.owner = Some(owner);
    facts
}

#[test]
fn every_fact_and_the_plugin_change_the_seed_and_nothing_else_does() {
    let seed = |facts: &Facts, config: &str, plugin: &[u8]| {
        let context = CallContext {
            config: config.into(),
            ..context()
        };
        to_guest::facts(facts, &context, &Digest::of(plugin)).seed
    };
    let change = |change: fn(&mut Facts)| {
        let mut facts = all_facts();
        change(&mut facts);
        seed(&facts, "{}", b"plugin")
    };
    let first = change(|_| {});
    assert_eq!(change(|_| {}), first);
    let object = |namespace: Option<&str>, name: &str| {
        Trigger::Change(Reference {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    };
    let changed = |trigger| seed(&Facts { trigger, ..all_facts() }, "{}", b"plugin");
    let seeds = [
        first,
        seed(&all_facts(), "{}", b"other"),
        seed(&all_facts(), r#"{"a":1}"#, b"plugin"),
        change(|facts| facts.now = "2027".to_owned()),
        change(|facts| facts.adapter = "other".to_owned()),
        change(|facts| facts.carry = json!(2)),
        change(|facts| facts.trigger = Trigger::Timer),
        change(|facts| facts.trigger = Trigger::Event(json!({"id": "e-2"}).into())),
        changed(object(None, "p")),
        changed(object(Some("p"), "")),
        changed(object(Some(""), "p")),
        change(|facts| facts.subject.generation = 4),
        change(|facts| facts.subject.deleting = true),
        change(|facts| facts.subject.document = json!({"kind": "Cluster"}).into()),
        change(|facts| facts.owner = None),
        change(|facts| {
            facts.owner = None;
            facts.subject.owner = None;
        }),
        change(|facts| facts.statuses.clear()),
        change(|facts| facts.statuses[0].data = json!({"a": 2})),
        change(|facts| facts.statuses[0].conditions[0].status = Truth::True),
        change(|facts| facts.statuses[0].conditions[0].message.clear()),
        change(|facts| {
            facts
                .owner
                .iter_mut()
                .for_each(|owner| owner.document = json!({}).into())
        }),
    ];
    let distinct: HashSet<u64> = seeds.into_iter().collect();
    assert_eq!(distinct.len(), seeds.len(), "{seeds:?}");
}
