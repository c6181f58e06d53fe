//! How each registry is reached: as whom, by whose certificates, through which mirror and proxy.
//!
//! Owns credentials and the files that they are in. Files are read again for every session and
//! every log-in, because they rotate. Nothing comes from the environment: no proxy, no file.
//!
//! # Guarantees
//! - Plain HTTP is spoken only to registries that are listed as insecure, not even to localhost.
//! - A client certificate is shown to its registry only, and to nobody that it redirects to.
//! - Credentials are looked up for the registry that is talked to: a mirror never gets those of
//!   the registry that it stands in for.
//! - Whoever has credentials of their own has sessions of their own.

mod clients;
pub mod doctor;
mod helper;
mod keyring;
mod mirrors;
mod routed;
mod secret;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use url::Url;

pub use clients::ClientError;
pub(crate) use clients::Clients;
pub use helper::HelperError;
pub use keyring::KeyringError;
pub use mirrors::Mirrors;
pub(in crate::registry) use secret::Secrets;
pub use secret::{Credentials, Secret};

use super::{
    Connect,
    remote::{Cause, Fault, Remote, Repository},
    session::{Place, Retries, Session},
};
use keyring::{Found, Keyring};

/// No file with credentials is longer, in bytes.
const LARGEST_FILE: u64 = 1 << 20;

/// How registries are reached.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Where credentials are; the first that knows the repository counts.
    pub credentials: Vec<CredentialSource>,
    /// Authorities that are trusted in addition to the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// The proxy for all registries.
    pub proxy: Option<Proxy>,
    /// Registries that are spoken to without TLS: `HOST[:PORT]`.
    pub insecure: BTreeSet<String>,
    /// What stands in for what.
    pub mirrors: Mirrors,
    /// What differs, by registry: `HOST[:PORT]`.
    pub registries: BTreeMap<String, PerRegistry>,
    /// How long things may take.
    pub limits: Limits,
    /// How often things are tried.
    pub retries: Retries,
}

/// What differs for one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PerRegistry {
    /// The only authorities that are trusted for it, PEM.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, PEM.
    pub client_certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub client_key: Option<PathBuf>,
    /// A file with credentials that counts before all others.
    pub docker_config: Option<PathBuf>,
    /// Hosts, with ports if they have one, that may be sent the credentials for a token, beside the
    /// registry's own and those of a few registries that are known.
    pub token_servers: Vec<String>,
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

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Making a connection.
    pub connect: Duration,
    /// Waiting for the begin of an answer, and for each of its pieces. What is uploaded has the time besides that it
    /// takes on a line of 64 KiB a second.
    pub answer: Duration,
    /// One question with all redirects, log-ins and retries; with the same time besides for what is uploaded.
    pub total: Duration,
}

/// The slowest line on which an upload succeeds, in bytes a second.
const SLOWEST: u64 = 64 << 10;

impl Limits {
    /// The time that so many bytes may take on their way out.
    pub(in crate::registry) fn uploading(bytes: usize) -> Duration {
        Duration::from_secs(bytes as u64 / SLOWEST)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(15),
            total: Duration::from_secs(120),
        }
    }
}

/// Where credentials are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// docker's `config.json`, or a mounted pull secret (`.dockerconfigjson`).
    File(PathBuf),
    /// The same text, as somebody else wrote it: no helper that it names is run, because a helper would answer with
    /// credentials of the host.
    Document {
        /// What it is called in errors, such as `Secret adapters/registry`.
        name: String,
        /// It.
        text: Secret,
    },
}

/// Why there are no credentials to use.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A source cannot be read.
    #[error("cannot read credentials from {from}")]
    Unreadable {
        /// Which one.
        from: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// A source cannot be understood.
    #[error("cannot use credentials from {from}")]
    Unusable {
        /// Which one.
        from: String,
        /// Why.
        #[source]
        source: KeyringError,
    },
    /// A helper gave nothing.
    #[error("the credential helper gave nothing")]
    Helper(#[from] HelperError),
    /// Somebody else wants a helper to be run.
    #[error("{from} names a credential helper; helpers are run for the host's own files only")]
    ForeignHelper {
        /// Which source.
        from: String,
    },
}

/// docker's own file with credentials, if there is one: `$DOCKER_CONFIG/config.json`, else
/// `$HOME/.docker/config.json`.
#[must_use]
pub fn docker_config(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    let folder = variable("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".docker")))?;
    Some(folder.join("config.json")).filter(|file| file.is_file())
}

/// Knows the credentials for repositories.
#[async_trait]
pub(crate) trait Authenticate: Send + Sync {
    /// The credentials for a repository, read anew.
    async fn credentials(&self, repository: &Repository) -> Result<Credentials, CredentialsError>;
}

struct Purse {
    sources: Vec<CredentialSource>,
}

#[async_trait]
impl Authenticate for Purse {
    async fn credentials(&self, repository: &Repository) -> Result<Credentials, CredentialsError> {
        for source in &self.sources {
            let (from, keyring) = match source {
                CredentialSource::File(path) => {
                    let from = format!("`{}`", path.display());
                    match read_file(path).await {
                        Ok(text) => (from, Keyring::parse(&text)),
                        Err(source) => return Err(CredentialsError::Unreadable { from, source }),
                    }
                }
                CredentialSource::Document { name, text } => {
                    (format!("`{name}`"), Keyring::parse(text.reveal().as_bytes()))
                }
            };
            let found = keyring.and_then(|keyring| keyring.find(repository));
            match (found, source) {
                (Err(source), _) => return Err(CredentialsError::Unusable { from, source }),
                (Ok(Some(Found::Here(credentials))), _) => return Ok(credentials),
                (Ok(Some(Found::Helper { name, server })), CredentialSource::File(_)) => {
                    // One that knows nothing leaves it to the sources that follow.
                    if let Some(credentials) = helper::ask(&name, &server).await? {
                        return Ok(credentials);
                    }
                }
                (Ok(Some(Found::Helper { .. })), CredentialSource::Document { .. }) => {
                    return Err(CredentialsError::ForeignHelper { from });
                }
                (Ok(None), _) => {}
            }
        }
        Ok(Credentials::Anonymous)
    }
}

async fn read_file(path: &Path) -> Result<Vec<u8>, Cause> {
    use tokio::io::AsyncReadExt as _;

    let mut text = Vec::new();
    let file = tokio::fs::File::open(path).await?;
    file.take(LARGEST_FILE).read_to_end(&mut text).await?;
    Ok(text)
}

/// Gives sessions with registries.
#[derive(Clone)]
pub struct Access {
    inner: Arc<Inner>,
    holder: Option<Arc<Holder>>,
}

/// Somebody with credentials of their own.
struct Holder {
    name: String,
    credentials: Vec<CredentialSource>,
    fingerprint: [u8; 32],
}

/// Tells the time.
pub(crate) type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

struct Inner {
    settings: Settings,
    sessions: Mutex<Sessions>,
    resting: mirrors::Resting,
    clock: Clock,
}

/// As what a registry is talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    /// As itself.
    Origin,
    /// As one that stands in for another: it is asked once, and not waited for.
    Mirror,
}

/// By registry, role and holder: a session keeps tokens. It is kept as long as the files and documents that it was made
/// of stay as they are.
type Sessions = BTreeMap<(String, Role, Option<String>), ([u8; 32], Arc<Session>)>;

impl fmt::Debug for Access {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Access")
            .field("settings", &self.inner.settings)
            .finish()
    }
}

impl Access {
    /// Access with these settings. Files are read when a registry is first talked to.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::with_clock(settings, Arc::new(Instant::now))
    }

    /// The same by another clock.
    pub(crate) fn with_clock(settings: Settings, clock: Clock) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings,
                sessions: Mutex::default(),
                resting: mirrors::Resting::default(),
                clock,
            }),
            holder: None,
        }
    }

    /// The same for `holder`, whose own credentials count before all others. No session, and so no token, is shared
    /// with anybody else, or with the same holder after these credentials have changed.
    #[must_use]
    pub fn holding(&self, holder: &str, credentials: Vec<CredentialSource>) -> Self {
        let mut fingerprint = Sha256::new();
        for source in &credentials {
            let (kind, name, text) = match source {
                CredentialSource::File(path) => ("file", path.display().to_string(), ""),
                CredentialSource::Document { name, text } => ("document", name.clone(), text.reveal()),
            };
            for part in [kind, &name, text] {
                fingerprint.update(part.len().to_be_bytes());
                fingerprint.update(part);
            }
        }
        Self {
            inner: Arc::clone(&self.inner),
            holder: Some(Arc::new(Holder {
                name: holder.to_owned(),
                credentials,
                fingerprint: fingerprint.finalize().into(),
            })),
        }
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// A registry by its name; reads try its mirrors first, writes go to itself.
    ///
    /// # Errors
    /// [`Fault::Misconfigured`] when its certificates, or the proxy, cannot be used.
    pub fn open(&self, registry: &str) -> Result<Arc<dyn Remote>, Fault> {
        let origin = self.session(registry)?;
        if self.inner.settings.mirrors.is_empty() {
            return Ok(origin);
        }
        Ok(Arc::new(routed::Routed::new(self.clone(), origin)))
    }

    /// What stands in for a repository, in order.
    #[must_use]
    pub fn mirrors(&self, repository: &Repository) -> Vec<Repository> {
        let mut candidates = mirrors::candidates(&self.inner.settings.mirrors, repository);
        candidates.retain(|candidate| candidate != repository);
        candidates
    }

    /// Where credentials for a registry are looked for, in order.
    fn sources(&self, registry: &str) -> Vec<CredentialSource> {
        let settings = &self.inner.settings;
        let held = self.holder.as_ref().map(|holder| holder.credentials.as_slice());
        let own = settings
            .registries
            .get(registry)
            .and_then(|one| one.docker_config.clone());
        let held = held.unwrap_or_default().iter().cloned();
        held.chain(own.map(CredentialSource::File))
            .chain(settings.credentials.iter().cloned())
            .collect()
    }

    /// The session with exactly this registry.
    pub(crate) fn session(&self, registry: &str) -> Result<Arc<Session>, Fault> {
        self.session_as(Role::Origin, registry)
    }

    /// The session with a mirror that did not fail to answer just now. None: it did, and is left alone for a while.
    pub(in crate::registry) fn mirror(&self, registry: &str) -> Option<Result<Arc<Session>, Fault>> {
        let rests = self.inner.resting.has(registry, (self.inner.clock)());
        (!rests).then(|| self.session_as(Role::Mirror, registry))
    }

    /// Notes why a mirror gave nothing. Tells whether it is left alone for it.
    fn failed(&self, mirror: &str, fault: &Fault) -> bool {
        self.inner.resting.note(mirror, fault, (self.inner.clock)())
    }

    fn session_as(&self, role: Role, registry: &str) -> Result<Arc<Session>, Fault> {
        let settings = &self.inner.settings;
        let misconfigured = |source: ClientError| Fault::Misconfigured {
            registry: registry.to_owned(),
            source: source.into(),
        };
        let per_registry = settings.registries.get(registry).cloned().unwrap_or_default();
        let material = clients::Material::read(settings, &per_registry).map_err(misconfigured)?;
        let holder = self.holder.as_deref();
        let fingerprint = holder.map_or(material.fingerprint, |holder| {
            Sha256::new()
                .chain_update(material.fingerprint)
                .chain_update(holder.fingerprint)
                .finalize()
                .into()
        });
        let key = (registry.to_owned(), role, holder.map(|holder| holder.name.clone()));
        let mut sessions = self.inner.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, session)) = sessions.get(&key)
            && *known == fingerprint
        {
            return Ok(Arc::clone(session));
        }
        let plain = settings.insecure.contains(registry);
        let clients = material.clients(settings, plain).map_err(misconfigured)?;
        let sources = self.sources(registry);
        let place = Place::new(registry, &settings.insecure, per_registry.token_servers)?;
        let purse = Arc::new(Purse { sources });
        let retries = match role {
            Role::Origin => settings.retries,
            Role::Mirror => settings.retries.once(),
        };
        let session = Arc::new(Session::new(place, clients, purse, settings.limits, retries));
        sessions.insert(key, (fingerprint, Arc::clone(&session)));
        Ok(session)
    }
}

impl Connect for Access {
    fn remote(&self, registry: &str) -> Result<Arc<dyn Remote>, Fault> {
        self.open(registry)
    }
}

/// Not more of a text than a message can hold, and no control characters.
pub(super) fn shown(text: &str) -> String {
    text.chars()
        .take(200)
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests;
