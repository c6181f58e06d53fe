//! Kinds that berth has no rule for: custom resources, cluster-scoped kinds.

use berth_tests::{
    control_plane::ControlPlane,
    stage::{Stage, a1, a2, a4, awaited, degraded, replaced},
};
use serde_json::{Value, json};

use crate::{
    documents::{adapter, one},
    hook::Hook,
};

/// A CustomResourceDefinition in a group of its own.
pub(crate) struct Definition {
    group: String,
    document: Value,
}

impl Definition {
    /// Of a namespaced kind without status, in the versions v1 and v1beta1.
    pub(crate) fn new(kind: &str) -> Self {
        let group = format!("g{}.example.com", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        let plural = format!("{}s", kind.to_lowercase());
        let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        let version =
            |name: &str, storage: bool| json!({"name": name, "served": true, "storage": storage, "schema": schema});
        let names = json!({"kind": kind, "plural": plural, "singular": kind.to_lowercase()});
        let document = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {
                "group": group, "scope": "Namespaced", "names": names,
                "versions": [version("v1", true), version("v1beta1", false)],
            },
        });
        Self { group, document }
    }

    /// With `status` as a resource of its own.
    pub(crate) fn with_status(mut self) -> Self {
        for version in self.document["spec"]["versions"].as_array_mut().unwrap() {
            version["subresources"] = json!({"status": {}});
        }
        self
    }

    /// Of a kind without namespace.
    fn cluster_scoped(mut self) -> Self {
        self.document["spec"]["scope"] = json!("Cluster");
        self
    }

    /// Whose versions are converted by a webhook.
    pub(crate) fn converted_by(mut self, hook: &Hook) -> Self {
        let webhook = json!({"clientConfig": hook.client_config(), "conversionReviewVersions": ["v1"]});
        self.document["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": webhook});
        self
    }

    /// Brings it into force on the shared control plane.
    pub(crate) async fn install(self) -> Self {
        let plane = ControlPlane::shared().await;
        let collection = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        plane.create(collection, &self.document).await.unwrap();
        let path = format!("{collection}/{}", self.document["metadata"]["name"].as_str().unwrap());
        let is_established = |definition: &Value| {
            let conditions = definition["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            conditions
                .iter()
                .any(|one| one["type"] == "Established" && one["status"] == "True")
        };
        plane.wait_for(&path, is_established).await.unwrap();
        self
    }

    pub(crate) fn api_version(&self, version: &str) -> String {
        format!("{}/{version}", self.group)
    }

    /// The path of a cluster's object; of a cluster-scoped kind without a stage.
    fn path(&self, stage: Option<&Stage>, cluster: &str) -> String {
        let namespace = stage.map_or_else(String::new, |stage| format!("namespaces/{}/", stage.namespace));
        let plural = self.document["spec"]["names"]["plural"].as_str().unwrap();
        let id = cluster.rsplit('/').next().unwrap();
        format!("/apis/{}/v1/{namespace}{plural}/work-{id}", self.group)
    }

    /// Says of a cluster's object whether it is ready, as its controller would.
    pub(crate) async fn is_ready(&self, stage: &Stage, cluster: &str, status: &str) {
        let path = self.path(Some(stage), cluster);
        let object = stage.plane.wait_for(&path, |_| true).await.unwrap();
        let condition = json!({
            "type": "Ready", "status": status, "reason": "Said", "message": "the disk is being attached",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let seen = json!({"observedGeneration": object["metadata"]["generation"], "conditions": [condition]});
        let patch = json!({"status": seen});
        stage.plane.patch(&format!("{path}/status"), &patch).await.unwrap();
    }
}

/// The adapter with one custom resource.
pub(crate) fn widget(api_version: &str, grace: &str) -> String {
    one(
        api_version,
        "Widget",
        &json!({"size": "{{ .subject.spec.size }}"}),
        grace,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_resource_with_a_status_is_done_while_it_is_ready_at_its_generation() {
    let definition = Definition::new("Widget").with_status().install().await;
    let stage = Stage::set(&[&widget(&definition.api_version("v1"), "2s")]).await;
    let cluster = stage.cluster(json!({"size": "small"})).await;
    stage.sees(&cluster, "work", &a1(1)).await;

    definition.is_ready(&stage, &cluster, "False").await;
    stage
        .sees(
            &cluster,
            "work",
            &a1(1).saying("is not ready: the disk is being attached"),
        )
        .await;
    definition.is_ready(&stage, &cluster, "True").await;
    stage.sees(&cluster, "work", &a2(1)).await;
    definition.is_ready(&stage, &cluster, "False").await;
    stage.sees(&cluster, "work", &degraded(1)).await;
    definition.is_ready(&stage, &cluster, "True").await;
    stage.sees(&cluster, "work", &a2(1)).await;

    // Its controller has not seen the new size yet.
    stage.change(&cluster, json!({"size": "large"})).await;
    stage.sees(&cluster, "work", &a1(2)).await;
    definition.is_ready(&stage, &cluster, "True").await;
    stage.sees(&cluster, "work", &a2(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_resource_without_a_status_is_done_when_it_exists() {
    let definition = Definition::new("Widget").install().await;
    let stage = Stage::set(&[&widget(&definition.api_version("v1"), "2s")]).await;
    let cluster = stage.cluster(json!({"size": "small"})).await;
    stage.sees(&cluster, "work", &a2(1)).await;
    let path = definition.path(Some(&stage), &cluster);
    let object = stage.plane.get(&path).await.unwrap().unwrap();
    assert_eq!(object["spec"]["size"], "small");

    stage.delete(&cluster).await;
    stage.is_gone(&cluster).await;
    assert_eq!(stage.plane.get(&path).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_is_not_installed_is_named_and_the_work_goes_on_once_it_is() {
    let definition = Definition::new("Widget");
    let stage = Stage::set(&[&widget(&definition.api_version("v1"), "2s")]).await;
    let cluster = stage.cluster(json!({"size": "small"})).await;
    let row = stage.sees(&cluster, "work", &a4(1, "UnknownKind", "Widget")).await;
    let to_do = "Install the custom resource definition.";
    assert!(row.of("Available", "message").ends_with(to_do), "{}", row.tell());

    definition.install().await;
    stage.sees(&cluster, "work", &a2(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_not_served_any_more_is_told_as_a_kind_that_is_missing() {
    let definition = Definition::new("Widget").install().await;
    let stage = Stage::set(&[&widget(&definition.api_version("v1beta1"), "2s")]).await;
    let cluster = stage.cluster(json!({"size": "small"})).await;
    stage.sees(&cluster, "work", &a2(1)).await;

    let name = definition.document["metadata"]["name"].as_str().unwrap();
    let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
    let mut versions = definition.document["spec"]["versions"].clone();
    versions[1]["served"] = json!(false);
    stage
        .plane
        .patch(&path, &json!({"spec": {"versions": versions}}))
        .await
        .unwrap();
    let group = format!("/apis/{}", definition.api_version("v1beta1"));
    awaited("the version to go", || async {
        stage.plane.get(&group).await.unwrap().is_none()
    })
    .await;
    stage.change(&cluster, json!({"size": "large"})).await;
    stage.sees(&cluster, "work", &a4(2, "UnknownKind", "")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_scoped_kinds_are_created_by_name_and_go_with_their_subject() {
    let definition = Definition::new("Zone").cluster_scoped().install().await;
    let name = "work-{{ .subject.id }}";
    let permit = |api_version: &str, kind: &str| json!({"apiVersion": api_version, "kind": kind, "name": name});
    let manifest =
        |api_version: &str, kind: &str| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    let rbac = "rbac.authorization.k8s.io/v1";
    let zones = definition.api_version("v1");
    let mut role = manifest(rbac, "ClusterRole");
    role["rules"] = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]);
    let inside = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "inside", "namespace": name}, "data": {"a": "b"},
    });
    let permits = json!([
        permit("v1", "Namespace"), permit(rbac, "ClusterRole"), permit(&zones, "Zone"),
        {"apiVersion": "v1", "kind": "ConfigMap", "namespace": name},
    ]);
    let resources = json!([
        {"name": "inside", "manifest": inside, "after": ["namespace"]},
        {"name": "role", "manifest": role},
        {"name": "zone", "manifest": manifest(&zones, "Zone")},
        {"name": "namespace", "manifest": manifest("v1", "Namespace")},
    ]);
    // What is looked at in all namespaces must be this adapter's alone.
    let own = format!("work-{}", uuid::Uuid::new_v4().simple());
    let document = adapter(&permits, &resources, "10m");
    let stage = Stage::set(&[&replaced(&document, "{name: work}", &format!("{{name: {own}}}"))]).await;
    stage.may_do_everything_everywhere("work").await;
    let cluster = stage.cluster(json!({})).await;
    stage.sees(&cluster, &own, &a2(1)).await;
    let name = format!("work-{}", cluster.rsplit('/').next().unwrap());
    let paths = [
        format!("/api/v1/namespaces/{name}/configmaps/inside"),
        format!("/api/v1/namespaces/{name}"),
        format!("/apis/{rbac}/clusterroles/{name}"),
        definition.path(None, &cluster),
    ];
    for path in &paths {
        assert!(stage.plane.get(path).await.unwrap().is_some(), "{path}");
    }

    stage.delete(&cluster).await;
    stage.is_gone(&cluster).await;
    for path in &paths {
        assert_eq!(stage.plane.get(path).await.unwrap(), None, "{path}");
    }
}
