//! What is secret in a manifest stays so, also where the API server repeats it.

use berth_tests::control_plane::ControlPlane;
use serde_json::json;

use crate::Deployed;

/// Not a text, which a Secret's values must be.
const PIN: &str = "86753099";

fn adapter(namespace: &str) -> String {
    format!(
        r#"
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {{name: validation}}
spec:
  subjects: [Cluster]
  namespace: {namespace}
  serviceAccount: validation
  permits: [{{apiVersion: v1, kind: Secret}}]
  resources:
    - name: keys
      manifest:
        apiVersion: v1
        kind: Secret
        metadata: {{name: "keys-{{{{ .subject.id }}}}"}}
        stringData: {{pin: {PIN}}}
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_the_api_server_quotes_is_in_no_status_no_event_and_no_log() {
    let mut host = Deployed::start_with(|folder, namespace, settings| {
        std::fs::write(folder.join("adapters/validation.yaml"), adapter(namespace)).unwrap();
        settings["log"]["level"] = json!("debug");
    })
    .await;
    let cluster = host.cluster("east-1");
    assert!(host.post(&cluster, "one").await.status().is_success());
    let rows = host.look(&format!("{cluster}/statuses"));
    let conditions = rows["items"][0]["conditions"].as_array().unwrap();
    let available = conditions.iter().find(|one| one["type"] == "Available").unwrap();
    assert_eq!(
        (&available["status"], &available["reason"]),
        (&json!("False"), &json!("ManifestInvalid")),
        "{rows}"
    );
    assert!(
        available["message"].as_str().unwrap().contains(".stringData.pin"),
        "{rows}"
    );
    assert!(!rows.to_string().contains(PIN), "{rows}");

    // The trouble is published in the cluster, and by the time that the program ends all is logged.
    let plane = ControlPlane::shared().await;
    let path = format!("/api/v1/namespaces/{}/events", host.namespace);
    let events = plane
        .wait_for(&path, |list| {
            list["items"].as_array().is_some_and(|all| !all.is_empty())
        })
        .await
        .unwrap();
    assert!(!events.to_string().contains(PIN), "{events}");
    host.terminate();
    assert_eq!(host.ended().await.code(), Some(0));
    while let Some(line) = host.lines.recv().await {
        host.log.push(serde_json::from_str(&line).unwrap());
    }
    let log = serde_json::to_string(&host.log).unwrap();
    assert!(log.contains("ManifestInvalid") && !log.contains(PIN), "{log}");
}
