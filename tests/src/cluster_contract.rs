//! What every [`Cluster`] does, real or simulated.
//!
//! Owns the cases; a [`Fixture`] brings the cluster. Each case works in a namespace of its own, so
//! that all of them can run on one real API server at the same time, and waits for conditions
//! only, never for a time. [`cases!`](crate::cluster_contract_cases) makes one test of each.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the cases are tests: their names are their documentation, and a panic fails them"
)]

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
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

/// A cluster under test, and an administrator's hands to arrange it. All methods panic where the
/// arrangement fails.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The cluster. Its receiver of changes has not been taken.
    fn cluster(&self) -> Arc<dyn Cluster>;

    /// Creates a namespace; afterwards pods can be created in it.
    async fn create_namespace(&self, name: &str);

    /// Begins a namespace's deletion.
    async fn delete_namespace(&self, name: &str);

    /// Creates a service account, where its namespace exists, and grants it these rights;
    /// afterwards they are in force.
    async fn grant(&self, namespace: &str, service_account: &str, rules: Vec<Rule>);

    /// Sets the ResourceQuota `quota`; afterwards it is in force.
    async fn set_quota(&self, namespace: &str, hard: &[(&str, &str)]);

    /// Deletes an object as `kubectl delete` does.
    async fn delete_by_hand(&self, reference: &Reference);

    /// Creates an object so that its fields are owned by this manager.
    async fn create_as_other_manager(&self, manager: &str, object: Value);

    /// The API server stops answering.
    async fn go_away(&self);

    /// The API server answers again.
    async fn come_back(&self);

    /// Lets time pass until something may have happened. False when nothing will happen any more,
    /// or when the case has taken too long: the caller gives up then.
    async fn wait(&self) -> bool;
}

/// One test of every case. `$fixture` is an expression that makes a fixture and may await;
/// `$test` is the attribute of a test.
#[macro_export]
macro_rules! cluster_contract_cases {
    ($fixture:expr) => {
        $crate::cluster_contract_cases! { $fixture =>
            an_applied_object_exists_with_our_labels_and_is_echoed
            creating_what_exists_is_stale
            changing_with_an_old_version_is_stale
            changing_what_is_gone_is_stale
            applying_the_same_again_changes_nothing
            a_missing_namespace_is_named
            a_terminating_namespace_takes_nothing_new
            an_identity_without_rights_is_refused
            the_host_itself_writes_nothing
            a_full_quota_refuses_the_object
            a_quota_that_refuses_pods_is_told_in_the_diagnosis
            a_foreign_field_is_a_conflict_that_names_its_manager
            force_takes_a_foreign_field_over
            a_field_that_we_drop_is_removed
            the_template_of_a_job_cannot_change
            an_invalid_manifest_is_refused
            an_unknown_kind_is_refused_and_has_no_objects
            a_job_that_succeeds_is_complete
            a_job_that_fails_tells_its_exit_code_and_message
            a_job_with_retries_left_is_under_way
            a_job_that_hangs_stays_under_way
            a_job_beyond_its_deadline_fails
            an_image_that_cannot_be_pulled_is_told_in_the_diagnosis
            a_deployment_becomes_available
            a_foreground_deletion_ends_and_then_nothing_is_there
            deleting_another_incarnation_is_stale
            deleting_an_older_version_is_stale
            a_removal_by_hand_is_told
            what_exists_when_a_watch_begins_is_told
            the_progress_of_a_job_is_told
            a_namespace_that_appears_is_told_once
            only_this_adapters_objects_of_this_subject_are_observed
            a_config_map_is_observed_without_its_data
            a_secret_is_observed_without_its_data
            objects_are_found_by_name_and_by_labels
            finding_needs_rights
            an_api_that_does_not_answer_is_unreachable_until_it_is_back
        }
    };
    ($fixture:expr => $($case:ident)+) => {
        $(
            #[tokio::test]
            async fn $case() {
                let fixture = $fixture;
                $crate::cluster_contract::$case(&fixture).await;
            }
        )+
    };
}

const ACCOUNT: &str = "adapter";

/// One case's corner of the cluster.
struct Corner<'a> {
    fixture: &'a dyn Fixture,
    cluster: Arc<dyn Cluster>,
    namespace: String,
    adapter: String,
    subject: SubjectRef,
}

impl<'a> Corner<'a> {
    /// A namespace with a service account that may do all that the cases do.
    async fn new(fixture: &'a dyn Fixture) -> Corner<'a> {
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
    fn bare(fixture: &'a dyn Fixture) -> Corner<'a> {
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

    fn identity(&self) -> Identity {
        Identity {
            namespace: self.namespace.clone(),
            service_account: Some(ACCOUNT.to_owned()),
        }
    }

    fn reference(&self, api_version: &str, kind: &str, name: &str) -> Reference {
        Reference {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: Some(self.namespace.clone()),
            name: name.to_owned(),
        }
    }

    /// A manifest with our labels and annotations.
    fn ours(&self, api_version: &str, kind: &str, name: &str, body: &Value) -> Value {
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

    fn config_map(&self, name: &str, data: &Value) -> Value {
        self.ours("v1", "ConfigMap", name, &json!({"data": data}))
    }

    /// A Job whose pods end as these annotations say.
    fn job(&self, name: &str, annotations: &Value, spec: &Value) -> Value {
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

    async fn apply_as(
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

    async fn try_create(&self, document: Value) -> Result<Observed, ClusterFault> {
        self.apply_as(&self.identity(), document, Expect::Absent, false).await
    }

    async fn create(&self, document: Value) -> Observed {
        self.try_create(document).await.expect("the object is created")
    }

    async fn change(&self, of: &Observed, document: Value) -> Result<Observed, ClusterFault> {
        self.apply_as(&self.identity(), document, unchanged(of), false).await
    }

    fn ownership(&self, api_version: &str, kind: &str) -> Ownership {
        Ownership {
            adapter: self.adapter.clone(),
            subject: self.subject.key.clone(),
            kinds: vec![self.scope(api_version, kind)],
        }
    }

    fn scope(&self, api_version: &str, kind: &str) -> KindScope {
        KindScope {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: Some(self.namespace.clone()),
        }
    }

    async fn observe(&self, api_version: &str, kind: &str) -> Vec<Observed> {
        self.cluster
            .observe(&self.ownership(api_version, kind))
            .await
            .expect("the cluster answers")
    }

    /// Waits until the observed objects of a kind satisfy a condition.
    async fn until(
        &self,
        api_version: &str,
        kind: &str,
        what: &str,
        holds: impl Fn(&[Observed]) -> bool,
    ) -> Vec<Observed> {
        loop {
            let observed = self.observe(api_version, kind).await;
            if holds(&observed) {
                return observed;
            }
            assert!(
                self.fixture.wait().await,
                "gave up waiting until {what}; observed: {observed:#?}"
            );
        }
    }

    /// Waits until the only Job satisfies a condition.
    async fn job_until(&self, what: &str, holds: impl Fn(&Observed) -> bool) -> Observed {
        let jobs = self
            .until("batch/v1", "Job", what, |jobs| jobs.first().is_some_and(&holds))
            .await;
        jobs.into_iter().next().unwrap()
    }

    fn delete_of(&self, object: &Observed, propagation: Propagation) -> Delete {
        Delete {
            reference: object.reference.clone(),
            uid: object.uid.clone(),
            resource_version: object.resource_version.clone(),
            propagation,
        }
    }

    async fn delete(&self, delete: &Delete) -> Result<Deleted, ClusterFault> {
        self.cluster.delete(&self.identity(), delete).await
    }

    /// Deletes what may change meanwhile: observes again as long as it is stale.
    async fn delete_latest(&self, api_version: &str, kind: &str, propagation: Propagation) -> Deleted {
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
    async fn told(&self, changes: &mut mpsc::Receiver<Change>, reference: &Reference) -> Change {
        loop {
            while let Ok(change) = changes.try_recv() {
                if change.object == *reference {
                    return change;
                }
            }
            assert!(self.fixture.wait().await, "gave up waiting for a change of {reference}");
        }
    }

    fn expected_change(&self, object: &Reference) -> Change {
        Change {
            adapter: self.adapter.clone(),
            subject: self.subject.clone(),
            object: object.clone(),
        }
    }
}

fn unchanged(of: &Observed) -> Expect {
    Expect::Unchanged {
        uid: of.uid.clone(),
        resource_version: of.resource_version.clone(),
    }
}

fn cause<T: std::fmt::Debug>(result: Result<T, ClusterFault>) -> ClusterCause {
    result.expect_err("it is refused").cause
}

fn condition(object: &Observed, kind: &str) -> Option<String> {
    let conditions = object.document["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == kind)?;
    found["status"].as_str().map(str::to_owned)
}

fn holds(object: &Observed, kind: &str) -> bool {
    condition(object, kind).as_deref() == Some("True")
}

fn diagnosed(object: &Observed, nature: Nature) -> Option<&Diagnosis> {
    object.diagnosis.as_ref().filter(|diagnosis| diagnosis.nature == nature)
}

pub async fn an_applied_object_exists_with_our_labels_and_is_echoed(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let echoed = corner.create(corner.config_map("one", &json!({"a": "1"}))).await;
    assert_eq!(
        (
            &echoed.reference,
            echoed.name.as_str(),
            echoed.generation,
            echoed.manifest_hash.as_str(),
            echoed.deleting
        ),
        (
            &corner.reference("v1", "ConfigMap", "one"),
            "plan-one",
            3,
            "hash-1",
            false
        )
    );
    assert!(
        !echoed.uid.is_empty() && !echoed.resource_version.is_empty(),
        "{echoed:?}"
    );
    assert_eq!(corner.observe("v1", "ConfigMap").await, [echoed]);
}

pub async fn creating_what_exists_is_stale(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    corner.create(corner.config_map("one", &json!({"a": "1"}))).await;
    let again = corner.try_create(corner.config_map("one", &json!({"a": "2"}))).await;
    assert_eq!(cause(again), ClusterCause::Stale);
}

pub async fn changing_with_an_old_version_is_stale(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let first = corner.create(corner.config_map("one", &json!({"a": "1"}))).await;
    let second = corner
        .change(&first, corner.config_map("one", &json!({"a": "2"})))
        .await
        .unwrap();
    assert_eq!(second.uid, first.uid);
    assert_ne!(second.resource_version, first.resource_version);
    let third = corner
        .change(&first, corner.config_map("one", &json!({"a": "3"})))
        .await;
    assert_eq!(cause(third), ClusterCause::Stale);
}

pub async fn changing_what_is_gone_is_stale(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let first = corner.create(corner.config_map("one", &json!({"a": "1"}))).await;
    fixture.delete_by_hand(&first.reference).await;
    corner.until("v1", "ConfigMap", "it is gone", <[_]>::is_empty).await;
    let changed = corner
        .change(&first, corner.config_map("one", &json!({"a": "2"})))
        .await;
    assert_eq!(cause(changed), ClusterCause::Stale);
}

pub async fn applying_the_same_again_changes_nothing(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let first = corner.create(corner.config_map("one", &json!({"a": "1"}))).await;
    let second = corner
        .change(&first, corner.config_map("one", &json!({"a": "1"})))
        .await
        .unwrap();
    assert_eq!(second, first);
}

pub async fn a_missing_namespace_is_named(fixture: &dyn Fixture) {
    let corner = Corner::bare(fixture);
    // The right must not come from the namespace that is missing.
    let rule = Rule::all_of("", &["configmaps"], "").everywhere();
    fixture.grant(&corner.namespace, ACCOUNT, vec![rule]).await;
    let created = corner.try_create(corner.config_map("one", &json!({}))).await;
    assert_eq!(
        cause(created),
        ClusterCause::NamespaceMissing {
            namespace: corner.namespace.clone()
        }
    );
}

pub async fn a_terminating_namespace_takes_nothing_new(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    // A finalizer that nobody removes keeps the namespace.
    let mut holder = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {}});
    holder["metadata"] = json!({"name": "holder", "namespace": corner.namespace, "finalizers": ["example.com/held"]});
    fixture.create_as_other_manager("kubectl", holder).await;
    let rule = Rule::all_of("", &["configmaps"], "").everywhere();
    fixture.grant(&corner.namespace, ACCOUNT, vec![rule]).await;
    fixture.delete_namespace(&corner.namespace).await;
    let created = corner.try_create(corner.config_map("one", &json!({}))).await;
    assert_eq!(
        cause(created),
        ClusterCause::NamespaceTerminating {
            namespace: corner.namespace.clone()
        }
    );
}

pub async fn an_identity_without_rights_is_refused(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let stranger = Identity {
        namespace: corner.namespace.clone(),
        service_account: Some("stranger".to_owned()),
    };
    let document = corner.config_map("one", &json!({}));
    let fault = corner
        .apply_as(&stranger, document, Expect::Absent, false)
        .await
        .unwrap_err();
    assert_eq!(fault.cause, ClusterCause::Forbidden);
    let user = format!("system:serviceaccount:{}:stranger", corner.namespace);
    assert!(fault.message.contains(&user), "{fault}");
    assert_eq!(corner.observe("v1", "ConfigMap").await, []);

    let ours = corner.create(corner.config_map("one", &json!({}))).await;
    let deleted = corner
        .cluster
        .delete(&stranger, &corner.delete_of(&ours, Propagation::Background))
        .await;
    assert_eq!(cause(deleted), ClusterCause::Forbidden);
}

pub async fn the_host_itself_writes_nothing(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let host = Identity {
        namespace: corner.namespace.clone(),
        service_account: None,
    };
    let created = corner
        .apply_as(&host, corner.config_map("one", &json!({})), Expect::Absent, false)
        .await;
    assert_eq!(cause(created), ClusterCause::Forbidden);
}

pub async fn a_full_quota_refuses_the_object(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    fixture.set_quota(&corner.namespace, &[("count/jobs.batch", "0")]).await;
    let fault = corner
        .try_create(corner.job("one", &json!({}), &json!({})))
        .await
        .unwrap_err();
    assert_eq!(fault.cause, ClusterCause::Quota);
    assert!(
        fault
            .message
            .contains("exceeded quota: quota, requested: count/jobs.batch=1"),
        "{fault}"
    );
}

pub async fn a_quota_that_refuses_pods_is_told_in_the_diagnosis(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    fixture.set_quota(&corner.namespace, &[("pods", "0")]).await;
    corner
        .create(corner.job("one", &json!({"test/outcome": "ok"}), &json!({})))
        .await;
    let job = corner
        .job_until("its pods are refused", |job| {
            diagnosed(job, Nature::Infrastructure).is_some()
        })
        .await;
    let diagnosis = job.diagnosis.unwrap();
    assert_eq!(diagnosis.reason, "QuotaExceeded", "{diagnosis:?}");
    assert!(diagnosis.message.contains("exceeded quota: quota"), "{diagnosis:?}");
}

pub async fn a_foreign_field_is_a_conflict_that_names_its_manager(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    fixture
        .create_as_other_manager("somebody", corner.config_map("one", &json!({"a": "theirs"})))
        .await;
    let existing = corner.observe("v1", "ConfigMap").await.remove(0);
    let changed = corner
        .change(&existing, corner.config_map("one", &json!({"a": "ours"})))
        .await;
    assert_eq!(
        cause(changed),
        ClusterCause::FieldConflict {
            manager: "somebody".to_owned()
        }
    );
    assert_eq!(corner.observe("v1", "ConfigMap").await, [existing]);
}

pub async fn force_takes_a_foreign_field_over(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    fixture
        .create_as_other_manager(
            "somebody",
            corner.config_map("one", &json!({"a": "theirs", "b": "theirs"})),
        )
        .await;
    let existing = corner.observe("v1", "ConfigMap").await.remove(0);
    let document = corner.config_map("one", &json!({"a": "ours"}));
    corner
        .apply_as(&corner.identity(), document, unchanged(&existing), true)
        .await
        .unwrap();
    assert_eq!(corner.data("one").await, json!({"a": "ours", "b": "theirs"}));
}

pub async fn a_field_that_we_drop_is_removed(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let first = corner
        .create(corner.config_map("one", &json!({"a": "1", "b": "2"})))
        .await;
    corner
        .change(&first, corner.config_map("one", &json!({"a": "1"})))
        .await
        .unwrap();
    assert_eq!(corner.data("one").await, json!({"a": "1"}));
}

pub async fn the_template_of_a_job_cannot_change(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    corner
        .create(corner.job("one", &json!({"test/outcome": "hang"}), &json!({})))
        .await;
    let changed = loop {
        let latest = corner.observe("batch/v1", "Job").await.remove(0);
        match corner
            .change(&latest, corner.job("one", &json!({"test/outcome": "ok"}), &json!({})))
            .await
        {
            // Its controller was faster.
            Err(fault) if fault.cause == ClusterCause::Stale => assert!(fixture.wait().await, "gave up"),
            changed => break changed,
        }
    };
    assert_eq!(cause(changed), ClusterCause::Immutable);
}

pub async fn an_invalid_manifest_is_refused(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let mut job = corner.job("one", &json!({}), &json!({}));
    job["spec"]["template"]["spec"]["restartPolicy"] = json!("Always");
    assert_eq!(cause(corner.try_create(job).await), ClusterCause::Invalid);
    let upper_case = corner.config_map("UPPER", &json!({}));
    assert_eq!(cause(corner.try_create(upper_case).await), ClusterCause::Invalid);
}

pub async fn an_unknown_kind_is_refused_and_has_no_objects(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let rule = Rule::all_of("example.com", &["*"], "").everywhere();
    fixture.grant(&corner.namespace, ACCOUNT, vec![rule]).await;
    let created = corner
        .try_create(corner.ours("example.com/v1", "Unheard", "one", &json!({})))
        .await;
    assert_eq!(cause(created), ClusterCause::UnknownKind);
    assert_eq!(corner.observe("example.com/v1", "Unheard").await, []);
}

pub async fn a_job_that_succeeds_is_complete(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    corner
        .create(corner.job("one", &json!({"test/outcome": "ok"}), &json!({})))
        .await;
    let job = corner
        .job_until("the Job is complete", |job| holds(job, "Complete"))
        .await;
    let status = &job.document["status"];
    assert_eq!(status["succeeded"], 1, "{status:#}");
    assert!(
        status["startTime"].is_string() && status["completionTime"].is_string(),
        "{status:#}"
    );
    assert_eq!(condition(&job, "Failed"), None);
}

pub async fn a_job_that_fails_tells_its_exit_code_and_message(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let ends = json!({"test/outcome": "fail", "test/exit-code": "3", "test/message": "no such project"});
    corner
        .create(corner.job("one", &ends, &json!({"backoffLimit": 1})))
        .await;
    let job = corner.job_until("the Job has failed", |job| holds(job, "Failed")).await;
    assert_eq!(job.document["status"]["failed"], 2, "{:#}", job.document["status"]);
    let diagnosis = diagnosed(&job, Nature::Failure).unwrap_or_else(|| panic!("{job:#?}"));
    assert_eq!(
        (diagnosis.exit_code, diagnosis.termination_message.as_deref()),
        (Some(3), Some("no such project"))
    );
}

pub async fn a_job_with_retries_left_is_under_way(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    corner
        .create(corner.job("one", &json!({"test/outcome": "fail"}), &json!({"backoffLimit": 4})))
        .await;
    let job = corner
        .job_until("a pod has failed", |job| job.document["status"]["failed"] == 1)
        .await;
    assert_eq!(condition(&job, "Failed"), None);
    let diagnosis = diagnosed(&job, Nature::Progress).unwrap_or_else(|| panic!("{job:#?}"));
    assert_eq!(diagnosis.attempts, Some(5));
}

pub async fn a_job_that_hangs_stays_under_way(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    corner
        .create(corner.job("one", &json!({"test/outcome": "hang"}), &json!({})))
        .await;
    let job = corner
        .job_until("its pod runs", |job| job.document["status"]["ready"] == 1)
        .await;
    assert_eq!(job.document["status"]["active"], 1);
    assert_eq!((condition(&job, "Complete"), condition(&job, "Failed")), (None, None));
    assert!(diagnosed(&job, Nature::Failure).is_none(), "{job:#?}");
}

pub async fn a_job_beyond_its_deadline_fails(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let spec = json!({"activeDeadlineSeconds": 2});
    corner
        .create(corner.job("one", &json!({"test/outcome": "hang"}), &spec))
        .await;
    let job = corner.job_until("the Job has failed", |job| holds(job, "Failed")).await;
    let diagnosis = diagnosed(&job, Nature::Failure).unwrap_or_else(|| panic!("{job:#?}"));
    assert_eq!(diagnosis.reason, "DeadlineExceeded");
}

pub async fn an_image_that_cannot_be_pulled_is_told_in_the_diagnosis(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    corner
        .create(corner.job("one", &json!({"test/outcome": "image-pull-backoff"}), &json!({})))
        .await;
    let told = |job: &Observed| diagnosed(job, Nature::Infrastructure).is_some();
    let job = corner.job_until("the image cannot be pulled", told).await;
    assert_eq!(job.diagnosis.unwrap().reason, "ImagePullFailed");
    assert_eq!(job.document["status"]["active"], 1);
}

pub async fn a_deployment_becomes_available(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let labels = json!({"app": "one"});
    let body = json!({"spec": {
        "replicas": 2, "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "main", "image": "registry.example.com/server:1"}]},
        },
    }});
    corner.create(corner.ours("apps/v1", "Deployment", "one", &body)).await;
    let available = |all: &[Observed]| all.iter().any(|deployment| holds(deployment, "Available"));
    let deployment = corner
        .until("apps/v1", "Deployment", "it is available", available)
        .await
        .remove(0);
    assert_eq!(
        deployment.document["status"]["observedGeneration"],
        deployment.document["metadata"]["generation"]
    );
}

pub async fn a_foreground_deletion_ends_and_then_nothing_is_there(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let job = corner
        .create(corner.job("one", &json!({"test/outcome": "hang"}), &json!({})))
        .await;
    corner
        .job_until("its pod runs", |job| job.document["status"]["ready"] == 1)
        .await;
    assert_eq!(
        corner.delete_latest("batch/v1", "Job", Propagation::Foreground).await,
        Deleted::Begun
    );
    corner.until("batch/v1", "Job", "it is gone", <[_]>::is_empty).await;
    assert_eq!(
        corner.delete(&corner.delete_of(&job, Propagation::Foreground)).await,
        Ok(Deleted::Absent)
    );
}

pub async fn deleting_another_incarnation_is_stale(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let first = corner.create(corner.config_map("one", &json!({}))).await;
    assert_eq!(
        corner.delete(&corner.delete_of(&first, Propagation::Background)).await,
        Ok(Deleted::Begun)
    );
    corner.until("v1", "ConfigMap", "it is gone", <[_]>::is_empty).await;
    let second = corner.create(corner.config_map("one", &json!({}))).await;
    assert_ne!(second.uid, first.uid);
    let delete = Delete {
        uid: first.uid,
        ..corner.delete_of(&second, Propagation::Background)
    };
    assert_eq!(cause(corner.delete(&delete).await), ClusterCause::Stale);
    assert_eq!(corner.observe("v1", "ConfigMap").await, [second]);
}

pub async fn deleting_an_older_version_is_stale(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let first = corner.create(corner.config_map("one", &json!({"a": "1"}))).await;
    corner
        .change(&first, corner.config_map("one", &json!({"a": "2"})))
        .await
        .unwrap();
    let deleted = corner.delete(&corner.delete_of(&first, Propagation::Background)).await;
    assert_eq!(cause(deleted), ClusterCause::Stale);
}

pub async fn a_removal_by_hand_is_told(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let mut changes = corner.cluster.changes().expect("the first call gets the receiver");
    corner.cluster.watch(&[corner.scope("v1", "ConfigMap")]).await;
    let object = corner.create(corner.config_map("one", &json!({}))).await;
    let told = corner.told(&mut changes, &object.reference).await;
    assert_eq!(told, corner.expected_change(&object.reference));
    fixture.delete_by_hand(&object.reference).await;
    corner.until("v1", "ConfigMap", "it is gone", <[_]>::is_empty).await;
    assert_eq!(
        corner.told(&mut changes, &object.reference).await,
        corner.expected_change(&object.reference)
    );
}

pub async fn what_exists_when_a_watch_begins_is_told(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let object = corner.create(corner.config_map("one", &json!({}))).await;
    let mut changes = corner.cluster.changes().expect("the first call gets the receiver");
    assert!(corner.cluster.changes().is_none());
    corner.cluster.watch(&[corner.scope("v1", "ConfigMap")]).await;
    assert_eq!(
        corner.told(&mut changes, &object.reference).await,
        corner.expected_change(&object.reference)
    );
}

pub async fn the_progress_of_a_job_is_told(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let mut changes = corner.cluster.changes().expect("the first call gets the receiver");
    corner.cluster.watch(&[corner.scope("batch/v1", "Job")]).await;
    let created = corner
        .create(corner.job("one", &json!({"test/outcome": "ok"}), &json!({})))
        .await;
    // As a driver does it: looks only when it was told.
    loop {
        corner.told(&mut changes, &created.reference).await;
        if corner
            .observe("batch/v1", "Job")
            .await
            .iter()
            .any(|job| holds(job, "Complete"))
        {
            break;
        }
    }
}

pub async fn a_namespace_that_appears_is_told_once(fixture: &dyn Fixture) {
    let corner = Corner::bare(fixture);
    let mut changes = corner.cluster.changes().expect("the first call gets the receiver");
    corner
        .cluster
        .await_namespace(&corner.namespace, &corner.adapter, &corner.subject)
        .await;
    fixture.create_namespace(&corner.namespace).await;
    let namespace = Reference {
        api_version: "v1".to_owned(),
        kind: "Namespace".to_owned(),
        namespace: None,
        name: corner.namespace.clone(),
    };
    assert_eq!(
        corner.told(&mut changes, &namespace).await,
        corner.expected_change(&namespace)
    );

    // Whatever is told of the namespace again would come before what is told of a later object.
    corner.cluster.watch(&[corner.scope("v1", "ConfigMap")]).await;
    fixture
        .create_as_other_manager("kubectl", corner.config_map("one", &json!({})))
        .await;
    let config_map = corner.reference("v1", "ConfigMap", "one");
    loop {
        match changes.try_recv() {
            Ok(change) if change.object == config_map => break,
            Ok(change) => assert_ne!(change.object, namespace),
            Err(_) => assert!(fixture.wait().await, "gave up waiting for a change of {config_map}"),
        }
    }
}

pub async fn only_this_adapters_objects_of_this_subject_are_observed(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let ours = corner.create(corner.config_map("ours", &json!({}))).await;
    for (label, name) in [
        (LABEL_ADAPTER, "another-adapters"),
        (LABEL_SUBJECT_ID, "another-subjects"),
    ] {
        let mut theirs = corner.config_map(name, &json!({}));
        theirs["metadata"]["labels"][label] = json!("another");
        corner.create(theirs).await;
    }
    let mut unlabelled = corner.config_map("nobodys", &json!({}));
    unlabelled["metadata"]["labels"] = json!({});
    fixture.create_as_other_manager("kubectl", unlabelled).await;
    assert_eq!(corner.observe("v1", "ConfigMap").await, [ours]);
}

pub async fn a_config_map_is_observed_without_its_data(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    corner.create(corner.config_map("one", &json!({"a": "1"}))).await;
    let observed = corner.observe("v1", "ConfigMap").await.remove(0);
    assert_eq!(keys(&observed.document), ["apiVersion", "kind", "metadata"]);
    assert_eq!(observed.document["metadata"].get("managedFields"), None);
}

pub async fn a_secret_is_observed_without_its_data(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let body = json!({"data": {"token": "c2VjcmV0"}});
    let created = corner.create(corner.ours("v1", "Secret", "one", &body)).await;
    assert!(!format!("{created:?}").contains("c2VjcmV0"));
    let observed = corner.observe("v1", "Secret").await.remove(0);
    assert_eq!(keys(&observed.document), ["apiVersion", "kind", "metadata"]);
}

pub async fn objects_are_found_by_name_and_by_labels(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    for name in ["one", "two"] {
        let mut map = corner.config_map(name, &json!({"name": name}));
        map["metadata"]["labels"]["example.com/colour"] = json!("red");
        map["metadata"]["labels"]["example.com/size"] = json!(name);
        corner.create(map).await;
    }
    let label = |name: &str, value: &str| (format!("example.com/{name}"), value.to_owned());
    assert_eq!(corner.found(Selector::Name("one".to_owned())).await, ["one"]);
    assert_eq!(corner.found(Selector::Name("three".to_owned())).await, [""; 0]);
    assert_eq!(
        corner.found(Selector::Labels(vec![label("colour", "red")])).await,
        ["one", "two"]
    );
    let both = vec![label("colour", "red"), label("size", "two")];
    assert_eq!(corner.found(Selector::Labels(both)).await, ["two"]);
    assert_eq!(
        corner.found(Selector::Labels(vec![label("colour", "blue")])).await,
        [""; 0]
    );
}

pub async fn finding_needs_rights(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let stranger = Identity {
        namespace: corner.namespace.clone(),
        service_account: Some("stranger".to_owned()),
    };
    for selector in [
        Selector::Name("one".to_owned()),
        Selector::Labels(vec![("a".to_owned(), "b".to_owned())]),
    ] {
        let found = corner.cluster.find(&stranger, &corner.query(selector)).await;
        assert_eq!(cause(found), ClusterCause::Forbidden);
    }
}

pub async fn an_api_that_does_not_answer_is_unreachable_until_it_is_back(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let object = corner.create(corner.config_map("one", &json!({}))).await;
    let mut changes = corner.cluster.changes().expect("the first call gets the receiver");
    corner.cluster.watch(&[corner.scope("v1", "ConfigMap")]).await;
    corner.told(&mut changes, &object.reference).await;

    fixture.go_away().await;
    // What is watched may be answered for a moment from what was told last.
    let fault = loop {
        match corner.cluster.observe(&corner.ownership("v1", "ConfigMap")).await {
            Ok(observed) => assert_eq!(observed, std::slice::from_ref(&object)),
            Err(fault) => break fault,
        }
        assert!(fixture.wait().await, "gave up waiting for the outage to be told");
    };
    assert_eq!(fault.cause, ClusterCause::Unreachable);
    assert_eq!(
        cause(corner.try_create(corner.config_map("two", &json!({}))).await),
        ClusterCause::Unreachable
    );
    let deleted = corner.delete(&corner.delete_of(&object, Propagation::Background)).await;
    assert_eq!(cause(deleted), ClusterCause::Unreachable);
    let found = corner
        .cluster
        .find(&corner.identity(), &corner.query(Selector::Name("one".to_owned())))
        .await;
    assert_eq!(cause(found), ClusterCause::Unreachable);
    assert!(!corner.cluster.reachable().await);

    while changes.try_recv().is_ok() {}
    fixture.come_back().await;
    corner.told(&mut changes, &object.reference).await;
    assert_eq!(corner.observe("v1", "ConfigMap").await, [object]);
    assert!(corner.cluster.reachable().await);
}

impl Corner<'_> {
    fn query(&self, selector: Selector) -> Query {
        Query {
            name: "hits".to_owned(),
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: Some(self.namespace.clone()),
            selector,
        }
    }

    /// The names of the config maps that are found, in order.
    async fn found(&self, selector: Selector) -> Vec<String> {
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
    async fn data(&self, name: &str) -> Value {
        let query = self.query(Selector::Name(name.to_owned()));
        let objects = self
            .cluster
            .find(&self.identity(), &query)
            .await
            .expect("the cluster answers");
        objects[0]["data"].clone()
    }
}

fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}
