//! Documents of one adapter, `work`, that has no component: the built-in rules judge its objects.

use berth_tests::stage::Stage;
use serde_json::{Value, json};

/// The adapter with these permits and resources. `grace` as in a document.
pub(crate) fn adapter(permits: &Value, resources: &Value, grace: &str) -> String {
    let spec = json!({
        "subjects": ["Cluster"], "namespace": "hyperfleet-adapters", "serviceAccount": "work",
        "permits": permits, "resources": resources, "grace": grace,
    });
    // JSON is YAML.
    format!("apiVersion: berth.hyperfleet.io/v1alpha1\nkind: Adapter\nmetadata: {{name: work}}\nspec: {spec}\n")
}

/// The adapter with one object of a kind.
pub(crate) fn one(api_version: &str, kind: &str, spec: &Value, grace: &str) -> String {
    let manifest = json!({
        "apiVersion": api_version, "kind": kind, "metadata": {"name": "work-{{ .subject.id }}"}, "spec": spec,
    });
    adapter(
        &json!([{"apiVersion": api_version, "kind": kind}]),
        &json!([{"name": "work", "manifest": manifest}]),
        grace,
    )
}

/// The adapter with one Job. `pod` is laid over the spec of its pods, `job` over its own.
pub(crate) fn job(pod: &Value, job: &Value) -> String {
    let mut spec = json!({
        "backoffLimit": 0,
        "template": {"metadata": {"annotations": annotations()}, "spec": pod_spec("Never", pod)},
    });
    lay_over(&mut spec, job);
    one("batch/v1", "Job", &spec, "2s")
}

/// The adapter with one workload that runs for ever: `Deployment`, `StatefulSet`, `DaemonSet`.
pub(crate) fn lasting(kind: &str, more: &Value, grace: &str) -> String {
    let labels = json!({"app": "{{ .subject.id }}"});
    let mut spec = json!({
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels, "annotations": annotations()},
            "spec": pod_spec("Always", &json!({})),
        },
    });
    lay_over(&mut spec, more);
    one("apps/v1", kind, &spec, grace)
}

/// A cluster whose pods go like this.
pub(crate) fn going(outcome: &str) -> Value {
    json!({"outcome": outcome, "message": "", "exitCode": "1"})
}

/// A cluster whose pods fail like this.
pub(crate) fn failing(outcome: &str, exit_code: u8, message: &str) -> Value {
    json!({"outcome": outcome, "message": message, "exitCode": exit_code.to_string()})
}

/// Creates an object in the stage's namespace. Answers with its path.
pub(crate) async fn put(stage: &Stage, plural: &str, object: &Value) -> String {
    let collection = stage.collection(plural);
    stage.plane.create(&collection, object).await.unwrap();
    format!("{collection}/{}", object["metadata"]["name"].as_str().unwrap())
}

/// A quota that is in force. Answers with its path.
pub(crate) async fn quota(stage: &Stage, what: &str, hard: &str) -> String {
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight"}, "spec": {"hard": {what: hard}},
    });
    let path = put(stage, "resourcequotas", &quota).await;
    stage
        .plane
        .wait_for(&path, |quota| quota["status"]["hard"][what] == hard)
        .await
        .unwrap();
    path
}

fn annotations() -> Value {
    json!({
        "test/outcome": "{{ .subject.spec.outcome }}",
        "test/exit-code": "{{ .subject.spec.exitCode }}",
        "test/message": "{{ .subject.spec.message }}",
    })
}

fn pod_spec(restart: &str, more: &Value) -> Value {
    let image = "registry.example.com/hyperfleet/work:1.0.0";
    let mut spec = json!({"restartPolicy": restart, "containers": [{"name": "main", "image": image}]});
    lay_over(&mut spec, more);
    spec
}

/// Merges objects; anything else is replaced.
fn lay_over(base: &mut Value, more: &Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                lay_over(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, more) => *base = more.clone(),
    }
}
