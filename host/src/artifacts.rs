//! Joins the host's settings, and the pull secrets of adapters, with the room that loads plugins from registries.

mod pull_secrets;

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;

use self::pull_secrets::PullSecretError;
use crate::{
    config::{
        self,
        host::{Policy as Wanted, Registries, Trust},
    },
    registry::{
        Allow, Error, Fetched, Identity, Needed, Origin, Policy, PublicKey, Reference, ReferenceError, Registry,
        Settings, TrustedIdentities, TrustedKey, TrustedRoot,
        access::{self, Access, CredentialSource, PerRegistry},
        signature::{MAX_KEY_FILE, MAX_ROOT_FILE},
    },
    web::chain,
    world::{Artifact, ArtifactFault, Artifacts, Cluster, KnownArtifact, Recipient, Refresh},
};

/// Plugins of registries, for documents.
pub struct Shelf {
    registry: Registry,
    access: Access,
    policy: Policy,
    /// By adapter.
    policies: BTreeMap<String, Policy>,
    /// Where pull secrets are.
    cluster: Option<Arc<dyn Cluster>>,
}

impl Shelf {
    /// Fetches as the settings say, and keeps what was verified in `cache`.
    ///
    /// # Errors
    /// As [`registry`].
    pub fn new(settings: &Registries, cache: PathBuf) -> Result<Self> {
        let access = access(settings);
        let registry = registry_by(settings, cache, &access)?;
        let own = |(adapter, trust): (&String, &Trust)| Ok((adapter.clone(), signers(trust)?));
        let policies = settings.per_adapter.iter().map(own).collect::<Result<_>>()?;
        Ok(Self::of(registry, access, policies))
    }

    /// Fetches by `registry`, and by `access` with pull secrets; `policies` are those of single adapters.
    pub(crate) fn of(registry: Registry, access: Access, policies: BTreeMap<String, Policy>) -> Self {
        Self {
            policy: registry.settings().policy.clone(),
            registry,
            access,
            policies,
            cluster: None,
        }
    }

    /// Reads the pull secrets that documents name there.
    #[must_use]
    pub fn with_pull_secrets_of(self, cluster: Arc<dyn Cluster>) -> Self {
        Self {
            cluster: Some(cluster),
            ..self
        }
    }

    fn policy_for(&self, recipient: Option<&Recipient>) -> &Policy {
        let own = recipient.and_then(|recipient| self.policies.get(&recipient.adapter));
        own.unwrap_or(&self.policy)
    }

    /// The cache as a recipient may see it, and registries with no other credentials than the host's.
    fn registry_for(&self, recipient: Option<&Recipient>) -> Registry {
        match recipient.filter(|recipient| !recipient.pull_secrets.is_empty()) {
            Some(recipient) => {
                let access = Arc::new(self.access.clone());
                self.registry.held_by(&pull_secrets::holder(recipient), access)
            }
            None => self.registry.clone(),
        }
    }

    /// The same, with the recipient's own credentials, read anew.
    async fn open_for(&self, recipient: &Recipient) -> Result<Registry, PullSecretError> {
        if recipient.pull_secrets.is_empty() {
            return Ok(self.registry.clone());
        }
        let holder = pull_secrets::holder(recipient);
        let credentials = pull_secrets::read(self.cluster.as_deref(), recipient).await?;
        let access = self.access.holding(&holder, credentials);
        Ok(self.registry.held_by(&holder, Arc::new(access)))
    }

    async fn fetch_by(
        &self,
        recipient: Option<&Recipient>,
        reference: &str,
        refresh: Refresh,
    ) -> Result<Artifact, ArtifactFault> {
        let reference: Reference = reference.parse().map_err(|error: ReferenceError| ArtifactFault {
            reason: "ReferenceInvalid".to_owned(),
            message: chain(&error),
            retryable: false,
            retry_after: None,
        })?;
        let policy = self.policy_for(recipient);
        if refresh == Refresh::Known {
            // A refusal by the cache is not the last word: the registry may have signatures by now that it had not then.
            let known = self.registry_for(recipient).cached(&reference, policy).await;
            if let Ok(Some(known)) = known {
                return Ok(artifact(known));
            }
        }
        let registry = match recipient {
            Some(recipient) => match self.open_for(recipient).await {
                Ok(registry) => registry,
                Err(error) => return self.without_secrets(recipient, &reference, error).await,
            },
            None => self.registry.clone(),
        };
        let fetched = registry.fetch_or_cached(&reference, policy).await;
        fetched.map(artifact).map_err(|error| fault(&error))
    }

    /// Kubernetes does not tell the credentials: as in an outage of the registry, what they once opened serves on.
    async fn without_secrets(
        &self,
        recipient: &Recipient,
        reference: &Reference,
        error: PullSecretError,
    ) -> Result<Artifact, ArtifactFault> {
        if error.is_outage() {
            let (registry, policy) = (self.registry_for(Some(recipient)), self.policy_for(Some(recipient)));
            if let Ok(Some(known)) = registry.cached(reference, policy).await {
                tracing::warn!(%reference, %error, "a pull secret cannot be asked for; a plugin comes from the cache");
                return Ok(Artifact {
                    stale: Some(error.into()),
                    ..artifact(known)
                });
            }
        }
        Err(error.into())
    }
}

fn artifact(fetched: Fetched) -> Artifact {
    let Fetched { plugin, origin } = fetched;
    let asked = !matches!(origin, Origin::Cache);
    Artifact {
        bytes: plugin.bytes.into(),
        digest: plugin.manifest.to_string(),
        signed_by: plugin.signed_by,
        asked,
        stale: match origin {
            Origin::Outage(error) | Origin::Denied(error) => Some(fault(&error)),
            Origin::Registry | Origin::Confirmed | Origin::Cache => None,
        },
    }
}

fn fault(error: &Error) -> ArtifactFault {
    ArtifactFault {
        reason: error.reason().to_owned(),
        message: chain(error),
        retryable: error.is_outage() || error.is_denial(),
        retry_after: error.retry_after(),
    }
}

#[async_trait]
impl Artifacts for Shelf {
    async fn fetch(&self, reference: &str, refresh: Refresh) -> Result<Artifact, ArtifactFault> {
        self.fetch_by(None, reference, refresh).await
    }

    async fn known(&self, recipient: Option<&Recipient>, reference: &str) -> Option<KnownArtifact> {
        let reference: Reference = reference.parse().ok()?;
        let policy = self.policy_for(recipient).clone();
        let registry = self.registry_for(recipient);
        let known = tokio::task::spawn_blocking(move || registry.known(&reference, &policy)).await;
        // What is wrong is told by the fetch that follows.
        let known = known.ok()?.ok()??;
        Some(KnownArtifact {
            component: known.component.hex().to_owned(),
            digest: known.manifest.to_string(),
            signed_by: known.signed_by,
        })
    }

    async fn took_over(&self, reference: &str, digest: &str) {
        // Both came from here.
        if let (Ok(reference), Ok(digest)) = (reference.parse(), digest.parse()) {
            self.registry.took_over(&reference, &digest).await;
        }
    }

    fn judges_apart(&self, recipient: &Recipient) -> bool {
        !recipient.pull_secrets.is_empty() || self.policies.contains_key(&recipient.adapter)
    }

    async fn fetch_for(
        &self,
        recipient: &Recipient,
        reference: &str,
        refresh: Refresh,
    ) -> Result<Artifact, ArtifactFault> {
        self.fetch_by(Some(recipient), reference, refresh).await
    }
}

/// How registries are reached. Without files with credentials, docker's own is used, if there is one.
#[must_use]
pub fn access(settings: &Registries) -> Access {
    let files = settings.docker_config.clone().unwrap_or_else(|| {
        access::docker_config(|name| std::env::var_os(name))
            .into_iter()
            .collect()
    });
    let registries = settings.per_registry.iter().map(|(name, own)| {
        let (client_certificate, client_key) = own.identity_files.clone().unzip();
        let own = PerRegistry {
            ca_file: own.ca_file.clone(),
            client_certificate,
            client_key,
            docker_config: own.docker_config.clone(),
            token_servers: own.token_servers.clone(),
        };
        (name.clone(), own)
    });
    Access::new(access::Settings {
        credentials: files.into_iter().map(CredentialSource::File).collect(),
        ca_file: settings.ca_file.clone(),
        proxy: settings.proxy.clone().map(|proxy| access::Proxy {
            url: proxy.url,
            except: proxy.except,
            credentials_file: proxy.credentials_file,
        }),
        insecure: settings.insecure.clone(),
        mirrors: settings.mirrors.clone(),
        registries: registries.collect(),
        limits: access::Limits {
            total: settings.timeout,
            ..access::Limits::default()
        },
        ..access::Settings::default()
    })
}

/// Which signatures plugins need. That they need none by order is logged as a warning.
///
/// # Errors
/// When a file with a key or a trusted root cannot be used.
pub fn policy(settings: &Registries) -> Result<Policy> {
    if settings.verify_is_off {
        tracing::warn!(
            "signatures of plugins are NOT verified (`registries.verify: off`): whoever can push to an allowed repository can run a plugin here"
        );
    }
    if !settings.enforce {
        return Ok(Policy::Off);
    }
    signers(&settings.trust)
}

fn signers(trust: &Trust) -> Result<Policy> {
    let identities = match &trust.trusted_root {
        Some(file) if !trust.identities.is_empty() => Some(TrustedIdentities {
            root: trusted_root(file)?,
            identities: trust.identities.iter().map(identity).collect(),
        }),
        Some(_) | None => None,
    };
    Ok(Policy::Signers {
        keys: trust.keys.iter().map(|file| key(file)).collect::<Result<_>>()?,
        identities,
        needed: match trust.policy {
            Wanted::Any => Needed::Any,
            Wanted::All => Needed::All,
            Wanted::Minimum(least) => Needed::Minimum(least),
        },
    })
}

fn identity(named: &config::host::Identity) -> Identity {
    Identity {
        issuer: named.issuer.clone(),
        subject: named.subject.clone(),
    }
}

fn trusted_root(file: &Path) -> Result<TrustedRoot> {
    let text =
        read(file, MAX_ROOT_FILE).with_context(|| format!("cannot read the trusted root `{}`", file.display()))?;
    TrustedRoot::read(&text).with_context(|| format!("cannot use the trusted root `{}`", file.display()))
}

/// Reads a file up to a size.
fn read(file: &Path, max: u64) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(file)?.take(max).read_to_end(&mut text)?;
    Ok(text)
}

fn key(file: &Path) -> Result<TrustedKey> {
    let text = read(file, MAX_KEY_FILE).with_context(|| format!("cannot read the public key `{}`", file.display()))?;
    let key = PublicKey::read(&text).with_context(|| format!("cannot use the public key `{}`", file.display()))?;
    let name = file.file_name().unwrap_or(file.as_os_str());
    Ok(TrustedKey {
        name: name.to_string_lossy().into_owned(),
        key,
    })
}

/// Where plugins may come from.
///
/// # Errors
/// When a line of the list cannot be used.
pub fn allow(settings: &Registries) -> Result<Vec<Allow>> {
    let read = |line: &String| {
        line.parse()
            .with_context(|| format!("cannot use `{line}` in `registries.allow`"))
    };
    settings.allow.iter().map(read).collect()
}

/// What fetches plugins and keeps them in `cache`.
///
/// # Errors
/// When a key, a line of the allow-list or the folder cannot be used.
pub fn registry(settings: &Registries, cache: PathBuf) -> Result<Registry> {
    registry_by(settings, cache, &access(settings))
}

fn registry_by(settings: &Registries, cache: PathBuf, access: &Access) -> Result<Registry> {
    let settings_of_room = Settings {
        policy: policy(settings)?,
        allow: allow(settings)?,
        cache_size: settings.cache_size as u64,
        max_size: settings.max_size as u64,
        deadline: settings.timeout,
        ..Settings::new(cache)
    };
    Registry::new(settings_of_room, Arc::new(access.clone())).context("cannot use the folder for plugins")
}
