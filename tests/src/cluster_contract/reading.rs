//! Cases about observing and finding.

use berth::world::Identity;
use berth_engine::{
    contract::Selector,
    effect::ClusterCause,
    manifest::{LABEL_ADAPTER, LABEL_SUBJECT_ID},
};
use serde_json::json;

use super::{
    Fixture,
    corner::{Corner, cause, keys},
};

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

pub async fn finding_too_much_is_refused(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let large = "x".repeat(900 << 10);
    for number in 0..10 {
        let name = format!("large-{number}");
        let data = json!({"name": name, "large": large});
        corner.create(corner.config_map(&name, &data)).await;
    }
    let all = corner.query(Selector::Labels(Vec::new()));
    let fault = corner.cluster.find(&corner.identity(), &all).await.unwrap_err();
    assert_eq!(fault.cause, ClusterCause::TooLarge);
    assert_eq!(fault.message, "ConfigMap: what was looked up has more than 8 MiB");
    // One of them is not too much, and what is ours is observed all the same.
    assert_eq!(corner.found(Selector::Name("large-1".to_owned())).await, ["large-1"]);
    assert_eq!(corner.observe("v1", "ConfigMap").await.len(), 10);
}

pub async fn finding_needs_rights(fixture: &dyn Fixture) {
    let corner = Corner::new(fixture).await;
    let stranger = Identity {
        namespace: corner.namespace.clone(),
        service_account: "stranger".to_owned(),
    };
    for selector in [
        Selector::Name("one".to_owned()),
        Selector::Labels(vec![("a".to_owned(), "b".to_owned())]),
    ] {
        let found = corner.cluster.find(&stranger, &corner.query(selector)).await;
        assert_eq!(cause(found), ClusterCause::Forbidden);
    }
}
