//! Plans of several objects: their places, their order, and what a later plan drops.

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

#[tokio::test(flavor = "multi_thread")]
async fn what_a_new_plan_drops_goes_and_the_rest_stays() {
    let name = |suffix: &str| format!("{suffix}-{{{{ .subject.id }}}}");
    let extra = r#"subject.spec.size == "large""#;
    let labels = json!({"app": "{{ .subject.id }}"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name("extra")},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "main"}]},
            },
        },
    });
    let resources = json!([
        {"name": "keep", "manifest": config_map(&name("keep"), None, "{{ .subject.spec.size }}")},
        {"name": "extra", "manifest": config_map(&name("extra"), None, "x"), "when": extra},
        {"name": "server", "manifest": deployment, "when": extra},
    ]);
    let permits = json!([{"apiVersion": "v1", "kind": "ConfigMap"}, {"apiVersion": "apps/v1", "kind": "Deployment"}]);
    let stage = Stage::set(&[&adapter(&permits, &resources, "2s")]).await;
    let cluster = stage.cluster(json!({"size": "large"})).await;
    stage.sees(&cluster, "work", &a2(1)).await;
    assert_eq!(stage.ours("configmaps").await.len(), 2);
    stage.only("deployments", |_| true).await;
    let kept = stage.ours("configmaps").await;
    let kept = kept.iter().find(|one| one["data"]["says"] == "large").unwrap();

    stage.change(&cluster, json!({"size": "small"})).await;
    let left = stage.only("configmaps", |one| one["data"]["says"] == "small").await;
    assert_eq!(left["metadata"]["uid"], kept["metadata"]["uid"]);
    stage.has_none("deployments").await;
    stage.has_none("pods").await;
    stage.sees(&cluster, "work", &a2(2)).await;
}
