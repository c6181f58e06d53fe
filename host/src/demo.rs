//! `berth demo`: every journey in a simulated world, without a cluster.
//!
//! The engine, the runtime, the components, the HyperFleet client and the HTTP source are
//! the real ones; only Kubernetes and the HyperFleet API are simulated, and they know nothing
//! of journeys. Events are posted over a socket.

mod scenes;
mod stage;
mod view;
mod world;

use std::{path::PathBuf, pin::pin, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use berth_engine::contract::Condition;

use self::{scenes::Scene, stage::Stage, view::View, world::World};

/// What was typed.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The file that describes the world; none for the one that berth contains.
    pub world: Option<PathBuf>,
    /// One JSON object per journey instead of text.
    pub json: bool,
    /// The journeys to play, by [`JOURNEYS`]; empty for all.
    pub only: Vec<String>,
}

/// The names of the journeys, in the order in which they are played.
pub const JOURNEYS: [&str; Scene::ALL.len()] = Scene::NAMES;

/// What a scene came to: one line of the output.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Shown {
    /// The journey's name.
    pub journey: &'static str,
    /// The subject, such as `Cluster/0198…`.
    pub subject: String,
    /// The adapter whose status it is.
    pub adapter: &'static str,
    /// The conditions that a user sees; at the chain, the cluster's own `Reconciled` is the last.
    pub conditions: Vec<Condition>,
    /// The text that a user reads first.
    pub message: String,
    /// From the change of the world to the status.
    pub duration_ms: u64,
    /// Why it is not as the journey should be; absent where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Runs all scenes. The exit code is 0 only if every journey is as it should be.
///
/// # Errors
/// When the world's file cannot be used, or the stage cannot be set.
pub async fn run(options: Options) -> Result<ExitCode> {
    let world = World::read(options.world.as_deref())?;
    let mut view = View::new(options.json);
    view.begin(
        "berth",
        "makes the adapters live; the first time, their plugins are compiled",
    );
    let stage = Stage::set(&world).await?;
    let wanted = |scene: &Scene| options.only.is_empty() || options.only.iter().any(|name| name == scene.name());
    let scenes: Vec<Scene> = Scene::ALL.into_iter().filter(wanted).collect();
    let mut failed = 0;
    for scene in &scenes {
        view.begin(scene.name(), scene.title());
        let shown = watched(*scene, &stage, &world, &mut view).await?;
        failed += usize::from(shown.problem.is_some());
        view.show(scene.title(), &shown)?;
    }
    stage.strike().await;
    view.end(scenes.len(), failed)?;
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Plays a scene, and shows how it goes on.
async fn watched(scene: Scene, stage: &Stage, world: &World, view: &mut View) -> Result<Shown> {
    let mut seen = stage.seen();
    let mut play = pin!(scene.play(stage, world));
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            shown = &mut play => return shown,
            _ = tick.tick() => {}
            changed = seen.changed() => changed.context("nobody shows how a scene goes on")?,
        }
        view.go_on(seen.borrow().as_ref());
    }
}
