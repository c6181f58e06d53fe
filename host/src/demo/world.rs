//! The file that describes the demo's world.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The world that berth contains.
const DEFAULT: &str = include_str!("../../assets/demo/world.yaml");

/// What can be changed about the world.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct World {
    /// Other bytes for the landing zone's plugin.
    pub(super) landing_zone: Option<PathBuf>,
    /// How long a scene waits for what should be seen, such as `20s`.
    #[serde(default = "World::default_patience")]
    pub(super) patience: SignedDuration,
    /// How many landing zones each region has room for.
    pub(super) regions: BTreeMap<String, u32>,
    /// By the scene's name.
    pub(super) scenes: BTreeMap<String, SceneWorld>,
}

/// What one scene begins with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SceneWorld {
    /// The subject's spec.
    pub(super) spec: Map<String, Value>,
    /// A ResourceQuota that is in force during the scene.
    #[serde(default)]
    pub(super) quota: BTreeMap<String, String>,
}

impl World {
    fn default_patience() -> SignedDuration {
        SignedDuration::from_secs(20)
    }

    /// Reads the file, or the world that berth contains.
    pub(super) fn read(file: Option<&Path>) -> Result<Self> {
        let (text, name) = match file {
            Some(file) => {
                let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
                (text, file.display().to_string())
            }
            None => (DEFAULT.to_owned(), "the world that berth contains".to_owned()),
        };
        let mut world: Self =
            serde_saphyr::from_str(&text).with_context(|| format!("{name} does not describe a world"))?;
        ensure!(
            world.patience.is_positive(),
            "the patience in {name} is not a time to wait"
        );
        for scene in super::Scene::ALL {
            let key = scene.world();
            ensure!(world.scenes.contains_key(key), "{name} has no scene `{key}`");
        }
        if let (Some(plugin), Some(folder)) = (&mut world.landing_zone, file.and_then(Path::parent)) {
            *plugin = folder.join(&*plugin);
        }
        Ok(world)
    }
}
