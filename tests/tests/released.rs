//! Components of every released contract version still run: those in `fixtures/` are never built again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests: a panic fails them")]

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use berth_engine::{
    adapter::{Grants, KindGrant, Limits},
    contract::{
        Achievement, Condition, Draft, Facts, Object, Operation, Phase, Question, Reference, Said, StatusReport,
        Trigger, Truth, Verdict,
    },
    subject::{Subject, SubjectKey},
};
use berth_runtime::{
    CallContext, Plugin, Runtime, Settings,
    hosts::{ClusterRefusal, FleetQuestion, FleetRefusal, HostCalls, HttpAnswer, HttpQuestion, HttpRefusal, Search},
};
use serde_json::{Value, json};

const CONFIG: &str = r#"{"provider": "gcp", "regions": ["europe-west1"], "image": "registry.example.com/lz:1",
    "quota": {"namespace": "adapters", "name": "quota"}}"#;

/// A cluster that holds the quota only.
struct QuotaOnly;

#[async_trait]
impl HostCalls for QuotaOnly {
    async fn fleet(&self, question: &FleetQuestion) -> Result<Value, FleetRefusal> {
        panic!("the plugin asks the HyperFleet API: {question:?}")
    }

    async fn cluster_get(&self, target: &Reference) -> Result<Value, ClusterRefusal> {
        assert_eq!((target.kind.as_str(), target.name.as_str()), ("ConfigMap", "quota"));
        Ok(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"europe-west1": "3"}}))
    }

    async fn cluster_find(&self, search: &Search) -> Result<Vec<Value>, ClusterRefusal> {
        panic!("the plugin searches: {search:?}")
    }

    async fn http(&self, question: &HttpQuestion) -> Result<HttpAnswer, HttpRefusal> {
        panic!("the plugin calls a server: {question:?}")
    }
}

fn facts() -> Facts {
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
            document: json!({
                "kind": "Cluster", "id": "c-1", "generation": 3,
                "spec": {"provider": "gcp", "region": "europe-west1"},
            })
            .into(),
        },
        owner: None,
        statuses: Vec::new(),
        carry: Value::Null,
        now: "2026-01-01T00:00:00.000000Z".to_owned(),
    }
}

/// As a document has them, but for a machine that may be busy.
fn limits() -> Limits {
    Limits {
        deadline: Duration::from_secs(60),
        ..Limits::default()
    }
}

async fn context(plugin: &Plugin) -> CallContext {
    let quota = KindGrant {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: Some("adapters".to_owned()),
        name: Some("quota".to_owned()),
    };
    CallContext {
        name: "lz".into(),
        adapter: "landing-zone".into(),
        namespace: "adapters".into(),
        config: CONFIG.into(),
        prepared: plugin.prepare(CONFIG, &limits()).await.unwrap().into(),
        variables: Arc::default(),
        limits: limits(),
        grants: Arc::new(Grants {
            cluster: vec![quota],
            ..Grants::default()
        }),
        host: Arc::new(QuotaOnly),
        one_instance: false,
        vary: None,
    }
}

#[tokio::test]
async fn a_component_of_contract_0_1_0_answers_every_phase() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/contract-0.1.0/landing-zone.wasm");
    let runtime = Runtime::new(&Settings::default()).unwrap();
    let plugin = runtime.load(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(plugin.phases(), Phase::ALL);
    assert!(plugin.has_setup());
    let refused = plugin.prepare(r#"{"provider": ""}"#, &limits()).await;
    assert!(refused.is_err(), "{refused:?}");

    let context = context(&plugin).await;
    let ask = async |question: Question| plugin.call(&question, &context).await.unwrap().answer.said;

    let said = ask(Question::Preconditions { facts: facts().into() }).await;
    assert_eq!(said, Said::Preconditions(Verdict::Proceed));

    let said = ask(Question::Resources {
        facts: facts().into(),
        objects: vec![],
    })
    .await;
    let Said::Resources(plan) = said else {
        panic!("{said:?}")
    };
    let names: Vec<_> = plan
        .operations
        .iter()
        .map(|operation| match operation {
            Operation::Apply(manifest) => (manifest.name.as_str(), manifest.document["metadata"]["name"].as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, [("parameters", Some("lz-c-1")), ("job", Some("lz-c-1"))]);

    let job = Object {
        name: "job".to_owned(),
        generation: 3,
        document: json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "lz-c-1"},
            "status": {"conditions": [{"type": "Complete", "status": "True"}]},
        })
        .into(),
        diagnosis: None,
    };
    let said = ask(Question::Postconditions {
        facts: facts().into(),
        objects: vec![job],
    })
    .await;
    assert_eq!(said, Said::Postconditions(Achievement::Achieved));

    let draft = Draft {
        journey: "achieved".to_owned(),
        conditions: vec![],
        operations: vec![],
    };
    let said = ask(Question::Status {
        facts: facts().into(),
        objects: vec![],
        draft,
    })
    .await;
    let Said::Status(answer) = said else { panic!("{said:?}") };
    let ready = Condition {
        kind: "NetworkReady".to_owned(),
        status: Truth::True,
        reason: "LandingZoneReady".to_owned(),
        message: "The network in europe-west1 is ready.".to_owned(),
    };
    let data = json!({"landingZone": "lz-c-1", "region": "europe-west1", "image": "registry.example.com/lz:1"});
    assert_eq!(
        answer.report,
        Some(StatusReport {
            conditions: vec![ready],
            data
        })
    );
}
