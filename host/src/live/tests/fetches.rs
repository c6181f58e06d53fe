//! What is fetched, when, and what becomes of it.

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
    let site = Site::new(OFTEN);
    let digest = site.publish(&guest("one")).await;
    let mut sources = site.sources();
    let begin = Timestamp::now();
    assert!(sources.turn(begin).await);
    assert!(sources.turn(at(begin, 1)).await, "by the interval");
    site.remote.is_down();
    assert!(sources.turn(at(begin, 2)).await);
    let (usable, trouble) = sources.stands();
    assert_eq!(usable.as_deref(), Some(digest.as_str()));
    assert!(trouble.unwrap().contains("(Unreachable)"));
    // Five seconds, give or take a tenth, then ten.
    assert!(!sources.turn(at(begin, 6)).await);
    assert!(sources.turn(at(begin, 8)).await);
    assert!(!sources.turn(at(begin, 16)).await);
    site.remote.is_up();
    assert!(sources.turn(at(begin, 20)).await);
    assert_eq!(sources.stands(), (Some(digest.to_string()), None));
    assert!(sources.turn(at(begin, 21)).await, "by the interval again");
}
