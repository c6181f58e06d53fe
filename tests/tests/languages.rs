//! The landing zone in Python and in Go decides as the one in Rust does, on the same facts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics fails"
)]

use std::{sync::Arc, time::Duration};

use berth_engine::{
    adapter::{Grants, Limits},
    contract::{
        Achievement, Condition, Diagnosis, Draft, Facts, Nature, Object, Operation, Phase, Question, Said, Trigger,
        Truth, Verdict,
    },
    subject::{Subject, SubjectKey},
};
use berth_runtime::{CallContext, Plugin, hosts::NoHost};
use berth_tests::stage::{component, sandbox};
use serde_json::{Value, json};

/// A component with what a document would give it.
struct Partner {
    plugin: Arc<Plugin>,
    context: CallContext,
}

impl Partner {
    async fn load(name: &str) -> Self {
        let bytes = std::fs::read(component(name)).unwrap();
        let loading = tokio::task::spawn_blocking(move || sandbox().load(&bytes));
        let plugin = loading
            .await
            .unwrap()
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(plugin.phases(), Phase::ALL, "{name}");
        let limits = Limits {
            // A language with an interpreter needs more than compiled code does.
            fuel: 5_000_000_000,
            memory: 256 << 20,
            deadline: Duration::from_secs(60),
            ..Limits::default()
        };
        let config = json!({
            "provider": "gcp", "regions": ["europe-west1", "europe-west4"], "image": "registry.example.com/lz:1",
        })
        .to_string();
        let prepared = plugin
            .prepare(&config, &limits)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let context = CallContext {
            name: "lz".into(),
            adapter: "landing-zone".into(),
            namespace: "adapters".into(),
            config: config.into(),
            prepared: prepared.into(),
            variables: Arc::default(),
            limits,
            grants: Arc::new(Grants::default()),
            host: Arc::new(NoHost),
            one_instance: false,
            vary: None,
        };
        Self { plugin, context }
    }

    async fn ask(&self, question: Question) -> Said {
        let answered = self.plugin.call(&question, &self.context).await;
        answered
            .unwrap_or_else(|error| panic!("{:?}: {error:?}", question.phase()))
            .answer
            .said
    }
}

fn facts(spec: &Value) -> Facts {
    let document = json!({"kind": "Cluster", "id": "c-1", "generation": 3, "spec": spec});
    Facts {
        adapter: "landing-zone".to_owned(),
        trigger: Trigger::Timer,
        subject: Subject {
            key: SubjectKey {
                kind: "Cluster".to_owned(),
                id: "c-1".to_owned(),
            },
            href: "/api/hyperfleet/v1/clusters/c-1".to_owned(),
            generation: 3,
            deleting: false,
            owner: None,
            document: document.into(),
        },
        owner: None,
        statuses: Vec::new(),
        carry: Value::Null,
        now: "2026-01-01T00:00:00.000000Z".to_owned(),
    }
}

fn in_europe() -> Value {
    json!({
        "provider": "gcp", "region": "europe-west1", "networkCidr": "10.7.0.0/16",
        "jobAnnotations": {"team": "blue"},
    })
}

fn job(status: &Value, diagnosis: Option<(i32, &str)>) -> Vec<Object> {
    let diagnosis = diagnosis.map(|(exit_code, said)| Diagnosis {
        nature: Nature::Failure,
        reason: "WorkloadFailed".to_owned(),
        message: "a container failed".to_owned(),
        since: None,
        exit_code: Some(exit_code),
        termination_message: Some(said.to_owned()),
        attempt: None,
        attempts: None,
        exits: Vec::new(),
    });
    let document = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "lz-c-1"}, "status": status});
    vec![Object {
        name: "job".to_owned(),
        generation: 3,
        document: document.into(),
        diagnosis,
    }]
}

async fn decides_on_preconditions_as_in_rust(partner: &Partner, rust: &Partner) {
    let elsewhere = json!({"provider": "aws", "region": "eu-central-1"});
    let unserved = json!({"provider": "gcp", "region": "us-east1"});
    for spec in [in_europe(), elsewhere, unserved] {
        let question = Question::Preconditions {
            facts: facts(&spec).into(),
        };
        assert_eq!(partner.ask(question.clone()).await, rust.ask(question).await, "{spec}");
    }
    let question = Question::Preconditions {
        facts: facts(&in_europe()).into(),
    };
    assert_eq!(rust.ask(question).await, Said::Preconditions(Verdict::Proceed));
}

async fn plans_as_in_rust(partner: &Partner, rust: &Partner) {
    let plan = async |partner: &Partner, facts: Facts| match partner
        .ask(Question::Resources {
            facts: facts.into(),
            objects: Vec::new(),
        })
        .await
    {
        Said::Resources(mut plan) => {
            for operation in &mut plan.operations {
                let Operation::Apply(manifest) = operation else {
                    panic!("{operation:?}")
                };
                // The only difference: where a container without a message takes one from.
                let mut document = Value::clone(&manifest.document);
                if let Some(container) = document.pointer_mut("/spec/template/spec/containers/0") {
                    container.as_object_mut().unwrap().remove("terminationMessagePolicy");
                }
                manifest.document = document.into();
            }
            plan
        }
        said => panic!("{said:?}"),
    };
    let planned = plan(partner, facts(&in_europe())).await;
    assert_eq!(planned.operations.len(), 2);
    assert_eq!(planned, plan(rust, facts(&in_europe())).await);

    let mut deleting = facts(&in_europe());
    deleting.subject.deleting = true;
    let planned = plan(partner, deleting.clone()).await;
    assert!(planned.operations.is_empty());
    assert_eq!(planned, plan(rust, deleting).await);
}

async fn judges_as_in_rust(partner: &Partner, rust: &Partner) {
    let ended = |kind: &str| json!({"conditions": [{"type": kind, "status": "True", "message": "backoff limit"}]});
    let mut all = vec![
        job(&json!({}), None),
        job(&ended("Complete"), None),
        job(&ended("Failed"), None),
    ];
    all.extend([10, 11, 12].map(|code| job(&ended("Failed"), Some((code, "it says why")))));
    for objects in all {
        let question = Question::Postconditions {
            facts: facts(&in_europe()).into(),
            objects,
        };
        assert_eq!(
            partner.ask(question.clone()).await,
            rust.ask(question.clone()).await,
            "{question:?}"
        );
    }
    let question = Question::Postconditions {
        facts: facts(&in_europe()).into(),
        objects: job(&ended("Complete"), None),
    };
    assert_eq!(partner.ask(question).await, Said::Postconditions(Achievement::Achieved));
}

async fn reports_as_in_rust(partner: &Partner, rust: &Partner) {
    let report = async |partner: &Partner, journey: &str| {
        let draft = Draft {
            journey: journey.to_owned(),
            conditions: vec![Condition {
                kind: "Health".to_owned(),
                status: Truth::True,
                reason: "NoErrors".to_owned(),
                message: "Nothing unexpected happened".to_owned(),
            }],
            operations: Vec::new(),
        };
        let question = Question::Status {
            facts: facts(&in_europe()).into(),
            objects: Vec::new(),
            draft: draft.clone(),
        };
        let Said::Status(said) = partner.ask(question).await else {
            panic!("another phase")
        };
        let report = said.report.unwrap();
        assert_eq!(report.conditions[0], draft.conditions[0], "the draft is kept");
        let conditions: Vec<_> = report
            .conditions
            .into_iter()
            .map(|one| (one.kind, one.status, one.reason))
            .collect();
        (conditions, report.data["landingZone"].clone())
    };
    for journey in ["achieved", "in-progress", "waiting", "unreachable"] {
        assert_eq!(report(partner, journey).await, report(rust, journey).await, "{journey}");
    }
}

async fn is_as_in_rust(name: &str) {
    let rust = Partner::load("landing-zone").await;
    let partner = Partner::load(name).await;
    decides_on_preconditions_as_in_rust(&partner, &rust).await;
    plans_as_in_rust(&partner, &rust).await;
    judges_as_in_rust(&partner, &rust).await;
    reports_as_in_rust(&partner, &rust).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_landing_zone_in_python_answers_as_the_one_in_rust() {
    is_as_in_rust("landing-zone-python").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_landing_zone_in_go_answers_as_the_one_in_rust() {
    is_as_in_rust("landing-zone-go").await;
}
