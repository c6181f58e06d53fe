//! One case's corner of the cluster, and what the cases say often.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use berth::{
    simulate::cluster::Rule,
    world::{Change, Cluster, Identity},
};
use berth_engine::{
    contract::{Diagnosis, Nature, Propagation, Query, Reference, Selector},
    effect::{Apply, ClusterCause, ClusterFault, Delete, Deleted, Expect, KindScope, Observed, Ownership},
    manifest::{
        ANNOTATION_GENERATION, ANNOTATION_HASH, ANNOTATION_HREF, ANNOTATION_NAME, LABEL_ADAPTER, LABEL_SUBJECT_ID,
        LABEL_SUBJECT_KIND,
    },
    subject::{SubjectKey, SubjectRef},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Fixture;

pub(super) const ACCOUNT: &str = "adapter";

/// One case's corner of the cluster.
pub(super) struct Corner<'a> {
    pub(super) fixture: &'a dyn Fixture,
    pub(super) cluster: Arc<dyn Cluster>,
    pub(super) namespace: String,
    pub(super) adapter: String,
    pub(super) subject: SubjectRef,
}

impl<'a> Corner<'a> {
    /// A namespace with a service account that may do all that the cases do.
    pub(super) async fn new(fixture: &'a dyn Fixture) -> Corner<'a> {
        let corner = Self::bare(fixture);
        fixture.create_namespace(&corner.namespace).await;
        let rules = vec![
            Rule::all_of("", &["configmaps", "secrets"], &corner.namespace),
            Rule::all_of("batch", &["jobs"], &corner.namespace),
            Rule::all_of("apps", &["deployments"], &corner.namespace),
        ];
        fixture.grant(&corner.namespace, ACCOUNT, rules).await;
        corner
    }

    /// Names only: no namespace, no rights.
    pub(super) fn bare(fixture: &'a dyn Fixture) -> Corner<'a> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Corner {
            fixture,
            cluster: fixture.cluster(),
            namespace: format!("contract-{number}"),
            adapter: format!("adapter-{number}"),
            subject: SubjectRef {
                key: SubjectKey {
                    kind: "Cluster".to_owned(),
                    id: format!("c-{number}"),
                },
                href: format!("/api/hyperfleet/v1/clusters/c-{number}"),
                generation: 3,
                owner: None,
            },
        }
    }

    pub(super) fn identity(&self) -> Identity {
        Identity {
            namespace: self.namespace.clone(),
            service_account: ACCOUNT.to_owned(),
        }
    }

    pub(super) fn reference(&self, api_version: &str, kind: &str, name: &str) -> Reference {
        Reference {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: Some(self.namespace.clone()),
            name: name.to_owned(),
        }
    }

    /// A manifest with our labels and annotations.
    pub(super) fn ours(&self, api_version: &str, kind: &str, name: &str, body: &Value) -> Value {
        let mut manifest = body.clone();
        manifest["apiVersion"] = json!(api_version);
        manifest["kind"] = json!(kind);
        manifest["metadata"] = json!({
            "name": name, "namespace": self.namespace,
            "labels": {
                LABEL_ADAPTER: self.adapter, LABEL_SUBJECT_KIND: self.subject.key.kind,
                LABEL_SUBJECT_ID: self.subject.key.id,
            },
            "annotations": {
                ANNOTATION_HREF: self.subject.href, ANNOTATION_GENERATION: self.subject.generation.to_string(),
                ANNOTATION_HASH: "hash-1", ANNOTATION_NAME: format!("plan-{name}"),
            },
        });
        manifest
    }

    pub(super) fn config_map(&self, name: &str, data: &Value) -> Value {
        self.ours("v1", "ConfigMap", name, &json!({"data": data}))
    }

    /// A Job whose pods end as these annotations say.
    pub(super) fn job(&self, name: &str, annotations: &Value, spec: &Value) -> Value {
        let mut body = json!({"spec": spec});
        body["spec"]["template"] = json!({
            "metadata": {"annotations": annotations},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "registry.example.com/job:1"}]},
        });
        let mut job = self.ours("batch/v1", "Job", name, &body);
        // As the engine does it, so that one watch sees all pods.
        job["spec"]["template"]["metadata"]["labels"] = job["metadata"]["labels"].clone();
        job
    }

    pub(super) async fn apply_as(
        &self,
        identity: &Identity,
        document: Value,
        expect: Expect,
        force: bool,
    ) -> Result<Observed, ClusterFault> {
        let text = |field: &str| document[field].as_str().unwrap().to_owned();
        let apply = Apply {
            reference: self.reference(
                &text("apiVersion"),
                &text("kind"),
                document["metadata"]["name"].as_str().unwrap(),
            ),
            field_manager: format!("berth/{}", self.adapter),
            document,
            force,
            expect,
        };
        self.cluster.apply(identity, &apply).await
    }

    pub(super) async fn try_create(&self, document: Value) -> Result<Observed, ClusterFault> {
        self.apply_as(&self.identity(), document, Expect::Absent, false).await
    }

    pub(super) async fn create(&self, document: Value) -> Observed {
        self.try_create(document).await.expect("the object is created")
    }

    pub(super) async fn change(&self, of: &Observed, document: Value) -> Result<Observed, ClusterFault> {
        self.apply_as(&self.identity(), document, unchanged(of), false).await
    }

    pub(super) fn ownership(&self, api_version: &str, kind: &str) -> Ownership {
        Ownership {
            adapter: self.adapter.clone(),
            subject: self.subject.key.clone(),
            kinds: vec![self.scope(api_version, kind)],
        }
    }

    pub(super) fn scope(&self, api_version: &str, kind: &str) -> KindScope {
        KindScope {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: Some(self.namespace.clone()),
        }
    }

    pub(super) async fn observe(&self, api_version: &str, kind: &str) -> Vec<Observed> {
        self.cluster
            .observe(&self.ownership(api_version, kind))
            .await
            .expect("the cluster answers")
    }

    /// Waits until the observed objects of a kind satisfy a condition.
    pub(super) async fn until(
        &self,
        api_version: &str,
        kind: &str,
        what: &str,
        holds: impl Fn(&[Observed]) -> bool,
    ) -> Vec<Observed> {
        loop {
            match self.cluster.observe(&self.ownership(api_version, kind)).await {
                Ok(observed) if holds(&observed) => return observed,
                // A busy machine may keep an API server from answering for a while.
                Err(fault) if fault.cause != ClusterCause::Unreachable => panic!("until {what}: {fault}"),
                observed => assert!(
                    self.fixture.wait().await,
                    "gave up waiting until {what}; observed: {observed:#?}"
                ),
            }
        }
    }

    /// Waits until the only Job satisfies a condition.
    pub(super) async fn job_until(&self, what: &str, holds: impl Fn(&Observed) -> bool) -> Observed {
        let jobs = self
            .until("batch/v1", "Job", what, |jobs| jobs.first().is_some_and(&holds))
            .await;
        jobs.into_iter().next().unwrap()
    }

    pub(super) fn delete_of(&self, object: &Observed, propagation: Propagation) -> Delete {
        Delete {
            reference: object.reference.clone(),
            uid: object.uid.clone(),
            resource_version: object.resource_version.clone(),
            propagation,
        }
    }

    pub(super) async fn delete(&self, delete: &Delete) -> Result<Deleted, ClusterFault> {
        self.cluster.delete(&self.identity(), delete).await
    }

    /// Deletes what may change meanwhile: observes again as long as it is stale.
    pub(super) async fn delete_latest(&self, api_version: &str, kind: &str, propagation: Propagation) -> Deleted {
        loop {
            let Some(object) = self.observe(api_version, kind).await.into_iter().next() else {
                return Deleted::Absent;
            };
            match self.delete(&self.delete_of(&object, propagation)).await {
                Ok(deleted) => return deleted,
                Err(fault) => assert_eq!(fault.cause, ClusterCause::Stale, "{fault}"),
            }
            assert!(self.fixture.wait().await, "gave up deleting");
        }
    }

    /// Waits for a change about an object.
    pub(super) async fn told(&self, changes: &mut mpsc::Receiver<Change>, reference: &Reference) -> Change {
        loop {
            while let Ok(change) = changes.try_recv() {
                if change.object == *reference {
                    return change;
                }
            }
            assert!(self.fixture.wait().await, "gave up waiting for a change of {reference}");
        }
    }

    pub(super) fn expected_change(&self, object: &Reference) -> Change {
        Change {
            adapter: self.adapter.clone(),
            subject: self.subject.clone(),
            object: object.clone(),
        }
    }
}

pub(super) fn unchanged(of: &Observed) -> Expect {
    Expect::Unchanged {
        uid: of.uid.clone(),
        resource_version: of.resource_version.clone(),
    }
}

pub(super) fn cause<T: std::fmt::Debug>(result: Result<T, ClusterFault>) -> ClusterCause {
    result.expect_err("it is refused").cause
}

pub(super) fn condition(object: &Observed, kind: &str) -> Option<String> {
    let conditions = object.document["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == kind)?;
    found["status"].as_str().map(str::to_owned)
}

pub(super) fn holds(object: &Observed, kind: &str) -> bool {
    condition(object, kind).as_deref() == Some("True")
}

pub(super) fn diagnosed(object: &Observed, nature: Nature) -> Option<&Diagnosis> {
    object.diagnosis.as_ref().filter(|diagnosis| diagnosis.nature == nature)
}

impl Corner<'_> {
    pub(super) fn query(&self, selector: Selector) -> Query {
        Query {
            name: "hits".to_owned(),
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: Some(self.namespace.clone()),
            selector,
        }
    }

    /// The names of the config maps that are found, in order.
    pub(super) async fn found(&self, selector: Selector) -> Vec<String> {
        let objects = self
            .cluster
            .find(&self.identity(), &self.query(selector))
            .await
            .expect("the cluster answers");
        let mut names: Vec<String> = objects
            .iter()
            .map(|object| object["data"]["name"].as_str().expect("whole objects").to_owned())
            .collect();
        names.sort();
        names
    }

    /// The data of a config map.
    pub(super) async fn data(&self, name: &str) -> Value {
        let query = self.query(Selector::Name(name.to_owned()));
        let objects = self
            .cluster
            .find(&self.identity(), &query)
            .await
            .expect("the cluster answers");
        objects[0]["data"].clone()
    }
}

pub(super) fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}
