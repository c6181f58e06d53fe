//! The program with a private plugin: the real registry behind a password, which is in a Secret of a real control plane.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use berth::registry::{
    Connect as _, Repository,
    access::{self, Access, CredentialSource},
    push,
};
use berth_tests::control_plane::ControlPlane;
use serde_json::{Value, json};

use super::registries::write;
use crate::{
    Deployed, PATIENCE,
    guest::{guest, with_guest},
    running::{Guard, OPENS, Running, WRONG},
};

const NEW: &str = "kubernetes.io/dockerconfigjson";
const OLD: &str = "kubernetes.io/dockercfg";

/// Pushes a guest that says this word under the tag `1`; answers with the manifest's digest.
async fn pushed(running: &Running, word: &str) -> String {
    let access = Access::new(access::Settings {
        insecure: running.insecure(),
        credentials: vec![CredentialSource::File(running.docker_config())],
        ..access::Settings::default()
    });
    let repository: Repository = running.name("partners/lz").parse().unwrap();
    let remote = access.remote(&repository.registry).unwrap();
    let packed = push(remote.as_ref(), &repository, Some("1"), &guest(word), &|_, _| {}).await;
    packed.unwrap().digest.to_string()
}

impl Deployed {
    /// Puts a Secret `registry` of this type, with this password, in the place of any other.
    async fn secret(&self, running: &Running, kind: &str, password: &str) {
        let plane = ControlPlane::shared().await;
        let collection = format!("/api/v1/namespaces/{}/secrets", self.namespace);
        let path = format!("{collection}/registry");
        if plane.get(&path).await.unwrap().is_some() {
            plane.delete(&path).await.unwrap();
        }
        let auths = json!({(running.address()): {"username": "robot", "password": password}});
        let (key, text) = match kind {
            OLD => (".dockercfg", auths),
            _ => (".dockerconfigjson", json!({ "auths": auths })),
        };
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "registry"},
            "type": kind, "data": {key: STANDARD.encode(text.to_string())},
        });
        plane.create(&collection, &secret).await.unwrap();
    }

    /// Has registries asked. Then, of the plugin of an adapter: what is live, and why nothing newer is.
    async fn refreshed(&self, adapter: &str) -> (String, String) {
        let url = format!("{}/plugins/refresh", self.admin);
        let response = self.http.post(url).send().await.unwrap();
        told(&response.json().await.unwrap(), adapter)
    }

    async fn stands(&self, adapter: &str) -> (String, String) {
        let (_, told_of) = self.ask("/plugins").await;
        told(&serde_json::from_str(&told_of).unwrap(), adapter)
    }
}

fn told(plugins: &Value, adapter: &str) -> (String, String) {
    let plugins = plugins["plugins"].as_array().unwrap();
    let found = plugins
        .iter()
        .find(|one| one["adapter"] == adapter && one["plugin"] == "guest");
    let text = |key: &str| found.unwrap()[key].as_str().unwrap_or("-").to_owned();
    (text("live"), text("why"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_plugin_is_loaded_with_the_pull_secret_of_its_adapter_and_by_no_other() {
    let running = Running::start(&Guard::Password).await;
    let digest = pushed(&running, "firsta").await;
    let none = running.folder().join("none.json");
    std::fs::write(&none, "{}").unwrap();

    let source = format!("oci://{}", running.name("partners/lz:1"));
    let mut host = Deployed::start_with(|folder, namespace, settings| {
        settings["registries"] = json!({
            "allow": [format!("{}/*", running.address())],
            "insecure": running.insecure(),
            // The host itself has no credentials.
            "dockerConfig": [none],
            // What is looked for here happens on demand.
            "refresh": "1h",
        });
        let private = |name: &str| {
            with_guest(name, "v1", &source).replace("config: {v: 1}", "pullSecrets: [registry], config: {v: 1}")
        };
        write(folder, namespace, "private.yaml", &private("private"));
        write(folder, namespace, "open.yaml", &with_guest("open", "v1", &source));
        let blind = private("blind").replace("serviceAccount: adapter", "serviceAccount: blind");
        write(folder, namespace, "blind.yaml", &blind);
    })
    .await;
    let rights = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]);
    let plane = ControlPlane::shared().await;
    plane.service_account(&host.namespace, "blind", rights).await.unwrap();

    let (live, why) = host.refreshed("private").await;
    assert!(why.ends_with("(PullSecretMissing)"), "{why}");
    assert_eq!(live, "-");
    host.secret(&running, "Opaque", OPENS).await;
    let (_, why) = host.refreshed("private").await;
    assert!(why.ends_with("(PullSecretType)"), "{why}");
    host.secret(&running, NEW, WRONG).await;
    let (live, why) = host.refreshed("private").await;
    assert!(why.ends_with("(Unauthorized)"), "{why}");
    assert_eq!(live, "-");

    host.secret(&running, NEW, OPENS).await;
    assert_eq!(host.refreshed("private").await, (digest.clone(), "-".to_owned()));
    let (live, why) = host.stands("open").await;
    assert!(live == "-" && why.ends_with("(Unauthorized)"), "{live} {why}");
    // As its own service account, although the host, and the other adapter, may read the Secret.
    let (live, why) = host.stands("blind").await;
    assert!(live == "-" && why.ends_with("(PullSecretForbidden)"), "{live} {why}");
    let account = format!("system:serviceaccount:{}:blind", host.namespace);
    assert!(why.contains(&account), "{why}");
    host.reports("first", &["private", "validation"]).await;

    // It is read anew each time, and nothing that an earlier one opened is used again. What is live stays.
    let newer = pushed(&running, "second").await;
    host.secret(&running, "Opaque", OPENS).await;
    let (live, why) = host.refreshed("private").await;
    assert!(live == digest && why.ends_with("(PullSecretType)"), "{live} {why}");
    host.secret(&running, NEW, WRONG).await;
    let (live, why) = host.refreshed("private").await;
    assert!(live == digest && why.ends_with("(Unauthorized)"), "{live} {why}");
    host.secret(&running, OLD, OPENS).await;
    assert_eq!(host.refreshed("private").await, (newer.clone(), "-".to_owned()));
    let mut log = std::mem::take(&mut host.log);

    // A start begins with what the cache has, and soon tells that the Secret does not open the registry any more.
    host.secret(&running, NEW, WRONG).await;
    host.restart(|_| {}).await;
    let end = Instant::now() + PATIENCE;
    loop {
        let (live, why) = host.stands("private").await;
        assert_eq!(live, newer);
        if why.ends_with("(Unauthorized)") {
            break;
        }
        assert!(Instant::now() < end, "{why}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    // The cache serves those whose secrets filled it, and nobody else.
    drop(running);
    host.restart(|_| {}).await;
    assert_eq!(host.stands("private").await.0, newer);
    for adapter in ["open", "blind"] {
        assert_eq!(host.refreshed(adapter).await.0, "-", "{adapter}");
    }
    host.reports("second", &["private", "validation"]).await;

    log.append(&mut host.log);
    for secret in [OPENS, WRONG] {
        let sent = STANDARD.encode(format!("robot:{secret}"));
        let shown = log.iter().map(Value::to_string);
        let shown = shown.filter(|line| line.contains(secret) || line.contains(&sent));
        assert_eq!(shown.collect::<Vec<_>>(), Vec::<String>::new());
    }
}
