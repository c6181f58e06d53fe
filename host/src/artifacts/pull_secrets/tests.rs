#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::json;

use super::*;
use crate::{
    simulate::cluster::{Kubernetes, Rule, SystemClock},
    world::Identity,
};

/// Stands in every Secret, and in no error.
const HIDDEN: &str = "hunter2";

fn recipient(account: &str, secrets: &[&str]) -> Recipient {
    Recipient {
        adapter: "lz".to_owned(),
        identity: Identity {
            namespace: "work".to_owned(),
            service_account: account.to_owned(),
        },
        pull_secrets: secrets.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn text() -> String {
    json!({"auths": {"registry.example.com": {"username": "robot", "password": HIDDEN}}}).to_string()
}

/// A cluster in which `adapter` may get Secrets of its namespace, and `other` may not.
fn cluster() -> Kubernetes {
    let kubernetes = Kubernetes::new(SystemClock);
    let secret = |namespace: &str, name: &str, kind: &str, key: &str| {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
            "type": kind, "data": {key: STANDARD.encode(text())},
        });
        kubernetes.create("kubectl", secret).unwrap();
    };
    for namespace in ["work", "elsewhere"] {
        kubernetes.namespace(namespace);
    }
    let rule = Rule::all_of("", &["secrets"], "work").only(&["get"]);
    kubernetes.grant("work", "adapter", vec![rule]);
    kubernetes.grant("work", "other", Vec::new());
    kubernetes.grant("work", "default", Vec::new());
    secret("work", "new", TYPES[0].0, TYPES[0].1);
    secret("work", "old", TYPES[1].0, TYPES[1].1);
    secret("work", "opaque", "Opaque", TYPES[0].1);
    secret("work", "empty", TYPES[0].0, "something.else");
    secret("elsewhere", "theirs", TYPES[0].0, TYPES[0].1);
    kubernetes
}

async fn refused(cluster: Option<&dyn Cluster>, recipient: &Recipient) -> ArtifactFault {
    let error = read(cluster, recipient).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(HIDDEN), "{error:?}");
    error.into()
}

#[tokio::test]
async fn secrets_of_both_types_are_read_in_their_order() {
    let read = read(Some(&cluster()), &recipient("adapter", &["old", "new"])).await;
    let source = |name: &str| CredentialSource::Document {
        name: format!("Secret work/{name}"),
        text: Secret::new(text()),
    };
    assert_eq!(read.unwrap(), [source("old"), source("new")]);
}

#[tokio::test]
async fn every_secret_that_cannot_be_used_has_a_reason_of_its_own() {
    let kubernetes = cluster();
    for (account, secret, reason, told) in [
        ("adapter", "absent", "PullSecretMissing", "work/absent"),
        // One that exists, but elsewhere.
        ("adapter", "theirs", "PullSecretMissing", "work/theirs"),
        ("adapter", "opaque", "PullSecretType", "`Opaque`"),
        ("adapter", "empty", "PullSecretEmpty", "`.dockerconfigjson`"),
        // The host itself may.
        (
            "other",
            "new",
            "PullSecretForbidden",
            "system:serviceaccount:work:other",
        ),
    ] {
        let fault = refused(Some(&kubernetes), &recipient(account, &["new", secret])).await;
        assert_eq!(fault.reason, reason);
        assert!(fault.message.contains(told), "{fault:?}");
    }
    let host = refused(Some(&kubernetes), &recipient("default", &["new"])).await;
    assert_eq!(host.reason, "PullSecretForbidden", "never with the host's own rights");
    kubernetes.go_away();
    let away = refused(Some(&kubernetes), &recipient("adapter", &["new"])).await;
    assert_eq!((away.reason.as_str(), away.retryable), ("PullSecretUnavailable", true));
    let nowhere = refused(None, &recipient("adapter", &["new"])).await;
    assert_eq!(nowhere.reason, "PullSecretUnavailable");
}

#[test]
fn holders_are_the_same_by_account_and_secrets() {
    let same = holder(&recipient("a", &["x", "y"]));
    assert_eq!(same, holder(&recipient("a", &["y", "x", "y"])));
    for other in [
        recipient("b", &["x", "y"]),
        recipient("a", &["x"]),
        recipient("default", &["x", "y"]),
    ] {
        assert_ne!(same, holder(&other));
    }
}
