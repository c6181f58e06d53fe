//! Cases about creating, changing and deleting.

use std::path::Path;

use berth::{
    config::{document, host::HostLimits},
    driver,
    simulate::cluster::Rule,
    world::Identity,
};
use berth_engine::{
    contract::{Nature, Propagation, Selector},
    effect::{ClusterCause, Delete, Deleted, Expect},
};
use serde_json::json;

use super::{
    Fixture,
    corner::{ACCOUNT, Corner, cause, diagnosed, unchanged},
};

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
        service_account: "stranger".to_owned(),
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

pub async fn a_document_without_a_service_account_has_none_of_the_hosts_rights(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let document = format!(
        "apiVersion: berth.hyperfleet.io/v1alpha1\nkind: Adapter\nmetadata: {{name: bare}}\n\
         spec: {{subjects: [Cluster], namespace: {}}}\n",
        corner.namespace
    );
    let loaded = document::parse(Path::new("bare.yaml"), &document, &HostLimits::default_caps());
    let bare = driver::identity(&loaded.strict().unwrap()[0].adapter);
    corner.create(corner.config_map("one", &json!({}))).await;

    // The host reads it, to observe it; the adapter does not.
    assert_eq!(corner.observe("v1", "ConfigMap").await.len(), 1);
    for selector in [Selector::Name("one".to_owned()), Selector::Labels(Vec::new())] {
        let fault = corner.cluster.find(&bare, &corner.query(selector)).await.unwrap_err();
        assert_eq!(fault.cause, ClusterCause::Forbidden);
        let user = format!("system:serviceaccount:{}:default", corner.namespace);
        assert!(fault.message.contains(&user), "{fault}");
    }
    let created = corner
        .apply_as(&bare, corner.config_map("two", &json!({})), Expect::Absent, false)
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
