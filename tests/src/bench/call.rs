//! What a call of a plugin costs.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use berth_engine::{
    adapter::{Grants, Limits},
    contract::{Facts, Question, Said, Trigger, Verdict},
    subject::{Subject, SubjectKey},
};
use berth_runtime::{CallContext, Plugin, Runtime, hosts::NoHost};
use berth_sdk::{Preconditions as _, RawSetup as _};
use landing_zone::LandingZone;
use serde_json::{Value, json};

use super::{Baseline, Figure, Samples, component};

const WARM_UP: usize = 2_000;
const CALLS: usize = 20_000;
const PLUGINS: u8 = 100;
/// How large the facts are, as JSON.
const FACTS: usize = 4 << 10;
const GOAL_P50: Duration = Duration::from_micros(50);
const GOAL_P99: Duration = Duration::from_micros(150);

/// One plugin, again and again.
pub(super) async fn of_one() -> Result<Vec<Figure>> {
    let runtime = berth::serve::runtime(None)?;
    let plugin = load(&runtime, component("landing-zone.wasm")?).await?;
    Ok(vec![Figure {
        name: "plugin-call".to_owned(),
        what: "preconditions of landing-zone (Rust): 4 KB of facts, all limits, a fresh instance each",
        samples: preconditions(&[plugin]).await?,
        goal_p50: Some(GOAL_P50),
        goal_p99: Some(GOAL_P99),
        baselines: vec![native()?],
    }])
}

/// Many plugins, each as often as the next.
pub(super) async fn of_many() -> Result<Vec<Figure>> {
    let runtime = berth::serve::runtime(None)?;
    let bytes = component("landing-zone.wasm")?;
    let mut plugins = Vec::new();
    for number in 0..PLUGINS {
        plugins.push(load(&runtime, numbered(&bytes, number)).await?);
    }
    let first = plugins[0].digest();
    ensure!(
        plugins[1..].iter().all(|plugin| plugin.digest() != first),
        "the plugins are not distinct"
    );
    Ok(vec![Figure {
        name: "plugin-call-of-100".to_owned(),
        what: "the same call of 100 distinct plugins in turn",
        samples: preconditions(&plugins).await?,
        goal_p50: Some(GOAL_P50),
        goal_p99: Some(GOAL_P99),
        baselines: vec![native()?],
    }])
}

async fn preconditions(plugins: &[Arc<Plugin>]) -> Result<Samples> {
    let question = Question::Preconditions { facts: facts()?.into() };
    let is_expected = |said: &Said| *said == Said::Preconditions(Verdict::Proceed);
    calls(plugins, &question, &config(), is_expected).await
}

/// Loads a component.
pub(super) async fn load(runtime: &Arc<Runtime>, bytes: Vec<u8>) -> Result<Arc<Plugin>> {
    let runtime = Arc::clone(runtime);
    let plugin = tokio::task::spawn_blocking(move || runtime.load(&bytes)).await?;
    plugin.context("cannot load the plugin")
}

/// The same component with another digest: a custom section says nothing to who runs it.
fn numbered(bytes: &[u8], number: u8) -> Vec<u8> {
    const NAME: &[u8] = b"copy";
    let mut copy = bytes.to_vec();
    // Section 0, its size, the size of its name, its name, and what it says.
    copy.extend([0, 6, 4]);
    copy.extend(NAME);
    copy.push(number);
    copy
}

/// Asks the plugins in turn, each with the same configuration.
pub(super) async fn calls(
    plugins: &[Arc<Plugin>],
    question: &Question,
    config: &Value,
    is_expected: fn(&Said) -> bool,
) -> Result<Samples> {
    let limits = Limits::default();
    let config = config.to_string();
    let prepared = plugins[0]
        .prepare(&config, &limits)
        .await
        .context("cannot prepare the plugin")?;
    let context = CallContext {
        name: "lz".into(),
        adapter: "landing-zone".into(),
        namespace: "hyperfleet-adapters".into(),
        config: config.into(),
        prepared: prepared.into(),
        variables: Arc::default(),
        limits,
        grants: Arc::new(Grants::default()),
        host: Arc::new(NoHost),
        one_instance: false,
        vary: None,
    };
    let mut times = Vec::with_capacity(CALLS);
    for (call, plugin) in plugins.iter().cycle().take(WARM_UP + CALLS).enumerate() {
        let begin = Instant::now();
        let answered = plugin.call(question, &context).await;
        let took = begin.elapsed();
        let said = answered.context("the plugin gives no answer")?.answer.said;
        ensure!(is_expected(&said), "the plugin says {said:?}");
        if call >= WARM_UP {
            times.push(took);
        }
    }
    Samples::new(times)
}

/// The plugin's own function, compiled for this machine and called on the same facts.
fn native() -> Result<Baseline> {
    let facts = facts()?;
    let prepared = LandingZone::prepare_raw(&config().into())
        .map_err(|problems| anyhow::anyhow!("the configuration is refused: {problems:?}"))?;
    let told = berth_sdk::Facts {
        adapter: facts.adapter.clone(),
        prepared,
        ..berth_sdk::testing::facts(facts.subject.document.into_value())
    };
    beside(
        || LandingZone::preconditions(black_box(&told)),
        |answer| match answer.map(|answer| answer.value) {
            Ok(berth_sdk::Verdict::Proceed) => Ok(()),
            said => bail!("the native function does not proceed but says {said:?}"),
        },
    )
}

/// A plugin's own function, called as often as the plugin. Looking at its answer takes no time of it.
pub(super) fn beside<A>(mut call: impl FnMut() -> A, check: impl Fn(A) -> Result<()>) -> Result<Baseline> {
    let mut times = Vec::with_capacity(CALLS);
    for number in 0..WARM_UP + CALLS {
        let begin = Instant::now();
        let answer = call();
        let took = begin.elapsed();
        check(black_box(answer))?;
        if number >= WARM_UP {
            times.push(took);
        }
    }
    Ok(Baseline {
        what: "the same function, native",
        samples: Samples::new(times)?,
        goal: None,
    })
}

fn config() -> Value {
    json!({
        "provider": "gcp", "regions": ["europe-west1", "europe-west4", "us-east1"],
        "image": "registry.example.com/partners/landing-zone-job:1.4.0", "retries": 2,
    })
}

/// Facts about a cluster with so many labels that they have the size that is asked for.
pub(super) fn facts() -> Result<Facts> {
    let mut labels = serde_json::Map::new();
    loop {
        let facts = facts_with(&labels);
        if serde_json::to_vec(&facts)?.len() >= FACTS {
            return Ok(facts);
        }
        let label = format!("example.com/label-{}", labels.len());
        labels.insert(label, json!("a value as a label has it"));
    }
}

fn facts_with(labels: &serde_json::Map<String, Value>) -> Facts {
    let id = "0193e0a5-5b1c-7c3e-9a52-2f6d1c1b7a10";
    let href = format!("/api/hyperfleet/v1/clusters/{id}");
    Facts {
        adapter: "landing-zone".to_owned(),
        trigger: Trigger::Timer,
        subject: Subject {
            key: SubjectKey {
                kind: "Cluster".to_owned(),
                id: id.to_owned(),
            },
            href: href.clone(),
            generation: 3,
            deleting: false,
            owner: None,
            document: json!({
                "kind": "Cluster", "id": id, "href": href, "name": "measured", "generation": 3, "labels": labels,
                "spec": {"provider": "gcp", "region": "europe-west1", "networkCidr": "10.0.0.0/16"},
                "created_time": "2026-01-01T00:00:00Z",
            })
            .into(),
        },
        owner: None,
        statuses: Vec::new(),
        carry: Value::Null,
        now: "2026-01-01T00:00:00.000000Z".to_owned(),
    }
}
