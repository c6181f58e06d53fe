//! Webhooks that refuse, and webhooks that are down.

use berth_tests::stage::{Stage, a1, a2, a4, a6, awaited};
use serde_json::json;

use crate::{
    documents::{going, job},
    hook::{Hook, converting, refusing},
    kinds::{Definition, widget},
};

/// Has the API server ask a webhook before it creates these in the stage's namespace. Answers
/// with the path of the registration.
async fn register(stage: &Stage, hook: &Hook, group: &str, plural: &str) -> String {
    let name = format!("{plural}-{}", stage.namespace);
    let rules = json!([{"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [plural]}]);
    let webhook = json!({
        "name": "costs.example.com", "clientConfig": hook.client_config(), "rules": rules,
        "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 5,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": stage.namespace}},
    });
    let registration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name}, "webhooks": [webhook],
    });
    let collection = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    stage.plane.create(collection, &registration).await.unwrap();

    // It comes into force a moment later.
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]});
    let probe = match plural {
        "pods" => json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": pod}),
        _ => json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "probe"}, "spec": {"template": {"spec": pod}},
        }),
    };
    let dry = format!("{}?dryRun=All", stage.collection(plural));
    awaited("the webhook to come into force", || async {
        stage.plane.create(&dry, &probe).await.is_err()
    })
    .await;
    format!("{collection}/{name}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_refuses_is_quoted_and_one_that_is_down_is_told_from_it() {
    let stage = Stage::set(&[&job(&json!({}), &json!({}))]).await;
    let hook = Hook::start(refusing("every Job needs a cost centre"));
    let registration = register(&stage, &hook, "batch", "jobs").await;
    let cluster = stage.cluster(going("ok")).await;
    let says = r#"admission webhook "costs.example.com" denied the request: every Job needs a cost centre"#;
    let row = stage.sees(&cluster, "work", &a4(1, "AdmissionRefused", says)).await;
    let to_do = "Make the manifest comply with the policy, or ask for an exemption.";
    assert!(row.of("Available", "message").ends_with(to_do), "{}", row.tell());
    assert!(stage.ours("jobs").await.is_empty());

    hook.stop();
    let says = r#"failed calling webhook "costs.example.com""#;
    let row = stage.sees(&cluster, "work", &a4(1, "AdmissionUnavailable", says)).await;
    let to_do = "Restore the webhook's service.";
    assert!(row.of("Available", "message").ends_with(to_do), "{}", row.tell());

    stage.plane.delete(&registration).await.unwrap();
    stage.sees(&cluster, "work", &a2(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_refuses_only_pods_or_is_down_for_them_is_told_the_same() {
    let stage = Stage::set(&[&job(&json!({}), &json!({}))]).await;
    let hook = Hook::start(refusing("this image is not signed"));
    let registration = register(&stage, &hook, "", "pods").await;
    let cluster = stage.cluster(going("ok")).await;
    let says = r#"admission webhook "costs.example.com" denied the request: this image is not signed"#;
    stage.sees(&cluster, "work", &a4(1, "AdmissionRefused", says)).await;
    stage.only("jobs", |_| true).await;

    hook.stop();
    let says = r#"failed calling webhook "costs.example.com""#;
    stage.sees(&cluster, "work", &a4(1, "AdmissionUnavailable", says)).await;

    stage.plane.delete(&registration).await.unwrap();
    stage.sees(&cluster, "work", &a2(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversion_that_fails_is_told_from_an_outage_and_takes_back_no_success() {
    let hook = Hook::start(converting());
    let widgets = Definition::new("Widget").with_status().converted_by(&hook);
    let definition = widgets.install().await;
    let stage = Stage::set(&[&widget(&definition.api_version("v1beta1"), "2s")]).await;
    let done = stage.cluster(json!({"size": "small"})).await;
    let changed = stage.cluster(json!({"size": "small"})).await;
    for cluster in [&done, &changed] {
        stage.sees(cluster, "work", &a1(1)).await;
        definition.is_ready(&stage, cluster, "True").await;
        stage.sees(cluster, "work", &a2(1)).await;
    }

    hook.stop();
    stage.change(&changed, json!({"size": "large"})).await;
    let row = stage.sees(&changed, "work", &a6(2, "ConversionUnavailable")).await;
    let message = row.of("Available", "message");
    assert!(message.contains("conversion webhook for "), "{message}");
    let to_do = "Restore the conversion webhook of the custom resource definition.";
    assert!(message.ends_with(to_do), "{message}");
    stage.settle(&done).await;
    stage.sees(&done, "work", &a2(1)).await;

    hook.start_again();
    stage.sees(&changed, "work", &a1(2)).await;
    definition.is_ready(&stage, &changed, "True").await;
    stage.sees(&changed, "work", &a2(2)).await;
}
