//! Plugins of registries: a tag moves, and what it leads to is good or not.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use berth::{
    dispatch::Deaf,
    telemetry::admin::Standing,
    world::{Artifact, ArtifactFault, Artifacts, Identity, Recipient, Refresh},
};
use serde_json::Value;

use super::{
    guest::{guest, with_guest},
    stage::Stage,
};

/// What a registry would give for any reference, and how it was asked.
struct Shelf {
    given: Mutex<Result<Artifact, ArtifactFault>>,
    asked: Mutex<Vec<Refresh>>,
}

impl Shelf {
    fn new(given: Result<Artifact, ArtifactFault>) -> Arc<Self> {
        Arc::new(Self {
            given: Mutex::new(given),
            asked: Mutex::default(),
        })
    }

    fn give(&self, given: Result<Artifact, ArtifactFault>) {
        *self.given.lock().unwrap() = given;
    }
}

#[async_trait]
impl Artifacts for Shelf {
    async fn fetch(&self, reference: &str, refresh: Refresh) -> Result<Artifact, ArtifactFault> {
        assert_eq!(reference, "registry.example.com/guest:1");
        self.asked.lock().unwrap().push(refresh);
        self.given.lock().unwrap().clone()
    }
}

fn artifact(digest: &str, bytes: Vec<u8>) -> Artifact {
    Artifact {
        bytes: bytes.into(),
        digest: format!("sha256:{digest}"),
        signed_by: vec!["platform".to_owned()],
        asked: true,
        stale: None,
    }
}

fn outage() -> ArtifactFault {
    ArtifactFault {
        reason: "RegistryUnreachable".to_owned(),
        message: "registry.example.com does not answer".to_owned(),
        retryable: true,
        retry_after: None,
    }
}

async fn stage(shelf: &Arc<Shelf>) -> Stage {
    let text = with_guest("a", "one", "oci://registry.example.com/guest:1");
    let artifacts = Arc::clone(shelf) as Arc<dyn Artifacts>;
    Stage::set_with(&[("a.yaml", &text)], &[], Arc::new(Deaf), Some(artifacts)).await
}

fn of(plugins: &Value) -> (&str, &str) {
    let text = |key: &str| plugins["plugins"][0][key].as_str().unwrap_or("-");
    (text("live"), text("why"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moves_to_something_good_is_followed_and_to_something_bad_is_not() {
    let shelf = Shelf::new(Ok(artifact("1", guest("firsta"))));
    let stage = stage(&shelf).await;
    assert_eq!(
        shelf.asked.lock().unwrap()[0],
        Refresh::Known,
        "a start needs no registry"
    );
    let state = stage.comes_to("a", Standing::Live).await;
    let plugin = state.plugins.iter().find(|one| one.plugin == "guest").unwrap();
    assert_eq!(plugin.live.as_deref(), Some("sha256:1"));
    assert_eq!(plugin.signed_by, ["platform"]);
    let cluster = stage.cluster("east-1");
    assert_eq!(stage.publish(&cluster).await, 204);

    // By itself, as time goes by.
    shelf.give(Ok(artifact("2", guest("second"))));
    stage
        .stands("a", "swapped", |state| {
            state.plugins.iter().any(|one| one.live.as_deref() == Some("sha256:2"))
        })
        .await;
    assert!(shelf.asked.lock().unwrap().contains(&Refresh::Resolve));

    shelf.give(Ok(artifact("3", berth_test_guests::component("traps-after-setup"))));
    stage.comes_to("a", Standing::Outdated).await;
    let plugins = stage.ask("GET", "/plugins").await;
    let (live, why) = of(&plugins);
    assert_eq!(live, "sha256:2");
    assert!(why.contains("tried on made-up facts and failed in"), "{why}");
    assert_eq!(plugins["plugins"][0]["newer"], "sha256:3");
    let metrics = stage.metrics.encode().unwrap();
    assert!(
        metrics.contains(r#"berth_plugin_current{adapter="a",plugin="guest"} 0"#),
        "{metrics}"
    );

    shelf.give(Ok(artifact("4", b"none".to_vec())));
    stage
        .stands("a", "told of what is no component", |state| {
            state
                .plugins
                .iter()
                .any(|one| one.why.as_ref().is_some_and(|why| why.contains("component")))
        })
        .await;

    // An outage takes nothing away, and is told. On demand, and waited for.
    shelf.give(Err(outage()));
    let plugins = stage.ask("POST", "/plugins/refresh").await;
    let (live, why) = of(&plugins);
    assert_eq!(live, "sha256:2");
    assert_eq!(why, "registry.example.com does not answer (RegistryUnreachable)");
    assert_eq!(stage.publish(&cluster).await, 204);

    shelf.give(Ok(artifact("5", guest("firsta"))));
    let plugins = stage.ask("POST", "/plugins/refresh").await;
    assert_eq!(of(&plugins), ("sha256:5", "-"), "{plugins}");
    let metrics = stage.metrics.encode().unwrap();
    let line = r#"berth_plugin_live{adapter="a",plugin="guest",source="oci://registry.example.com/guest:1",digest="sha256:5"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
    assert!(!metrics.contains(r#"digest="sha256:2""#), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_fails_when_it_is_tried_does_not_even_start() {
    let shelf = Shelf::new(Ok(artifact("1", berth_test_guests::component("traps-after-setup"))));
    let stage = stage(&shelf).await;
    let state = stage.comes_to("a", Standing::Refused).await;
    assert!(
        state.problems[0].contains("tried on made-up facts and failed in"),
        "{state:?}"
    );
    shelf.give(Ok(artifact("2", guest("firsta"))));
    stage.comes_to("a", Standing::Live).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_whose_registry_is_down_at_the_start_goes_live_when_it_is_back() {
    let shelf = Shelf::new(Err(outage()));
    let stage = stage(&shelf).await;
    let state = stage.comes_to("a", Standing::Refused).await;
    assert!(state.problems[0].contains("does not answer"), "{state:?}");
    shelf.give(Ok(artifact("1", guest("firsta"))));
    stage.comes_to("a", Standing::Live).await;
}

/// A registry that lets nobody in who has no credentials of their own.
#[derive(Default)]
struct Private {
    recipients: Mutex<Vec<Recipient>>,
}

#[async_trait]
impl Artifacts for Private {
    async fn fetch(&self, _: &str, _: Refresh) -> Result<Artifact, ArtifactFault> {
        Err(ArtifactFault {
            reason: "Unauthorized".to_owned(),
            message: "who asks?".to_owned(),
            retryable: true,
            retry_after: None,
        })
    }

    async fn fetch_for(&self, recipient: &Recipient, _: &str, _: Refresh) -> Result<Artifact, ArtifactFault> {
        self.recipients.lock().unwrap().push(recipient.clone());
        Ok(artifact("1", guest("firsta")))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_fetched_with_pull_secrets_is_not_lent_to_an_adapter_without_them() {
    let shelf = Arc::new(Private::default());
    let source = "oci://registry.example.com/guest:1";
    let with = |name: &str, secrets: &str| {
        with_guest(name, "one", source).replace("config: {v: 1}", &format!("{secrets} config: {{v: 1}}"))
    };
    let (holder, other) = (with("holder", "pullSecrets: [a, b],"), with("other", ""));
    let artifacts = Arc::clone(&shelf) as Arc<dyn Artifacts>;
    let documents = [("holder.yaml", holder.as_str()), ("other.yaml", other.as_str())];
    let never = Duration::from_secs(3600);
    let stage = Stage::set_slow(&documents, &[], Arc::new(Deaf), Some(artifacts), never).await;
    stage.comes_to("holder", Standing::Live).await;
    let refused = stage.comes_to("other", Standing::Refused).await;
    assert!(refused.problems[0].contains("(Unauthorized)"), "{refused:?}");
    let expected = Recipient {
        adapter: "holder".to_owned(),
        identity: Identity {
            namespace: "work".to_owned(),
            service_account: "adapter".to_owned(),
        },
        pull_secrets: vec!["a".to_owned(), "b".to_owned()],
    };
    assert_eq!(*shelf.recipients.lock().unwrap(), std::slice::from_ref(&expected));

    // Other secrets are other rights: it is asked again, and goes on meanwhile.
    stage.write("holder.yaml", with("holder", "pullSecrets: [b],"));
    let of_b = Recipient {
        pull_secrets: vec!["b".to_owned()],
        ..expected.clone()
    };
    let asked = || shelf.recipients.lock().unwrap().clone();
    stage
        .stands("holder", "asked for anew", |_| {
            asked() == [expected.clone(), of_b.clone()]
        })
        .await;
    stage.comes_to("holder", Standing::Live).await;
}
