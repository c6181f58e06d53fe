//! Twenty swaps under steady events.

use std::sync::Arc;

use berth::dispatch::Listener;

use super::{
    guest::{guest, with_guest},
    stage::Stage,
    witness::{Senders, Witness},
};

#[tokio::test(flavor = "multi_thread")]
async fn twenty_swaps_under_steady_events_lose_nothing_and_mix_nothing() {
    let plugins = [guest("firsta"), guest("second")];
    let witness = Arc::new(Witness::default());
    let text = with_guest("swapped", "v0", "file:guest.wasm");
    let documents = [("swapped.yaml", text.as_str())];
    let files = [("guest.wasm", plugins[0].as_slice())];
    let listener = Arc::clone(&witness) as Arc<dyn Listener>;
    let stage = Arc::new(Stage::set_with(&documents, &files, listener, None).await);
    let state = stage.state("swapped").unwrap();
    assert_eq!(state.problems, Vec::<String>::new());

    let senders = Senders::start(&stage);

    let mut last = state;
    for swap in 1..=20_usize {
        // Documents and plugins in turn, each between two versions.
        let version = (swap / 2) % 2;
        if swap % 2 == 0 {
            let text = with_guest("swapped", &format!("v{version}"), "file:guest.wasm");
            stage.write("swapped.yaml", text);
        } else {
            stage.write("guest.wasm", &plugins[(version + 1) % 2]);
        }
        let events = senders.settled();
        let before = last.clone();
        last = stage
            .stands("swapped", "swapped", |state| {
                let changed = |live: &berth::telemetry::admin::AdapterState| {
                    (
                        live.live.clone(),
                        live.plugins.iter().map(|one| one.live.clone()).collect::<Vec<_>>(),
                    )
                };
                changed(state) != changed(&before)
            })
            .await;
        assert_eq!(last.problems, Vec::<String>::new(), "swap {swap}");
        // Events go on with what is new.
        stage
            .stands("swapped", "asked", |_| senders.settled() >= events + 4)
            .await;
    }
    senders.end().await;

    assert!(witness.ended.lock().unwrap().len() >= 80);
    let pairs = witness.pairs();
    assert_eq!(pairs.len(), 4, "every pair of versions has worked: {pairs:?}");
}
