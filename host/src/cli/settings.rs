//! Flags that stand for settings, shared by every command that needs the configuration.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::Failure;
use crate::config::host::{Settings, Shown, Written, is_broker_variable, load};

/// The file that is read where no other is named.
const DEFAULT_FILE: &str = "berth.yaml";

/// The configuration: a file, `BERTH_…` variables, flags.
#[derive(Debug, Clone, Default, Args)]
pub struct SettingsArgs {
    /// The configuration file [default: berth.yaml, if there is one].
    #[arg(long, value_name = "FILE", env = "BERTH_CONFIG")]
    pub config: Option<PathBuf>,
    /// The folder with adapter documents.
    #[arg(long, value_name = "DIR")]
    pub adapters: Option<String>,
    /// The address of the HyperFleet API.
    #[arg(long, value_name = "URL")]
    pub fleet_url: Option<String>,
    /// The kubeconfig file.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<String>,
    /// The context in the kubeconfig.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Where events are received.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Where health, readiness and metrics are served.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin_listen: Option<String>,
    /// `text` or `json`.
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// `info`, or directives such as `info,berth=debug`.
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}

impl SettingsArgs {
    /// Merges file, variables and flags.
    ///
    /// # Errors
    /// When the file cannot be read, or with all that is wrong.
    pub fn load(&self) -> Result<(Settings, Vec<Shown>), Failure> {
        let variables: Vec<(String, String)> = std::env::vars_os()
            .map(|(name, value)| {
                (
                    name.to_string_lossy().into_owned(),
                    value.to_string_lossy().into_owned(),
                )
            })
            .filter(|(name, _)| name.starts_with("BERTH_") || name == "HOSTNAME" || is_broker_variable(name))
            .collect();
        let flags = self.flags();
        let text = match self.file() {
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("cannot read the configuration `{}`", file.display()))?;
                Some((file, text))
            }
            None => None,
        };
        let file = text.as_ref().map(|(file, text)| (*file, text.as_str()));
        let broker = broker_file()?;
        Ok(load(&Written {
            file,
            variables: &variables,
            flags: &flags,
            broker: broker.as_ref().map(|(file, text)| (file.as_path(), text.as_str())),
        })?)
    }

    /// The configuration file, if there is one.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.config {
            Some(file) => Some(file.as_path()),
            None => Some(Path::new(DEFAULT_FILE)).filter(|file| file.exists()),
        }
    }

    fn flags(&self) -> Vec<(&'static str, &'static str, String)> {
        [
            ("adapters", "--adapters", &self.adapters),
            ("fleet.url", "--fleet-url", &self.fleet_url),
            ("kubernetes.kubeconfig", "--kubeconfig", &self.kubeconfig),
            ("kubernetes.context", "--context", &self.context),
            ("sources.http.listen", "--listen", &self.listen),
            ("admin.listen", "--admin-listen", &self.admin_listen),
            ("log.format", "--log-format", &self.log_format),
            ("log.level", "--log-level", &self.log_level),
        ]
        .into_iter()
        .filter_map(|(key, flag, value)| Some((key, flag, value.clone()?)))
        .collect()
    }
}

/// HyperFleet's `broker.yaml`, where its services look for it: as `BROKER_CONFIG_FILE` says, else
/// beside the program.
fn broker_file() -> anyhow::Result<Option<(PathBuf, String)>> {
    let named = std::env::var_os("BROKER_CONFIG_FILE")
        .filter(|file| !file.is_empty())
        .map(PathBuf::from);
    let file = match named {
        Some(file) => file,
        None => match std::env::current_exe().map(|program| program.with_file_name("broker.yaml")) {
            Ok(file) if file.exists() => file,
            Ok(_) | Err(_) => return Ok(None),
        },
    };
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read the configuration `{}`", file.display()))?;
    Ok(Some((file, text)))
}
