#![allow(clippy::unwrap_used, reason = "a test may stop here")]

use std::fmt::Debug;

use berth_sdk::{
    AdapterStatus, Condition, Diagnosis, Draft, Effect, Facts, Failure, Object, Operation, OperationResult, Outcome,
    Owner, Phase, StatusReport, Subject, Trigger, Truth, Unmet, VaryBy, Verdict,
};
use serde_json::{Value as Json, json};

use crate::{
    compile::compile,
    facts::{ROOTS, ROOTS_WITH_DRAFT, ROOTS_WITH_OBJECTS},
    program::{Part, Program, Stores, vary},
};

/// What a phase says: the same from its stored form, and however much of the facts it reads.
fn said<S, T>(config: Json, roots: &[&str], phase: impl Fn(&Part<S>) -> T) -> T
where
    Part<S>: Stores + PartialEq + Debug,
    T: PartialEq + Debug,
{
    let program = compile(&config.to_string()).unwrap();
    let mut part: Part<S> = Program::part(&program.to_bytes().unwrap()).unwrap();
    assert_eq!(part, Part::of(program));
    let said = phase(&part);
    roots.iter().for_each(|root| part.reads.add([*root]));
    assert_eq!(phase(&part), said);
    said
}

fn facts() -> Facts {
    let available = |status| vec![Condition::new("Available", status, "PostconditionsMet", "done")];
    let status = |adapter: &str, observed_generation, status: bool| AdapterStatus {
        adapter: adapter.to_owned(),
        observed_generation,
        conditions: available(status),
        data: json!({"zone": "z1"}).into(),
    };
    Facts {
        adapter: "landing-zone".to_owned(),
        trigger: Trigger::Event(json!({"type": "cluster.updated"}).into()),
        subject: Subject {
            kind: "Cluster".to_owned(),
            id: "c-1".to_owned(),
            href: "/clusters/c-1".to_owned(),
            generation: 3,
            deleting: false,
            owner: Some(Owner {
                kind: "Org".to_owned(),
                id: "o-1".to_owned(),
                document: json!({"generation": 7, "name": "org"}).into(),
                statuses: vec![status("billing", 7, true)],
                ..Owner::default()
            }),
            document: json!({"id": "other", "spec": {"provider": "gcp", "replicas": 2, "zones": ["a", "b"]}}).into(),
        },
        statuses: vec![status("validation", 3, true), status("dns", 2, true)],
        variables: [("IMAGE".to_owned(), "quay.io/x:1".to_owned())].into(),
        now: "2026-03-07T15:04:05.000001Z".to_owned(),
        ..Facts::default()
    }
}

fn deleting() -> Facts {
    let mut facts = facts();
    facts.subject.deleting = true;
    facts
}

fn job(status: Json) -> Object {
    let document = json!({"metadata": {"name": "lz-c-1"}, "status": status}).into();
    Object {
        name: "job".to_owned(),
        generation: 3,
        document,
        diagnosis: None,
    }
}

fn failed_job() -> Object {
    let diagnosis = Diagnosis {
        reason: "WorkloadFailed".to_owned(),
        exit_code: Some(2),
        termination_message: Some("no quota".to_owned()),
        attempt: Some(3),
        ..Diagnosis::default()
    };
    Object {
        diagnosis: Some(diagnosis),
        ..job(json!({"failed": 1}))
    }
}

fn verdict(steps: Json) -> Result<Verdict, Failure> {
    said(json!({"preconditions": steps}), ROOTS, |part| {
        super::preconditions(part, &facts())
    })
}

#[test]
fn it_proceeds_when_every_precondition_is_true() {
    let steps = json!([
        {"name": "provider", "expression": "subject.spec.provider == 'gcp' && subject.id == 'c-1'"},
        {"name": "validated", "expression": "statuses.validation.available && !statuses.dns.available"},
        {"name": "owner", "expression": "owner.statuses.billing.available && owner.name == 'org'"},
        {"name": "rest", "expression": "event.type == 'cluster.updated' && variables.IMAGE.endsWith(':1') && adapter.name == 'landing-zone'"},
    ]);
    assert_eq!(verdict(steps), Ok(Verdict::Proceed));
    assert_eq!(verdict(json!([])), Ok(Verdict::Proceed));
}

#[test]
fn every_unmet_precondition_is_told_with_the_shortest_recheck() {
    let steps = json!([
        {"name": "size", "expression": "subject.spec.replicas > 2", "recheckAfterMs": 9000},
        {"name": "dns", "expression": "statuses.dns.available", "message": "dns is at generation {{ .statuses.dns.observed_generation }}", "recheckAfterMs": 5000},
        {"name": "met", "expression": "true", "recheckAfterMs": 1},
        {"name": "network", "expression": "statuses.network.available"},
    ]);
    let unmet = [
        ("size", "size: subject.spec.replicas > 2 is false"),
        ("dns", "dns is at generation 2"),
        ("network", "network: `statuses.network.available` does not exist yet"),
    ];
    let unmet = unmet
        .map(|(name, message)| Unmet {
            name: name.to_owned(),
            message: message.to_owned(),
        })
        .into();
    assert_eq!(
        verdict(steps),
        Ok(Verdict::Wait {
            unmet,
            recheck_after_ms: Some(5000)
        })
    );
}

#[test]
fn not_applicable_wins_over_waiting_and_over_failing() {
    let steps = json!([
        {"name": "broken", "expression": "subject.id > 1"},
        {"name": "size", "expression": "subject.spec.replicas > 2"},
        {"name": "provider", "expression": "subject.spec.provider == 'aws'", "otherwise": "NotApplicable", "message": "only AWS, not {{ .subject.spec.provider }}"},
    ]);
    assert_eq!(
        verdict(steps),
        Ok(Verdict::NotApplicable("only AWS, not gcp".to_owned()))
    );
}

#[test]
fn a_missing_field_decides_nothing() {
    let steps = json!([{"name": "tier", "expression": "subject.spec.tier == 'x'", "otherwise": "NotApplicable"}]);
    assert_eq!(
        verdict(steps),
        Ok(Verdict::wait("tier", "tier: `subject.spec.tier` does not exist yet"))
    );
}

#[test]
fn an_expression_that_cannot_be_evaluated_is_a_failure() {
    let steps = json!([{"name": "size", "expression": "subject.spec.replicas"}]);
    let message = "size: `subject.spec.replicas` cannot be evaluated: it gives the number 2, not true or false. \
                   Correct the expression.";
    assert_eq!(verdict(steps), Err(Failure::new("ExpressionFailed", message)));
}

#[test]
fn a_message_that_cannot_be_written_is_replaced() {
    let steps = json!([{"name": "size", "expression": "false", "message": "{{ .subject.gone }}"}]);
    let message = "size: false is false (its message cannot be written: `subject.gone` does not exist yet)";
    assert_eq!(verdict(steps), Ok(Verdict::wait("size", message)));
}

fn manifest(spec: Json) -> Json {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x-{{ .subject.id }}"}, "data": spec})
}

/// Every operation in short: name, document or reason, what it waits for.
fn plan(resources: Json, facts: &Facts, objects: &[Object]) -> Result<Vec<(String, Json, Vec<String>)>, Failure> {
    let operations = said(json!({"resources": resources}), ROOTS_WITH_OBJECTS, |part| {
        super::resources(part, facts, objects)
    })?;
    Ok(operations
        .into_iter()
        .map(|operation| match operation {
            Operation::Apply(manifest) => (manifest.name, manifest.document.read().unwrap(), manifest.after),
            Operation::Skip { name, reason } => (name, Json::String(reason), Vec::new()),
            Operation::Delete(_) | Operation::Discover(_) => (String::new(), Json::Null, Vec::new()),
        })
        .collect())
}

#[test]
fn texts_of_a_manifest_are_rendered_and_stay_texts() {
    let spec = json!({
        "text": "{{ .subject.generation }}",
        "injected": "{{ \"a\\nb: {}\" }}",
        "list": ["{{ .variables.IMAGE }}", 1, true, null, 1.5],
        "key-{{ .subject.id }}": {"typed": {"expression": "subject.spec.replicas + 1"}, "left": {"expression": "subject.spec.?tier"}},
        "zones": {"expression": "subject.spec.zones.map(z, {'zone': z})"},
    });
    let expected = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x-c-1"},
        "data": {
            "text": "3",
            "injected": "a\nb: {}",
            "list": ["quay.io/x:1", 1, true, null, 1.5],
            "key-c-1": {"typed": 3},
            "zones": [{"zone": "a"}, {"zone": "b"}],
        },
    });
    let resources = json!([{"name": "map", "manifest": manifest(spec)}]);
    assert_eq!(
        plan(resources, &facts(), &[]),
        Ok(vec![("map".to_owned(), expected, vec![])])
    );
}

#[test]
fn a_manifest_written_as_text_may_have_blocks() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .subject.id }}\ndata:\n{{- range $i, $z := .subject.spec.zones }}\n  zone{{ $i }}: {{ quote $z }}\n{{- end }}\n  on: yes\n";
    let expected = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c-1"},
        "data": {"zone0": "a", "zone1": "b", "on": "yes"},
    });
    let resources = json!([{"name": "map", "manifest": text}]);
    assert_eq!(
        plan(resources, &facts(), &[]),
        Ok(vec![("map".to_owned(), expected, vec![])])
    );
}

#[test]
fn what_is_not_wanted_is_skipped_and_not_waited_for() {
    let resources = json!([
        {"name": "a", "manifest": manifest(json!({})), "when": "subject.spec.replicas > 5"},
        {"name": "b", "manifest": manifest(json!({})), "when": "objects.job.status.ready"},
        {"name": "c", "manifest": manifest(json!({})), "after": ["a", "d"], "recreate": true},
        {"name": "d", "manifest": manifest(json!({})), "when": "has(subject.spec.provider)"},
    ]);
    let applied: Json = {
        let mut manifest = manifest(json!({}));
        manifest["metadata"]["name"] = json!("x-c-1");
        manifest
    };
    let expected = vec![
        ("a".to_owned(), json!("subject.spec.replicas > 5 is false"), vec![]),
        (
            "b".to_owned(),
            json!("`objects.job.status.ready` does not exist yet"),
            vec![],
        ),
        ("c".to_owned(), applied.clone(), vec!["d".to_owned()]),
        ("d".to_owned(), applied, vec![]),
    ];
    assert_eq!(plan(resources, &facts(), &[]), Ok(expected));
}

#[test]
fn each_part_of_life_has_its_objects() {
    let resources = json!([
        {"name": "life", "manifest": manifest(json!({}))},
        {"name": "deletion", "manifest": manifest(json!({})), "during": "Deletion"},
        {"name": "both", "manifest": manifest(json!({})), "during": "Both"},
        {"name": "unwanted", "manifest": manifest(json!({})), "during": "Both", "when": "false"},
    ]);
    let names = |facts: &Facts| {
        let plan = plan(resources.clone(), facts, &[]).unwrap();
        plan.into_iter().map(|(name, ..)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(&facts()), ["life", "both", "unwanted"]);
    assert_eq!(names(&deleting()), ["deletion", "both"]);
}

#[test]
fn a_manifest_that_cannot_be_made_is_told_with_its_place() {
    let failure = |manifest: Json| plan(json!([{"name": "map", "manifest": manifest}]), &facts(), &[]).unwrap_err();
    assert_eq!(
        failure(manifest(json!({"list": [{"x": "{{ .subject.gone }}"}]}))),
        Failure::new(
            "ManifestFailed",
            "map: manifest.data.list[0].x: `subject.gone` does not exist yet. Correct the manifest."
        )
    );
    let broken = failure(json!("a: {{ \"[\" }}"));
    assert_eq!(broken.reason, "ManifestFailed");
    assert!(
        broken
            .message
            .starts_with("map: manifest: this is not one YAML document"),
        "{}",
        broken.message
    );
}

fn outcome(steps: Json, objects: &[Object]) -> Result<Outcome, Failure> {
    said(json!({"postconditions": steps}), ROOTS_WITH_OBJECTS, |part| {
        super::postconditions(part, &facts(), objects)
    })
}

#[test]
fn work_is_done_when_every_postcondition_is_true() {
    let steps = json!([
        {"name": "done", "expression": "objects.job.status.succeeded > 0", "message": "the job runs"},
        {"name": "named", "expression": "objects.job.metadata.name == 'lz-c-1'"},
    ]);
    assert_eq!(
        outcome(steps.clone(), &[job(json!({"succeeded": 1}))]),
        Ok(Outcome::Achieved)
    );
    assert_eq!(
        outcome(steps.clone(), &[job(json!({"active": 1}))]),
        Ok(Outcome::pending("the job runs"))
    );
    let message = "the job runs; named: `objects.job.metadata.name` does not exist yet";
    assert_eq!(outcome(steps, &[]), Ok(Outcome::pending(message)));
}

#[test]
fn work_that_failed_is_told_with_its_reason() {
    let steps = json!([
        {"name": "broken", "expression": "subject.id > 1"},
        {"name": "done", "expression": "objects.job.status.succeeded > 0", "failed": {
            "expression": "objects.job.status.failed > 0 && objects.job.exitCode == 2 && objects.job.reason == 'WorkloadFailed'",
            "reason": "ValidationFailed",
            "message": "{{ .objects.job.termination }} (attempt {{ .objects.job.attempt }})",
        }},
    ]);
    let expected = Outcome::Failed(Failure::new("ValidationFailed", "no quota (attempt 3)"));
    assert_eq!(outcome(steps.clone(), &[failed_job()]), Ok(expected));
    assert_eq!(outcome(steps, &[]).unwrap_err().reason, "ExpressionFailed");
}

fn report(status: Json, objects: &[Object]) -> Result<Option<StatusReport>, Failure> {
    let draft = Draft {
        journey: "in-progress".to_owned(),
        conditions: vec![Condition::new("Applied", true, "ResourcesCreated", "")],
        operations: vec![OperationResult {
            name: "job".to_owned(),
            effect: Effect::Failed(Failure::new("QuotaExceeded", "no room")),
        }],
    };
    said(json!({"status": status}), ROOTS_WITH_DRAFT, |part| {
        super::status(part, &facts(), objects, &draft)
    })
}

#[test]
fn a_document_without_status_leaves_the_draft_as_it_is() {
    assert_eq!(report(json!({}), &[]), Ok(None));
}

#[test]
fn conditions_come_from_expressions() {
    let status = json!({"conditions": [
        {"type": "NetworkReady", "expression": "objects.job.status.ready", "reason": "{{ if .objects.job.status.ready }}Ready{{ else }}Down{{ end }}", "message": "{{ .draft.journey }}"},
        {"type": "QuotaFree", "expression": "draft.operations.job.reason != 'QuotaExceeded'"},
        {"type": "Known", "expression": "triState(false, false)"},
        {"type": "Later", "expression": "objects.other.status.ready", "reason": "Fine"},
    ]});
    let expected = vec![
        Condition::new("NetworkReady", true, "Ready", "in-progress"),
        Condition::new(
            "QuotaFree",
            false,
            "ExpressionFalse",
            "draft.operations.job.reason != 'QuotaExceeded' is false",
        ),
        Condition::new(
            "Known",
            Truth::Unknown,
            "ExpressionUnknown",
            "triState(false, false) is unknown",
        ),
        Condition::new(
            "Later",
            false,
            "Pending",
            "`objects.other.status.ready` does not exist yet",
        ),
    ];
    let report = report(status, &[job(json!({"ready": true}))]).unwrap().unwrap();
    assert_eq!(report.conditions, expected);
}

#[test]
fn data_leaves_out_what_does_not_exist() {
    let status = json!({"data": {
        "jobName": "{{ .objects.job.metadata.name }}",
        "ready": {"expression": "objects.job.status.ready"},
        "nested": {"gone": "{{ .objects.other.x }}", "zones": [{"expression": "subject.spec.zones.size()"}, "{{ .subject.gone }}"]},
        "gone": {"expression": "objects.other.x"},
    }});
    let report = report(status, &[job(json!({"ready": true}))]).unwrap().unwrap();
    let expected = json!({"jobName": "lz-c-1", "ready": true, "nested": {"zones": [2]}});
    assert_eq!(report.data.read::<Json>().unwrap(), expected);
}

#[test]
fn a_status_that_cannot_be_evaluated_is_a_failure() {
    for status in [
        json!({"conditions": [{"type": "X", "expression": "subject.id"}]}),
        json!({"conditions": [{"type": "X", "expression": "true", "reason": "{{ .subject.id }}"}]}),
        json!({"data": {"x": {"expression": "subject.id + 1"}}}),
    ] {
        assert_eq!(
            report(status.clone(), &[]).unwrap_err().reason,
            "ExpressionFailed",
            "{status}"
        );
    }
}

#[test]
fn own_objects_come_before_what_queries_found() {
    let found = Object {
        generation: 0,
        ..job(json!({"succeeded": 0}))
    };
    let steps = json!([{"name": "done", "expression": "objects.job.status.succeeded > 0"}]);
    assert_eq!(
        outcome(steps, &[job(json!({"succeeded": 1})), found]),
        Ok(Outcome::Achieved)
    );
}

#[test]
fn answers_vary_by_what_is_read() {
    let config = json!({
        "preconditions": [{"name": "a", "expression": "event.type == 'x'"}],
        "resources": [{"name": "b", "manifest": "{{ now }} {{ .statuses.dns.available }}"}],
        "postconditions": [{"name": "c", "expression": "conditionAge(subject.status.conditions, 'Ready') > 1"}],
        "status": {"data": {"d": "{{ .subject.spec.name }} {{ .owner.id }}"}},
    });
    let prepared = compile(&config.to_string()).unwrap().to_bytes().unwrap();
    let by = |named: &[&str]| VaryBy {
        trigger: named.contains(&"trigger"),
        subject_status: named.contains(&"subject status"),
        statuses: named.contains(&"statuses"),
        owner: named.contains(&"owner"),
        now: named.contains(&"now"),
        seed: false,
    };
    assert_eq!(vary(&prepared, Phase::Preconditions), by(&["trigger"]));
    assert_eq!(vary(&prepared, Phase::Resources), by(&["statuses", "now"]));
    assert_eq!(vary(&prepared, Phase::Postconditions), by(&["subject status", "now"]));
    assert_eq!(vary(&prepared, Phase::Status), by(&["owner"]));
    let all = by(&["trigger", "subject status", "statuses", "owner", "now"]);
    assert_eq!(vary(b"of another version", Phase::Status), all);
}
