//! `berth demo`: every journey in a simulated world, without a cluster.
//!
//! The engine, the runtime, the components, the HyperFleet client and the HTTP source are
//! the real ones; only Kubernetes and the HyperFleet API are simulated, and they know nothing
//! of journeys. Events are posted over a socket.

mod scenes;
mod stage;
mod view;
mod world;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;

use self::{scenes::Scene, stage::Stage, view::View, world::World};

/// What was typed.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The file that describes the world; none for the one that berth contains.
    pub world: Option<PathBuf>,
    /// One JSON object per journey instead of text.
    pub json: bool,
}

/// What a scene came to: one line of the output.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Shown {
    /// The journey's name.
    pub journey: &'static str,
    /// The subject, such as `Cluster/0198…`.
    pub subject: String,
    /// The adapter whose status it is.
    pub adapter: &'static str,
    /// The conditions that a user sees, `Type=Status (Reason)`.
    pub conditions: Vec<String>,
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
    let stage = Stage::set(&world).await?;
    let mut failed = 0;
    for scene in Scene::ALL {
        view.begin(scene.name(), scene.title());
        let shown = scene.play(&stage, &world).await?;
        failed += usize::from(shown.problem.is_some());
        view.show(&shown)?;
    }
    stage.strike().await;
    view.end(Scene::ALL.len(), failed)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
