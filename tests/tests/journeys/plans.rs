//! Plans of several objects: their places, their order, and what a later plan drops.

use berth_engine::manifest::LABEL_SUBJECT_ID;
use berth_tests::{
    control_plane::ControlPlane,
    stage::{Stage, a2, a4},
};
use serde_json::{Value, json};

use crate::documents::{adapter, quota};

fn config_map(name: &str, namespace: Option<&str>, data: &str) -> Value {
    let mut manifest =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"says": data}});
    if let Some(namespace) = namespace {
        manifest["metadata"]["namespace"] = json!(namespace);
    }
    manifest
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_in_several_namespaces_are_created_restored_and_removed() {
    let plane = ControlPlane::shared().await;
    let places: Vec<String> = (0..3)
        .map(|_| format!("place-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]))
        .collect();
    for place in &places {
        plane.namespace(place).await.unwrap();
    }
    let name = "work-{{ .subject.id }}";
    let permits: Vec<Value> = places
        .iter()
        .map(|place| json!({"apiVersion": "v1", "kind": "ConfigMap", "namespace": place}))
        .collect();
    let resources: Vec<Value> = places
        .iter()
        .map(|place| json!({"name": place, "manifest": config_map(name, Some(place), place)}))
        .collect();
    let stage = Stage::set(&[&adapter(&json!(permits), &json!(resources), "2s")]).await;
    stage.may_do_everything_everywhere("work").await;
    let cluster = stage.cluster(json!({})).await;
    stage.sees(&cluster, "work", &a2(1)).await;
    let name = format!("work-{}", cluster.rsplit('/').next().unwrap());
    let paths: Vec<String> = places
        .iter()
        .map(|place| format!("/api/v1/namespaces/{place}/configmaps/{name}"))
        .collect();
    for (path, place) in paths.iter().zip(&places) {
        assert_eq!(plane.get(path).await.unwrap().unwrap()["data"]["says"], *place);
    }

    // A removal is told by a watch of that namespace.
    let removed = plane.get(&paths[2]).await.unwrap().unwrap();
    plane.delete(&paths[2]).await.unwrap();
    plane
        .wait_for(&paths[2], |again| {
            again["metadata"]["uid"] != removed["metadata"]["uid"]
        })
        .await
        .unwrap();

    stage.delete(&cluster).await;
    stage.is_gone(&cluster).await;
    for path in &paths {
        assert_eq!(plane.get(path).await.unwrap(), None, "{path}");
    }
}

/// Twenty objects, of which each comes after the one before, listed the other way round.
fn twenty() -> String {
    let resources: Vec<Value> = (1..=20)
        .rev()
        .map(|number: u32| {
            let manifest = config_map(&format!("n{number:02}"), None, "x");
            let after: Vec<String> = (number > 1)
                .then(|| format!("n{:02}", number - 1))
                .into_iter()
                .collect();
            json!({"name": format!("n{number:02}"), "manifest": manifest, "after": after})
        })
        .collect();
    adapter(
        &json!([{"apiVersion": "v1", "kind": "ConfigMap"}]),
        &json!(resources),
        "2s",
    )
}

/// Names of ours in the order in which they were written.
async fn written(stage: &Stage) -> Vec<String> {
    let mut written: Vec<(u64, String)> = stage
        .ours("configmaps")
        .await
        .iter()
        .map(|object| {
            let metadata = &object["metadata"];
            let version = metadata["resourceVersion"].as_str().unwrap().parse().unwrap();
            (version, metadata["name"].as_str().unwrap().to_owned())
        })
        .collect();
    written.sort();
    written.into_iter().map(|(_, name)| name).collect()
}

fn names(numbers: impl Iterator<Item = u32>) -> Vec<String> {
    numbers.map(|number| format!("n{number:02}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_objects_are_created_in_their_order_and_none_beyond_the_one_that_is_refused() {
    let stage = Stage::set(&[&twenty()]).await;
    let others = stage.plane.get(&stage.collection("configmaps")).await.unwrap().unwrap();
    let others = others["items"].as_array().unwrap().len();
    let quota = quota(&stage, "count/configmaps", &(others + 12).to_string()).await;
    let cluster = stage.cluster(json!({})).await;
    let row = stage.sees(&cluster, "work", &a4(1, "QuotaExceeded", "\"n13\"")).await;
    assert_eq!(written(&stage).await, names(1..=12), "{}", row.tell());

    stage.plane.delete(&quota).await.unwrap();
    stage.sees(&cluster, "work", &a2(1)).await;
    assert_eq!(written(&stage).await, names(1..=20));
}

/// An object that every plan has, and, if wanted, two more, of which one is of a kind of its own.
fn with_more(more: bool, kinds: &[(&str, &str)]) -> String {
    let name = |prefix: &str| format!("{prefix}-{{{{ .subject.id }}}}");
    let labels = json!({"app": "{{ .subject.id }}"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name("more")},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "main"}]},
            },
        },
    });
    let keep = json!({"name": "keep", "manifest": config_map(&name("keep"), None, "x")});
    let resources = match more {
        false => json!([keep]),
        true => json!([
            keep,
            {"name": "more", "manifest": config_map(&name("more"), None, "x"), "after": ["keep"]},
            {"name": "server", "manifest": deployment, "after": ["more"]},
        ]),
    };
    let permit = |(api_version, kind): &(&str, &str)| json!({"apiVersion": api_version, "kind": kind});
    let permits: Vec<Value> = kinds.iter().map(permit).collect();
    adapter(&json!(permits), &resources, "2s")
}

const BOTH: &[(&str, &str)] = &[("v1", "ConfigMap"), ("apps/v1", "Deployment")];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_new_document_drops_goes_and_the_rest_stays() {
    let stage = Stage::set(&[&with_more(true, BOTH)]).await;
    let cluster = stage.cluster(json!({})).await;
    stage.sees(&cluster, "work", &a2(1)).await;
    let before = stage.ours("configmaps").await;
    assert_eq!(before.len(), 2);
    stage.only("deployments", |_| true).await;

    stage.stop_host().await;
    stage.replace_documents(&[&with_more(false, BOTH)]);
    stage.start_host().await;
    let left = stage.only("configmaps", |_| true).await;
    assert!(
        left["metadata"]["name"].as_str().unwrap().starts_with("keep-"),
        "{left:#}"
    );
    assert!(before.iter().any(|one| one["metadata"] == left["metadata"]), "{left:#}");
    stage.has_none("deployments").await;
    stage.has_none("pods").await;
    stage.sees(&cluster, "work", &a2(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_new_document_neither_plans_nor_permits_goes_too_also_in_a_deletion() {
    let stage = Stage::set(&[&with_more(true, BOTH)]).await;
    let (stays, goes) = (stage.cluster(json!({})).await, stage.cluster(json!({})).await);
    stage.sees(&stays, "work", &a2(1)).await;
    stage.sees(&goes, "work", &a2(1)).await;
    assert_eq!(stage.ours("deployments").await.len(), 2);

    // The host that comes next does not know from its document that there may be Deployments.
    stage.stop_host().await;
    stage.replace_documents(&[&with_more(false, &BOTH[..1])]);
    stage
        .simulation
        .with(|state, now| state.delete(now, &goes))
        .expect("it can be deleted");
    stage.start_host().await;
    stage.settle_until_gone(&goes).await;
    let left = |plural: &'static str, cluster: &str| {
        let id = cluster.rsplit('/').next().unwrap().to_owned();
        let stage = &stage;
        async move {
            let ours = stage.ours(plural).await;
            ours.iter()
                .filter(|one| one["metadata"]["labels"][LABEL_SUBJECT_ID] == *id)
                .count()
        }
    };
    for plural in ["deployments", "configmaps"] {
        assert_eq!(left(plural, &goes).await, 0, "{plural} are left of what is gone");
    }

    stage.settle(&stays).await;
    stage.has_none("deployments").await;
    stage.has_none("pods").await;
    assert_eq!(left("configmaps", &stays).await, 1);
    stage.sees(&stays, "work", &a2(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_a_new_generation_names_otherwise_takes_the_place_of_the_earlier_one() {
    let manifest = config_map("{{ .subject.spec.size }}-{{ .subject.id }}", None, "x");
    let permits = json!([{"apiVersion": "v1", "kind": "ConfigMap"}]);
    let document = adapter(&permits, &json!([{"name": "work", "manifest": manifest}]), "2s");
    let stage = Stage::set(&[&document]).await;
    let cluster = stage.cluster(json!({"size": "large"})).await;
    stage.sees(&cluster, "work", &a2(1)).await;

    stage.change(&cluster, json!({"size": "small"})).await;
    let is_small = |one: &Value| one["metadata"]["name"].as_str().unwrap().starts_with("small-");
    stage.only("configmaps", is_small).await;
    stage.sees(&cluster, "work", &a2(2)).await;
}
