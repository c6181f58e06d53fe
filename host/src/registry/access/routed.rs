//! A registry behind its mirrors.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;

use super::Access;
use crate::registry::{
    remote::{At, Descriptor, Digest, Fault, Manifest, Reference, Remote, Repository},
    session::Session,
};

/// Reads from mirrors first, and from the registry itself when none of them can answer.
///
/// What a mirror says is believed no more than what the registry says: bytes are compared with
/// their digest, and signatures are verified afterwards. Where none answers, the registry's own
/// fault is told. A mirror that does not answer costs one try, and is left alone for a while.
pub(super) struct Routed {
    access: Access,
    origin: Arc<Session>,
}

impl Routed {
    pub(super) fn new(access: Access, origin: Arc<Session>) -> Self {
        Self { access, origin }
    }

    async fn first<'a, T>(
        &'a self,
        repository: &Repository,
        ask: impl Fn(Arc<Session>, Repository) -> BoxFuture<'a, Result<T, Fault>>,
    ) -> Result<T, Fault> {
        self.first_that(repository, |_| true, ask).await
    }

    /// The first answer of a mirror that is enough, else the registry's.
    async fn first_that<'a, T>(
        &'a self,
        repository: &Repository,
        enough: impl Fn(&T) -> bool,
        ask: impl Fn(Arc<Session>, Repository) -> BoxFuture<'a, Result<T, Fault>>,
    ) -> Result<T, Fault> {
        for mirror in self.access.mirrors(repository) {
            let answer = match self.access.mirror(&mirror.registry) {
                Some(Ok(session)) => ask(session, mirror.clone()).await,
                Some(Err(fault)) => Err(fault),
                None => {
                    tracing::debug!(%repository, %mirror, "the mirror did not answer a while ago, and is not asked");
                    continue;
                }
            };
            match answer {
                Ok(answer) if enough(&answer) => return Ok(answer),
                // A mirror need not have everything.
                Ok(_) | Err(Fault::NotFound { .. }) => {
                    tracing::debug!(%repository, %mirror, "the mirror does not have it");
                }
                Err(fault) => {
                    let rests = self.access.failed(&mirror.registry, &fault);
                    let fault = crate::registry::chain(&fault);
                    tracing::warn!(%repository, %mirror, fault, rests, "a mirror cannot be used");
                }
            }
        }
        ask(Arc::clone(&self.origin), repository.clone()).await
    }
}

#[async_trait]
impl Remote for Routed {
    async fn resolve(&self, reference: &Reference) -> Result<Digest, Fault> {
        self.first(&reference.repository, |remote, repository| {
            let reference = Reference {
                repository,
                ..reference.clone()
            };
            Box::pin(async move { remote.resolve(&reference).await })
        })
        .await
    }

    async fn manifest(&self, repository: &Repository, at: &At, max: u64) -> Result<Manifest, Fault> {
        self.first(repository, |remote, repository| {
            let at = at.clone();
            Box::pin(async move { remote.manifest(&repository, &at, max).await })
        })
        .await
    }

    async fn blob(&self, repository: &Repository, digest: &Digest, max: u64) -> Result<Vec<u8>, Fault> {
        self.first(repository, |remote, repository| {
            let digest = digest.clone();
            Box::pin(async move { remote.blob(&repository, &digest, max).await })
        })
        .await
    }

    async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>, Fault> {
        // A mirror may have the plugin without its signatures: nothing there is no answer.
        let something = |found: &Vec<Descriptor>| !found.is_empty();
        self.first_that(repository, something, |remote, repository| {
            let digest = digest.clone();
            Box::pin(async move { remote.referrers(&repository, &digest).await })
        })
        .await
    }

    fn behind_mirrors(&self, repository: &Repository) -> Option<Arc<dyn Remote>> {
        let origin: Arc<dyn Remote> = self.origin.clone();
        (!self.access.mirrors(repository).is_empty()).then_some(origin)
    }

    async fn push_blob(&self, repository: &Repository, bytes: &[u8]) -> Result<Digest, Fault> {
        self.origin.push_blob(repository, bytes).await
    }

    async fn push_manifest(
        &self,
        repository: &Repository,
        at: &At,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, Fault> {
        self.origin.push_manifest(repository, at, media_type, bytes).await
    }
}
