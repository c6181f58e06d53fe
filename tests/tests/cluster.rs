//! The real Kubernetes keeps the contract, and does what no simulation shows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests: a panic fails them"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use berth::{
    cluster::{Kubernetes, Settings},
    simulate::cluster::Rule,
    world::Cluster,
};
use berth_engine::contract::Reference;
use berth_tests::{
    cluster_contract::Fixture,
    control_plane::{ControlPlane, Gate, NetworkPath, User},
};
use serde_json::{Value, json};

/// The shared control plane, through a network path of its own, as the user `berth`.
struct Real {
    plane: &'static ControlPlane,
    gate: Gate,
    cluster: Arc<Kubernetes>,
    begin: Instant,
}

impl Real {
    async fn new() -> Self {
        Self::with_budget(Settings::default().byte_budget).await
    }

    async fn with_budget(byte_budget: usize) -> Self {
        let plane = ControlPlane::shared().await;
        let gate = plane.gate(User::Berth).unwrap();
        let settings = Settings {
            kubeconfig: Some(gate.kubeconfig()),
            context: None,
            byte_budget,
        };
        let cluster = Kubernetes::connect(settings).await.unwrap();
        Self {
            plane,
            gate,
            cluster,
            begin: Instant::now(),
        }
    }
}

/// The path of the objects of a kind that the cases use.
fn collection(api_version: &str, kind: &str, namespace: &str) -> String {
    let plural = format!("{}s", kind.to_lowercase());
    let root = if api_version.contains('/') { "/apis" } else { "/api" };
    format!("{root}/{api_version}/namespaces/{namespace}/{plural}")
}

#[async_trait]
impl Fixture for Real {
    fn cluster(&self) -> Arc<dyn Cluster> {
        Arc::clone(&self.cluster) as Arc<dyn Cluster>
    }

    async fn create_namespace(&self, name: &str) {
        self.plane.namespace(name).await.unwrap();
    }

    async fn delete_namespace(&self, name: &str) {
        self.plane.delete(&format!("/api/v1/namespaces/{name}")).await.unwrap();
    }

    async fn grant(&self, namespace: &str, service_account: &str, rules: Vec<Rule>) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let plane = self.plane;
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": service_account}});
        let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        let exists = plane
            .get(&format!("/api/v1/namespaces/{namespace}"))
            .await
            .unwrap()
            .is_some()
            && plane
                .get(&format!("{accounts}/{service_account}"))
                .await
                .unwrap()
                .is_none();
        if exists {
            plane.create(&accounts, &account).await.unwrap();
        }
        for rule in &rules {
            let name = format!("{namespace}-{service_account}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
            let granted = json!([{"apiGroups": rule.groups, "resources": rule.resources, "verbs": rule.verbs}]);
            plane
                .grant(rule.namespace.as_deref(), &name, granted, (namespace, service_account))
                .await
                .unwrap();
        }
        for rule in &rules {
            plane
                .wait_for_right(
                    &format!("system:serviceaccount:{namespace}:{service_account}"),
                    &json!({
                        "namespace": rule.namespace, "group": rule.groups[0], "resource": rule.resources[0],
                        "verb": rule.verbs[0],
                    }),
                )
                .await
                .unwrap();
        }
    }

    async fn set_quota(&self, namespace: &str, hard: &[(&str, &str)]) {
        let hard: Value = hard
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(value)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let quotas = format!("/api/v1/namespaces/{namespace}/resourcequotas");
        let quota = json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"}, "spec": {"hard": hard},
        });
        self.plane.create(&quotas, &quota).await.unwrap();
        self.plane
            .wait_for(&format!("{quotas}/quota"), |quota| quota["status"]["hard"] == hard)
            .await
            .unwrap();
    }

    async fn delete_by_hand(&self, reference: &Reference) {
        let Reference {
            api_version,
            kind,
            namespace,
            name,
        } = reference;
        let collection = collection(api_version, kind, namespace.as_deref().unwrap());
        self.plane.delete(&format!("{collection}/{name}")).await.unwrap();
    }

    async fn create_as_other_manager(&self, manager: &str, object: Value) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let collection = collection(
            &text(&object["apiVersion"]),
            &text(&object["kind"]),
            &text(&object["metadata"]["namespace"]),
        );
        self.plane
            .create(&format!("{collection}?fieldManager={manager}"), &object)
            .await
            .unwrap();
    }

    async fn go_away(&self) {
        self.gate.set(NetworkPath::Refused);
    }

    async fn come_back(&self) {
        self.gate.set(NetworkPath::Open);
    }

    async fn wait(&self) -> bool {
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.begin.elapsed() < Duration::from_secs(90)
    }
}

berth_tests::cluster_contract_cases!(Real::new().await);
