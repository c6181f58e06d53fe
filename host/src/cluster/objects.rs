//! What the documents of objects say: whose they are, what is kept of them, and which
//! workload a pod belongs to. Pure.

use berth_engine::{
    contract::Reference,
    diagnose::prune_pod,
    document::Document,
    effect::{Observed, Ownership},
    job::Job,
    manifest::{
        ANNOTATION_GENERATION, ANNOTATION_HASH, ANNOTATION_HREF, ANNOTATION_NAME, ANNOTATION_OWNER, LABEL_ADAPTER,
        LABEL_SUBJECT_ID, LABEL_SUBJECT_KIND,
    },
    subject::{OwnerRef, SubjectKey, SubjectRef},
};
use serde_json::{Value, json};

use super::{kinds::Kind, wire::reference};
use crate::world::Change;

/// An annotation that repeats a whole manifest, and so may hold secrets.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// By which a pod's workload and holder are found.
const POD_LABELS: [&str; 4] = [LABEL_ADAPTER, LABEL_SUBJECT_ID, LABEL_SUBJECT_KIND, TEMPLATE_HASH];
/// The label of a ReplicaSet's pods that the end of its name repeats.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Whose an object is, from its labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Holder {
    pub(super) adapter: String,
    pub(super) subject: SubjectKey,
}

impl Holder {
    /// Reads the labels; none if one is missing.
    pub(super) fn of(document: &Value) -> Option<Self> {
        let labels = &document["metadata"]["labels"];
        let label = |name: &str| labels[name].as_str().map(str::to_owned);
        Some(Self {
            adapter: label(LABEL_ADAPTER)?,
            subject: SubjectKey {
                kind: label(LABEL_SUBJECT_KIND)?,
                id: label(LABEL_SUBJECT_ID)?,
            },
        })
    }

    /// The label selector that finds its objects.
    pub(super) fn selector(&self) -> String {
        format!(
            "{LABEL_ADAPTER}={},{LABEL_SUBJECT_KIND}={},{LABEL_SUBJECT_ID}={}",
            self.adapter, self.subject.kind, self.subject.id
        )
    }
}

impl From<&Ownership> for Holder {
    fn from(ownership: &Ownership) -> Self {
        Self {
            adapter: ownership.adapter.clone(),
            subject: ownership.subject.clone(),
        }
    }
}

/// Whether berth applied it. What controllers derive from our objects (pods, replica sets,
/// endpoint slices) carries our labels too, but has a controller, which our manifests may not name.
pub(super) fn is_ours(document: &Value) -> bool {
    Holder::of(document).is_some() && controller(document).is_none()
}

/// The owner reference of the controller, if there is one.
fn controller(document: &Value) -> Option<&Value> {
    document["metadata"]["ownerReferences"]
        .as_array()?
        .iter()
        .find(|owner| owner["controller"] == true)
}

/// What is kept of a document: no managed fields; of what may hold secrets, metadata only; of a pod that somebody
/// controls, what tells how the workload is.
pub(super) fn prune(kind: &Kind, mut document: Value) -> Value {
    if kind.is_confidential() {
        document = metadata_only(document);
        let annotations = document.pointer_mut("/metadata/annotations");
        if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    if kind.is_pod() && controller(&document).is_some() {
        prune_pod(&mut document);
        if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("annotations");
            let labels = metadata.get_mut("labels").and_then(Value::as_object_mut);
            if let Some(labels) = labels {
                labels.retain(|label, _| POD_LABELS.contains(&label.as_str()));
            }
        }
    }
    with_kind(kind, document)
}

/// A document with its kind, which metadata and items of lists do not tell, and without managed fields.
pub(super) fn with_kind(kind: &Kind, mut document: Value) -> Value {
    if let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    if let Some(fields) = document.as_object_mut() {
        fields.insert("apiVersion".to_owned(), json!(kind.api_version));
        fields.insert("kind".to_owned(), json!(kind.kind));
    }
    document
}

/// Drops all but the metadata.
pub(super) fn metadata_only(mut document: Value) -> Value {
    let metadata = document.get_mut("metadata").map(Value::take);
    json!({"apiVersion": document["apiVersion"], "kind": document["kind"], "metadata": metadata})
}

/// An object as the engine sees it, without a diagnosis. `document` has been pruned.
pub(super) fn observed(document: Document) -> Observed {
    let metadata = &document.outline()["metadata"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let annotation = |name: &str| text(&metadata["annotations"][name]);
    Observed {
        reference: reference_of(document.outline()),
        name: annotation(ANNOTATION_NAME),
        generation: annotation(ANNOTATION_GENERATION).parse().unwrap_or_default(),
        manifest_hash: annotation(ANNOTATION_HASH),
        uid: text(&metadata["uid"]),
        resource_version: text(&metadata["resourceVersion"]),
        deleting: metadata["deletionTimestamp"].is_string(),
        statusless: false,
        diagnosis: None,
        document,
    }
}

/// Which object a document is.
pub(super) fn reference_of(document: &Value) -> Reference {
    let metadata = &document["metadata"];
    reference(
        document["apiVersion"].as_str().unwrap_or_default(),
        document["kind"].as_str().unwrap_or_default(),
        metadata["namespace"].as_str(),
        metadata["name"].as_str().unwrap_or_default(),
    )
}

/// The news that an object changed; none if it is not ours.
pub(super) fn change(document: &Value) -> Option<Change> {
    if !is_ours(document) {
        return None;
    }
    let holder = Holder::of(document)?;
    let annotation = |name: &str| document["metadata"]["annotations"][name].as_str();
    let owner = annotation(ANNOTATION_OWNER)
        .and_then(|text| serde_json::from_str(text).ok())
        .and_then(|owner| OwnerRef::from_document(&owner));
    Some(Change {
        adapter: holder.adapter,
        subject: SubjectRef {
            key: holder.subject,
            href: annotation(ANNOTATION_HREF).unwrap_or_default().to_owned(),
            generation: annotation(ANNOTATION_GENERATION)
                .and_then(|text| text.parse().ok())
                .unwrap_or_default(),
            owner,
        },
        object: reference_of(document),
    })
}

/// What a pod may belong to: an object, by kind and name and, where it is the pod's own
/// controller, uid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Workload {
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) uid: Option<String>,
}

impl Workload {
    /// Whether `document` is this workload.
    pub(super) fn is(&self, document: &Value) -> bool {
        document["kind"] == self.kind
            && document["metadata"]["name"] == self.name.as_str()
            && self.uid.as_deref().is_none_or(|uid| document["metadata"]["uid"] == uid)
    }
}

/// The workloads that a pod may belong to. A Deployment is found by its ReplicaSet's name
/// and the hash in it, a CronJob by its Job's name, so that neither needs a watch.
pub(super) fn workloads(pod: &Value) -> Vec<Workload> {
    let Some(owner) = controller(pod) else {
        return Vec::new();
    };
    let (Some(kind), Some(name)) = (owner["kind"].as_str(), owner["name"].as_str()) else {
        return Vec::new();
    };
    let own = |api_version, kind| Workload {
        api_version,
        kind,
        name: name.to_owned(),
        uid: owner["uid"].as_str().map(str::to_owned),
    };
    let beyond = |api_version, kind, name: &str| Workload {
        api_version,
        kind,
        name: name.to_owned(),
        uid: None,
    };
    match kind {
        "Job" => {
            let cron = name
                .rsplit_once('-')
                .filter(|(_, minute)| minute.bytes().all(|byte| byte.is_ascii_digit()));
            let cron = cron.map(|(cron, _)| beyond("batch/v1", "CronJob", cron));
            std::iter::once(own("batch/v1", "Job")).chain(cron).collect()
        }
        "ReplicaSet" => {
            let hash = pod["metadata"]["labels"][TEMPLATE_HASH].as_str();
            let deployment = hash.and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-'));
            let deployment = deployment.map(|name| beyond("apps/v1", "Deployment", name));
            std::iter::once(own("apps/v1", "ReplicaSet"))
                .chain(deployment)
                .collect()
        }
        "StatefulSet" => vec![own("apps/v1", "StatefulSet")],
        "DaemonSet" => vec![own("apps/v1", "DaemonSet")],
        _ => Vec::new(),
    }
}

/// When an object was created. RFC 3339 in UTC, as Kubernetes writes it, sorts by time.
pub(super) fn created(document: &Value) -> &str {
    document["metadata"]["creationTimestamp"].as_str().unwrap_or_default()
}

/// Whether objects of a kind have pods.
pub(super) fn has_pods(api_version: &str, kind: &str) -> bool {
    match api_version {
        "batch/v1" => matches!(kind, "Job" | "CronJob"),
        "apps/v1" => matches!(kind, "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet"),
        _ => false,
    }
}

/// Whether only events can say why a workload has fewer of its `pods` than it wants: its
/// conditions do not.
pub(super) fn needs_events(document: &Value, pods: usize) -> bool {
    let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
    let wanted = match document["kind"].as_str().unwrap_or_default() {
        "Job" => usize::from(!Job::of(document).is_over() && document["spec"]["suspend"] != true),
        "StatefulSet" | "ReplicaSet" => number(&document["spec"]["replicas"]).unwrap_or(1),
        "DaemonSet" => number(&document["status"]["desiredNumberScheduled"]).unwrap_or(1),
        _ => 0,
    };
    pods < wanted && document["metadata"]["deletionTimestamp"].is_null()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(owner_kind: &str, owner: &str) -> Value {
        json!({"kind": "Pod", "metadata": {
            "name": "p", "labels": {"pod-template-hash": "5d8f"},
            "ownerReferences": [{"kind": owner_kind, "name": owner, "uid": "u", "controller": true}],
        }})
    }

    #[test]
    fn a_pod_finds_its_workloads() {
        let names = |pod: &Value| -> Vec<String> {
            workloads(pod)
                .iter()
                .map(|one| format!("{} {} {:?}", one.kind, one.name, one.uid.as_deref()))
                .collect()
        };
        assert_eq!(names(&pod("Job", "lz")), [r#"Job lz Some("u")"#]);
        assert_eq!(
            names(&pod("Job", "nightly-29384")),
            [r#"Job nightly-29384 Some("u")"#, "CronJob nightly None"]
        );
        assert_eq!(
            names(&pod("ReplicaSet", "web-5d8f")),
            [r#"ReplicaSet web-5d8f Some("u")"#, "Deployment web None"]
        );
        assert_eq!(names(&pod("DaemonSet", "agent")), [r#"DaemonSet agent Some("u")"#]);
        assert_eq!(
            names(&json!({"kind": "Pod", "metadata": {"name": "alone"}})),
            Vec::<String>::new()
        );
    }

    #[test]
    fn events_are_read_where_pods_are_missing_and_no_condition_says_why() {
        let over = json!([{"type": "Failed", "status": "True"}]);
        let table = [
            (json!({"kind": "Job"}), [true, false]),
            (json!({"kind": "Job", "spec": {"suspend": true}}), [false, false]),
            (json!({"kind": "Job", "status": {"conditions": over}}), [false, false]),
            (json!({"kind": "StatefulSet", "spec": {"replicas": 2}}), [true, true]),
            (json!({"kind": "StatefulSet", "spec": {"replicas": 1}}), [true, false]),
            (json!({"kind": "StatefulSet", "spec": {"replicas": 0}}), [false, false]),
            (
                json!({"kind": "DaemonSet", "status": {"desiredNumberScheduled": 0}}),
                [false, false],
            ),
            (json!({"kind": "Deployment", "spec": {"replicas": 2}}), [false, false]),
            (
                json!({"kind": "Job", "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
                [false, false],
            ),
        ];
        for (document, expected) in table {
            assert_eq!([0, 1].map(|pods| needs_events(&document, pods)), expected, "{document}");
        }
    }

    #[test]
    fn a_change_names_the_subject_from_labels_and_annotations() {
        let document = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {
            "name": "j", "namespace": "n",
            "labels": {LABEL_ADAPTER: "lz", LABEL_SUBJECT_KIND: "NodePool", LABEL_SUBJECT_ID: "np-1"},
            "annotations": {
                ANNOTATION_HREF: "/x/np-1", ANNOTATION_GENERATION: "3",
                ANNOTATION_OWNER: r#"{"kind":"Cluster","id":"c-1","href":"/x/c-1"}"#,
            },
        }});
        assert_eq!(
            change(&document).unwrap(),
            Change {
                adapter: "lz".to_owned(),
                subject: SubjectRef {
                    key: SubjectKey {
                        kind: "NodePool".to_owned(),
                        id: "np-1".to_owned()
                    },
                    href: "/x/np-1".to_owned(),
                    generation: 3,
                    owner: Some(OwnerRef {
                        key: SubjectKey {
                            kind: "Cluster".to_owned(),
                            id: "c-1".to_owned()
                        },
                        href: "/x/c-1".to_owned(),
                    }),
                },
                object: reference("batch/v1", "Job", Some("n"), "j"),
            }
        );
    }

    #[test]
    fn what_a_controller_made_is_not_ours_although_labelled() {
        let mut derived = pod("Job", "j");
        derived["metadata"]["labels"] =
            json!({LABEL_ADAPTER: "lz", LABEL_SUBJECT_KIND: "Cluster", LABEL_SUBJECT_ID: "c-1"});
        assert!(!is_ours(&derived));
        derived["metadata"]["ownerReferences"] = Value::Null;
        assert!(is_ours(&derived));
    }

    fn of_kind(name: &str) -> Kind {
        Kind {
            api_version: "v1".to_owned(),
            kind: name.to_owned(),
            plural: format!("{}s", name.to_lowercase()),
            namespaced: true,
            has_status: true,
        }
    }

    #[test]
    fn of_a_secret_only_metadata_is_kept() {
        let document = json!({"metadata": {
            "name": "s", "managedFields": [1], "annotations": {LAST_APPLIED: "{\"data\":1}", "a": "b"},
        }, "data": {"token": "c2VjcmV0"}, "stringData": {"x": "y"}});
        assert_eq!(
            prune(&of_kind("Secret"), document),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "annotations": {"a": "b"}}})
        );
    }

    #[test]
    fn whatever_an_api_server_sends_can_be_pruned() {
        let odd = [
            json!(null),
            json!("text"),
            json!([1]),
            json!({}),
            json!({"metadata": "text"}),
            json!({"metadata": {"annotations": 1}, "spec": [0]}),
        ];
        for document in odd {
            for kind in ["Secret", "Pod", "Job"] {
                let pruned = prune(&of_kind(kind), document.clone());
                assert_eq!(pruned["metadata"]["managedFields"], json!(null), "{document}");
            }
        }
    }

    #[test]
    fn of_a_pod_that_somebody_controls_only_what_tells_of_its_workload_is_kept() {
        let controlled = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": "p", "ownerReferences": [{"kind": "Job", "name": "j", "uid": "u", "controller": true}],
            "labels": {LABEL_ADAPTER: "lz", "pod-template-hash": "1"},
        }, "status": {"phase": "Running"}});
        let ours = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": []}});
        let mut whole = controlled.clone();
        whole["spec"] = json!({"containers": []});
        whole["status"]["podIP"] = json!("10.0.0.1");
        whole["metadata"]["labels"]["app"] = json!("a");
        whole["metadata"]["annotations"] = json!({"a": "b"});
        assert_eq!(prune(&of_kind("Pod"), whole), controlled);
        assert_eq!(prune(&of_kind("Pod"), ours.clone()), ours);
    }
}
