//! Cases about what is told, and about an API that does not answer.

use berth_engine::{
    contract::{Propagation, Reference, Selector},
    effect::ClusterCause,
};
use serde_json::json;

use super::{
    Fixture,
    corner::{Corner, cause, holds},
};

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
        .await_namespace(&corner.namespace, &corner.adapter, &corner.subject);
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
