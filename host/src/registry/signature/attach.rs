//! What lies beside an artifact in its registry: found, fetched, and added to.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    KeyError, PrivateKey,
    formats::{
        ANY_BUNDLE, BUNDLE, Claim, MAX_CLAIMS, PREDICATE, SIGNATURE, SIGNATURES, SIGNED, SIMPLE, SIMPLE_KIND,
        STATEMENT, Signed, claims, is_signature, pae,
    },
};
use crate::registry::{
    layout::{MAX_MANIFEST, Written, describe},
    reference::{At, Digest, Repository},
    remote::{Descriptor, Fault, MANIFEST, Remote},
};

/// The type of a config that says nothing.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The largest layer of a signature that is read, in bytes.
const MAX_LAYER: u64 = 256 << 10;
/// At most so many bytes of signatures are read for one artifact.
const MAX_ALL: u64 = 8 << 20;
/// At most so many layers and configs of signatures are asked for, for one artifact.
const MAX_BLOBS: usize = 256;
/// At most so many manifests with signatures are read for one artifact.
const MAX_ATTACHMENTS: usize = 32;

/// How something is found beside an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Under the tag `sha256-<hex>.sig`.
    Tag,
    /// Among what refers to the artifact.
    Referrer,
}

/// A manifest beside an artifact, with its layers, byte by byte as in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// How it was found.
    pub place: Place,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The layers that hold signatures, and the config; in the order of the manifest.
    pub blobs: Vec<Vec<u8>>,
}

/// What was found beside an artifact.
#[derive(Debug, Default)]
pub struct Found {
    /// What may be signatures.
    pub attachments: Vec<Attachment>,
    /// Why there may be more, if a place could not be looked at. What was found may suffice all the same: a mirror
    /// without its registry may hold one format and not know that there is nothing in the other.
    pub missed: Option<Fault>,
}

/// Fetches what may be a signature of `digest`, in both formats: what says that it is one first. Bounded in number and
/// size; what is larger, or no signature, is left out.
pub async fn find(remote: &dyn Remote, repository: &Repository, digest: &Digest) -> Found {
    let mut found = Found::default();
    let mut budget = Budget::default();
    let tag = At::Tag(format!("{}.sig", digest.tag()));
    found.take(fetch(remote, repository, &tag, Place::Tag, &mut budget).await);
    let referrers = match remote.referrers(repository, digest).await {
        Ok(referrers) => referrers,
        Err(fault) => {
            found.take(Err(fault));
            return found;
        }
    };
    // What an index says of its entries may be wrong: only what is surely something else is left out unread.
    let ranked = referrers
        .iter()
        .filter_map(|referrer| Some((rank(referrer)?, referrer)));
    let mut candidates: Vec<(u8, &Descriptor)> = ranked.collect();
    candidates.sort_by_key(|(rank, _)| *rank);
    if candidates.len() > MAX_ATTACHMENTS {
        let (count, most) = (candidates.len(), MAX_ATTACHMENTS);
        tracing::warn!(%repository, %digest, count, most, "more refers to a plugin than is looked at for signatures");
    }
    for (_, referrer) in candidates.into_iter().take(MAX_ATTACHMENTS) {
        let at = At::Digest(referrer.digest.clone());
        let fetched = fetch(remote, repository, &at, Place::Referrer, &mut budget).await;
        if found.take(fetched) {
            break;
        }
    }
    found
}

impl Found {
    /// Whether this could not be looked at.
    fn take(&mut self, fetched: Result<Option<Attachment>, Fault>) -> bool {
        match fetched {
            Ok(attachment) => self.attachments.extend(attachment),
            Err(fault) => {
                self.missed.get_or_insert(fault);
                return true;
            }
        }
        false
    }
}

/// In which turn a referrer is looked at, by what its list says of it; none if it is surely no signature.
fn rank(referrer: &Descriptor) -> Option<u8> {
    let kind = referrer.artifact_type.as_deref().unwrap_or_default();
    let is_foreign = ["spdx", "cyclonedx", "sarif"].iter().any(|part| kind.contains(part));
    if referrer.media_type != MANIFEST || is_foreign {
        return None;
    }
    Some(match referrer.annotations.get(PREDICATE).map(String::as_str) {
        Some(SIGNED) => 0,
        None if kind.starts_with(ANY_BUNDLE) || kind == SIGNATURES || kind == SIMPLE => 1,
        // Some registries forget what a manifest says of itself, or repeat it wrongly.
        None => 2,
        // Another statement, such as where it was built.
        Some(_) => 3,
    })
}

/// How much more is read for one artifact.
struct Budget {
    bytes: u64,
    blobs: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            bytes: MAX_ALL,
            blobs: MAX_BLOBS,
        }
    }
}

/// What is read of a manifest with signatures: its layers that are some, as many as count, and its config; each once.
fn parts(written: &Written) -> impl Iterator<Item = &Descriptor> {
    let layers = written.layers.iter().filter(|layer| is_signature(&layer.media_type));
    let mut seen = BTreeSet::new();
    let parts = layers.take(MAX_CLAIMS).chain([&written.config]);
    parts.filter(move |part| seen.insert(&part.digest))
}

/// What lies beside an artifact by these manifests, whose bytes `blob` has; bounded as what comes from a registry.
pub(in crate::registry) fn gathered<'a>(
    manifests: impl Iterator<Item = (Place, &'a [u8])>,
    blob: impl Fn(&Digest) -> Option<&'a [u8]>,
) -> Vec<Attachment> {
    let mut budget = MAX_ALL;
    let mut attachments = Vec::new();
    for (place, manifest) in manifests.take(1 + MAX_ATTACHMENTS) {
        let Ok(written) = serde_json::from_slice::<Written>(manifest) else {
            continue;
        };
        let mut blobs = Vec::new();
        for part in parts(&written) {
            let found = blob(&part.digest).filter(|blob| blob.len() as u64 <= MAX_LAYER.min(budget));
            blobs.extend(found.map(|blob| {
                budget -= blob.len() as u64;
                blob.to_vec()
            }));
        }
        attachments.push(Attachment {
            place,
            manifest: manifest.to_vec(),
            blobs,
        });
    }
    attachments
}

async fn fetch(
    remote: &dyn Remote,
    repository: &Repository,
    at: &At,
    place: Place,
    budget: &mut Budget,
) -> Result<Option<Attachment>, Fault> {
    let manifest = match remote.manifest(repository, at, MAX_MANIFEST).await {
        Ok(manifest) => manifest,
        Err(Fault::NotFound { .. } | Fault::TooLarge { .. }) => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let Ok(written) = serde_json::from_slice::<Written>(&manifest.bytes) else {
        return Ok(None);
    };
    if !written.layers.iter().any(|layer| is_signature(&layer.media_type)) {
        return Ok(None);
    }
    let mut blobs = Vec::new();
    for wanted in parts(&written) {
        let limit = MAX_LAYER.min(budget.bytes);
        // What says that it is too large need not be begun.
        let fits = u64::try_from(wanted.size).is_ok_and(|size| size <= limit);
        if !fits || budget.blobs == 0 {
            continue;
        }
        budget.blobs -= 1;
        match remote.blob(repository, &wanted.digest, limit).await {
            Ok(blob) => {
                budget.bytes = budget.bytes.saturating_sub(blob.len() as u64);
                blobs.push(blob);
            }
            Err(Fault::NotFound { .. } | Fault::TooLarge { .. }) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(Some(Attachment {
        place,
        manifest: manifest.bytes,
        blobs,
    }))
}

/// Why an artifact was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The registry.
    #[error("cannot read or write the signatures of {digest}")]
    Registry {
        /// The artifact.
        digest: Digest,
        /// What the registry says.
        #[source]
        source: Fault,
    },
    /// The key.
    #[error("the key cannot sign")]
    Key(#[source] KeyError),
    /// What is under the tag for signatures is something else.
    #[error("the tag `{0}` holds something else than signatures")]
    Occupied(String),
    /// With one more, what is under the tag for signatures would not be read any more.
    #[error("the tag `{0}` holds as many signatures as are read: with one more, none of them would be")]
    Full(String),
}

/// Signs `digest` with `key` in cosign's SimpleSigning format, beside the signatures that are there. An artifact that
/// this key has signed already is left as it is.
///
/// Answers with the tag under which the signatures are.
///
/// # Errors
/// When the registry or the key fail, or the tag is taken by something else.
pub async fn sign(
    remote: &dyn Remote,
    repository: &Repository,
    digest: &Digest,
    key: &PrivateKey,
) -> Result<String, SignError> {
    // A mirror may have fewer signatures than those that one is added to.
    let origin = remote.behind_mirrors(repository);
    let remote = origin.as_deref().unwrap_or(remote);
    let registry = |source| SignError::Registry {
        digest: digest.clone(),
        source,
    };
    let tag = format!("{}.sig", digest.tag());
    let at = At::Tag(tag.clone());
    let mut layers = match remote.manifest(repository, &at, MAX_MANIFEST).await {
        Ok(manifest) => {
            let written: Written =
                serde_json::from_slice(&manifest.bytes).map_err(|_| SignError::Occupied(tag.clone()))?;
            written.layers
        }
        Err(Fault::NotFound { .. }) => Vec::new(),
        Err(fault) => return Err(registry(fault)),
    };
    if layers.iter().any(|layer| layer.media_type != SIMPLE) {
        return Err(SignError::Occupied(tag));
    }
    let mut budget = Budget::default();
    let present = fetch(remote, repository, &at, Place::Tag, &mut budget)
        .await
        .map_err(registry)?;
    let ours = present.iter().flat_map(claims).any(|claim| match claim {
        Claim::Signed(claim) => is_by(&claim, digest, key),
        Claim::Certified(_) | Claim::Unknown(_) | Claim::Malformed(_) => false,
    });
    if ours {
        return Ok(tag);
    }
    let payload = payload(repository, digest);
    let signature = key.sign(&payload).map_err(SignError::Key)?;
    let mut layer = describe(SIMPLE, &payload);
    layer.annotations = BTreeMap::from([(SIGNATURE.to_owned(), STANDARD.encode(signature))]);
    layers.push(layer);
    let config = config(&layers);
    let count = layers.len();
    let manifest = manifest(&config, layers);
    if count > MAX_CLAIMS || manifest.len() as u64 > MAX_MANIFEST {
        return Err(SignError::Full(tag));
    }
    remote.push_blob(repository, &payload).await.map_err(registry)?;
    remote.push_blob(repository, &config).await.map_err(registry)?;
    remote
        .push_manifest(repository, &at, MANIFEST, &manifest)
        .await
        .map_err(registry)?;
    Ok(tag)
}

/// Signs `digest` with `key` in the format of cosign 3: a bundle that refers to the artifact. An artifact that this key
/// has signed so already is left as it is.
///
/// Answers with the digest of the manifest that holds the signature.
///
/// # Errors
/// When the registry or the key fail.
pub async fn sign_as_bundle(
    remote: &dyn Remote,
    repository: &Repository,
    digest: &Digest,
    key: &PrivateKey,
) -> Result<Digest, SignError> {
    // A mirror may have fewer signatures than those that one is added to.
    let origin = remote.behind_mirrors(repository);
    let remote = origin.as_deref().unwrap_or(remote);
    let registry = |source| SignError::Registry {
        digest: digest.clone(),
        source,
    };
    let found = find(remote, repository, digest).await;
    if let Some(fault) = found.missed {
        return Err(registry(fault));
    }
    for found in found.attachments {
        let ours = |claim| matches!(claim, Claim::Signed(claim) if is_by(&claim, digest, key));
        if found.place == Place::Referrer && claims(&found).into_iter().any(ours) {
            return Ok(Digest::of(&found.manifest));
        }
    }
    let at = At::Digest(digest.clone());
    let signed = remote.manifest(repository, &at, MAX_MANIFEST).await.map_err(registry)?;
    let statement = statement(digest);
    let signature = key.sign(&pae(STATEMENT, &statement)).map_err(SignError::Key)?;
    let bundle = json!({
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": key.public().hint()}},
        "dsseEnvelope": {
            "payload": STANDARD.encode(&statement),
            "payloadType": STATEMENT,
            "signatures": [{"sig": STANDARD.encode(signature)}],
        },
    })
    .to_string()
    .into_bytes();
    let subject = Descriptor {
        media_type: signed.media_type,
        ..describe(MANIFEST, &signed.bytes)
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": BUNDLE,
        "config": describe(EMPTY, b"{}"),
        "layers": [describe(BUNDLE, &bundle)],
        "subject": subject,
        "annotations": {
            "dev.sigstore.bundle.content": "dsse-envelope",
            PREDICATE: SIGNED,
        },
    })
    .to_string()
    .into_bytes();
    remote.push_blob(repository, &bundle).await.map_err(registry)?;
    remote.push_blob(repository, b"{}").await.map_err(registry)?;
    let at = At::Digest(Digest::of(&manifest));
    let pushed = remote.push_manifest(repository, &at, MANIFEST, &manifest).await;
    pushed.map_err(registry)
}

fn is_by(claim: &Signed, digest: &Digest, key: &PrivateKey) -> bool {
    claim.subjects == [digest.as_str()] && key.public().signed(&claim.message, &claim.signature)
}

/// The in-toto statement that an artifact is signed.
fn statement(digest: &Digest) -> Vec<u8> {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": digest.hex()}}],
        "predicateType": SIGNED,
        "predicate": {},
    })
    .to_string()
    .into_bytes()
}

/// What is signed: which manifest, and where it was when it was signed.
fn payload(repository: &Repository, digest: &Digest) -> Vec<u8> {
    json!({
        "critical": {
            "identity": {"docker-reference": repository.to_string()},
            "image": {"docker-manifest-digest": digest},
            "type": SIMPLE_KIND,
        },
        "optional": null,
    })
    .to_string()
    .into_bytes()
}

/// cosign reads signatures as an image, so an image's config it is.
fn config(layers: &[Descriptor]) -> Vec<u8> {
    let digests: Vec<_> = layers.iter().map(|layer| &layer.digest).collect();
    json!({
        "architecture": "",
        "config": {},
        "created": "0001-01-01T00:00:00Z",
        "history": layers.iter().map(|_| json!({"created": "0001-01-01T00:00:00Z"})).collect::<Vec<_>>(),
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": digests},
    })
    .to_string()
    .into_bytes()
}

fn manifest(config: &[u8], layers: Vec<Descriptor>) -> Vec<u8> {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": describe("application/vnd.oci.image.config.v1+json", config),
        "layers": layers,
    })
    .to_string()
    .into_bytes()
}
