//! Plugins from OCI registries: a reference becomes verified bytes.
//!
//! Owns every call to a registry, and the cache of what came from there. Knows nothing of adapters or of running
//! plugins: it is handed a [`Reference`] and a [`Policy`], and answers with the bytes of a component.
//!
//! # Guarantees
//! - A registry is taken for hostile. Every answer is bounded in size and time, and nothing is believed that is not
//!   checked by digest, signature or comparison.
//! - A tag is resolved once. What was verified is what is answered with.
//! - Repositories that are not listed are not asked.
//! - What was fetched and [took over](Registry::took_over) can be had again without the network, under the policy of
//!   then or of now. What was fetched and did not take over does not stand in its way.
//! - What was fetched with credentials of somebody's own is not had from the cache by anybody else.
//!
//! # Order
//! resolve, allow-list, signatures, manifest, config, layer, comparison with the component. Compiling, trying out and
//! swapping are the joiner's.

pub mod access;
mod allow;
pub mod archive;
mod check;
pub mod component;
pub mod layout;
mod pull;
mod push;
mod reference;
pub mod remote;
pub mod session;
pub mod signature;
pub mod store;

#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc, time::Duration};

pub use allow::{Allow, AllowError};
pub use pull::{Error, Verified};
pub use push::{PushError, push};
pub use reference::{At, Digest, Reference, ReferenceError, Repository};
pub use signature::{Identity, Needed, Policy, PrivateKey, PublicKey, TrustedIdentities, TrustedKey, TrustedRoot};

use self::{
    remote::{Fault, Remote},
    store::{Entry, Readers, Store, StoreError},
};

/// How plugins are fetched and kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which signatures a plugin needs, unless the caller asks for others.
    pub policy: Policy,
    /// Where plugins may come from. Nothing is allowed that is not listed.
    pub allow: Vec<Allow>,
    /// Where verified plugins are kept.
    pub cache_dir: PathBuf,
    /// How large that folder may grow, in bytes.
    pub cache_size: u64,
    /// The largest component, in bytes.
    pub max_size: u64,
    /// How long one fetch may take, all steps together.
    pub deadline: Duration,
}

impl Settings {
    /// Settings with the usual bounds: components of 256 MiB, a cache of 2 GiB, two minutes. Signatures are not
    /// verified and nothing is allowed.
    #[must_use]
    pub fn new(cache_dir: PathBuf) -> Self {
        Self {
            policy: Policy::Off,
            allow: Vec::new(),
            cache_dir,
            cache_size: 2 << 30,
            max_size: 256 << 20,
            deadline: Duration::from_secs(120),
        }
    }
}

/// Gives access to registries by their names.
pub trait Connect: Send + Sync {
    /// The registry `registry` (host and port), with its credentials, certificates and mirrors.
    ///
    /// # Errors
    /// When the settings for it cannot be used.
    fn remote(&self, registry: &str) -> Result<Arc<dyn Remote>, Fault>;
}

/// Where the answer came from.
#[derive(Debug)]
pub enum Origin {
    /// The registry was asked and its answer is the newest.
    Registry,
    /// The registry was asked, and pointed to what the cache has.
    Confirmed,
    /// The registry was not asked.
    Cache,
    /// The registry was asked in vain.
    Outage(Error),
    /// The registry does not let us in. What it let us have before serves.
    Denied(Error),
}

/// A verified plugin, and where it came from.
#[derive(Debug)]
pub struct Fetched {
    /// The plugin.
    pub plugin: Verified,
    /// Where it came from.
    pub origin: Origin,
}

/// What the cache knows of a reference without reading the component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The manifest's digest.
    pub manifest: Digest,
    /// The component's digest: by it the compiled code may be found, and the bytes need not be read.
    pub component: Digest,
    /// Who of the trusted signed it.
    pub signed_by: Vec<String>,
}

/// Fetches plugins. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    settings: Arc<Settings>,
    connect: Arc<dyn Connect>,
    store: Store,
    holder: Option<Arc<str>>,
}

impl Registry {
    /// Opens the cache.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn new(settings: Settings, connect: Arc<dyn Connect>) -> Result<Self, StoreError> {
        if !settings.policy.is_enforced() {
            tracing::debug!("signatures of plugins are not verified");
        }
        let store = Store::open(&settings.cache_dir, settings.cache_size)?;
        Ok(Self {
            settings: Arc::new(settings),
            connect,
            store,
            holder: None,
        })
    }

    /// The same for `holder`, who reaches registries with credentials of their own, by `connect`. What they alone could
    /// fetch so far is in the cache for them alone.
    #[must_use]
    pub fn held_by(&self, holder: &str, connect: Arc<dyn Connect>) -> Self {
        Self {
            connect,
            holder: Some(holder.into()),
            ..self.clone()
        }
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The cache.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether plugins may come from `repository`.
    ///
    /// # Errors
    /// When it is not listed.
    pub fn allowed(&self, repository: &Repository) -> Result<(), Error> {
        if self.settings.allow.iter().any(|allow| allow.covers(repository)) {
            Ok(())
        } else {
            Err(Error::NotAllowed(repository.clone()))
        }
    }

    /// The digest that `reference` stands for now. For finding out whether a tag moved.
    ///
    /// # Errors
    /// When the repository is not allowed, or the registry does not tell.
    pub async fn resolve(&self, reference: &Reference) -> Result<Digest, Error> {
        let remote = self.remote(reference)?;
        self.in_time(reference, pull::resolve(remote.as_ref(), reference)).await
    }

    /// Fetches a plugin under the policy of the settings. See [`Registry::fetch_under`].
    ///
    /// # Errors
    /// As there.
    pub async fn fetch(&self, reference: &Reference) -> Result<Fetched, Error> {
        self.fetch_under(reference, &self.settings.policy).await
    }

    /// Asks the registry what `reference` stands for, and answers with those bytes: from the cache if it has them and
    /// their signatures suffice, else from the registry. What a mirror has and is refused, such as a tag that points
    /// elsewhere or too few signatures, is asked of the registry itself.
    ///
    /// # Errors
    /// When any check fails, or the registry cannot be asked. There is no fall back: see [`Registry::fetch_or_cached`].
    pub async fn fetch_under(&self, reference: &Reference, policy: &Policy) -> Result<Fetched, Error> {
        let remote = self.remote(reference)?;
        self.in_time(reference, async {
            let refused = match self.fetch_from(remote.as_ref(), reference, policy).await {
                Ok(fetched) => return Ok(fetched),
                Err(refused) => refused,
            };
            let origin = behind(remote.as_ref(), reference, refused)?;
            self.fetch_from(origin.as_ref(), reference, policy).await
        })
        .await
    }

    /// As [`Registry::fetch_under`]; where the registry cannot be asked, or does not let us in, what took over last
    /// serves.
    ///
    /// # Errors
    /// When any check fails, or neither registry nor cache have it.
    pub async fn fetch_or_cached(&self, reference: &Reference, policy: &Policy) -> Result<Fetched, Error> {
        let error = match self.fetch_under(reference, policy).await {
            Ok(fetched) => return Ok(fetched),
            Err(error) if error.is_outage() || error.is_denial() => error,
            Err(error) => return Err(error),
        };
        let (Ok(Some(fetched)), reason) = (self.cached(reference, policy).await, error.reason()) else {
            return Err(error);
        };
        let origin = if error.is_denial() {
            tracing::warn!(%reference, reason, "the registry does not let us in; a plugin comes from the cache");
            Origin::Denied(error)
        } else {
            tracing::warn!(%reference, reason, "the registry cannot be asked; a plugin comes from the cache");
            Origin::Outage(error)
        };
        Ok(Fetched { origin, ..fetched })
    }

    /// What the cache has of `reference` under `policy`: what took over last. No network is used. None if there is
    /// nothing, or it was damaged.
    ///
    /// # Errors
    /// When the repository is not allowed, or the signatures do not fulfil the policy.
    pub async fn cached(&self, reference: &Reference, policy: &Policy) -> Result<Option<Fetched>, Error> {
        self.allowed(&reference.repository)?;
        let (this, named, policy) = (self.clone(), reference.clone(), policy.clone());
        let found = blocking(reference, move || {
            let Some(digest) = this.store.last(&named) else {
                return Ok(None);
            };
            this.stored(&named, &digest, &policy)
        });
        Ok(found.await??.map(|plugin| Fetched {
            plugin,
            origin: Origin::Cache,
        }))
    }

    /// As [`Registry::cached`] without the bytes: for callers that keep compiled code by the component's digest. The
    /// manifest and its signatures are checked; the component is not read. Blocks for a small file.
    ///
    /// # Errors
    /// As [`Registry::cached`].
    pub fn known(&self, reference: &Reference, policy: &Policy) -> Result<Option<Known>, Error> {
        self.allowed(&reference.repository)?;
        let entry = self
            .store
            .last(reference)
            .and_then(|digest| Some((self.entry(&digest)?, digest)));
        let Some((entry, manifest)) = entry else {
            return Ok(None);
        };
        let signed_by = pull::signed(reference, &manifest, policy, &entry.attachments)?;
        let layout = layout::Layout::read(remote::MANIFEST, &entry.manifest, self.settings.max_size);
        let layout = layout.map_err(|source| Error::Layout {
            reference: Box::new(reference.clone()),
            source,
        })?;
        Ok(Some(Known {
            manifest,
            component: layout.layer.digest,
            signed_by,
        }))
    }

    /// What `reference` stood for has passed every test of the caller's: from now on the cache answers with it. A
    /// reference with a digest needs no memory.
    pub async fn took_over(&self, reference: &Reference, digest: &Digest) {
        if reference.digest.is_some() {
            return;
        }
        let (this, named, digest) = (self.clone(), reference.clone(), digest.clone());
        let kept = blocking(reference, move || {
            if this.store.last(&named).as_ref() == Some(&digest) {
                return Ok(());
            }
            this.store.remember(&named, &digest)
        })
        .await;
        match kept {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%reference, error = %chain(&error), "where a tag points was not kept in the cache");
            }
            Err(error) => {
                tracing::warn!(%reference, error = %chain(&error), "where a tag points was not kept in the cache");
            }
        }
    }

    fn remote(&self, reference: &Reference) -> Result<Arc<dyn Remote>, Error> {
        self.allowed(&reference.repository)?;
        self.connect
            .remote(&reference.repository.registry)
            .map_err(|source| Error::Registry {
                reference: Box::new(reference.clone()),
                source,
            })
    }

    async fn in_time<T>(
        &self,
        reference: &Reference,
        doing: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let limit = self.settings.deadline;
        tokio::time::timeout(limit, doing).await.unwrap_or_else(|_| {
            Err(Error::Deadline {
                reference: Box::new(reference.clone()),
                limit,
            })
        })
    }

    async fn fetch_from(&self, remote: &dyn Remote, reference: &Reference, policy: &Policy) -> Result<Fetched, Error> {
        let digest = pull::resolve(remote, reference).await?;
        let (this, named, wanted, under) = (self.clone(), reference.clone(), digest.clone(), policy.clone());
        // Signatures that do not suffice may have been added to since: then the registry is asked for them again.
        let kept = blocking(reference, move || {
            // The last good one is in use as long as nothing else takes over, whatever the tag points to.
            if let Some(last) = this.store.last(&named).filter(|last| *last != wanted) {
                this.store.touch(&last);
            }
            this.stored(&named, &wanted, &under)
        })
        .await?;
        if let Ok(Some(plugin)) = kept {
            return Ok(Fetched {
                plugin,
                origin: Origin::Confirmed,
            });
        }
        let (attachments, signed_by) = pull::signatures(remote, reference, &digest, policy).await?;
        let (mut entry, bytes) = pull::pull(remote, reference, &digest, attachments, self.settings.max_size).await?;
        entry.readers = Readers::only(self.holder.as_deref());
        let this = self.clone();
        let (bytes, component) = blocking(reference, move || {
            if let Err(error) = this.store.put(&entry, &bytes) {
                tracing::warn!(error = %chain(&error), "a plugin was not kept in the cache");
            }
            let component = Digest::of(&bytes);
            (bytes, component)
        })
        .await?;
        Ok(Fetched {
            plugin: Verified {
                bytes,
                digest: component,
                manifest: digest,
                signed_by,
            },
            origin: Origin::Registry,
        })
    }

    /// What the store has of a manifest, if we may have it.
    fn entry(&self, digest: &Digest) -> Option<Entry> {
        let entry = self.store.entry(digest)?;
        entry.readers.include(self.holder.as_deref()).then_some(entry)
    }

    /// What the store has of a manifest, checked as if it came from the registry.
    fn stored(&self, reference: &Reference, digest: &Digest, policy: &Policy) -> Result<Option<Verified>, Error> {
        let Some(entry) = self.entry(digest) else {
            return Ok(None);
        };
        let signed_by = pull::signed(reference, digest, policy, &entry.attachments)?;
        Ok(self.layer(reference, &entry).map(|(component, bytes)| Verified {
            bytes,
            digest: component,
            manifest: digest.clone(),
            signed_by,
        }))
    }

    /// The component of an entry. Its comparison with the config was made before it was kept, and both are named by
    /// their digests.
    fn layer(&self, reference: &Reference, entry: &Entry) -> Option<(Digest, Vec<u8>)> {
        match layout::Layout::read(remote::MANIFEST, &entry.manifest, self.settings.max_size) {
            Ok(layout) => {
                let bytes = self.store.blob(&layout.layer.digest)?;
                Some((layout.layer.digest, bytes))
            }
            Err(error) => {
                tracing::warn!(%reference, error = %chain(&error), "a plugin in the cache is not accepted any more");
                None
            }
        }
    }
}

/// What `reference` stands for, and who of the trusted signed it. Nothing of the plugin itself is fetched. What a mirror
/// has and is refused is asked of the registry itself.
///
/// # Errors
/// When the registry does not tell, or the policy is not fulfilled.
pub async fn verify(
    remote: &dyn Remote,
    reference: &Reference,
    policy: &Policy,
) -> Result<(Digest, Vec<String>), Error> {
    let refused = match signed_there(remote, reference, policy).await {
        Ok(signed) => return Ok(signed),
        Err(refused) => refused,
    };
    let origin = behind(remote, reference, refused)?;
    signed_there(origin.as_ref(), reference, policy).await
}

async fn signed_there(
    remote: &dyn Remote,
    reference: &Reference,
    policy: &Policy,
) -> Result<(Digest, Vec<String>), Error> {
    let digest = pull::resolve(remote, reference).await?;
    let (_, signed_by) = pull::signatures(remote, reference, &digest, policy).await?;
    Ok((digest, signed_by))
}

/// The registry itself, where mirrors gave what was `refused`. Where they do not answer, it was asked already.
fn behind(remote: &dyn Remote, reference: &Reference, refused: Error) -> Result<Arc<dyn Remote>, Error> {
    if refused.is_outage() || refused.is_denial() {
        return Err(refused);
    }
    let Some(origin) = remote.behind_mirrors(&reference.repository) else {
        return Err(refused);
    };
    let (reason, refused) = (refused.reason(), chain(&refused));
    tracing::warn!(%reference, reason, refused, "what a mirror has is refused; the registry itself is asked");
    Ok(origin)
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    reference: &Reference,
    doing: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(check::elsewhere(doing))
        .await
        .map_err(|source| Error::Aborted {
            reference: Box::new(reference.clone()),
            source,
        })
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
