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
    world::{Cluster, Identity},
};
use berth_engine::{
    adapter::Adapter,
    contract::{Propagation, Reference},
    effect::{Apply, ClusterCause, Delete, Deleted, Expect, KindScope, Ownership},
    manifest::{ANNOTATION_GENERATION, ANNOTATION_HREF, LABEL_ADAPTER, LABEL_SUBJECT_ID, LABEL_SUBJECT_KIND},
    subject::SubjectKey,
};
use berth_tests::{
    cluster_contract::Fixture,
    control_plane::{ControlPlane, Gate, NetworkPath, User, everything},
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

/// The labels and annotations of an object of adapter `lz` for cluster `id`.
fn ours(id: &str, api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {
        "name": name, "namespace": namespace,
        "labels": {LABEL_ADAPTER: "lz", LABEL_SUBJECT_KIND: "Cluster", LABEL_SUBJECT_ID: id},
        "annotations": {ANNOTATION_HREF: format!("/clusters/{id}"), ANNOTATION_GENERATION: "1"},
    }})
}

fn create(document: Value) -> Apply {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Apply {
        reference: Reference {
            api_version: text(&document["apiVersion"]).unwrap(),
            kind: text(&document["kind"]).unwrap(),
            namespace: text(&document["metadata"]["namespace"]),
            name: text(&document["metadata"]["name"]).unwrap(),
        },
        document,
        field_manager: "berth/lz".to_owned(),
        force: false,
        expect: Expect::Absent,
    }
}

fn owned(id: &str, api_version: &str, kind: &str, namespace: Option<&str>) -> Ownership {
    Ownership {
        adapter: "lz".to_owned(),
        subject: SubjectKey {
            kind: "Cluster".to_owned(),
            id: id.to_owned(),
        },
        kinds: vec![KindScope {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
        }],
    }
}

fn account(namespace: &str) -> Identity {
    Identity {
        namespace: namespace.to_owned(),
        service_account: "lz".to_owned(),
    }
}

/// Waits until `cluster` tells the outage, or that it is over; answers with how long that took.
async fn until_reachable(cluster: &Kubernetes, ownership: &Ownership, reachable: bool) -> Duration {
    let begin = Instant::now();
    loop {
        match cluster.observe(ownership).await {
            Ok(_) if reachable => return begin.elapsed(),
            Err(fault) if !reachable => {
                assert_eq!(fault.cause, ClusterCause::Unreachable, "{fault}");
                return begin.elapsed();
            }
            Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "gave up");
    }
}

#[tokio::test]
async fn a_stopped_api_server_is_told_within_five_seconds_and_its_return_too() {
    let plane = ControlPlane::start().await.unwrap();
    plane.namespace("outage").await.unwrap();
    plane.service_account("outage", "lz", everything()).await.unwrap();
    let settings = Settings {
        kubeconfig: Some(plane.kubeconfig(User::Berth)),
        ..Settings::default()
    };
    let cluster = Kubernetes::connect(settings).await.unwrap();
    let ownership = owned("c", "v1", "ConfigMap", Some("outage"));
    cluster.watch(&ownership.kinds).await;
    let one = create(ours("c", "v1", "ConfigMap", Some("outage"), "one"));
    let written = cluster.apply(&account("outage"), &one).await.unwrap();
    let mut changes = cluster.changes().unwrap();
    assert_eq!(changes.recv().await.unwrap().object, written.reference);

    plane.stop_api_server();
    let took = until_reachable(&cluster, &ownership, false).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(!cluster.reachable().await);

    while changes.try_recv().is_ok() {}
    plane.start_api_server().await.unwrap();
    until_reachable(&cluster, &ownership, true).await;
    assert_eq!(
        cluster.observe(&ownership).await.unwrap(),
        std::slice::from_ref(&written)
    );
    // All that may have been reported as unreachable is looked at again.
    assert_eq!(changes.recv().await.unwrap().object, written.reference);
}

#[tokio::test]
async fn a_network_partition_is_told_within_five_seconds() {
    let real = Real::new().await;
    real.plane.namespace("partition").await.unwrap();
    real.plane
        .service_account("partition", "lz", everything())
        .await
        .unwrap();
    let ownership = owned("c", "v1", "ConfigMap", Some("partition"));
    real.cluster.watch(&ownership.kinds).await;
    until_reachable(&real.cluster, &ownership, true).await;

    real.gate.set(NetworkPath::Silent);
    let one = create(ours("c", "v1", "ConfigMap", Some("partition"), "one"));
    let begin = Instant::now();
    let identity = account("partition");
    let (applied, told) = tokio::join!(
        real.cluster.apply(&identity, &one),
        until_reachable(&real.cluster, &ownership, false)
    );
    assert_eq!(applied.unwrap_err().cause, ClusterCause::Unreachable);
    assert!(told < Duration::from_secs(5), "{told:?}");
    assert!(begin.elapsed() < Duration::from_secs(7), "{:?}", begin.elapsed());

    real.gate.set(NetworkPath::Open);
    until_reachable(&real.cluster, &ownership, true).await;
}

#[tokio::test]
async fn custom_resources_are_applied_and_observed_in_their_scope() {
    let real = Real::new().await;
    let (plane, cluster) = (real.plane, &real.cluster);
    plane.namespace("custom").await.unwrap();
    plane.service_account("custom", "lz", everything()).await.unwrap();
    plane
        .grant(None, "custom-lz", everything(), ("custom", "lz"))
        .await
        .unwrap();
    let right = json!({"group": "example.com", "resource": "realms", "verb": "patch"});
    plane
        .wait_for_right("system:serviceaccount:custom:lz", &right)
        .await
        .unwrap();

    let namespaced = ours("c", "example.com/v1", "Tenant", Some("custom"), "one");
    let unknown = cluster
        .apply(&account("custom"), &create(namespaced.clone()))
        .await
        .unwrap_err();
    assert_eq!(unknown.cause, ClusterCause::UnknownKind);
    assert_eq!(unknown.message, "the API server knows no kind Tenant in example.com/v1");

    for (plural, kind, scope) in [("tenants", "Tenant", "Namespaced"), ("realms", "Realm", "Cluster")] {
        let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.example.com")},
            "spec": {"group": "example.com", "scope": scope, "names": {"plural": plural, "kind": kind},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
        });
        plane.create(definitions, &definition).await.unwrap();
        plane
            .wait_for(&format!("/apis/example.com/v1/{plural}"), |_| true)
            .await
            .unwrap();
    }

    let cluster_scoped = ours("c", "example.com/v1", "Realm", None, "one");
    for (document, namespace) in [(namespaced, Some("custom")), (cluster_scoped, None)] {
        // Discovery tells of a definition a moment after it is served.
        let applied = loop {
            match cluster.apply(&account("custom"), &create(document.clone())).await {
                Err(fault) if fault.cause == ClusterCause::UnknownKind => assert!(real.wait().await, "{fault}"),
                applied => break applied.unwrap(),
            }
        };
        let kind = document["kind"].as_str().unwrap();
        assert_eq!(
            cluster
                .observe(&owned("c", "example.com/v1", kind, namespace))
                .await
                .unwrap(),
            [applied]
        );
    }

    let misplaced = create(ours("c", "example.com/v1", "Realm", Some("custom"), "two"));
    let fault = cluster.apply(&account("custom"), &misplaced).await.unwrap_err();
    assert_eq!(fault.cause, ClusterCause::Invalid);
    assert_eq!(
        fault.message,
        "Realm custom/two is cluster-scoped and cannot be in a namespace"
    );
}

#[tokio::test]
async fn what_we_wrote_is_read_from_a_live_watch_at_once() {
    let real = Real::new().await;
    real.plane.namespace("at-once").await.unwrap();
    real.plane.service_account("at-once", "lz", everything()).await.unwrap();
    let ownership = owned("c", "v1", "Service", Some("at-once"));
    real.cluster.watch(&ownership.kinds).await;
    for round in 0..20 {
        let mut service = ours("c", "v1", "Service", Some("at-once"), "one");
        service["spec"] = json!({"clusterIP": "None", "ports": [{"port": 1000 + round}]});
        let written = real.cluster.apply(&account("at-once"), &create(service)).await.unwrap();
        assert_eq!(
            real.cluster.observe(&ownership).await.unwrap(),
            std::slice::from_ref(&written)
        );
        let delete = Delete {
            reference: written.reference,
            uid: written.uid,
            resource_version: written.resource_version,
            propagation: Propagation::Background,
        };
        assert_eq!(
            real.cluster.delete(&account("at-once"), &delete).await.unwrap(),
            Deleted::Begun
        );
        assert_eq!(real.cluster.observe(&ownership).await.unwrap(), []);
    }
}

#[tokio::test]
async fn refused_pods_are_told_although_no_object_of_ours_changes() {
    let real = Real::new().await;
    let namespace = "refused-pods";
    real.plane.namespace(namespace).await.unwrap();
    real.plane.service_account(namespace, "lz", everything()).await.unwrap();
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}},
    });
    let quotas = format!("/api/v1/namespaces/{namespace}/resourcequotas");
    real.plane.create(&quotas, &quota).await.unwrap();
    real.plane
        .wait_for(&format!("{quotas}/none"), |quota| {
            quota["status"]["hard"]["pods"] == "0"
        })
        .await
        .unwrap();
    let ownership = owned("c", "batch/v1", "Job", Some(namespace));
    let mut changes = real.cluster.changes().unwrap();
    real.cluster.watch(&ownership.kinds).await;
    let mut job = ours("c", "batch/v1", "Job", Some(namespace), "one");
    job["spec"] = json!({"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "main", "image": "main"}],
    }}});
    real.cluster.apply(&account(namespace), &create(job)).await.unwrap();
    let refused = loop {
        let seen = real.cluster.observe(&ownership).await.unwrap().remove(0);
        let is_told = seen.diagnosis.as_ref().is_some_and(|one| one.reason == "QuotaExceeded");
        if is_told && seen.document["status"]["startTime"].is_string() {
            break seen;
        }
        changes.recv().await.unwrap();
    };

    // The Job's own two changes, its creation and its start, are over: what is told now is told by Events.
    while changes.try_recv().is_ok() {}
    for _ in 0..3 {
        let change = tokio::time::timeout(Duration::from_secs(45), changes.recv()).await;
        assert_eq!(change.expect("nothing is told").unwrap().object, refused.reference);
    }
    let seen = real.cluster.observe(&ownership).await.unwrap().remove(0);
    assert_eq!(seen.resource_version, refused.resource_version);
}

#[tokio::test]
async fn without_room_for_documents_they_are_fetched() {
    let real = Real::with_budget(0).await;
    real.plane.namespace("no-room").await.unwrap();
    real.plane.service_account("no-room", "lz", everything()).await.unwrap();
    let ownership = owned("c", "v1", "Service", Some("no-room"));
    let mut changes = real.cluster.changes().unwrap();
    real.cluster.watch(&ownership.kinds).await;
    let mut service = ours("c", "v1", "Service", Some("no-room"), "one");
    service["spec"] = json!({"clusterIP": "None", "ports": [{"port": 80}]});
    let written = real.cluster.apply(&account("no-room"), &create(service)).await.unwrap();
    changes.recv().await.unwrap();
    assert_eq!(real.cluster.observe(&ownership).await.unwrap(), [written]);
}

#[tokio::test]
async fn a_service_account_has_the_rights_of_its_groups() {
    let real = Real::new().await;
    real.plane.namespace("groups").await.unwrap();
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/groups/rolebindings";
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "all"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:serviceaccounts:groups"}],
    });
    real.plane.create(roles, &binding).await.unwrap();
    let one = create(ours("c", "v1", "ConfigMap", Some("groups"), "one"));
    // The binding comes into force a moment after it was made.
    loop {
        match real.cluster.apply(&account("groups"), &one).await {
            Err(fault) if fault.cause == ClusterCause::Forbidden => assert!(real.wait().await, "{fault}"),
            applied => break drop(applied.unwrap()),
        }
    }
}

#[tokio::test]
async fn a_host_that_may_not_impersonate_is_forbidden() {
    let real = Real::new().await;
    // The service account of a pod may not impersonate by itself.
    let file = std::fs::read_to_string(real.gate.kubeconfig()).unwrap();
    let mut file: Value = serde_json::from_str(&file).unwrap();
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": null}});
    let tokens = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let token = real.plane.create(tokens, &request).await.unwrap();
    file["users"][0]["user"]["token"] = token["status"]["token"].clone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, file.to_string()).unwrap();
    let settings = Settings {
        kubeconfig: Some(path),
        ..Settings::default()
    };
    let powerless = Kubernetes::connect(settings).await.unwrap();
    let one = create(ours("c", "v1", "ConfigMap", Some("default"), "one"));
    let fault = powerless.apply(&account("default"), &one).await.unwrap_err();
    assert_eq!(fault.cause, ClusterCause::Forbidden);
    assert!(
        fault
            .message
            .contains("cannot impersonate resource \"serviceaccounts\""),
        "{fault}"
    );
}

#[tokio::test]
async fn trouble_is_announced_once_as_an_event() {
    let real = Real::new().await;
    real.plane.namespace("announce").await.unwrap();
    let adapter = Adapter {
        name: "lz".to_owned(),
        subjects: vec!["Cluster".to_owned()],
        events: Default::default(),
        depends_on: Vec::new(),
        namespace: "announce".to_owned(),
        service_account: "lz".to_owned(),
        permits: Vec::new(),
        plugins: Default::default(),
        phases: Default::default(),
        resources: Default::default(),
        cleanup: None,
        grace: Duration::ZERO,
        not_applicable: Default::default(),
    };
    let subject = SubjectKey {
        kind: "Cluster".to_owned(),
        id: "c".to_owned(),
    };
    for _ in 0..2 {
        real.cluster
            .announce(&adapter, &subject, "QuotaExceeded", "no room")
            .await;
    }
    let path = "/apis/events.k8s.io/v1/namespaces/announce/events?fieldSelector=reason%3DQuotaExceeded";
    let events = real.plane.get(path).await.unwrap().unwrap();
    let notes: Vec<_> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["note"])
        .collect();
    assert_eq!(notes, ["lz: Cluster/c: no room"]);
}

#[tokio::test]
async fn a_missing_kubeconfig_is_named() {
    let settings = Settings {
        kubeconfig: Some("/nowhere/kubeconfig".into()),
        ..Settings::default()
    };
    let error = Kubernetes::connect(settings).await.err().unwrap();
    assert_eq!(error.to_string(), "the kubeconfig /nowhere/kubeconfig cannot be used");
}
