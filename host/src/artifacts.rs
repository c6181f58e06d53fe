//! Joins the host's settings with the room that loads plugins from registries.

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;

use crate::{
    config::{
        self,
        host::{Policy as Wanted, Registries, Trust},
    },
    registry::{
        Error, Identity, Needed, Policy, PublicKey, Reference, ReferenceError, Registry, Settings, TrustedIdentities,
        TrustedKey, TrustedRoot,
        access::{self, Access, CredentialSource, PerRegistry},
        signature::{MAX_KEY_FILE, MAX_ROOT_FILE},
    },
    web::chain,
    world::{Artifact, ArtifactFault, Artifacts, KnownArtifact, Refresh},
};

/// Plugins of registries, for documents.
pub struct Shelf {
    registry: Registry,
    policy: Policy,
    /// By adapter.
    policies: BTreeMap<String, Policy>,
}

impl Shelf {
    /// Fetches as the settings say, and keeps what was verified in `cache`.
    ///
    /// # Errors
    /// As [`registry`].
    pub fn new(settings: &Registries, cache: PathBuf) -> Result<Self> {
        let registry = registry(settings, cache)?;
        let policy = registry.settings().policy.clone();
        let own = |(adapter, trust): (&String, &Trust)| Ok((adapter.clone(), signers(trust)?));
        Ok(Self {
            registry,
            policy,
            policies: settings.per_adapter.iter().map(own).collect::<Result<_>>()?,
        })
    }

    async fn fetch_under(&self, reference: &str, policy: &Policy, refresh: Refresh) -> Result<Artifact, ArtifactFault> {
        let reference: Reference = reference.parse().map_err(|error: ReferenceError| ArtifactFault {
            reason: "ReferenceInvalid".to_owned(),
            message: chain(&error),
            retryable: false,
        })?;
        let fault = |error: Error| ArtifactFault {
            reason: error.reason().to_owned(),
            message: chain(&error),
            retryable: error.is_outage(),
        };
        let known = match refresh {
            Refresh::Known => self.registry.cached(&reference, policy).await.map_err(fault)?,
            Refresh::Resolve => None,
        };
        let fetched = match known {
            Some(known) => known,
            None => self.registry.fetch_or_cached(&reference, policy).await.map_err(fault)?,
        };
        let plugin = fetched.plugin;
        Ok(Artifact {
            bytes: plugin.bytes.into(),
            digest: plugin.manifest.to_string(),
            signed_by: plugin.signed_by,
        })
    }
}

#[async_trait]
impl Artifacts for Shelf {
    async fn fetch(&self, reference: &str, refresh: Refresh) -> Result<Artifact, ArtifactFault> {
        self.fetch_under(reference, &self.policy, refresh).await
    }

    async fn known(&self, adapter: &str, reference: &str) -> Option<KnownArtifact> {
        let reference: Reference = reference.parse().ok()?;
        let policy = self.policies.get(adapter).unwrap_or(&self.policy).clone();
        let registry = self.registry.clone();
        let known = tokio::task::spawn_blocking(move || registry.known(&reference, &policy)).await;
        // What is wrong is told by the fetch that follows.
        let known = known.ok()?.ok()??;
        Some(KnownArtifact {
            component: known.component.hex().to_owned(),
            digest: known.manifest.to_string(),
            signed_by: known.signed_by,
        })
    }

    fn judges_apart(&self, adapter: &str) -> bool {
        self.policies.contains_key(adapter)
    }

    async fn fetch_for(&self, adapter: &str, reference: &str, refresh: Refresh) -> Result<Artifact, ArtifactFault> {
        let policy = self.policies.get(adapter).unwrap_or(&self.policy);
        self.fetch_under(reference, policy, refresh).await
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

/// What fetches plugins and keeps them in `cache`.
///
/// # Errors
/// When a key, a line of the allow-list or the folder cannot be used.
pub fn registry(settings: &Registries, cache: PathBuf) -> Result<Registry> {
    let allow: Result<Vec<_>> = settings
        .allow
        .iter()
        .map(|line| {
            line.parse()
                .with_context(|| format!("cannot use `{line}` in `registries.allow`"))
        })
        .collect();
    let settings_of_room = Settings {
        policy: policy(settings)?,
        allow: allow?,
        max_size: settings.max_size as u64,
        ..Settings::new(cache)
    };
    Registry::new(settings_of_room, Arc::new(access(settings))).context("cannot use the folder for plugins")
}
