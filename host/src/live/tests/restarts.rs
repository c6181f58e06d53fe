//! What another host in the same place begins with.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_plugin_survives_a_restart_after_its_tag_moved_to_a_bad_one() {
    let site = Site::new(OFTEN);
    let good = site.publish(&guest("good")).await;
    let stage = site.start().await;
    stage.lives("a", &good).await;
    let bad = site.publish(&trap("bad")).await;
    let refused = |plugin: &PluginState| plugin.newer.as_deref() == Some(bad.as_str()) && plugin.why.is_some();
    let plugin = stage.plugin("a", "refused", refused).await;
    assert_eq!(plugin.live.as_deref(), Some(good.as_str()));
    stage.stop().await;

    for down in [true, false] {
        if down {
            site.remote.is_down();
        } else {
            site.remote.is_up();
        }
        let stage = site.start().await;
        assert_eq!(stage.problems, Vec::new());
        let plugin = stage.lives("a", &good).await;
        assert_eq!(plugin.live.as_deref(), Some(good.as_str()), "down: {down}");
        stage.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_adapter_cannot_take_is_not_what_all_begin_with() {
    let (ours, partner) = (new_key(), new_key());
    let mut site = Site::new(OFTEN);
    site.policy = trust(&[&ours], Needed::Any);
    site.policies = BTreeMap::from([("strict".to_owned(), trust(&[&ours, &partner], Needed::All))]);
    site.document("strict", REFERENCE);
    let first = site.publish(&guest("first")).await;
    site.sign(&first, &ours).await;
    site.sign(&first, &partner).await;
    let stage = site.start().await;
    stage.lives("a", &first).await;
    stage.lives("strict", &first).await;
    let second = site.publish(&guest("second")).await;
    site.sign(&second, &ours).await;
    stage.lives("a", &second).await;
    let why = |plugin: &PluginState| plugin.why.as_ref().is_some_and(|why| why.contains("TooFewSignatures"));
    let strict = stage.plugin("strict", "left behind", why).await;
    assert_eq!(strict.live.as_deref(), Some(first.as_str()));
    stage.stop().await;

    site.remote.is_down();
    let stage = site.start().await;
    stage.lives("strict", &first).await;
    stage.lives("a", &first).await;
    site.remote.is_up();
    stage.host.refresh().await;
    stage.lives("a", &second).await;
    stage.stop().await;
}
