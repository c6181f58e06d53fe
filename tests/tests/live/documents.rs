//! Documents come, change, break and go.

use std::time::Duration;

use berth::{
    live::purge::{self, Leftovers},
    telemetry::admin::Standing,
};
use berth_engine::{
    contract::Reference,
    manifest::{LABEL_ADAPTER, LABEL_SUBJECT_ID, LABEL_SUBJECT_KIND},
};
use serde_json::json;

use super::{
    guest::{document, guest, with_guest},
    stage::Stage,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_change_leaves_what_was_live_and_a_good_one_takes_over() {
    let stage = Stage::set(&[("a.yaml", &document("a", "one"))]).await;
    let cluster = stage.cluster("east-1");
    assert_eq!(stage.publish(&cluster).await, 204);
    stage.reports(&cluster, "a", "one").await;

    for (bad, place) in [
        (
            document("a", "two").replace("subjects", "subjekts"),
            "a.yaml:6:3: spec.subjekts",
        ),
        ("a: [".to_owned(), "a.yaml:1:4"),
        (
            document("a", "two").replace(".subject.id", ".subjekt.id"),
            "a.yaml:15:26: spec.resources[0].manifest.metadata.name",
        ),
        (String::new(), "a.yaml: contains no document"),
    ] {
        stage.write("a.yaml", &bad);
        let state = stage
            .stands("a", "refused there", |state| {
                state.state == Standing::Outdated || !state.problems.is_empty()
            })
            .await;
        assert_eq!(state.state, Standing::Outdated, "{state:?}");
        assert!(state.problems[0].contains(place), "{place}: {:?}", state.problems);
        assert_eq!(stage.publish(&cluster).await, 204);
        stage.reports(&cluster, "a", "one").await;
        let metrics = stage.metrics.encode().unwrap();
        assert!(
            metrics.contains(r#"berth_adapter_state{adapter="a",state="refused"} 1"#),
            "{metrics}"
        );
        assert!(
            metrics.contains(r#"berth_last_reload_success{what="documents"} 0"#),
            "{metrics}"
        );
        stage.write("a.yaml", document("a", "one"));
        stage.comes_to("a", Standing::Live).await;
    }

    stage.write("a.yaml", document("a", "two"));
    // Nobody publishes: a document that changed runs for all that is known.
    stage.reports(&cluster, "a", "two").await;
    let metrics = stage.metrics.encode().unwrap();
    assert!(
        metrics.contains(r#"berth_adapter_state{adapter="a",state="refused"} 0"#),
        "{metrics}"
    );
    assert!(
        metrics.contains(r#"berth_last_reload_success{what="documents"} 1"#),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_tells_of_nothing_new_is_reported_and_asks_only_what_depends_on_the_time() {
    let timed = |version: &str| {
        document("b", version).replace("  status:\n    data: {", "  status:\n    data: {at: '{{ now }}', ")
    };
    let stage = Stage::set(&[("a.yaml", &document("a", "one")), ("b.yaml", &timed("one"))]).await;
    let cluster = stage.cluster("east-1");
    let count = |metric: &str, adapter: &str, phase: &str| {
        let text = stage.metrics.encode().unwrap();
        let begins = format!("{metric}{{adapter=\"{adapter}\"");
        let phase = format!("phase=\"{phase}\"");
        let is = |line: &&str| line.starts_with(&begins) && line.contains(&phase);
        let number = |line: &str| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        text.lines().filter(is).map(number).sum::<u64>()
    };
    let calls = |adapter, phase| count("berth_plugin_calls_total", adapter, phase);
    let again = |adapter, phase| count("berth_plugin_answers_again_total", adapter, phase);
    // The second finds the row of the first.
    for _ in 0..2 {
        assert_eq!(stage.publish(&cluster).await, 204);
    }
    let told = |adapter| stage.row(&cluster, adapter).unwrap().0["last_report_time"].clone();
    for _ in 0..3 {
        let before = [("a", "resources"), ("b", "resources"), ("a", "status"), ("b", "status")]
            .map(|(adapter, phase)| (adapter, phase, calls(adapter, phase), again(adapter, phase)));
        let reported = ["a", "b"].map(told);
        assert_eq!(stage.publish(&cluster).await, 204);
        for (adapter, phase, calls_before, again_before) in before {
            let asked = u64::from((adapter, phase) == ("b", "status"));
            assert_eq!(calls(adapter, phase) - calls_before, asked, "{adapter} {phase}");
            assert_eq!(again(adapter, phase) - again_before, 1 - asked, "{adapter} {phase}");
        }
        assert!(
            ["a", "b"]
                .map(told)
                .iter()
                .zip(reported)
                .all(|(now, before)| *now != before)
        );
    }
    // What is live from now on is asked itself.
    stage.write("a.yaml", document("a", "two"));
    stage.reports(&cluster, "a", "two").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configmap_that_is_exchanged_goes_live_as_a_whole() {
    let stage = Stage::set(&[]).await;
    let publish = |version: &str| {
        let name = format!("..{version}");
        std::fs::create_dir(stage.folder.path().join(&name)).unwrap();
        for adapter in ["a", "b"] {
            stage.write(&format!("{name}/{adapter}.yaml"), document(adapter, version));
        }
        stage.link(&name, "..data");
    };
    publish("one");
    for adapter in ["a", "b"] {
        stage.link(&format!("..data/{adapter}.yaml"), &format!("{adapter}.yaml"));
    }
    stage.comes_to("a", Standing::Live).await;
    stage.comes_to("b", Standing::Live).await;
    let cluster = stage.cluster("east-1");
    assert_eq!(stage.publish(&cluster).await, 204);
    publish("two");
    stage.reports(&cluster, "a", "two").await;
    stage.reports(&cluster, "b", "two").await;
    assert_eq!(stage.host.board().problems(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_goes_leaves_its_objects_and_finds_them_again_when_it_comes_back() {
    let documents = [("a.yaml", document("a", "one")), ("b.yaml", document("b", "one"))];
    let documents: Vec<(&str, &str)> = documents.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let stage = Stage::set(&documents).await;
    let cluster = stage.cluster("east-1");
    assert_eq!(stage.publish(&cluster).await, 204);
    stage.reports(&cluster, "a", "one").await;
    let object = Reference {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: Some("work".into()),
        name: format!("a-{}", cluster.rsplit('/').next().unwrap()),
    };

    stage.remove("a.yaml");
    let state = stage.comes_to("a", Standing::Removed).await;
    assert_eq!(state.kinds[0].kind, "ConfigMap");
    assert_eq!(stage.publish(&cluster).await, 204, "the other adapter settles it");
    assert!(stage.kubernetes.object(&object).is_some());
    assert!(
        !stage
            .metrics
            .encode()
            .unwrap()
            .contains(r#"berth_adapter_state{adapter="a""#)
    );

    stage.write("a.yaml", document("a", "two"));
    // Nobody publishes: what it made before leads to its subjects.
    stage.reports(&cluster, "a", "two").await;
    assert_eq!(stage.kubernetes.object(&object).unwrap()["data"]["version"], "two");
    stage.comes_to("a", Standing::Live).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_adapter_is_purged_of_what_its_earlier_documents_made_too() {
    let stage = Stage::set(&[("a.yaml", &document("a", "one"))]).await;
    // Without our annotations it leads to no subject, so that the host leaves it where it is.
    let labels = json!({LABEL_ADAPTER: "a", LABEL_SUBJECT_KIND: "Cluster", LABEL_SUBJECT_ID: "c-1"});
    let made = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "made", "namespace": "work", "labels": labels},
    });
    stage.kubernetes.create("test", made).unwrap();
    for (version, kind) in [("two", "Secret"), ("three", "Service")] {
        stage.write(
            "a.yaml",
            document("a", version).replace("kind: ConfigMap", &format!("kind: {kind}")),
        );
        stage
            .stands("a", "live with another kind", |state| {
                state.state == Standing::Live && state.kinds.iter().any(|one| one.kind == kind)
            })
            .await;
    }
    stage.remove("a.yaml");
    let state = stage.comes_to("a", Standing::Removed).await;
    let leftovers = Leftovers {
        adapter: state.name,
        namespace: state.namespace.unwrap(),
        service_account: state.service_account.unwrap(),
        kinds: state.kinds.into_iter().map(Into::into).collect(),
    };
    let found = purge::find(&stage.kubernetes, &leftovers).await.unwrap();
    let names: Vec<_> = found.delete.iter().map(|one| one.reference.name.as_str()).collect();
    assert_eq!(names, ["made"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_while_no_adapter_of_their_kind_is_live_yet() {
    let stage = Stage::set(&[]).await;
    let cluster = stage.cluster("east-1");
    assert_eq!(stage.publish(&cluster).await, 503, "there is no adapter at all");
    let nodepools = document("pools", "one").replace("[Cluster]", "[NodePool]");
    stage.write("pools.yaml", nodepools);
    stage.comes_to("pools", Standing::Live).await;
    assert_eq!(stage.publish(&cluster).await, 204, "nobody wants it");
    stage.write("a.yaml", with_guest("a", "one", "file:guest.wasm"));
    let state = stage.comes_to("a", Standing::Refused).await;
    assert!(
        state.problems[0].contains("spec.plugins.guest.source: cannot read"),
        "{state:?}"
    );
    assert_eq!(stage.publish(&cluster).await, 503, "its adapter is to come");
    stage.write("guest.wasm", guest("firsta"));
    stage.comes_to("a", Standing::Live).await;
    assert_eq!(stage.publish(&cluster).await, 204);
    stage.reports(&cluster, "a", "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_given_twice_is_refused_and_the_first_stays() {
    let stage = Stage::set(&[("a.yaml", &document("a", "one"))]).await;
    stage.write("copy.yaml", document("a", "two"));
    let state = stage.comes_to("a", Standing::Outdated).await;
    assert!(state.problems.iter().any(|one| one.contains("copy.yaml")), "{state:?}");
    let cluster = stage.cluster("east-1");
    assert_eq!(stage.publish(&cluster).await, 204);
    stage.reports(&cluster, "a", "one").await;
    stage.remove("copy.yaml");
    stage.comes_to("a", Standing::Live).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_file_that_is_damaged_or_traps_does_not_take_over() {
    let text = with_guest("a", "one", "file:guest.wasm");
    let good = guest("firsta");
    let stage = Stage::set_with(
        &[("a.yaml", &text)],
        &[("guest.wasm", &good)],
        std::sync::Arc::new(berth::dispatch::Deaf),
        None,
    )
    .await;
    let cluster = stage.cluster("east-1");
    for bad in [
        good[..good.len() / 2].to_vec(),
        b"none".to_vec(),
        berth_test_guests::component("traps-after-setup"),
    ] {
        stage.write("guest.wasm", &bad);
        let state = stage.comes_to("a", Standing::Outdated).await;
        assert!(state.problems[0].contains("a.yaml:"), "{state:?}");
        assert!(state.problems[0].contains("spec.plugins.guest"), "{state:?}");
        assert_eq!(stage.publish(&cluster).await, 204);
        stage.reports(&cluster, "a", "one").await;
        stage.write("guest.wasm", &good);
        stage.comes_to("a", Standing::Live).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_under_way_ends_as_it_began_and_one_that_waits_for_a_removed_adapter_is_left_to_the_others() {
    let stage = Stage::set(&[("a.yaml", &document("a", "one"))]).await;
    let cluster = stage.cluster("east-1");
    // So long that the document has gone by then, on a busy machine too.
    stage.slow_down(Duration::from_secs(10));
    let begun = tokio::spawn(stage.publish(&cluster));
    stage.is_asked().await;
    let waiting = tokio::spawn(stage.publish(&cluster));
    stage.remove("a.yaml");
    stage.comes_to("a", Standing::Removed).await;
    assert_eq!(waiting.await.unwrap(), 204);
    assert_eq!(
        stage.row(&cluster, "a").map(|row| row.tell()),
        None,
        "the first is still under way"
    );
    assert_eq!(begun.await.unwrap(), 204);
    stage.reports(&cluster, "a", "one").await;
}
