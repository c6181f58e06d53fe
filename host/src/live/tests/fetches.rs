//! What is fetched, when, and what becomes of it.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_the_cache_refuses_goes_live_by_the_interval_once_it_is_signed() {
    let (ours, partner) = (new_key(), new_key());
    let mut site = Site::new(OFTEN);
    site.policy = trust(&[&ours], Needed::Any);
    let digest = site.publish(&guest("one")).await;
    site.sign(&digest, &ours).await;
    // It is in the cache, with one signature.
    let stage = site.start().await;
    stage.lives("a", &digest).await;
    stage.stop().await;

    // Now two are needed.
    site.policy = trust(&[&ours, &partner], Needed::All);
    let stage = site.start().await;
    let why = |plugin: &PluginState| plugin.why.as_ref().is_some_and(|why| why.contains("TooFewSignatures"));
    stage.plugin("a", "refused", why).await;
    assert_eq!(stage.state("a").unwrap().state, Standing::Refused);
    site.sign(&digest, &partner).await;
    let plugin = stage.lives("a", &digest).await;
    assert_eq!(plugin.signed_by, ["key-0", "key-1"]);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_beside_the_plugin_that_goes_on() {
    let site = Site::new(OFTEN);
    let digest = site.publish(&guest("one")).await;
    let stage = site.start().await;
    stage.lives("a", &digest).await;
    let current = r#"berth_plugin_current{adapter="a",plugin="guest"}"#;
    stage.tells(&format!("{current} 1")).await;

    site.remote.is_down();
    let why = |plugin: &PluginState| plugin.why.as_ref().is_some_and(|why| why.contains("(Unreachable)"));
    let plugin = stage.plugin("a", "told of the outage", why).await;
    assert_eq!(plugin.live.as_deref(), Some(digest.as_str()));
    assert_eq!(stage.state("a").unwrap().state, Standing::Live);
    stage.tells(&format!("{current} 0")).await;

    site.remote.is_up();
    stage.host.refresh().await;
    let plugin = stage.lives("a", &digest).await;
    assert_eq!(plugin.why, None);
    stage.tells(&format!("{current} 1")).await;
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_is_asked_after_a_pause_that_grows_and_not_by_the_interval() {
    let site = Site::new(Duration::from_secs(60));
    let digest = site.publish(&guest("one")).await;
    let mut sources = site.sources();
    let begin = Timestamp::now();
    assert!(sources.turn(begin).await);
    assert!(!sources.turn(at(begin, 59)).await);
    assert!(sources.turn(at(begin, 60)).await, "by the interval");
    site.remote.is_down();
    assert!(sources.turn(at(begin, 120)).await);
    let (usable, trouble) = sources.stands();
    assert_eq!(usable.as_deref(), Some(digest.as_str()));
    assert!(trouble.unwrap().contains("(Unreachable)"));
    assert!(!sources.turn(at(begin, 124)).await);
    assert!(sources.turn(at(begin, 125)).await);
    assert!(!sources.turn(at(begin, 134)).await);
    site.remote.is_up();
    assert!(sources.turn(at(begin, 135)).await);
    assert_eq!(sources.stands(), (Some(digest.to_string()), None));
    assert!(!sources.turn(at(begin, 194)).await);
    assert!(sources.turn(at(begin, 195)).await, "by the interval again");
}

/// Gives what it was told to.
struct Given(std::sync::Mutex<Artifact>);

#[async_trait::async_trait]
impl Artifacts for Given {
    async fn fetch(&self, _: &str, _: Refresh) -> Result<Artifact, ArtifactFault> {
        Ok(self.0.lock().unwrap().clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_cannot_be_compiled_is_not_compiled_again_at_every_refresh() {
    let artifact = |bytes: Vec<u8>| Artifact {
        bytes: bytes.into(),
        digest: "sha256:1".to_owned(),
        signed_by: Vec::new(),
        outage: None,
    };
    let given = Arc::new(Given(std::sync::Mutex::new(artifact(b"none".to_vec()))));
    let mut site = Site::new(Duration::from_secs(60));
    let begin = Timestamp::now();
    let mut sources = site.sources_of(Arc::clone(&given) as Arc<dyn Artifacts>);
    let stands = |sources: &Turning| {
        let (usable, trouble) = sources.stands();
        (usable, trouble.is_some_and(|trouble| trouble.contains("component")))
    };
    assert!(sources.turn(begin).await);
    assert_eq!(stands(&sources), (None, true));
    // It could be compiled now, but nobody tries: the digest is the same.
    *given.0.lock().unwrap() = artifact(guest("one"));
    for seconds in [60, 600, 3540] {
        assert!(sources.turn(at(begin, seconds)).await);
        assert_eq!(stands(&sources), (None, true), "{seconds}");
    }
    assert!(sources.turn(at(begin, 3660)).await);
    assert_eq!(stands(&sources), (Some("sha256:1".to_owned()), false));

    // By hand it is tried at once.
    *given.0.lock().unwrap() = artifact(b"none".to_vec());
    site.refresh = Duration::from_secs(3600);
    let mut sources = site.sources_of(Arc::clone(&given) as Arc<dyn Artifacts>);
    assert!(sources.turn(begin).await);
    *given.0.lock().unwrap() = artifact(guest("one"));
    assert!(!sources.turn(at(begin, 60)).await);
    assert!(sources.ask(at(begin, 60)).await);
    assert_eq!(stands(&sources), (Some("sha256:1".to_owned()), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_plugin_does_not_come_is_served_and_not_ready() {
    let site = Site::new(NEVER);
    site.publish(&guest("one")).await;
    *site.remote.hangs.lock().unwrap() = true;
    let metrics = Arc::new(Metrics::new("test", "test"));
    let host = Host::new(site.parts(&metrics), Some(Arc::new(site.shelf())), Some(NEVER));
    let (address, _) = host.listen(([127, 0, 0, 1], 0).into(), host.admin()).await.unwrap();
    let documents = site.folder.path().join("adapters");
    let loading = document::load_folder(&documents, &caps());
    let opening = tokio::spawn({
        let host = Arc::clone(&host);
        async move { host.open(loading).await }
    });
    let end = Instant::now() + PATIENCE;
    while site.remote.calls("resolve") == 0 {
        assert!(Instant::now() < end, "the registry is not asked");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
    let ask = async |path: &str| {
        let answer = client.get(format!("http://{address}{path}")).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ask("/healthz").await.0, 200);
    let (status, told) = ask("/readyz").await;
    assert_eq!(status, 503);
    assert!(told.contains("the host starts"), "{told}");
    opening.abort();
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_says_when_it_wants_to_be_asked_again_is_obeyed() {
    let site = Site::new(Duration::from_secs(60));
    let digest = site.publish(&guest("one")).await;
    let mut sources = site.sources();
    let begin = Timestamp::now();
    assert!(sources.turn(begin).await);
    site.remote.lies(|_| {
        Some(crate::registry::remote::Fault::RateLimited {
            registry: "registry.example.com".to_owned(),
            retry_after: Some(Duration::from_secs(900)),
        })
    });
    assert!(sources.turn(at(begin, 60)).await);
    let (usable, trouble) = sources.stands();
    assert_eq!(usable.as_deref(), Some(digest.as_str()));
    assert!(trouble.unwrap().contains("(RateLimited)"));
    assert!(!sources.turn(at(begin, 959)).await);
    assert!(sources.turn(at(begin, 960)).await);
}

/// Counts how often it is asked at once.
#[derive(Default)]
struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait::async_trait]
impl Artifacts for Crowd {
    async fn fetch(&self, _: &str, _: Refresh) -> Result<Artifact, ArtifactFault> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        // Everybody else has a turn, should they be let in.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        self.now.fetch_sub(1, Ordering::SeqCst);
        Err(ArtifactFault {
            reason: "Unreachable".to_owned(),
            message: "nobody is there".to_owned(),
            retryable: true,
            retry_after: None,
        })
    }
}

#[tokio::test]
async fn four_registries_are_asked_at_once_and_no_more() {
    let site = Site::new(NEVER);
    let wanted: Vec<Adapter> = (0..20)
        .map(|number| adapter(&format!("r.example.com/guest:{number}")))
        .collect();
    let crowd = Arc::new(Crowd::default());
    let mut sources = Sources::new(Some(Arc::clone(&crowd) as Arc<dyn Artifacts>), NEVER);
    sources.want(wanted.iter().map(|one| (one, &one.plugins["guest"])));
    sources.look(&site.loader(), Timestamp::now(), false).await;
    while let Some(landed) = sources.landed().await {
        sources.take_in(landed, Timestamp::now(), 0.5);
    }
    assert_eq!(crowd.most.load(Ordering::SeqCst), 4);
}
