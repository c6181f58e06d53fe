//! What it costs to load a plugin that was compiled before.
//!
//! Only the runtime may load native code, so there is no bare deserialisation to compare
//! with. The baselines are what the cache saves (compiling) and what it cannot save
//! (reading the entry's bytes).

use std::{
    hint::black_box,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{Baseline, Figure, Samples, component};

const WARM_UP: usize = 10;
const LOADS: usize = 200;
const COMPILATIONS: usize = 3;
/// The reference plugin, and one of several megabytes.
const PLUGINS: [(&str, Duration); 2] = [
    ("landing-zone", Duration::from_millis(2)),
    ("declarative", Duration::from_millis(5)),
];

/// Both plugins of the set-up: a small and a large one.
pub(super) fn cached() -> Result<Vec<Figure>> {
    PLUGINS.into_iter().map(|(name, goal)| of(name, goal)).collect()
}

fn of(name: &str, goal: Duration) -> Result<Figure> {
    let bytes = component(&format!("{name}.wasm"))?;
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let cache = folder.path().join("cache");
    let runtime = berth::serve::runtime(Some(cache.as_path()))?;
    let load = || runtime.load(&bytes).with_context(|| format!("cannot load {name}"));
    // The first compiles and fills the cache. Each plugin is dropped before the next load, so none is found in memory.
    drop(load()?);
    let entry = only_file(&cache)?;
    let mut times = Vec::with_capacity(LOADS);
    for round in 0..WARM_UP + LOADS {
        let begin = Instant::now();
        let plugin = load()?;
        let took = begin.elapsed();
        drop(plugin);
        if round >= WARM_UP {
            times.push(took);
        }
    }
    Ok(Figure {
        name: format!("cached-load-{name}"),
        what: "from a component's bytes to a plugin that can be called, its code in the authenticated cache",
        samples: Samples::new(times)?,
        goal_p50: Some(goal),
        goal_p99: None,
        baselines: vec![compiling(&bytes)?, reading(&entry)?],
    })
}

/// The same without a cache.
fn compiling(bytes: &[u8]) -> Result<Baseline> {
    let runtime = berth::serve::runtime(None)?;
    let mut times = Vec::with_capacity(COMPILATIONS);
    for _ in 0..COMPILATIONS {
        let begin = Instant::now();
        let plugin = runtime.load(bytes).context("cannot compile")?;
        times.push(begin.elapsed());
        drop(plugin);
    }
    Ok(Baseline {
        what: "compiling, without a cache",
        samples: Samples::new(times)?,
        goal: None,
    })
}

/// The bytes of the entry alone.
fn reading(entry: &Path) -> Result<Baseline> {
    let mut times = Vec::with_capacity(LOADS);
    for round in 0..WARM_UP + LOADS {
        let begin = Instant::now();
        let bytes = black_box(std::fs::read(entry)?);
        let took = begin.elapsed();
        drop(bytes);
        if round >= WARM_UP {
            times.push(took);
        }
    }
    Ok(Baseline {
        what: "reading the entry's file",
        samples: Samples::new(times)?,
        goal: None,
    })
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    anyhow::ensure!(
        entries.len() == 1,
        "the cache holds {} entries, not the one compiled",
        entries.len()
    );
    Ok(entries[0].path())
}
