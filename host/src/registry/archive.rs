//! A set of plugins with their signatures as one file, for sites without a network.
//!
//! The file is a tar of an OCI image layout, so other tools read it too. Reading one takes nothing for granted: only
//! the paths of that layout, only regular files, bounded in number and size, each blob under its own digest.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
};

use serde::{Deserialize, Serialize};

use super::{
    layout::{Layout, LayoutError, Written, describe},
    pull,
    reference::{Digest, Reference, shortened},
    remote::{Descriptor, INDEX, MANIFEST},
    signature::{self, Attachment, Place, Policy, Refusal},
    store::{Entry, Readers, Store, StoreError},
};

/// The annotation with a plugin's reference, or with the tag of signatures.
const NAME: &str = "org.opencontainers.image.ref.name";
/// A file that is no component is at most so large.
const MAX_SMALL: u64 = 1 << 20;
/// All that are no component together.
const MAX_ALL_SMALL: u64 = 64 << 20;
/// At most so many files are in an archive.
const MAX_FILES: usize = 20_000;

/// Why an archive was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Reading or writing failed, or it is no tar.
    #[error("the archive cannot be read or written")]
    Io(#[from] io::Error),
    /// A path that has no place in an image layout.
    #[error("the archive has an entry `{0}`, which has no place in an image layout")]
    Path(String),
    /// Something else than a file, such as a link.
    #[error("the entry `{0}` of the archive is no regular file")]
    NoFile(String),
    /// The same path twice.
    #[error("the archive has `{0}` twice")]
    Twice(String),
    /// Too many files.
    #[error("the archive has more than {MAX_FILES} files")]
    TooMany,
    /// A file, or all together, are too large.
    #[error("the entry `{path}` of the archive is larger than {limit} bytes, or all are together")]
    TooLarge {
        /// Which.
        path: String,
        /// The bound.
        limit: u64,
    },
    /// A blob that is not what its name says.
    #[error("the blob {expected} of the archive has the digest {got}")]
    DigestMismatch {
        /// Its name.
        expected: Digest,
        /// Its digest.
        got: Digest,
    },
    /// A file that is needed is missing or cannot be read.
    #[error("`{0}` is missing from the archive, or cannot be read")]
    Missing(String),
    /// A plugin whose signatures are not enough.
    #[error("the signatures of `{reference}` are not enough")]
    Signature {
        /// Which.
        reference: Box<Reference>,
        /// What is missing.
        #[source]
        source: Refusal,
    },
    /// A plugin that is none.
    #[error("`{reference}` is no plugin that can be loaded")]
    Layout {
        /// Which.
        reference: Box<Reference>,
        /// What is wrong.
        #[source]
        source: Box<LayoutError>,
    },
    /// A plugin that the cache does not have.
    #[error("`{0}` is not in the cache: pull it first")]
    NotKept(Box<Reference>),
    /// The cache.
    #[error("the cache cannot be written")]
    Store(#[from] StoreError),
}

impl ArchiveError {
    /// Stable name of the cause.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Io(_) => "MalformedArchive",
            Self::Path(_) => "ArchivePath",
            Self::NoFile(_) => "ArchiveLink",
            Self::Twice(_) => "ArchiveTwice",
            Self::TooMany => "ArchiveTooMany",
            Self::TooLarge { .. } => "TooLarge",
            Self::DigestMismatch { .. } => "DigestMismatch",
            Self::Missing(_) => "ArchiveIncomplete",
            Self::Signature { source, .. } => source.reason(),
            Self::Layout { source, .. } => source.reason(),
            Self::NotKept(_) => "NotKept",
            Self::Store(_) => "CacheFailed",
        }
    }
}

/// A plugin that was read from an archive into the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// What it is asked for by.
    pub reference: Reference,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The trusted keys that signed it.
    pub signed_by: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    manifests: Vec<Descriptor>,
}

/// Writes what the cache has of `references`, each by what it pointed to last. The same set gives the same bytes.
///
/// # Errors
/// When one of them is not in the cache, or writing fails.
pub fn save(store: &Store, references: &[Reference], to: impl Write) -> Result<(), ArchiveError> {
    let mut manifests = Vec::new();
    let mut blobs = BTreeMap::new();
    let mut layers = BTreeSet::new();
    for reference in references {
        let missing = || ArchiveError::NotKept(Box::new(reference.clone()));
        let digest = store.last(reference).ok_or_else(missing)?;
        let entry = store.entry(&digest).ok_or_else(missing)?;
        let layout = Layout::read(MANIFEST, &entry.manifest, u64::MAX).map_err(|source| ArchiveError::Layout {
            reference: Box::new(reference.clone()),
            source: Box::new(source),
        })?;
        if !store.has_blob(&layout.layer.digest) {
            return Err(missing());
        }
        manifests.push(named(&entry.manifest, reference.to_string()));
        layers.insert((layout.layer.digest, reference.clone()));
        for attachment in &entry.attachments {
            let name = match attachment.place {
                Place::Tag => Some(format!("{}:{}.sig", reference.repository, digest.tag())),
                Place::Referrer => None,
            };
            manifests.push(match name {
                Some(name) => named(&attachment.manifest, name),
                None => describe(MANIFEST, &attachment.manifest),
            });
            for blob in attachment.blobs.iter().chain([&attachment.manifest]) {
                blobs.insert(Digest::of(blob), blob.clone());
            }
        }
        for blob in entry.config.into_iter().chain([entry.manifest]) {
            blobs.insert(Digest::of(&blob), blob);
        }
    }
    let mut seen = BTreeSet::new();
    manifests.retain(|manifest| seen.insert((manifest.digest.clone(), manifest.annotations.get(NAME).cloned())));
    let index = Index {
        schema_version: 2,
        media_type: Some(INDEX.to_owned()),
        manifests,
    };
    let mut tar = tar::Builder::new(to);
    append(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append(
        &mut tar,
        "index.json",
        &serde_json::to_vec(&index).map_err(io::Error::other)?,
    )?;
    for (digest, blob) in &blobs {
        append(&mut tar, &path(digest), blob)?;
    }
    // One component in memory at a time.
    let mut written = BTreeSet::new();
    for (digest, reference) in layers {
        if written.insert(digest.clone()) {
            let blob = store
                .blob(&digest)
                .ok_or_else(|| ArchiveError::NotKept(Box::new(reference)))?;
            append(&mut tar, &path(&digest), &blob)?;
        }
    }
    tar.into_inner()?.flush()?;
    Ok(())
}

fn named(manifest: &[u8], name: String) -> Descriptor {
    Descriptor {
        annotations: BTreeMap::from([(NAME.to_owned(), name)]),
        ..describe(MANIFEST, manifest)
    }
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn append(tar: &mut tar::Builder<impl Write>, path: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, path, bytes)
}

/// Reads an archive into the cache. Every plugin passes the checks that it would pass from a registry; the first that
/// does not ends the reading, and none is usable that was not checked.
///
/// `max` is the largest component, in bytes.
///
/// # Errors
/// When the archive is malformed, or a plugin in it is refused.
pub fn load(store: &Store, from: impl Read, policy: &Policy, max: u64) -> Result<Vec<Loaded>, ArchiveError> {
    let Contents { index, small, large } = read(store, from, max)?;
    let mut attached: BTreeMap<Digest, Vec<Attachment>> = BTreeMap::new();
    let mut plugins = Vec::new();
    for descriptor in index.manifests {
        let name = descriptor.annotations.get(NAME).map(String::as_str).unwrap_or_default();
        let manifest = small
            .get(&descriptor.digest)
            .ok_or_else(|| ArchiveError::Missing(descriptor.digest.to_string()))?;
        let Ok(written) = serde_json::from_slice::<Written>(manifest) else {
            return Err(ArchiveError::Missing(descriptor.digest.to_string()));
        };
        let by_tag = name
            .rsplit_once(":sha256-")
            .and_then(|(_, rest)| format!("sha256:{}", rest.strip_suffix(".sig")?).parse().ok())
            .map(|subject| (Place::Tag, subject));
        let by_subject = written.subject.map(|subject| (Place::Referrer, subject.digest));
        if let Some((place, subject)) = by_tag.or(by_subject) {
            let parts = written.layers.iter().chain([&written.config]);
            attached.entry(subject).or_default().push(Attachment {
                place,
                manifest: manifest.clone(),
                blobs: parts.filter_map(|part| small.get(&part.digest).cloned()).collect(),
            });
        } else {
            let reference: Reference = name.parse().map_err(|_| ArchiveError::Missing(shortened(name)))?;
            plugins.push((reference, descriptor.digest, written.config.digest));
        }
    }
    let mut loaded = Vec::new();
    for (reference, manifest, config) in plugins {
        let entry = Entry {
            manifest: small.get(&manifest).cloned().unwrap_or_default(),
            config: small.get(&config).cloned(),
            attachments: attached.get(&manifest).cloned().unwrap_or_default(),
            readers: Readers::Everybody,
        };
        if reference.digest.as_ref().is_some_and(|digest| *digest != manifest) {
            return Err(ArchiveError::Missing(reference.to_string()));
        }
        let boxed = || Box::new(reference.clone());
        let signed_by =
            signature::verify(policy, &manifest, &entry.attachments).map_err(|source| ArchiveError::Signature {
                reference: boxed(),
                source,
            })?;
        let laid = |source| ArchiveError::Layout {
            reference: boxed(),
            source: Box::new(source),
        };
        let layer = Layout::read(MANIFEST, &entry.manifest, max).map_err(laid)?.layer.digest;
        let bytes = small.get(&layer).cloned();
        // Only what this archive holds: nothing is taken from what happens to be in the cache.
        let bytes = bytes.or_else(|| large.contains(&layer).then(|| store.blob(&layer)).flatten());
        let bytes = bytes.ok_or_else(|| ArchiveError::Missing(layer.to_string()))?;
        pull::check_parts(&entry, &bytes, max).map_err(laid)?;
        store.put(&entry, &bytes)?;
        if reference.tag.is_some() || reference.digest.is_none() {
            store.remember(&reference, &manifest)?;
        }
        loaded.push(Loaded {
            reference,
            manifest,
            signed_by,
        });
    }
    Ok(loaded)
}

struct Contents {
    index: Index,
    small: BTreeMap<Digest, Vec<u8>>,
    /// Kept in the cache already, under their digests.
    large: BTreeSet<Digest>,
}

fn read(store: &Store, from: impl Read, max: u64) -> Result<Contents, ArchiveError> {
    let mut index = None;
    let mut small = BTreeMap::new();
    let mut large = BTreeSet::new();
    let mut budget = MAX_ALL_SMALL;
    let mut seen = BTreeSet::new();
    let mut tar = tar::Archive::new(from);
    for (count, entry) in tar.entries()?.enumerate() {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let told = shortened(&path);
        if count >= MAX_FILES {
            return Err(ArchiveError::TooMany);
        }
        let clean = path.strip_prefix("./").unwrap_or(&path);
        let kind = entry.header().entry_type();
        if kind.is_dir() && ["", ".", "blobs/", "blobs/sha256/"].contains(&clean) {
            continue;
        }
        if !kind.is_file() {
            return Err(ArchiveError::NoFile(told));
        }
        let digest = clean
            .strip_prefix("blobs/sha256/")
            .and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
        if digest.is_none() && clean != "index.json" && clean != "oci-layout" {
            return Err(ArchiveError::Path(told));
        }
        if !seen.insert(clean.to_owned()) {
            return Err(ArchiveError::Twice(told));
        }
        let is_blob = digest.is_some();
        let limit = if is_blob { max.max(MAX_SMALL) } else { MAX_SMALL };
        let mut bytes = Vec::new();
        (&mut entry).take(limit + 1).read_to_end(&mut bytes)?;
        let length = bytes.len() as u64;
        if length > limit {
            return Err(ArchiveError::TooLarge { path: told, limit });
        }
        let is_small = length <= MAX_SMALL;
        if is_small {
            budget = budget.checked_sub(length).ok_or(ArchiveError::TooLarge {
                path: told,
                limit: MAX_ALL_SMALL,
            })?;
        }
        match digest {
            Some(expected) => {
                let got = Digest::of(&bytes);
                if got != expected {
                    return Err(ArchiveError::DigestMismatch { expected, got });
                }
                if is_small {
                    small.insert(got, bytes);
                } else {
                    store.put_blob(&got, &bytes)?;
                    large.insert(got);
                }
            }
            None if clean == "index.json" => {
                let read: Index =
                    serde_json::from_slice(&bytes).map_err(|_| ArchiveError::Missing(clean.to_owned()))?;
                index = Some(read);
            }
            None => {}
        }
    }
    let index = index.ok_or_else(|| ArchiveError::Missing("index.json".to_owned()))?;
    Ok(Contents { index, small, large })
}

#[cfg(test)]
mod tests;
