//! Settings of registries: lists and mappings, and what they mean.

mod identities;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use url::Url;

pub use self::identities::Identity;
use super::merge::{Values, positive_duration, positive_size, unreadable};
use crate::config::{
    check::Check,
    reader::{Item, Notes},
    units::Unreadable,
    yaml::{self, Content},
};

/// Where plugins are loaded from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registries {
    /// Where plugins may come from: `HOST/PATH`, `HOST/PATH/*`, `HOST/*` or `*`; none for nowhere.
    pub allow: Vec<String>,
    /// Whether signatures are demanded.
    pub enforce: bool,
    /// Whether signatures are not demanded, by order. That is worth a warning.
    pub verify_is_off: bool,
    /// Whose signatures they are.
    pub trust: Trust,
    /// What the plugins of single adapters need instead, by the adapter's name.
    pub per_adapter: BTreeMap<String, Trust>,
    /// Files with credentials; none for docker's own.
    pub docker_config: Option<Vec<PathBuf>>,
    /// Certificates that are trusted in addition, for all registries, PEM.
    pub ca_file: Option<PathBuf>,
    /// The proxy for all registries.
    pub proxy: Option<Proxy>,
    /// Registries that are spoken to without TLS.
    pub insecure: BTreeSet<String>,
    /// What begins a name, and what stands in for it.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// What differs, by registry.
    pub per_registry: BTreeMap<String, Registry>,
    /// Where verified plugins are kept; none for nowhere.
    pub cache: Option<PathBuf>,
    /// How large that folder may grow, in bytes.
    pub cache_size: usize,
    /// The size of the largest plugin, in bytes.
    pub max_size: usize,
    /// How often tags are resolved again.
    pub refresh: Duration,
    /// How long one question to a registry may take, with all retries.
    pub timeout: Duration,
}

/// How many of the keys and identities must have signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// One of them.
    Any,
    /// Each of them.
    All,
    /// So many different ones.
    Minimum(NonZeroUsize),
}

/// Which signatures plugins need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// Files with public keys, PEM.
    pub keys: Vec<PathBuf>,
    /// Who may have signed by certificates.
    pub identities: Vec<Identity>,
    /// The file with the authorities and logs that these certificates come from. There is one if there are identities.
    pub trusted_root: Option<PathBuf>,
    /// How many of the keys and identities must have signed.
    pub policy: Policy,
}

impl Trust {
    fn signers(&self) -> usize {
        self.keys.len() + self.identities.len()
    }

    /// What is wrong if more must sign than there are.
    fn unfulfillable(&self) -> Option<String> {
        let least = match self.policy {
            Policy::Any | Policy::All => 1,
            Policy::Minimum(least) => least.get(),
        };
        let have = self.signers();
        let who = match self.identities.as_slice() {
            [] => "keys",
            _ => "keys and identities",
        };
        (least > have).then(|| format!("{least} {who} must sign, but there are only {have}"))
    }
}

/// An HTTP proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its address, without credentials.
    pub url: Url,
    /// Hosts, domains and networks that are reached without it.
    pub except: Vec<String>,
    /// The file with `USER:PASSWORD` for it.
    pub credentials_file: Option<PathBuf>,
}

/// What differs for one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    /// The only certificates that are trusted for it, PEM.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, PEM, and the file with its key.
    pub identity_files: Option<(PathBuf, PathBuf)>,
    /// A file with credentials that counts before all others.
    pub docker_config: Option<PathBuf>,
    /// Hosts elsewhere that may be sent credentials for a token.
    pub token_servers: Vec<String>,
}

const LISTS: [&str; 5] = [
    "registries.allow",
    "registries.keys",
    "registries.dockerConfig",
    "registries.proxyExcept",
    "registries.insecure",
];
/// Lists of mappings.
const TABLES: [&str; 1] = ["registries.identities"];
const MAPPINGS: [&str; 3] = ["registries.mirrors", "registries.perRegistry", "registries.perAdapter"];

/// Whether a key's value is a list or a mapping.
pub(super) fn is_structured(key: &str) -> bool {
    LISTS.contains(&key) || TABLES.contains(&key) || MAPPINGS.contains(&key)
}

/// A list or a mapping of the file as one text, which is what a variable has.
pub(super) fn as_written(item: &Item<'_>) -> Option<String> {
    match &item.node.content {
        Content::List(_) if LISTS.contains(&item.path.as_str()) => {
            // What is no text is told where it stands.
            let texts: Vec<&str> = item.texts()?.into_iter().map(|(text, _)| text).collect();
            serde_json::to_string(&texts).ok()
        }
        Content::List(_) if TABLES.contains(&item.path.as_str()) => Some(item.json().to_string()),
        Content::Map(_) if MAPPINGS.contains(&item.path.as_str()) => Some(item.json().to_string()),
        Content::Map(_) | Content::List(_) => {
            let (check, what) = if MAPPINGS.contains(&item.path.as_str()) {
                (Check::Mapping, "a mapping")
            } else {
                (Check::List, "a list")
            };
            item.wrong(
                check,
                format!("expected {what}, found {}", item.node.content.describe()),
                None,
            );
            None
        }
        Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) => item.text().map(str::to_owned),
    }
}

impl Values {
    pub(super) fn registries(&mut self) -> Option<Registries> {
        // Everything is read before anything is given up, so that all problems are told.
        let allow = self.texts("registries.allow", allowed);
        let keys = self.texts("registries.keys", |_| Ok(()));
        let folder = self.folder("registries.keys");
        let keys: Option<Vec<PathBuf>> = keys.map(|keys| keys.into_iter().map(|key| folder.join(key)).collect());
        let trusted_root = self.path("registries.trustedRoot");
        let identities = self.identities(trusted_root.is_some());
        let all_known = keys.is_some() && identities.is_some();
        let mut trust = Trust {
            keys: keys.unwrap_or_default(),
            identities: identities.unwrap_or_default(),
            trusted_root,
            policy: Policy::Any,
        };
        let verify = self.verify(all_known.then(|| trust.signers() > 0));
        let policy = self.read("registries.policy", policy);
        trust.policy = policy.unwrap_or(Policy::Any);
        if all_known
            && trust.signers() > 0
            && let Some(message) = trust.unfulfillable()
        {
            self.wrong("registries.policy", message, None);
        }
        let docker_config = match self.text("registries.dockerConfig") {
            Some(_) => {
                let folder = self.folder("registries.dockerConfig");
                let files = self.texts("registries.dockerConfig", |_| Ok(()))?;
                Some(files.into_iter().map(|file| folder.join(file)).collect())
            }
            None => None,
        };
        let proxy = self.proxy();
        let insecure = self.texts("registries.insecure", host);
        let mirrors = self.mirrors();
        let per_registry = self.per_registry();
        let per_adapter = self.per_adapter(&trust);
        let cache_size = self.read("registries.cacheSize", positive_size);
        let max_size = self.read("registries.maxSize", positive_size);
        let refresh = self.read("registries.refresh", positive_duration);
        let timeout = self.read("registries.timeout", positive_duration);
        let (enforce, verify_is_off) = verify?;
        policy?;
        Some(Registries {
            allow: allow?,
            enforce,
            verify_is_off,
            trust,
            per_adapter: per_adapter?,
            docker_config,
            ca_file: self.path("registries.caFile"),
            proxy,
            insecure: insecure?.into_iter().collect(),
            mirrors: mirrors?,
            per_registry: per_registry?,
            cache: self.path("registries.cache"),
            cache_size: cache_size?,
            max_size: max_size?,
            refresh: refresh?,
            timeout: timeout?,
        })
    }

    /// Whether signatures are demanded, and whether that was switched off.
    fn verify(&mut self, has_signers: Option<bool>) -> Option<(bool, bool)> {
        let enforced = self.read("registries.verify", |text| match text {
            "enforce" => Ok(true),
            "off" => Ok(false),
            other => Err(unreadable(
                format!("`{other}` says nothing"),
                "write `enforce` or `off`",
            )),
        });
        let (said, has_signers) = (self.text("registries.verify").is_some(), has_signers?);
        match (enforced, said) {
            (Some(true), _) if !has_signers => {
                let hint = "name public keys in `registries.keys`, or identities in `registries.identities`".to_owned();
                self.wrong("registries.verify", "needs keys or identities".to_owned(), Some(hint));
                None
            }
            (Some(enforced), _) => Some((enforced, !enforced)),
            (None, true) => None,
            (None, false) => Some((has_signers, false)),
        }
    }

    /// A list: of the file, or of a variable, where commas separate.
    fn texts(&mut self, key: &'static str, check: impl Fn(&str) -> Result<(), Unreadable>) -> Option<Vec<String>> {
        let Some(text) = self.text(key) else {
            return Some(Vec::new());
        };
        let texts: Vec<String> = match serde_json::from_str(&text) {
            Ok(texts) => texts,
            Err(_) => text
                .split(',')
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty())
                .collect(),
        };
        let mut good = true;
        for text in &texts {
            if let Err(Unreadable { message, hint }) = check(text) {
                self.wrong(key, message, Some(hint));
                good = false;
            }
        }
        good.then_some(texts)
    }

    /// Reads a mapping with `read`, which notes what is wrong with it.
    fn mapping<T: Default>(&mut self, key: &'static str, read: impl Fn(&Item<'_>) -> Option<T>) -> Option<T> {
        let Some(text) = self.text(key) else {
            return Some(T::default());
        };
        let documents = match yaml::parse(&text) {
            Ok(documents) => documents,
            Err(malformed) => {
                self.wrong(key, format!("not YAML: {}", malformed.message), None);
                return None;
            }
        };
        let notes = Notes::new(Path::new(""));
        let value = documents
            .first()
            .and_then(|document| read(&Item::new(document, "", &notes)));
        let problems = notes.into_problems();
        let good = problems.is_empty();
        for problem in problems {
            let message = match problem.path.as_str() {
                "" => problem.message,
                path => format!("{path}: {}", problem.message),
            };
            self.wrong(key, message, problem.hint);
        }
        value.filter(|_| good)
    }

    fn mirrors(&mut self) -> Option<BTreeMap<String, Vec<String>>> {
        self.mapping("registries.mirrors", |item| {
            let mut mirrors = BTreeMap::new();
            for (name, to) in item.named()? {
                tell(&to, prefix(name));
                let to = to.texts()?.into_iter().map(|(text, item)| {
                    tell(&item, prefix(text));
                    text.to_owned()
                });
                mirrors.insert(name.to_owned(), to.collect());
            }
            Some(mirrors)
        })
    }

    fn per_registry(&mut self) -> Option<BTreeMap<String, Registry>> {
        const KNOWN: [&str; 5] = [
            "caFile",
            "clientCertificate",
            "clientKey",
            "dockerConfig",
            "tokenServers",
        ];
        let folder = self.folder("registries.perRegistry");
        self.mapping("registries.perRegistry", |item| {
            let mut registries = BTreeMap::new();
            for (name, item) in item.named()? {
                tell(&item, host(name));
                let mut registry = Registry::default();
                let (mut certificate, mut key) = (None, None);
                for (known, item) in item.mapping_of(&KNOWN)? {
                    if known == "tokenServers" {
                        for (text, item) in item.texts()? {
                            tell(&item, host(text));
                            registry.token_servers.push(text.to_owned());
                        }
                        continue;
                    }
                    let file = item.text().map(|file| folder.join(file));
                    match known {
                        "caFile" => registry.ca_file = file,
                        "clientCertificate" => certificate = file,
                        "clientKey" => key = file,
                        _ => registry.docker_config = file,
                    }
                }
                registry.identity_files = match (certificate, key) {
                    (Some(certificate), Some(key)) => Some((certificate, key)),
                    (None, None) => None,
                    (Some(_), None) | (None, Some(_)) => {
                        item.wrong(
                            Check::KeyGiven,
                            "`clientCertificate` and `clientKey` need each other",
                            None,
                        );
                        None
                    }
                };
                registries.insert(name.to_owned(), registry);
            }
            Some(registries)
        })
    }

    /// What is not said of an adapter is as for all. Who names keys or identities trusts only these.
    fn per_adapter(&mut self, all: &Trust) -> Option<BTreeMap<String, Trust>> {
        let folder = self.folder("registries.perAdapter");
        self.mapping("registries.perAdapter", |item| {
            let mut adapters = BTreeMap::new();
            for (name, item) in item.named()? {
                let mut trust = all.clone();
                let (mut keys, mut identities) = (None, None);
                for (known, item) in item.mapping_of(&["keys", "identities", "trustedRoot", "policy"])? {
                    match known {
                        "keys" => {
                            let files = item.texts()?.into_iter();
                            keys = Some(files.map(|(file, _)| folder.join(file)).collect());
                        }
                        "identities" => identities = identities::listed(&item),
                        "trustedRoot" => trust.trusted_root = item.text().map(|file| folder.join(file)),
                        _ => {
                            let written = match item.json() {
                                Value::String(text) => text,
                                other => other.to_string(),
                            };
                            match policy(&written) {
                                Ok(policy) => trust.policy = policy,
                                Err(unreadable) => tell(&item, Err(unreadable)),
                            }
                        }
                    }
                }
                if keys.is_some() || identities.is_some() {
                    trust.keys = keys.unwrap_or_default();
                    trust.identities = identities.unwrap_or_default();
                }
                identities::check(&item, &trust.identities, trust.trusted_root.is_some());
                if let Some(message) = trust.unfulfillable() {
                    item.wrong(Check::Choice, message, None);
                }
                adapters.insert(name.to_owned(), trust);
            }
            Some(adapters)
        })
    }

    fn proxy(&mut self) -> Option<Proxy> {
        let except = self.texts("registries.proxyExcept", |_| Ok(()));
        let url = self.read("registries.proxy", |text| {
            let hint = "write it as `http://proxy.example.com:3128`";
            // The text is not repeated: it may hold a password.
            let url = Url::parse(text).map_err(|error| unreadable(format!("is not a URL: {error}"), hint))?;
            match url.scheme() {
                _ if !url.username().is_empty() || url.password().is_some() => Err(unreadable(
                    "contains credentials".to_owned(),
                    "put them into a file and name it in `registries.proxyCredentialsFile`",
                )),
                "http" | "https" if url.has_host() => Ok(url),
                _ => Err(unreadable("is not http or https".to_owned(), hint)),
            }
        })?;
        Some(Proxy {
            url,
            except: except?,
            credentials_file: self.path("registries.proxyCredentialsFile"),
        })
    }
}

fn tell(item: &Item<'_>, read: Result<(), Unreadable>) {
    if let Err(Unreadable { message, hint }) = read {
        item.wrong(Check::Choice, message, Some(hint));
    }
}

fn policy(text: &str) -> Result<Policy, Unreadable> {
    match text {
        "any" => Ok(Policy::Any),
        "all" => Ok(Policy::All),
        number => number.parse().map(Policy::Minimum).map_err(|_| {
            unreadable(
                format!("`{number}` is no policy"),
                "write `any`, `all`, or how many keys must sign, from 1",
            )
        }),
    }
}

/// `HOST[:PORT]`.
fn host(text: &str) -> Result<(), Unreadable> {
    let good = !text.ends_with(':') && !text.contains(['/', '@', '?', '#', ' ', '*']);
    let named = Url::parse(&format!("https://{text}/")).is_ok_and(|url| url.has_host());
    if good && named && text.to_ascii_lowercase() == text {
        return Ok(());
    }
    Err(unreadable(
        format!("`{text}` is no registry"),
        "write `HOST` or `HOST:PORT` in lower case, without `https://`",
    ))
}

/// `HOST[:PORT]/PATH`, with `/*` for all below, or `*`.
fn allowed(text: &str) -> Result<(), Unreadable> {
    let below = text.strip_suffix("/*");
    let named = below.is_some() || text.contains('/');
    if text == "*" || (named && prefix(below.unwrap_or(text)).is_ok()) {
        return Ok(());
    }
    Err(unreadable(
        format!("`{text}` lists no repositories"),
        "write `HOST/PATH`, `HOST/PATH/*` or `HOST/*` in lower case, without `https://` and tag",
    ))
}

/// `HOST[:PORT][/PATH]`.
fn prefix(text: &str) -> Result<(), Unreadable> {
    let (registry, path) = text.split_once('/').unwrap_or((text, ""));
    if host(registry).is_ok() && !path.contains([':', '@', ' ', '*', '?', '#']) && !path.ends_with('/') {
        return Ok(());
    }
    Err(unreadable(
        format!("`{text}` begins no repository's name"),
        "write `HOST`, `HOST:PORT` or `HOST/PATH` in lower case, without `https://`, tag and `*`",
    ))
}

#[cfg(test)]
mod tests;
