//! The chain from a reference to verified bytes.
//!
//! A tag is resolved once; from then on only its digest counts, so a tag that moves meanwhile changes nothing. Each
//! step must pass before the next begins, and nothing large is fetched before all that is small has passed.

use super::{
    check::{Check, elsewhere},
    layout::{Layout, LayoutError, MAX_CONFIG, MAX_MANIFEST},
    reference::{At, Digest, Reference, Repository},
    remote::{Fault, MANIFEST, Remote},
    signature::{self, Attachment, Found, Policy, Refusal},
    store::{Entry, Readers},
};

/// Why a reference did not become verified bytes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository is not on the list.
    #[error("`{0}` is not among the repositories that plugins may come from")]
    NotAllowed(Repository),
    /// The registry.
    #[error("cannot pull `{reference}`")]
    Registry {
        /// What was asked for.
        reference: Box<Reference>,
        /// What the registry says.
        #[source]
        source: Fault,
    },
    /// A tag and a digest were given, and the tag points elsewhere.
    #[error("the tag of `{reference}` has moved to {found}")]
    MovedTag {
        /// What was asked for.
        reference: Box<Reference>,
        /// Where the tag points.
        found: Digest,
    },
    /// The signatures.
    #[error("the signatures of `{reference}` are not enough")]
    Signature {
        /// What was asked for.
        reference: Box<Reference>,
        /// What is missing.
        #[source]
        source: Refusal,
    },
    /// The artifact is no plugin, or contradicts itself.
    #[error("`{reference}` is no plugin that can be loaded")]
    Layout {
        /// What was asked for.
        reference: Box<Reference>,
        /// What is wrong.
        #[source]
        source: LayoutError,
    },
    /// All together took too long.
    #[error("`{reference}` was not pulled within {limit:?}")]
    Deadline {
        /// What was asked for.
        reference: Box<Reference>,
        /// The limit.
        limit: std::time::Duration,
    },
    /// A check ended abnormally.
    #[error("a check of `{reference}` ended abnormally")]
    Aborted {
        /// What was asked for.
        reference: Box<Reference>,
        /// How.
        #[source]
        source: tokio::task::JoinError,
    },
}

impl Error {
    /// Stable name of the cause.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotAllowed(_) => "NotAllowed",
            Self::Registry { source, .. } => source.reason(),
            Self::MovedTag { .. } => "MovedTag",
            Self::Signature { source, .. } => source.reason(),
            Self::Layout { source, .. } => source.reason(),
            Self::Deadline { .. } => "TimedOut",
            Self::Aborted { .. } => "Aborted",
        }
    }

    /// When the registry wants to be asked again, if it says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Registry { source, .. } => source.retry_after(),
            Self::NotAllowed(_)
            | Self::MovedTag { .. }
            | Self::Signature { .. }
            | Self::Layout { .. }
            | Self::Deadline { .. }
            | Self::Aborted { .. } => None,
        }
    }

    /// Whether the registry does not let us in: what is known from before may serve, but nothing newer comes until
    /// somebody mends the credentials or the rights.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        match self {
            Self::Registry { source, .. } => matches!(source, Fault::Unauthorized { .. } | Fault::Forbidden { .. }),
            Self::NotAllowed(_)
            | Self::MovedTag { .. }
            | Self::Signature { .. }
            | Self::Layout { .. }
            | Self::Deadline { .. }
            | Self::Aborted { .. } => false,
        }
    }

    /// Whether the registry could not be asked, so that what is known from before may serve. That it answered, and
    /// said no, is something else.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Registry { source, .. } => {
                source.is_transient() || matches!(source, Fault::Tls { .. } | Fault::Misconfigured { .. })
            }
            Self::Deadline { .. } => true,
            Self::NotAllowed(_)
            | Self::MovedTag { .. }
            | Self::Signature { .. }
            | Self::Layout { .. }
            | Self::Aborted { .. } => false,
        }
    }
}

/// A plugin that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The component.
    pub bytes: Vec<u8>,
    /// Its digest.
    pub digest: Digest,
    /// The digest of its manifest: what the reference stands for.
    pub manifest: Digest,
    /// Who of the trusted signed it; nobody where signatures are not verified.
    pub signed_by: Vec<String>,
}

/// The digest that a reference stands for now.
///
/// # Errors
/// When the registry does not tell, or tag and digest disagree.
pub(super) async fn resolve(remote: &dyn Remote, reference: &Reference) -> Result<Digest, Error> {
    let asked = |source| Error::Registry {
        reference: Box::new(reference.clone()),
        source,
    };
    match (&reference.tag, &reference.digest) {
        (None, Some(digest)) => Ok(digest.clone()),
        (None | Some(_), None) => remote.resolve(reference).await.map_err(asked),
        (Some(_), Some(digest)) => {
            let tag = Reference {
                digest: None,
                ..reference.clone()
            };
            let found = remote.resolve(&tag).await.map_err(asked)?;
            if found == *digest {
                Ok(found)
            } else {
                Err(Error::MovedTag {
                    reference: Box::new(reference.clone()),
                    found,
                })
            }
        }
    }
}

/// What lies beside `digest`, and who of the trusted signed it.
///
/// # Errors
/// When the registry does not answer, or the policy is not fulfilled.
pub(super) async fn signatures(
    remote: &dyn Remote,
    reference: &Reference,
    digest: &Digest,
    policy: &Policy,
) -> Result<(Vec<Attachment>, Vec<String>), Error> {
    // What is not needed here is kept for who may need it later.
    let Found { attachments, missed } = signature::find(remote, &reference.repository, digest).await;
    // Many signatures and many keys take a while to compare.
    let (named, digest, policy) = (reference.clone(), digest.clone(), policy.clone());
    let compared = tokio::task::spawn_blocking(move || {
        let signed_by = signed(&named, &digest, &policy, &attachments)?;
        Ok((attachments, signed_by))
    })
    .await
    .map_err(|source| Error::Aborted {
        reference: Box::new(reference.clone()),
        source,
    })?;
    match (compared, missed) {
        // What is missing may be where nobody could look.
        (Err(_), Some(source)) => Err(Error::Registry {
            reference: Box::new(reference.clone()),
            source,
        }),
        (compared, _) => compared,
    }
}

/// Who of the trusted signed `digest`, by what was found beside it.
///
/// # Errors
/// When the policy is not fulfilled.
pub(super) fn signed(
    reference: &Reference,
    digest: &Digest,
    policy: &Policy,
    found: &[Attachment],
) -> Result<Vec<String>, Error> {
    signature::verify(policy, digest, found).map_err(|source| Error::Signature {
        reference: Box::new(reference.clone()),
        source,
    })
}

/// Fetches manifest, config and layer of `digest`, whose signatures have been verified, and checks each.
///
/// # Errors
/// When one of them is not what it should be, or larger than `max` bytes.
pub(super) async fn pull(
    remote: &dyn Remote,
    reference: &Reference,
    digest: &Digest,
    attachments: Vec<Attachment>,
    max: u64,
) -> Result<(Entry, Vec<u8>), Error> {
    let asked = |source| Error::Registry {
        reference: Box::new(reference.clone()),
        source,
    };
    let repository = &reference.repository;
    let manifest = remote
        .manifest(repository, &At::Digest(digest.clone()), MAX_MANIFEST)
        .await
        .map_err(asked)?;
    // The registry's client checks this too. It is what everything after it rests on.
    let got = Digest::of(&manifest.bytes);
    if Check::PulledDigest.finds(got != *digest) {
        return Err(asked(Fault::DigestMismatch {
            what: "the manifest".to_owned(),
            expected: digest.clone(),
            got,
        }));
    }
    let laid = |source| Error::Layout {
        reference: Box::new(reference.clone()),
        source,
    };
    let layout = Layout::read(&manifest.media_type, &manifest.bytes, max).map_err(laid)?;
    let config = match &layout.config {
        Some(config) => Some(
            remote
                .blob(repository, &config.digest, MAX_CONFIG)
                .await
                .map_err(asked)?,
        ),
        None => None,
    };
    // Before the layer is fetched: what the small parts say must hold together.
    layout.declared(config.as_deref().unwrap_or_default()).map_err(laid)?;
    let size = u64::try_from(layout.layer.size).unwrap_or_default();
    let layer = remote
        .blob(repository, &layout.layer.digest, size.min(max))
        .await
        .map_err(asked)?;
    let entry = Entry {
        manifest: manifest.bytes,
        config,
        attachments,
        readers: Readers::default(),
    };
    let checked = elsewhere(move || check_parts(&entry, &layer, max).map(|()| (entry, layer)));
    tokio::task::spawn_blocking(checked)
        .await
        .map_err(|source| Error::Aborted {
            reference: Box::new(reference.clone()),
            source,
        })?
        .map_err(laid)
}

/// Checks manifest, config and layer against each other, and what was declared with the component.
///
/// # Errors
/// When they are not those of one plugin.
pub(super) fn check_parts(entry: &Entry, layer: &[u8], max: u64) -> Result<(), LayoutError> {
    let layout = Layout::read(MANIFEST, &entry.manifest, max)?;
    let declared = layout.declared(entry.config.as_deref().unwrap_or_default())?;
    layout.component(&declared, layer).map(drop)
}
