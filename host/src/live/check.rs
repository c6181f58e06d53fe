//! Loads the plugins of documents and tries them, without any host.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result};
use berth_engine::adapter::Source;
use jiff::Timestamp;

use super::sources::{Sources, State};
use crate::{
    config::document::Loading, fleet, plugins::Loader, serve, simulate, telemetry::Metrics, web, world::World,
};

/// Checks documents as a start would, with plugins that are files or inside of berth. Nothing
/// outside of this process is asked.
///
/// # Errors
/// When the sandbox cannot be prepared.
pub async fn check(mut loading: Loading) -> Result<Loading> {
    let loader = loader()?;
    let mut sources = Sources::new(None, super::REFRESH);
    for loaded in &mut loading.adapters {
        // Not fetched: what is checked here needs no network.
        let plugins = &mut loaded.adapter.plugins;
        plugins.retain(|_, plugin| !matches!(plugin.source, Source::Oci(_)));
    }
    sources.want(loading.adapters.iter().flat_map(|one| {
        let plugins = one.adapter.plugins.values();
        plugins.map(|plugin| (&one.adapter, plugin))
    }));
    sources.look(&loader, Timestamp::MIN, false).await;
    while let Some(landed) = sources.landed().await {
        sources.take_in(landed, Timestamp::MIN, 0.0);
    }
    for loaded in std::mem::take(&mut loading.adapters) {
        let mut usable = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, plugin) in &loaded.adapter.plugins {
            match sources.state(&loaded.adapter, plugin) {
                State::Usable(one) => {
                    usable.insert(name.clone(), Arc::clone(&one.plugin));
                }
                State::Unusable(trouble) => {
                    let path = format!("spec.plugins.{name}.source");
                    problems.push(loaded.origin.at(&path, trouble.message.clone(), None));
                }
                State::Fetching => {}
            }
        }
        let is_file = |name: &&String| {
            let plugin = loaded.adapter.plugins.get(*name);
            plugin.is_some_and(|plugin| matches!(plugin.source, Source::File(_)))
        };
        let tried = usable.keys().filter(is_file).cloned().collect();
        if problems.is_empty()
            && let Err(refused) = loader.load(&loaded, &usable, &tried).await
        {
            problems = refused.problems;
        }
        if problems.is_empty() {
            loading.adapters.push(loaded);
        } else {
            loading.problems.extend(problems);
        }
    }
    Ok(loading)
}

/// A loader over a world in memory, which nothing asks.
fn loader() -> Result<Loader> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let clock = Arc::new(fleet::SystemClock::new());
    let simulation = simulate::fleet::Simulation::new(simulate::fleet::FleetState::new(&[], &[]), clock);
    let url = "http://127.0.0.1:1".parse().context("a constant is no URL")?;
    let settings = fleet::Settings::new(url);
    let world = World {
        fleet: Arc::new(simulate::fleet::InMemory::new(&simulation, &settings).context("cannot prepare a world")?),
        cluster: Arc::new(simulate::cluster::Kubernetes::new(simulate::cluster::SystemClock)),
        web: Arc::new(web::Client::new().context("cannot prepare a world")?),
    };
    Ok(Loader {
        runtime: serve::runtime(None)?,
        world,
        metrics: Arc::new(Metrics::new(
            env!("CARGO_PKG_VERSION"),
            berth_runtime::cache::WASMTIME_VERSION,
        )),
        variable: Arc::new(|_| Some(String::new())),
    })
}
