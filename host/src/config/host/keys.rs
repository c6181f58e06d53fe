//! Which keys there are.

/// One key of `berth.yaml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its path, such as `fleet.tokenFile`.
    pub path: &'static str,
    /// What it is by itself; none for nothing.
    pub default: Option<&'static str>,
    /// What it means.
    pub meaning: &'static str,
}

const fn key(path: &'static str, default: Option<&'static str>, meaning: &'static str) -> Key {
    Key { path, default, meaning }
}

/// All keys, in the order in which they are shown.
pub const KEYS: &[Key] = &[
    key("fleet.url", None, "address of the HyperFleet API; required"),
    key("fleet.tokenFile", None, "file with the bearer token for it"),
    key("fleet.caFile", None, "file with certificates to trust in addition"),
    key("fleet.timeout", Some("10s"), "how long to wait for its answers"),
    key(
        "kubernetes.kubeconfig",
        None,
        "kubeconfig file; by default the pod's service account, or KUBECONFIG",
    ),
    key("kubernetes.context", None, "context in the kubeconfig"),
    key("adapters", None, "folder with adapter documents; required"),
    key("sources.http.listen", Some("0.0.0.0:8080"), "where events are received"),
    key(
        "sources.http.tokenFile",
        None,
        "file with the bearer token that senders must present",
    ),
    key(
        "admin.listen",
        Some("0.0.0.0:9090"),
        "where health, readiness and metrics are served",
    ),
    key("limits.concurrency", Some("64"), "reconciles that run at once"),
    key("limits.eventSize", Some("1MiB"), "size of the largest event"),
    key(
        "limits.plugins.fuel",
        Some("1G"),
        "most fuel that a document may give to a plugin's call",
    ),
    key(
        "limits.plugins.memory",
        Some("256MiB"),
        "most memory that a document may give to a plugin",
    ),
    key(
        "limits.plugins.deadline",
        Some("5s"),
        "most time that a document may give to a plugin's call",
    ),
    key(
        "limits.plugins.hostTime",
        Some("30s"),
        "most time that a plugin's call may wait for what it asks",
    ),
    key("limits.plugins.output", Some("8MiB"), "largest answer of a plugin"),
    key(
        "limits.plugins.logLines",
        Some("1000"),
        "most log lines of a plugin's call",
    ),
    key(
        "cache",
        None,
        "folder for compiled plugins; by default they are kept in memory",
    ),
    key(
        "registries.allow",
        None,
        "list of where plugins are loaded from, `HOST/PATH`, `HOST/PATH/*`, `HOST/*` or `*`; by default nowhere",
    ),
    key(
        "registries.verify",
        None,
        "`enforce` or `off`: whether signatures are demanded; by default they are as soon as `registries.keys` is set",
    ),
    key(
        "registries.keys",
        None,
        "list of files with public keys that plugins are signed with, PEM",
    ),
    key(
        "registries.policy",
        Some("any"),
        "`any`, `all`, or a number: how many of the keys must have signed",
    ),
    key(
        "registries.dockerConfig",
        None,
        "list of files with credentials: docker's `config.json`, or a mounted pull secret; by default docker's own, if there is one",
    ),
    key(
        "registries.caFile",
        None,
        "file with certificates to trust in addition, for all registries",
    ),
    key("registries.proxy", None, "address of an HTTP proxy for all registries"),
    key(
        "registries.proxyExcept",
        None,
        "list of hosts, domains and networks that are reached without the proxy",
    ),
    key(
        "registries.proxyCredentialsFile",
        None,
        "file with `USER:PASSWORD` for the proxy",
    ),
    key(
        "registries.insecure",
        None,
        "list of registries that are spoken to without TLS, `HOST[:PORT]`; not even localhost is by itself",
    ),
    key(
        "registries.mirrors",
        None,
        "mapping of what begins a name to the list of what stands in for it; mirrors are asked first",
    ),
    key(
        "registries.perRegistry",
        None,
        "mapping of `HOST[:PORT]` to `caFile`, `clientCertificate`, `clientKey`, `dockerConfig` and `tokenServers`",
    ),
    key(
        "registries.cache",
        None,
        "folder for verified plugins, which survive an outage of their registry there",
    ),
    key("registries.maxSize", Some("64MiB"), "size of the largest plugin"),
    key("registries.refresh", Some("5m"), "how often tags are resolved again"),
    key(
        "registries.timeout",
        Some("2m"),
        "how long one question to a registry may take, with all retries",
    ),
    key("log.format", Some("text"), "`text` or `json`"),
    key(
        "log.level",
        Some("info"),
        "`error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,berth=debug`",
    ),
];

impl Key {
    /// The variable that sets it: `BERTH_FLEET_TOKEN_FILE`.
    #[must_use]
    pub fn variable(&self) -> String {
        let mut name = "BERTH_".to_owned();
        for letter in self.path.chars() {
            match letter {
                '.' => name.push('_'),
                upper if upper.is_ascii_uppercase() => {
                    name.push('_');
                    name.push(upper);
                }
                lower => name.push(lower.to_ascii_uppercase()),
            }
        }
        name
    }
}
