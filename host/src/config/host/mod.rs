//! The host's own configuration: `berth.yaml`, `BERTH_…` variables, flags.
//!
//! Owns which keys there are and which of several values counts: a flag before a variable
//! before the file before the default. Reads nothing by itself: texts and variables are
//! passed in. Secrets stay in files that only their users open; what is known here of a
//! secret is the path of its file.

mod broker;
mod keys;
mod log;
mod merge;
mod registries;
mod sources;

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use berth_engine::adapter::Limits;
use url::Url;

pub use broker::is_variable as is_broker_variable;
pub use keys::{KEYS, Key};
pub use merge::{Origin, Shown, Written, load, load_registries};
pub use registries::{Identity, Policy, Proxy, Registries, Registry, Trust};
pub use sources::{Nats, Place, PubSub, RabbitMq, Sources, Tls};

/// What the host runs with.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The HyperFleet API.
    pub fleet: Fleet,
    /// Kubernetes.
    pub kubernetes: Kubernetes,
    /// The folder with adapter documents.
    pub adapters: PathBuf,
    /// The source of events over HTTP.
    pub http: Http,
    /// The brokers that events come from.
    pub sources: Sources,
    /// Where health, metrics and administration are served.
    pub admin: SocketAddr,
    /// How work is shared with other hosts; none to work on everything.
    pub leases: Option<Leases>,
    /// What may be used at most.
    pub limits: HostLimits,
    /// Where compiled plugins are kept; none to keep them in memory only.
    pub cache: Option<PathBuf>,
    /// How large that folder may grow, in bytes.
    pub cache_size: usize,
    /// Where plugins are loaded from.
    pub registries: Registries,
    /// How logs look.
    pub log: Log,
}

/// The HyperFleet API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// Its address without a path, without credentials.
    pub url: Url,
    /// The file with the bearer token; it is read again and again, since it rotates.
    pub token_file: Option<PathBuf>,
    /// The file with the only certificates that are trusted, PEM.
    pub ca_file: Option<PathBuf>,
    /// How long to wait for an answer.
    pub timeout: Duration,
}

/// Kubernetes. Without a file: the service account of the pod, or `KUBECONFIG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubernetes {
    /// The kubeconfig.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it.
    pub context: Option<String>,
}

/// The source of events over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The file with the bearer token that senders must present; none to accept everybody.
    pub token_file: Option<PathBuf>,
}

/// How watches and timers are shared with other hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leases {
    /// Where the Leases are.
    pub namespace: String,
    /// Which hosts share: those of one group.
    pub group: String,
    /// This host's name, which no other host has.
    pub host: String,
}

/// What may be used at most.
#[derive(Debug, Clone, PartialEq)]
pub struct HostLimits {
    /// What an adapter document may ask for, for one plugin.
    pub plugins: Limits,
    /// Reconciles that run at once.
    pub concurrency: NonZeroUsize,
    /// The largest event, in bytes.
    pub event_size: usize,
    /// Room for plugins' answers that may be given again, in bytes; 0 for none.
    pub answers: usize,
}

/// How logs look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Text or JSON.
    pub format: LogFormat,
    /// `info`, or directives such as `info,berth=debug`.
    pub level: String,
}

/// Text or JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl HostLimits {
    /// What documents may ask for where no configuration says otherwise.
    #[must_use]
    pub fn default_caps() -> Limits {
        Limits {
            fuel: 1_000_000_000,
            memory: 256 << 20,
            deadline: Duration::from_secs(5),
            host_time: Duration::from_secs(30),
            output: 8 << 20,
            log_lines: 1_000,
        }
    }
}

#[cfg(test)]
mod tests;
