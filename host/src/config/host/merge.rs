//! Flags, variables, file and defaults -> settings.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use berth_engine::adapter::Limits;
use url::Url;

use super::{
    Fleet, HostLimits, Http, KEYS, Key, Kubernetes, Leases, Log, LogFormat, Settings, broker, log,
    registries::{self, Registries},
    sources,
};
use crate::config::{
    problem::{Problem, Problems},
    reader::{Item, Notes},
    suggest::nearest,
    units::{self, Unreadable},
    yaml::{self, Content, Position},
};

/// What was written, and where.
#[derive(Debug, Clone, Copy, Default)]
pub struct Written<'a> {
    /// The file's path and text; none if there is no file.
    pub file: Option<(&'a Path, &'a str)>,
    /// The environment. Names that neither begin with `BERTH_` nor are HyperFleet's for brokers
    /// are ignored.
    pub variables: &'a [(String, String)],
    /// HyperFleet's `broker.yaml`: its path and text; none if there is no file.
    pub broker: Option<(&'a Path, &'a str)>,
    /// Flags: a key's path, the flag, and its value.
    pub flags: &'a [(&'static str, &'static str, String)],
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag(&'static str),
    /// A variable.
    Variable(String),
    /// The file.
    File {
        /// Its path.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: u64,
    },
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::File { file, line, column } => write!(f, "{}:{line}:{column}", file.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A key with what it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its path.
    pub key: &'static str,
    /// Its value as written; none if it is not set. Never a secret: those are in files.
    pub value: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Merges what was written and checks it.
///
/// # Errors
/// All unknown keys and variables, and all values that cannot be used.
pub fn load(written: &Written<'_>) -> Result<(Settings, Vec<Shown>), Problems> {
    let mut values = gather(written);
    let settings = values.settings();
    let with_credential = values
        .shown
        .iter_mut()
        .filter(|shown| WITH_CREDENTIAL.contains(&shown.key));
    for shown in with_credential {
        shown.value = shown.value.as_deref().map(sources::masked);
    }
    match settings {
        Some(settings) if values.problems.is_empty() => Ok((settings, values.shown)),
        Some(_) | None => Err(Problems(values.problems)),
    }
}

/// Merges what was written, and checks what is about registries only: commands that work
/// with registries need nothing else.
///
/// # Errors
/// All unknown keys and variables, and all values about registries that cannot be used.
pub fn load_registries(written: &Written<'_>) -> Result<Registries, Problems> {
    let mut values = gather(written);
    let registries = values.registries();
    match registries {
        Some(registries) if values.problems.is_empty() => Ok(registries),
        Some(_) | None => Err(Problems(values.problems)),
    }
}

pub(super) fn gather(written: &Written<'_>) -> Values {
    let mut values = Values {
        shown: Vec::new(),
        problems: Vec::new(),
    };
    let from_file = values.read_file(written.file);
    let from_variables = values.read_variables(written.variables);
    let from_broker = values.read_broker(written);
    values.refuse_credentials(&from_file);
    for key in KEYS {
        let flag = written.flags.iter().find(|(path, _, _)| *path == key.path);
        let flag = flag.map(|(_, flag, value)| (value.clone(), Origin::Flag(flag)));
        let found = flag
            .or_else(|| from_variables.get(key.path).cloned())
            .or_else(|| from_file.get(key.path).cloned())
            .or_else(|| elsewhere(key.path, written.variables))
            .or_else(|| from_broker.get(key.path).cloned())
            .or_else(|| key.default.map(|value| (value.to_owned(), Origin::Default)));
        let (value, origin) = found.map_or((None, Origin::Default), |(value, origin)| (Some(value), origin));
        values.shown.push(Shown {
            key: key.path,
            value,
            origin,
        });
    }
    values
}

/// What the environment says of a key by another name: a pod's name is its `HOSTNAME`.
fn elsewhere(key: &str, variables: &[(String, String)]) -> Option<(String, Origin)> {
    const NAME: &str = "HOSTNAME";
    let (_, value) = variables
        .iter()
        .find(|(name, _)| key == "leases.host" && name == NAME)?;
    Some((value.clone(), Origin::Variable(NAME.to_owned())))
}

/// Variables that are no settings: the configuration file's own path, and what builds and
/// tests of berth look at.
const FOREIGN: [&str; 6] = [
    "BERTH_COMPONENTS",
    "BERTH_CONFIG",
    "BERTH_DECLARATIVE_WASM",
    "BERTH_LANDING_ZONE_WASM",
    "BERTH_TOOLS",
    "BERTH_UPDATE",
];

/// Settings that may hold a credential, though not in our file. They are shown without it.
const WITH_CREDENTIAL: [&str; 1] = ["sources.rabbitmq.url"];

type Found = BTreeMap<&'static str, (String, Origin)>;

pub(super) struct Values {
    pub(super) shown: Vec<Shown>,
    pub(super) problems: Vec<Problem>,
}

impl Values {
    fn read_file(&mut self, file: Option<(&Path, &str)>) -> Found {
        let mut found = Found::new();
        let Some((file, text)) = file else { return found };
        let documents = match yaml::parse(text) {
            Ok(documents) => documents,
            Err(malformed) => {
                self.problem(file, malformed.at, "", format!("not YAML: {}", malformed.message), None);
                return found;
            }
        };
        if let [_, second, ..] = documents.as_slice() {
            self.problem(
                file,
                second.at,
                "",
                "the file has more than one document".to_owned(),
                None,
            );
        }
        let notes = Notes::new(file);
        if let Some(document) = documents.first() {
            section(&Item::new(document, "", &notes), &mut found, file);
        }
        self.problems.extend(notes.into_problems());
        found
    }

    fn read_variables(&mut self, variables: &[(String, String)]) -> Found {
        let names: BTreeMap<String, &'static Key> = KEYS.iter().map(|key| (key.variable(), key)).collect();
        let mut found = Found::new();
        for (name, value) in variables {
            if !name.starts_with("BERTH_") || FOREIGN.contains(&name.as_str()) || is_service_link(name) {
                continue;
            }
            match names.get(name) {
                Some(key) => {
                    found.insert(key.path, (value.clone(), Origin::Variable(name.clone())));
                }
                None => {
                    let hint = nearest(name, names.keys().map(String::as_str)).map_or_else(
                        || "`berth config keys` lists all of them".to_owned(),
                        |near| format!("did you mean `{near}`?"),
                    );
                    let place = Path::new("environment");
                    self.problem(
                        place,
                        Position::default(),
                        name,
                        "unknown variable".to_owned(),
                        Some(hint),
                    );
                }
            }
        }
        found
    }

    fn read_broker(&mut self, written: &Written<'_>) -> Found {
        match broker::read(written.broker, written.variables) {
            Ok(found) => found,
            Err(malformed) => {
                let file = written.broker.map(|(file, _)| file).unwrap_or(Path::new("broker.yaml"));
                self.problem(file, malformed.at, "", format!("not YAML: {}", malformed.message), None);
                Found::new()
            }
        }
    }

    /// A configuration file is often in a ConfigMap, where no password belongs.
    fn refuse_credentials(&mut self, from_file: &Found) {
        for key in WITH_CREDENTIAL {
            if let Some((text, Origin::File { file, line, column })) = from_file.get(key)
                && sources::has_credential(text)
            {
                let (line, column) = (*line, *column);
                let hint = format!("name a file that holds it in `{key}File`, or set it as a variable");
                let message = "contains a credential".to_owned();
                self.problem(file, Position { line, column }, key, message, Some(hint));
            }
        }
    }

    /// Whether anything below `prefix` was written.
    pub(super) fn is_told(&self, prefix: &str) -> bool {
        let told = |shown: &&Shown| shown.key.starts_with(prefix) && shown.origin != Origin::Default;
        self.shown.iter().any(|shown| told(&shown))
    }

    fn problem(&mut self, file: &Path, at: Position, path: &str, message: String, hint: Option<String>) {
        let (file, path) = (file.to_owned(), path.to_owned());
        self.problems.push(Problem {
            file,
            line: at.line,
            column: at.column,
            path,
            message,
            hint,
            adapter: None,
        });
    }

    /// Notes a problem with a value where it was written.
    pub(super) fn wrong(&mut self, key: &str, message: String, hint: Option<String>) {
        let origin = self
            .shown
            .iter()
            .find(|shown| shown.key == key)
            .map(|shown| shown.origin.clone());
        match origin {
            Some(Origin::Flag(flag)) => {
                self.problem(Path::new("command line"), Position::default(), flag, message, hint);
            }
            Some(Origin::Variable(name)) => {
                self.problem(Path::new("environment"), Position::default(), &name, message, hint);
            }
            Some(Origin::File { file, line, column }) => {
                self.problem(&file, Position { line, column }, key, message, hint)
            }
            Some(Origin::Default) | None => {
                self.problem(Path::new("configuration"), Position::default(), key, message, hint);
            }
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.shown.iter().find(|shown| shown.key == key)?.value.clone()
    }

    pub(super) fn read<T>(&mut self, key: &str, read: impl Fn(&str) -> Result<T, Unreadable>) -> Option<T> {
        let text = self.text(key)?;
        match read(&text) {
            Ok(value) => Some(value),
            Err(unreadable) => {
                self.wrong(key, unreadable.message, Some(unreadable.hint));
                None
            }
        }
    }

    pub(super) fn required<T>(&mut self, key: &'static str, value: Option<T>) -> Option<T> {
        // Whatever is wrong with the file or with this key has been told already.
        let told = self
            .problems
            .iter()
            .any(|problem| problem.path.is_empty() || problem.path == key);
        if value.is_none() && self.text(key).is_none() && !told {
            let variable = KEYS
                .iter()
                .find(|known| known.path == key)
                .map(Key::variable)
                .unwrap_or_default();
            self.wrong(
                key,
                "is missing".to_owned(),
                Some(format!("write it into berth.yaml, or set {variable}")),
            );
        }
        value
    }

    /// The folder that relative paths in a key's value begin in.
    pub(super) fn folder(&self, key: &str) -> PathBuf {
        let shown = self.shown.iter().find(|shown| shown.key == key);
        match shown.map(|shown| &shown.origin) {
            Some(Origin::File { file, .. }) => file.parent().unwrap_or(Path::new("")).to_owned(),
            Some(Origin::Flag(_) | Origin::Variable(_) | Origin::Default) | None => PathBuf::new(),
        }
    }

    /// A path in the file is relative to the file.
    pub(super) fn path(&self, key: &str) -> Option<PathBuf> {
        let shown = self.shown.iter().find(|shown| shown.key == key)?;
        let path = PathBuf::from(shown.value.as_deref()?);
        match &shown.origin {
            Origin::File { file, .. } => Some(file.parent().unwrap_or(Path::new("")).join(path)),
            Origin::Flag(_) | Origin::Variable(_) | Origin::Default => Some(path),
        }
    }

    fn leases(&mut self) -> Option<Leases> {
        let group = self.read("leases.group", name);
        let namespace = self.read("leases.namespace", name)?;
        // Any machine has some HOSTNAME; it must be a name only where it is used.
        let host = self.read("leases.host", name);
        let host = self.required("leases.host", host);
        Some(Leases {
            namespace,
            group: group?,
            host: host?,
        })
    }

    fn settings(&mut self) -> Option<Settings> {
        // Everything is read before anything is given up, so that all problems are told.
        let url = self.read("fleet.url", url);
        let url = self.required("fleet.url", url);
        let timeout = self.read("fleet.timeout", positive_duration);
        let adapters = self.path("adapters");
        let adapters = self.required("adapters", adapters);
        let listen = self.read("sources.http.listen", address);
        let admin = self.read("admin.listen", address);
        if listen.is_some_and(|listen| listen.port() != 0 && Some(listen) == admin) {
            self.wrong(
                "admin.listen",
                "is the address that events are received at".to_owned(),
                None,
            );
        }
        let concurrency = self.read("limits.concurrency", positive_count);
        let event_size = self.read("limits.eventSize", positive_size);
        let answers = self.read("limits.answers", units::size);
        let fuel = self.read("limits.plugins.fuel", |text| positive(text, units::count(text)?));
        let memory = self.read("limits.plugins.memory", positive_size);
        let deadline = self.read("limits.plugins.deadline", positive_duration);
        let host_time = self.read("limits.plugins.hostTime", positive_duration);
        let output = self.read("limits.plugins.output", positive_size);
        let log_lines = self.read("limits.plugins.logLines", small_count);
        let cache_size = self.read("cacheSize", positive_size);
        let registries = self.registries();
        let format = self.read("log.format", |text| match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(unreadable(
                format!("`{other}` is not a format"),
                "write `text` or `json`",
            )),
        });
        let level = self.read("log.level", log::level);
        let sources = self.sources();
        let leases = self.leases();
        let token_file = self.path("fleet.tokenFile");
        if let Some(url) = &url
            && url.scheme() == "http"
            && token_file.is_some()
            && !stays_in_the_cluster(url)
        {
            let hint = "use https, or leave `fleet.tokenFile` out".to_owned();
            self.wrong(
                "fleet.url",
                "would send the token over plain http".to_owned(),
                Some(hint),
            );
        }
        Some(Settings {
            fleet: Fleet {
                url: url?,
                token_file,
                ca_file: self.path("fleet.caFile"),
                timeout: timeout?,
            },
            kubernetes: Kubernetes {
                kubeconfig: self.path("kubernetes.kubeconfig"),
                context: self.text("kubernetes.context"),
            },
            adapters: adapters?,
            http: Http {
                listen: listen?,
                token_file: self.path("sources.http.tokenFile"),
            },
            sources,
            admin: admin?,
            leases,
            limits: HostLimits {
                plugins: Limits {
                    fuel: fuel?,
                    memory: memory?,
                    deadline: deadline?,
                    host_time: host_time?,
                    output: output?,
                    log_lines: log_lines?,
                },
                concurrency: concurrency?,
                event_size: event_size?,
                answers: answers?,
            },
            cache: self.path("cache"),
            cache_size: cache_size?,
            registries: registries?,
            log: Log {
                format: format?,
                level: level?,
            },
        })
    }
}

/// A name as a part of the names of Kubernetes objects.
fn name(text: &str) -> Result<String, Unreadable> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let edges = [text.bytes().next(), text.bytes().last()];
    let alphanumeric = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    if text.len() <= 63 && text.bytes().all(allowed) && edges.into_iter().all(alphanumeric) {
        Ok(text.to_owned())
    } else {
        Err(unreadable(
            format!("`{text}` is not a name"),
            "write lower-case letters, digits, `-` and `.`, at most 63",
        ))
    }
}

/// Reads a mapping of the file and those below it.
fn section(item: &Item<'_>, found: &mut Found, file: &Path) {
    let known: Vec<&str> = KEYS
        .iter()
        .filter_map(|key| {
            let rest = if item.path.is_empty() {
                key.path
            } else {
                key.path.strip_prefix(item.path.as_str())?.strip_prefix('.')?
            };
            rest.split('.').next()
        })
        .collect();
    let Some(entries) = item.mapping_of(&known) else { return };
    for (_, item) in entries {
        match KEYS.iter().find(|key| key.path == item.path) {
            Some(key) => {
                let text = match registries::is_structured(key.path) {
                    true => registries::as_written(&item),
                    false => scalar(&item),
                };
                if let Some(text) = text {
                    let Position { line, column } = item.node.at;
                    found.insert(
                        key.path,
                        (
                            text,
                            Origin::File {
                                file: file.to_owned(),
                                line,
                                column,
                            },
                        ),
                    );
                }
            }
            None => section(&item, found, file),
        }
    }
}

fn scalar(item: &Item<'_>) -> Option<String> {
    match &item.node.content {
        Content::Number(number) => Some(number.to_string()),
        Content::Bool(value) => Some(value.to_string()),
        Content::Text(_) | Content::Null | Content::List(_) | Content::Map(_) => item.text().map(str::to_owned),
    }
}

/// Kubernetes gives such variables to pods beside a Service whose name begins with `berth`.
fn is_service_link(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name
            .split_once("_PORT_")
            .is_some_and(|(_, rest)| rest.starts_with(|letter: char| letter.is_ascii_digit()))
}

pub(super) fn unreadable(message: String, hint: &str) -> Unreadable {
    Unreadable {
        message,
        hint: hint.to_owned(),
    }
}

fn url(text: &str) -> Result<Url, Unreadable> {
    let hint = "write it as `https://hyperfleet.example.com`";
    // The text is not repeated: it may hold a password.
    let url = Url::parse(text).map_err(|error| unreadable(format!("is not a URL: {error}"), hint))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(unreadable(
            "contains credentials".to_owned(),
            "put the token into a file and name it in `fleet.tokenFile`",
        ));
    }
    match url.scheme() {
        "http" | "https" if url.path() == "/" && url.query().is_none() && url.fragment().is_none() => Ok(url),
        "http" | "https" => Err(unreadable(format!("`{text}` has a path"), hint)),
        other => Err(unreadable(format!("`{other}` is not http or https"), hint)),
    }
}

fn stays_in_the_cluster(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => {
            name == "localhost"
                || name.ends_with(".localhost")
                || name.ends_with(".svc")
                || !name.contains('.')
                || name.ends_with(".svc.cluster.local")
        }
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn address(text: &str) -> Result<SocketAddr, Unreadable> {
    text.parse().map_err(|_| {
        unreadable(
            format!("`{text}` is not an address and port"),
            "write `0.0.0.0:8080`, `127.0.0.1:8080` or `[::]:8080`",
        )
    })
}

fn positive<T: PartialEq + Default>(text: &str, value: T) -> Result<T, Unreadable> {
    if value == T::default() {
        return Err(unreadable(format!("`{text}` is nothing"), "it must be more than zero"));
    }
    Ok(value)
}

pub(super) fn positive_duration(text: &str) -> Result<Duration, Unreadable> {
    positive(text, units::duration(text)?)
}

pub(super) fn positive_size(text: &str) -> Result<usize, Unreadable> {
    positive(text, units::size(text)?)
}

pub(super) fn positive_count(text: &str) -> Result<NonZeroUsize, Unreadable> {
    let count = units::count(text)?;
    usize::try_from(count)
        .ok()
        .and_then(NonZeroUsize::new)
        .ok_or_else(|| unreadable(format!("`{text}` is nothing"), "it must be more than zero"))
}

fn small_count(text: &str) -> Result<u32, Unreadable> {
    let count = units::count(text)?;
    u32::try_from(count).map_err(|_| unreadable(format!("`{text}` is too large"), "it must be less than 4294967296"))
}
