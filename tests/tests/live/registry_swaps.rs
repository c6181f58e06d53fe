//! Twenty swaps under steady events, of a plugin whose tag moves in a real registry.

use std::{sync::Arc, time::Duration};

use berth::{
    artifacts::Shelf,
    config::host::{Registries, Written, load_registries},
    dispatch::{Deaf, Listener},
    telemetry::admin::Standing,
};
use serde_json::{Value, json};

use super::{
    guest::{guest, with_guest},
    stage::Stage,
    witness::{Senders, Witness},
};
use crate::world::World;

/// Settings of a host that loads what `key` signed; and what others are needed for single adapters.
fn settings(world: &World, key: &str, per_adapter: &Value) -> Registries {
    let text = json!({"registries": {
        "allow": [format!("{}/*", world.repository().registry)],
        "insecure": world.running.insecure(),
        "keys": [world.file(&format!("{key}.pub"))],
        "perAdapter": per_adapter,
    }})
    .to_string();
    let file = world.file("berth.yaml");
    let read = load_registries(&Written {
        file: Some((&file, &text)),
        ..Written::default()
    });
    read.unwrap_or_else(|problems| panic!("{problems:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moves_twenty_times_under_steady_events_loses_nothing_and_mixes_nothing() {
    let world = World::start().await;
    world.new_key("ours");
    let plugins = [guest("firsta"), guest("second")];
    let mut digests = Vec::new();
    for plugin in plugins.iter().rev() {
        let digest = world.push_as("live", plugin).await;
        world.we_sign(&digest, "ours").await;
        digests.insert(0, digest.to_string());
    }
    let cache = world.file("cache");
    let shelf = Shelf::new(&settings(&world, "ours", &json!({})), cache).unwrap();
    let witness = Arc::new(Witness::default());
    let source = format!("oci://{}:live", world.repository());
    let text = with_guest("swapped", "v0", &source);
    let documents = [("swapped.yaml", text.as_str())];
    let listener = Arc::clone(&witness) as Arc<dyn Listener>;
    // Only on demand.
    let never = Duration::from_secs(3600);
    let stage = Stage::set_slow(&documents, &[], listener, Some(Arc::new(shelf)), never).await;
    let stage = Arc::new(stage);
    let state = stage.comes_to("swapped", Standing::Live).await;
    assert_eq!(state.problems, Vec::<String>::new());
    let live = || {
        let state = stage.state("swapped").unwrap();
        let guest = state.plugins.into_iter().find(|one| one.plugin == "guest").unwrap();
        (guest.live.unwrap_or_default(), guest.signed_by)
    };
    assert_eq!(live(), (digests[0].clone(), vec!["ours.pub".to_owned()]));

    let senders = Senders::start(&stage);
    for swap in 1..=20_usize {
        let pushed = world.push_as("live", &plugins[swap % 2]).await;
        assert_eq!(pushed.as_str(), digests[swap % 2]);
        let events = senders.settled();
        // It answers when the registry was asked and what it has is live.
        let told = stage.ask("POST", "/plugins/refresh").await;
        let expected = (digests[swap % 2].clone(), vec!["ours.pub".to_owned()]);
        assert_eq!(live(), expected, "swap {swap}: {told:#}");
        stage
            .stands("swapped", "asked", |_| senders.settled() >= events + 4)
            .await;
    }
    senders.end().await;
    assert!(witness.ended.lock().unwrap().len() >= 80);
    let plugins: Vec<String> = witness.pairs().into_iter().map(|(_, plugin)| plugin).collect();
    assert_eq!(plugins, ["firsta", "second"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_with_rules_of_its_own_waits_for_the_signatures_that_it_needs() {
    let world = World::start().await;
    world.new_key("ours");
    world.new_key("partner");
    let digest = world.push_as("live", &guest("firsta")).await;
    world.we_sign(&digest, "ours").await;
    let keys = ["ours", "partner"].map(|key| world.file(&format!("{key}.pub")));
    let rules = json!({"strict": {"keys": keys, "policy": "all"}});
    let shelf = Shelf::new(&settings(&world, "ours", &rules), world.file("cache")).unwrap();
    let source = format!("oci://{}:live", world.repository());
    let (lax, strict) = (with_guest("lax", "v0", &source), with_guest("strict", "v0", &source));
    let documents = [("lax.yaml", lax.as_str()), ("strict.yaml", strict.as_str())];
    let never = Duration::from_secs(3600);
    let stage = Stage::set_slow(&documents, &[], Arc::new(Deaf), Some(Arc::new(shelf)), never).await;
    let signers = |adapter: &str| {
        let state = stage.state(adapter).unwrap();
        let guest = state.plugins.into_iter().find(|one| one.plugin == "guest").unwrap();
        guest.signed_by
    };
    stage.comes_to("lax", Standing::Live).await;
    assert_eq!(signers("lax"), ["ours.pub"]);
    let refused = stage.comes_to("strict", Standing::Refused).await;
    assert!(refused.problems[0].contains("(TooFewSignatures)"), "{refused:?}");

    world.we_sign_as_bundle(&digest, "partner").await;
    stage.ask("POST", "/plugins/refresh").await;
    stage.comes_to("strict", Standing::Live).await;
    assert_eq!(signers("strict"), ["ours.pub", "partner.pub"]);
    assert_eq!(signers("lax"), ["ours.pub"]);
}
