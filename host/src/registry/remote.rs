//! One registry as the rest of this room sees it.

use std::{collections::BTreeMap, error::Error, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use super::reference::{At, Digest, Reference, Repository};

/// The media type of an image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// At most so many manifests that refer to another are told of.
pub const MAX_REFERRERS: usize = 2000;

/// One registry, as the rest of the room sees it. Implemented by `session::Session`.
#[async_trait]
pub trait Remote: Send + Sync {
    /// The digest that a tag points to now (HEAD, else GET and hash).
    async fn resolve(&self, reference: &Reference) -> Result<Digest, Fault>;
    /// A manifest by digest or tag, verified against the digest if by digest; at most `max` bytes, checked while reading.
    async fn manifest(&self, repository: &Repository, at: &At, max: u64) -> Result<Manifest, Fault>;
    /// A blob by digest, sha256 verified, at most `max` bytes (Content-Length checked before, bytes while reading).
    async fn blob(&self, repository: &Repository, digest: &Digest, max: u64) -> Result<Vec<u8>, Fault>;
    /// Manifests that refer to this one, through the referrers API or the fallback tag `sha256-<hex>`; at most
    /// [`MAX_REFERRERS`].
    async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>, Fault>;
    /// The registry itself, where mirrors answer in its place for this repository: what they have may be old, or not
    /// all of it.
    fn behind_mirrors(&self, _repository: &Repository) -> Option<Arc<dyn Remote>> {
        None
    }
    /// Uploads a blob, unless it is there already; answers with its digest.
    async fn push_blob(&self, repository: &Repository, bytes: &[u8]) -> Result<Digest, Fault>;
    /// The same, telling meanwhile how many bytes are on their way. An upload that is begun again begins to tell anew.
    async fn push_blob_told(&self, repository: &Repository, bytes: &[u8], _told: Sent) -> Result<Digest, Fault> {
        self.push_blob(repository, bytes).await
    }
    /// Uploads a manifest under a tag or its digest; answers with its digest.
    async fn push_manifest(
        &self,
        repository: &Repository,
        at: &At,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, Fault>;
}

/// Is told how many bytes are on their way.
pub type Sent = Arc<dyn Fn(u64) + Send + Sync>;

/// A manifest as the registry sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What the registry calls it (`Content-Type`, without parameters).
    pub media_type: String,
    /// The digest of `bytes`, computed here.
    pub digest: Digest,
    /// The manifest itself, byte by byte.
    pub bytes: Vec<u8>,
}

/// Points to a manifest or blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its length in bytes. Registries may send what they like: a negative number is kept, and refused later.
    pub size: i64,
    /// What kind of artifact a manifest is, if it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Further facts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
}

/// Reads `null` as nothing, as some registries write it.
pub(crate) fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// What lies below a [`Fault`]. It names no credential.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a registry gave nothing, or nothing that can be used.
///
/// No text in here names a credential, or a query of an address.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The registry has no such repository, tag, manifest or blob.
    #[error("the registry has no {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// Credentials are missing or not accepted.
    #[error("the registry `{registry}` asks for credentials, or does not accept ours")]
    Unauthorized {
        /// The registry.
        registry: String,
    },
    /// The credentials do not allow this.
    #[error("the registry `{registry}` forbids it: {message}")]
    Forbidden {
        /// The registry.
        registry: String,
        /// What it says.
        message: String,
    },
    /// Too many requests.
    #[error("the registry `{registry}` limits our rate{}", after(*retry_after))]
    RateLimited {
        /// The registry.
        registry: String,
        /// When it wants to be asked again, if it says so.
        retry_after: Option<Duration>,
    },
    /// No answer: name resolution, connection, or a broken answer.
    #[error("the registry `{registry}` cannot be reached")]
    Unreachable {
        /// The registry.
        registry: String,
        /// What failed.
        #[source]
        source: Cause,
    },
    /// No answer within the time limit.
    #[error("the registry `{registry}` did not answer within {limit:?}")]
    TimedOut {
        /// The registry.
        registry: String,
        /// The limit.
        limit: Duration,
    },
    /// The certificate is not trusted, or TLS fails otherwise.
    #[error("no secure connection to the registry `{registry}`")]
    Tls {
        /// The registry.
        registry: String,
        /// What failed.
        #[source]
        source: Cause,
    },
    /// The registry failed by itself (5xx).
    #[error("the registry `{registry}` failed with status {status}")]
    Failed {
        /// The registry.
        registry: String,
        /// The HTTP status.
        status: u16,
    },
    /// The registry failed by itself, and says when it will not any more (503).
    #[error("the registry `{registry}` failed with status {status}{}", after(Some(*retry_after)))]
    Busy {
        /// The registry.
        registry: String,
        /// The HTTP status.
        status: u16,
        /// When it wants to be asked again.
        retry_after: Duration,
    },
    /// The registry refused what was pushed or asked (another 4xx).
    #[error("the registry `{registry}` refused with status {status}: {message}")]
    Refused {
        /// The registry.
        registry: String,
        /// The HTTP status.
        status: u16,
        /// What it says, shortened.
        message: String,
    },
    /// More bytes than allowed.
    #[error("{what} has {}more than {limit} bytes", announced.map(|size| format!("{size} bytes by its own account, ")).unwrap_or_default())]
    TooLarge {
        /// What was read.
        what: String,
        /// How many bytes it was announced with, if it was refused for that.
        announced: Option<u64>,
        /// How many bytes were allowed.
        limit: u64,
    },
    /// Fewer bytes than promised.
    #[error("{what} ended after {got} of {expected} bytes")]
    Truncated {
        /// What was read.
        what: String,
        /// How many bytes were promised.
        expected: u64,
        /// How many came.
        got: u64,
    },
    /// The bytes are not those that were asked for.
    #[error("{what} has the digest {got}, not {expected}")]
    DigestMismatch {
        /// What was read.
        what: String,
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of the bytes.
        got: Digest,
    },
    /// Redirected too often.
    #[error("the registry `{registry}` redirects in a ring, or too often")]
    RedirectLoop {
        /// The registry.
        registry: String,
    },
    /// Redirected to where we do not go, such as from HTTPS to HTTP.
    #[error("the registry `{registry}` redirects to `{to}`, which is refused")]
    BadRedirect {
        /// The registry.
        registry: String,
        /// Scheme and host only.
        to: String,
    },
    /// An answer that is no answer of a registry.
    #[error("the registry's answer is malformed: {message}")]
    Malformed {
        /// What is wrong.
        message: String,
    },
    /// A list in the registry that is added to cannot be kept whole, so nothing is written.
    #[error("nothing is added to the list under the tag `{tag}`, so that nothing is lost from it: {why}")]
    ListKept {
        /// The tag that the list is under.
        tag: String,
        /// Why it cannot be kept whole.
        why: String,
    },
    /// Settings or credential files that cannot be used.
    #[error("the access to the registry `{registry}` is not configured well")]
    Misconfigured {
        /// The registry.
        registry: String,
        /// What is wrong.
        #[source]
        source: Cause,
    },
}

impl Fault {
    /// Stable name of the cause, for states, metrics and tests.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "NotFound",
            Self::Unauthorized { .. } => "Unauthorized",
            Self::Forbidden { .. } => "Forbidden",
            Self::RateLimited { .. } => "RateLimited",
            Self::Unreachable { .. } => "Unreachable",
            Self::TimedOut { .. } => "TimedOut",
            Self::Tls { .. } => "Tls",
            Self::Failed { .. } | Self::Busy { .. } => "RegistryFailed",
            Self::Refused { .. } => "RegistryRefused",
            Self::TooLarge { .. } => "TooLarge",
            Self::Truncated { .. } => "Truncated",
            Self::DigestMismatch { .. } => "DigestMismatch",
            Self::RedirectLoop { .. } => "RedirectLoop",
            Self::BadRedirect { .. } => "BadRedirect",
            Self::Malformed { .. } => "Malformed",
            Self::ListKept { .. } => "ListKept",
            Self::Misconfigured { .. } => "Misconfigured",
        }
    }

    /// When the registry wants to be asked again, if it says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } => *retry_after,
            Self::Busy { retry_after, .. } => Some(*retry_after),
            Self::NotFound { .. }
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Tls { .. }
            | Self::Failed { .. }
            | Self::Refused { .. }
            | Self::TooLarge { .. }
            | Self::Truncated { .. }
            | Self::DigestMismatch { .. }
            | Self::RedirectLoop { .. }
            | Self::BadRedirect { .. }
            | Self::Malformed { .. }
            | Self::ListKept { .. }
            | Self::Misconfigured { .. } => None,
        }
    }

    /// Whether the same question may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Failed { .. }
            | Self::Busy { .. }
            | Self::Truncated { .. } => true,
            Self::NotFound { .. }
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::Tls { .. }
            | Self::Refused { .. }
            | Self::TooLarge { .. }
            | Self::DigestMismatch { .. }
            | Self::RedirectLoop { .. }
            | Self::BadRedirect { .. }
            | Self::Malformed { .. }
            | Self::ListKept { .. }
            | Self::Misconfigured { .. } => false,
        }
    }
}

/// How long to wait, as an end of a sentence.
fn after(retry: Option<Duration>) -> impl fmt::Display {
    fmt::from_fn(move |to| match retry {
        Some(retry) => write!(to, "; it may be asked again in {} s", retry.as_secs()),
        None => Ok(()),
    })
}
