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
/// fault is told.
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
        for candidate in self.access.candidates(repository) {
            if candidate == *repository {
                break;
            }
            let answer = match self.access.session(&candidate.registry) {
                Ok(mirror) => ask(mirror, candidate.clone()).await,
                Err(fault) => Err(fault),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                // A mirror need not have everything.
                Err(Fault::NotFound { .. }) => {
                    tracing::debug!(%repository, mirror = %candidate, "the mirror does not have it");
                }
                Err(fault) => {
                    let fault = crate::registry::chain(&fault);
                    tracing::warn!(%repository, mirror = %candidate, fault, "a mirror cannot be used");
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
        for candidate in self.access.candidates(repository) {
            if candidate == *repository {
                break;
            }
            if let Ok(mirror) = self.access.session(&candidate.registry)
                && let Ok(found) = mirror.referrers(&candidate, digest).await
                && !found.is_empty()
            {
                return Ok(found);
            }
        }
        self.origin.referrers(repository, digest).await
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
