//! What is fetched, when, and what becomes of it.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::registry::remote::Fault;

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

#[tokio::test(flavor = "multi_thread")]
async fn however_often_it_is_asked_for_a_registry_is_asked_once_a_second() {
    let site = Site::new(NEVER);
    site.publish(&guest("one")).await;
    let mut sources = site.sources();
    let begin = Timestamp::now();
    let later = |milliseconds| sources::after(begin, Duration::from_millis(milliseconds));
    assert!(sources.turn(begin).await);
    // At once, should nobody have asked for long.
    let second = site.publish(&guest("second")).await;
    assert!(sources.ask(later(10_000)).await);
    assert_eq!(sources.stands(), (Some(second.to_string()), None));
    assert!(!sources.sources.is_asked_for());
    // Then all that want it within a second share one question, which comes after the last of them.
    let third = site.publish(&guest("third")).await;
    for milliseconds in 10_001..10_101 {
        assert!(!sources.ask(later(milliseconds)).await);
        assert!(sources.sources.is_asked_for(), "nobody is answered yet");
    }
    assert_eq!(site.remote.calls("resolve"), 2);
    assert!(!sources.turn(later(10_999)).await);
    assert!(sources.turn(later(11_000)).await);
    assert_eq!(site.remote.calls("resolve"), 3);
    assert_eq!(sources.stands(), (Some(third.to_string()), None));
    assert!(!sources.sources.is_asked_for());
    // A clock that is set back holds nobody up.
    assert!(sources.ask(later(0)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_a_refresh_again_and_again_is_answered_and_the_registry_is_spared() {
    let site = Site::new(NEVER);
    let digest = site.publish(&guest("one")).await;
    let stage = site.start().await;
    stage.lives("a", &digest).await;
    let before = site.remote.calls("resolve");
    let began = Instant::now();
    let host = &stage.host;
    futures::future::join_all((0..100).map(|_| host.refresh())).await;
    let newer = site.publish(&guest("newer")).await;
    host.refresh().await;
    // Whoever asks last is told of what was there before.
    assert_eq!(
        stage.state("a").unwrap().plugins[0].live.as_deref(),
        Some(newer.as_str())
    );
    let asked = site.remote.calls("resolve") - before;
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(asked <= 2 + seconds, "{asked} in {seconds} s");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_not_accepted_are_told_soon_beside_what_the_cache_has() {
    let site = Site::new(NEVER);
    let digest = site.publish(&guest("one")).await;
    assert!(site.sources().turn(Timestamp::now()).await);
    site.shelf().took_over(REFERENCE, digest.as_str()).await;
    let registry = || "registry.example.com".to_owned();
    for reason in ["Unauthorized", "Forbidden"] {
        site.remote.lies(move |_| {
            Some(match reason {
                "Unauthorized" => Fault::Unauthorized { registry: registry() },
                _ => Fault::Forbidden {
                    registry: registry(),
                    message: "not yours".to_owned(),
                },
            })
        });
        // A start asks nobody; a little later it is told, although the interval is long.
        let mut sources = site.sources();
        let (begin, asked) = (Timestamp::now(), site.remote.calls("resolve"));
        assert!(sources.turn(begin).await);
        assert_eq!(sources.stands(), (Some(digest.to_string()), None));
        assert_eq!(site.remote.calls("resolve"), asked);
        assert!(sources.turn(at(begin, 5)).await);
        let (usable, trouble) = sources.stands();
        assert_eq!(usable, Some(digest.to_string()));
        let trouble = trouble.unwrap();
        assert!(trouble.ends_with(&format!("({reason})")), "{trouble}");
    }

    // And where people look: the state, the metrics, and what is logged of it.
    let stage = site.start().await;
    let why = |plugin: &PluginState| plugin.why.as_ref().is_some_and(|why| why.ends_with("(Forbidden)"));
    let plugin = stage.plugin("a", "told of the denial", why).await;
    assert_eq!(plugin.live.as_deref(), Some(digest.as_str()));
    assert_eq!(stage.state("a").unwrap().state, Standing::Live);
    stage
        .tells(r#"berth_plugin_current{adapter="a",plugin="guest"} 0"#)
        .await;
    stage.stop().await;
}

/// The sources of a document with a file for a plugin, compiled by this script in this time.
fn sources_of_file(site: &mut Site, bytes: &[u8], script: &str, time: Duration) -> Turning {
    let settings = berth_runtime::Settings {
        pool: Pool::OnDemand,
        compiler: Some(berth_runtime::Compiler {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            time,
        }),
        ..berth_runtime::Settings::default()
    };
    site.runtime = Arc::new(Runtime::new(&settings).unwrap());
    let file = site.folder.path().join("guest.wasm");
    std::fs::write(&file, bytes).unwrap();
    let text = DOCUMENT
        .replace("NAME", "a")
        .replace("oci://SOURCE", &format!("file:{}", file.display()));
    let read = document::parse(std::path::Path::new("a.yaml"), &text, &caps());
    let adapter = read.strict().unwrap().remove(0).adapter;
    let mut sources = Sources::new(None, NEVER);
    sources.want([(&adapter, &adapter.plugins["guest"])].into_iter());
    Turning {
        sources,
        loader: site.loader(),
        adapter,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_takes_the_compiler_too_long_has_a_reason_of_its_own_and_is_tried_again_later() {
    let mut site = Site::new(NEVER);
    let limit = Duration::from_millis(50);
    let mut sources = sources_of_file(&mut site, &guest("slow"), "exec /bin/sleep 600", limit);
    let begin = Timestamp::now();
    assert!(sources.turn(begin).await);
    let (usable, trouble) = sources.stands();
    assert_eq!(usable, None);
    assert_eq!(
        trouble.as_deref(),
        Some("compiling the plugin takes longer than 50ms (CompileTimeout)")
    );
    // The same file is not tried at every look, but after an hour, or by hand.
    assert!(!sources.turn(at(begin, 3599)).await);
    assert!(sources.turn(at(begin, 3600)).await);
    assert!(!sources.turn(at(begin, 3601)).await);
    assert!(sources.ask(at(begin, 3602)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_compiled_beside_everything_else_as_what_comes_from_a_registry() {
    let mut site = Site::new(NEVER);
    let done = site.folder.path().join("done");
    let script = format!(
        "while [ ! -e {} ]; do /bin/sleep 0.01; done; echo 'no component' >&2; exit 3",
        done.display()
    );
    let mut sources = sources_of_file(&mut site, &guest("slow"), &script, PATIENCE);
    // A look does not wait for it; and until it ends, nothing is known of it.
    sources.sources.look(&sources.loader, Timestamp::now(), false).await;
    assert!(sources.sources.is_fetching());
    assert_eq!(sources.stands(), (None, None));
    let plugin = &sources.adapter.plugins["guest"];
    assert!(matches!(
        sources.sources.state(&sources.adapter, plugin),
        State::Fetching
    ));
    std::fs::write(done, "").unwrap();
    // Another look does not begin it again.
    assert!(sources.turn(Timestamp::now()).await);
    let trouble = sources.stands().1.unwrap();
    assert!(trouble.ends_with("no component (InvalidComponent)"), "{trouble}");
    assert!(!sources.turn(Timestamp::now()).await);
}

/// Gives each caller what its own channel brings, in the order of the calls.
struct Waiting(std::sync::Mutex<Vec<tokio::sync::oneshot::Receiver<Artifact>>>);

#[async_trait::async_trait]
impl Artifacts for Waiting {
    async fn fetch(&self, _: &str, _: Refresh) -> Result<Artifact, ArtifactFault> {
        let next = self.0.lock().unwrap().remove(0);
        Ok(next.await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_answer_that_comes_late_takes_nothing_over() {
    let site = Site::new(NEVER);
    let (first, answer_first) = tokio::sync::oneshot::channel();
    let (second, answer_second) = tokio::sync::oneshot::channel();
    let waiting = Waiting(std::sync::Mutex::new(vec![answer_first, answer_second]));
    let mut sources = site.sources_of(Arc::new(waiting));
    let now = Timestamp::now();
    let artifact = |digest: &str, bytes: Vec<u8>| Artifact {
        bytes: bytes.into(),
        digest: format!("sha256:{digest}"),
        signed_by: Vec::new(),
        asked: true,
        stale: None,
    };
    // The document is taken away while its plugin is fetched, and comes back.
    sources.sources.look(&sources.loader, now, false).await;
    sources.sources.want(std::iter::empty());
    let adapter = sources.adapter.clone();
    sources
        .sources
        .want([(&adapter, &adapter.plugins["guest"])].into_iter());
    sources.sources.look(&sources.loader, now, false).await;
    assert!(second.send(artifact("new", guest("new"))).is_ok());
    let landed = sources.sources.landed().await.unwrap();
    sources.sources.take_in(landed, now, 0.5);
    assert_eq!(sources.stands(), (Some("sha256:new".to_owned()), None));
    assert!(first.send(artifact("old", guest("old"))).is_ok());
    let landed = sources.sources.landed().await.unwrap();
    sources.sources.take_in(landed, now, 0.5);
    assert_eq!(sources.stands(), (Some("sha256:new".to_owned()), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_outage_leaves_in_the_cache_does_not_replace_what_is_newer() {
    let site = Site::new(NEVER);
    let old = site.publish(&guest("old")).await;
    let mut sources = site.sources();
    let begin = Timestamp::now();
    assert!(sources.turn(begin).await);
    // What a restart begins with is the old one, as if noting the new one had failed.
    site.shelf().took_over(REFERENCE, old.as_str()).await;
    let new = site.publish(&guest("new")).await;
    assert!(sources.ask(at(begin, 10)).await);
    assert_eq!(sources.stands(), (Some(new.to_string()), None));
    site.remote.is_down();
    assert!(sources.ask(at(begin, 20)).await);
    let (usable, trouble) = sources.stands();
    assert_eq!(usable, Some(new.to_string()));
    assert!(trouble.unwrap().contains("(Unreachable)"));
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
        asked: true,
        stale: None,
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
        Some(Fault::RateLimited {
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
