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
    key("fleet.caFile", None, "file with the only certificates to trust"),
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
        "sources.rabbitmq.url",
        None,
        "address of RabbitMQ, `amqps://user@host:5671/vhost`; with a password only as a variable",
    ),
    key("sources.rabbitmq.urlFile", None, "file with that address, in its place"),
    key("sources.rabbitmq.passwordFile", None, "file with the password"),
    key("sources.rabbitmq.topic", None, "topic that Sentinel publishes to"),
    key(
        "sources.rabbitmq.subscription",
        None,
        "subscription that adapters share; the queue is `{topic}-{subscription}`",
    ),
    key(
        "sources.rabbitmq.exchange",
        None,
        "exchange, where it is not called like the topic",
    ),
    key("sources.rabbitmq.exchangeType", Some("topic"), "type of the exchange"),
    key(
        "sources.rabbitmq.queue",
        None,
        "what the queue's name begins with in the topic's place",
    ),
    key(
        "sources.rabbitmq.prefetch",
        Some("256"),
        "messages in flight at most, for each subscription",
    ),
    key(
        "sources.rabbitmq.quorum",
        Some("false"),
        "whether the queue is a quorum queue; HyperFleet's are not",
    ),
    key(
        "sources.rabbitmq.deliveryLimit",
        Some("20"),
        "deliveries from a quorum queue before a message is set aside; of a classic queue, 10 attempts within one delivery",
    ),
    key(
        "sources.rabbitmq.deadLetterExchange",
        None,
        "exchange for messages that are set aside; by default they are only logged",
    ),
    key(
        "sources.rabbitmq.caFile",
        None,
        "file with certificates to trust in addition",
    ),
    key("sources.rabbitmq.certFile", None, "file with the client's certificate"),
    key("sources.rabbitmq.keyFile", None, "file with its key"),
    key("sources.pubsub.project", None, "project of Google Pub/Sub"),
    key(
        "sources.pubsub.emulator",
        None,
        "host and port of an emulator; by default what PUBSUB_EMULATOR_HOST says",
    ),
    key("sources.pubsub.topic", None, "topic that Sentinel publishes to"),
    key("sources.pubsub.subscription", None, "subscription that adapters share"),
    key(
        "sources.pubsub.createTopic",
        Some("false"),
        "whether a missing topic is created",
    ),
    key(
        "sources.pubsub.createSubscription",
        Some("false"),
        "whether a missing subscription is created",
    ),
    key(
        "sources.pubsub.ackDeadline",
        Some("60s"),
        "acknowledgement deadline of a created subscription",
    ),
    key(
        "sources.pubsub.retention",
        None,
        "how long a created subscription keeps messages",
    ),
    key(
        "sources.pubsub.expiration",
        None,
        "after which idle time a created subscription is deleted; by default never",
    ),
    key(
        "sources.pubsub.ordering",
        Some("false"),
        "whether a created subscription delivers in order",
    ),
    key(
        "sources.pubsub.retryMin",
        Some("10s"),
        "shortest pause before a message is delivered again",
    ),
    key(
        "sources.pubsub.retryMax",
        Some("10m"),
        "longest pause before a message is delivered again",
    ),
    key(
        "sources.pubsub.maxAttempts",
        Some("5"),
        "deliveries before a message is set aside; a lower limit of the subscription counts",
    ),
    key(
        "sources.pubsub.deadLetterTopic",
        None,
        "topic for messages that are set aside; by default `{subscription}-dlq`",
    ),
    key(
        "sources.pubsub.maxInFlight",
        Some("256"),
        "messages in flight at most, for each subscription",
    ),
    key(
        "sources.pubsub.maxBytesInFlight",
        Some("64MiB"),
        "their size in all at most",
    ),
    key(
        "sources.nats.url",
        None,
        "address of NATS, `nats://host:4222` or `tls://host:4222`",
    ),
    key(
        "sources.nats.credentialsFile",
        None,
        "file with credentials, as `nsc` writes it",
    ),
    key("sources.nats.tokenFile", None, "file with a token"),
    key("sources.nats.caFile", None, "file with the only certificates to trust"),
    key("sources.nats.stream", None, "JetStream stream"),
    key("sources.nats.consumer", None, "durable consumer that adapters share"),
    key(
        "sources.nats.subject",
        None,
        "subject to receive; by default all of the stream",
    ),
    key(
        "sources.nats.create",
        Some("false"),
        "whether a missing stream or consumer is created",
    ),
    key(
        "sources.nats.ackWait",
        Some("30s"),
        "how long a created consumer waits for a sign of life",
    ),
    key(
        "sources.nats.maxDeliver",
        None,
        "deliveries of a created consumer at most, and attempts before a message is set aside; by default without bound, and 20",
    ),
    key(
        "sources.nats.maxInFlight",
        Some("256"),
        "messages in flight at most, for each consumer",
    ),
    key(
        "admin.listen",
        Some("0.0.0.0:9090"),
        "where health, readiness and metrics are served",
    ),
    key(
        "leases.namespace",
        None,
        "namespace of the Leases by which hosts share watches and timers; without it a host works on all",
    ),
    key("leases.group", Some("berth"), "hosts of one group share work"),
    key(
        "leases.host",
        None,
        "this host's name, which no other host has; by default HOSTNAME, as in a pod",
    ),
    key("limits.concurrency", Some("64"), "reconciles that run at once"),
    key("limits.eventSize", Some("1MiB"), "size of the largest event"),
    key(
        "limits.answers",
        Some("16MiB"),
        "memory for plugins' answers that may be given again where nothing changed; 0B asks always",
    ),
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
        "most time that a document may give to a plugin's call; expressions and templates have all of it",
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
        "cacheSize",
        Some("1GiB"),
        "how large that folder may grow; what was used longest ago goes first",
    ),
    key(
        "registries.allow",
        None,
        "list of where plugins are loaded from, `HOST/PATH`, `HOST/PATH/*`, `HOST/*` or `*`; by default nowhere",
    ),
    key(
        "registries.verify",
        None,
        "`enforce` or `off`: whether signatures are demanded; by default they are as soon as there are keys or identities",
    ),
    key(
        "registries.keys",
        None,
        "list of files with public keys that plugins are signed with, PEM",
    ),
    key(
        "registries.identities",
        None,
        "list of who may have signed by certificates, each with `issuer` and `subject`, exactly; for builds with the feature `keyless`",
    ),
    key(
        "registries.trustedRoot",
        None,
        "file with the authorities and logs that these certificates come from: the `trusted_root.json` of a Sigstore instance",
    ),
    key(
        "registries.policy",
        Some("any"),
        "`any`, `all`, or a number: how many of the keys and identities must have signed",
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
        "registries.perAdapter",
        None,
        "mapping of an adapter's name to `keys`, `identities`, `trustedRoot` and `policy`, in place of those for all; signatures are demanded of its plugins then",
    ),
    key(
        "registries.cache",
        None,
        "folder for verified plugins, which survive an outage of their registry there",
    ),
    key(
        "registries.cacheSize",
        Some("1GiB"),
        "how large that folder may grow; what was used longest ago goes first",
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
