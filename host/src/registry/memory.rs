//! A registry in memory, which lies when it is told to.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;

use super::{
    Connect,
    reference::{At, Digest, Reference, Repository},
    remote::{Descriptor, Fault, Manifest, Remote},
};

/// Makes the answer of one call.
type Lie = Box<dyn Fn(&str) -> Option<Fault> + Send + Sync>;

/// A registry in memory, which checks what a real client checks: sizes and digests.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) tags: Mutex<BTreeMap<String, Digest>>,
    pub(crate) manifests: Mutex<BTreeMap<Digest, (String, Vec<u8>)>>,
    pub(crate) blobs: Mutex<BTreeMap<Digest, Vec<u8>>>,
    pub(crate) referrers: Mutex<BTreeMap<Digest, Vec<Descriptor>>>,
    /// Asked before each call, with `resolve`, `manifest`, `blob` or `referrers`.
    pub(crate) lie: Mutex<Option<Lie>>,
    pub(crate) calls: Mutex<Vec<String>>,
    pub(crate) hangs: Mutex<bool>,
    pub(crate) blobs_sent: AtomicUsize,
}

impl Memory {
    pub(crate) fn lies(&self, lie: impl Fn(&str) -> Option<Fault> + Send + Sync + 'static) {
        *self.lie.lock().unwrap() = Some(Box::new(lie));
    }

    pub(crate) fn is_down(&self) {
        self.lies(|_| {
            Some(Fault::Unreachable {
                registry: "registry.example.com".to_owned(),
                source: "connection refused".into(),
            })
        });
    }

    pub(crate) fn is_up(&self) {
        *self.lie.lock().unwrap() = None;
    }

    /// Stores a manifest as it is, under a tag; answers with its digest.
    pub(crate) fn put(&self, tag: &str, media_type: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let manifest = (media_type.to_owned(), bytes.to_vec());
        self.manifests.lock().unwrap().insert(digest.clone(), manifest);
        self.tags.lock().unwrap().insert(tag.to_owned(), digest.clone());
        digest
    }

    pub(crate) fn put_blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.blobs.lock().unwrap().insert(digest.clone(), bytes.to_vec());
        digest
    }

    pub(crate) fn calls(&self, what: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|call| *call == what).count()
    }

    async fn begin(&self, what: &str) -> Result<(), Fault> {
        self.calls.lock().unwrap().push(what.to_owned());
        let hangs = *self.hangs.lock().unwrap();
        if hangs {
            std::future::pending::<()>().await;
        }
        match self.lie.lock().unwrap().as_ref().and_then(|lie| lie(what)) {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }
}

fn missing(what: impl ToString) -> Fault {
    Fault::NotFound { what: what.to_string() }
}

#[async_trait]
impl Remote for Memory {
    async fn resolve(&self, reference: &Reference) -> Result<Digest, Fault> {
        self.begin("resolve").await?;
        let At::Tag(tag) = reference.at() else {
            return Err(missing("a tag"));
        };
        self.tags.lock().unwrap().get(&tag).cloned().ok_or_else(|| missing(tag))
    }

    async fn manifest(&self, _: &Repository, at: &At, max: u64) -> Result<Manifest, Fault> {
        self.begin("manifest").await?;
        let digest = match at {
            At::Tag(tag) => self
                .tags
                .lock()
                .unwrap()
                .get(tag)
                .cloned()
                .ok_or_else(|| missing(tag))?,
            At::Digest(digest) => digest.clone(),
        };
        let found = self.manifests.lock().unwrap().get(&digest).cloned();
        let (media_type, bytes) = found.ok_or_else(|| missing(&digest))?;
        if bytes.len() as u64 > max {
            return Err(Fault::TooLarge {
                what: "the manifest".to_owned(),
                announced: None,
                limit: max,
            });
        }
        Ok(Manifest {
            media_type,
            digest: Digest::of(&bytes),
            bytes,
        })
    }

    async fn blob(&self, _: &Repository, digest: &Digest, max: u64) -> Result<Vec<u8>, Fault> {
        self.begin("blob").await?;
        let bytes = self
            .blobs
            .lock()
            .unwrap()
            .get(digest)
            .cloned()
            .ok_or_else(|| missing(digest))?;
        if bytes.len() as u64 > max {
            return Err(Fault::TooLarge {
                what: "the blob".to_owned(),
                announced: None,
                limit: max,
            });
        }
        self.blobs_sent.fetch_add(1, Ordering::Relaxed);
        Ok(bytes)
    }

    async fn referrers(&self, _: &Repository, digest: &Digest) -> Result<Vec<Descriptor>, Fault> {
        self.begin("referrers").await?;
        Ok(self.referrers.lock().unwrap().get(digest).cloned().unwrap_or_default())
    }

    async fn push_blob(&self, _: &Repository, bytes: &[u8]) -> Result<Digest, Fault> {
        self.begin("push_blob").await?;
        Ok(self.put_blob(bytes))
    }

    async fn push_manifest(&self, _: &Repository, at: &At, kind: &str, bytes: &[u8]) -> Result<Digest, Fault> {
        self.begin("push_manifest").await?;
        let tag = match at {
            At::Tag(tag) => tag.clone(),
            At::Digest(digest) => digest.to_string(),
        };
        Ok(self.put(&tag, kind, bytes))
    }
}

/// Gives out one registry, whatever its name.
pub(crate) struct Only(pub(crate) Arc<Memory>);

impl Connect for Only {
    fn remote(&self, _: &str) -> Result<Arc<dyn Remote>, Fault> {
        let remote: Arc<dyn Remote> = self.0.clone();
        Ok(remote)
    }
}
