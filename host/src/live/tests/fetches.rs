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
