//! A set of plugins with their signatures as one file, for sites without a network.
//!
//! The file is a tar of an OCI image layout, so other tools read it too. Reading one takes nothing for granted: only
//! the paths of that layout, only regular files, bounded in number and size, each blob under its own digest. What it
//! takes in memory and time is bounded too, whatever the archive says; and on disk, by the size of the cache.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
};

use serde::{Deserialize, Serialize};

use super::{
    layout::{Layout, LayoutError, MAX_MANIFEST, Written, describe},
    pull,
    reference::{Digest, Reference, shortened},
    remote::{Descriptor, INDEX, MANIFEST},
    signature::{self, Place, Policy, Refusal},
    store::{Entry, Readers, Staged, Store, StoreError},
};

/// The annotation with a plugin's reference, or with the tag of signatures.
const NAME: &str = "org.opencontainers.image.ref.name";
/// A file that is no component is at most so large.
const MAX_SMALL: u64 = 1 << 20;
/// All that are no component together.
const MAX_ALL_SMALL: u64 = 64 << 20;
/// At most so many entries are in an archive.
const MAX_FILES: usize = 20_000;
/// What is said of one entry beside its header is at most so large.
const MAX_FACTS: u64 = 64 << 10;

/// Why an archive was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Reading or writing failed, or it is no tar.
    #[error("the archive cannot be read or written")]
    Io(#[from] io::Error),
    /// A path that has no place in an image layout.
    #[error("the archive has an entry `{0}`, which has no place in an image layout")]
    Path(String),
    /// A way to name or describe entries that no image layout needs.
    #[error("the archive has an entry with {0}, which no image layout needs")]
    Extension(String),
    /// Something else than a file, such as a link.
    #[error("the entry `{0}` of the archive is no regular file")]
    NoFile(String),
    /// The same path twice.
    #[error("the archive has `{0}` twice")]
    Twice(String),
    /// Too many entries.
    #[error("the archive has more than {MAX_FILES} entries")]
    TooMany,
    /// There is no room for all of it.
    #[error("the archive holds more than the cache of verified plugins, which is bounded to {0} bytes")]
    LargerThanCache(u64),
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
            Self::Extension(_) => "ArchiveExtension",
            Self::NoFile(_) => "ArchiveLink",
            Self::Twice(_) => "ArchiveTwice",
            Self::TooMany => "ArchiveTooMany",
            Self::LargerThanCache(_) => "LargerThanCache",
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
/// does not ends the reading. Nothing is kept before all of them passed, and no tag stands for anything before all of
/// them are kept.
///
/// `max` is the largest component, in bytes. All together are no larger than the cache.
///
/// # Errors
/// When the archive is malformed or too large, or a plugin in it is refused.
pub fn load(store: &Store, from: impl Read, policy: &Policy, max: u64) -> Result<Vec<Loaded>, ArchiveError> {
    let mut contents = read(store, from, max)?;
    let Listed { plugins, beside } = listed(&contents)?;
    let mut budget = store.max();
    let mut checked: BTreeMap<Digest, (Digest, Vec<String>)> = BTreeMap::new();
    let mut loaded = Vec::new();
    for (reference, manifest) in plugins {
        if reference.digest.as_ref().is_some_and(|digest| *digest != manifest) {
            return Err(ArchiveError::Missing(reference.to_string()));
        }
        let known = checked.get(&manifest).map(|(_, signed_by)| signed_by.clone());
        let signed_by = match known {
            Some(signed_by) => signed_by,
            None => {
                let entry = entry(&contents, &beside, &manifest);
                let signed = signature::verify(policy, &manifest, &entry.attachments);
                let signed_by = signed.map_err(|source| ArchiveError::Signature {
                    reference: Box::new(reference.clone()),
                    source,
                })?;
                let laid = |source| ArchiveError::Layout {
                    reference: Box::new(reference.clone()),
                    source: Box::new(source),
                };
                let layer = Layout::read(MANIFEST, &entry.manifest, max).map_err(laid)?.layer.digest;
                let bytes = contents
                    .bytes(&layer)
                    .ok_or_else(|| ArchiveError::Missing(layer.to_string()))?;
                let weight = Store::weight(&entry).saturating_add(bytes.len() as u64);
                budget = budget
                    .checked_sub(weight)
                    .ok_or(ArchiveError::LargerThanCache(store.max()))?;
                pull::check_parts(&entry, &bytes, max).map_err(laid)?;
                checked.insert(manifest.clone(), (layer, signed_by.clone()));
                signed_by
            }
        };
        loaded.push(Loaded {
            reference,
            manifest,
            signed_by,
        });
    }
    for (manifest, (layer, _)) in &checked {
        // Another plugin may have the same one, and then it is kept already.
        if let Some(staged) = contents.large.remove(layer) {
            store.keep(layer, staged)?;
        } else if let Some(bytes) = contents.small.get(layer) {
            store.put_blob(layer, bytes)?;
        }
        store.put_entry(&entry(&contents, &beside, manifest))?;
    }
    // What was here before gives way: it was used longer ago.
    store.shrink();
    if checked.iter().any(|(manifest, (layer, _))| !store.has(manifest, layer)) {
        return Err(ArchiveError::LargerThanCache(store.max()));
    }
    for Loaded {
        reference, manifest, ..
    } in &loaded
    {
        if reference.tag.is_some() || reference.digest.is_none() {
            store.remember(reference, manifest)?;
        }
    }
    Ok(loaded)
}

/// What lies beside each manifest: how it is found, and by which manifest.
type Beside = BTreeMap<Digest, Vec<(Place, Digest)>>;

/// What the index lists.
struct Listed {
    /// The plugins, by name and manifest.
    plugins: Vec<(Reference, Digest)>,
    beside: Beside,
}

fn listed(contents: &Contents) -> Result<Listed, ArchiveError> {
    let mut beside = Beside::new();
    let mut plugins = Vec::new();
    // An index may name the same manifest often.
    let mut subjects: BTreeMap<&Digest, Option<Digest>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for descriptor in &contents.index.manifests {
        let digest = &descriptor.digest;
        let name = descriptor.annotations.get(NAME).map(String::as_str).unwrap_or_default();
        if !seen.insert((digest, name)) {
            continue;
        }
        let by_subject = match subjects.get(digest) {
            Some(known) => known.clone(),
            None => {
                let missing = || ArchiveError::Missing(digest.to_string());
                let manifest = contents.small.get(digest).ok_or_else(missing)?;
                if manifest.len() as u64 > MAX_MANIFEST {
                    return Err(ArchiveError::TooLarge {
                        path: path(digest),
                        limit: MAX_MANIFEST,
                    });
                }
                let written: Written = serde_json::from_slice(manifest).map_err(|_| missing())?;
                let subject = written.subject.map(|subject| subject.digest);
                subjects.insert(digest, subject.clone());
                subject
            }
        };
        let by_tag = name
            .rsplit_once(":sha256-")
            .and_then(|(_, rest)| format!("sha256:{}", rest.strip_suffix(".sig")?).parse().ok())
            .map(|subject| (Place::Tag, subject));
        let by_subject = by_subject.map(|subject| (Place::Referrer, subject));
        match by_tag.or(by_subject) {
            Some((place, subject)) => beside.entry(subject).or_default().push((place, digest.clone())),
            None => {
                let reference: Reference = name.parse().map_err(|_| ArchiveError::Missing(shortened(name)))?;
                plugins.push((reference, digest.clone()));
            }
        }
    }
    Ok(Listed { plugins, beside })
}

/// A plugin as the cache keeps it. Made anew where it is needed: of all at once, there may be much.
fn entry(contents: &Contents, beside: &Beside, manifest: &Digest) -> Entry {
    let small = |digest: &Digest| contents.small.get(digest).map(Vec::as_slice);
    let bytes = small(manifest).unwrap_or_default();
    let config = serde_json::from_slice::<Written>(bytes)
        .ok()
        .and_then(|written| small(&written.config.digest));
    let attachments = beside.get(manifest).into_iter().flatten();
    let attachments = attachments.filter_map(|(place, manifest)| Some((*place, small(manifest)?)));
    Entry {
        manifest: bytes.to_vec(),
        config: config.map(<[u8]>::to_vec),
        attachments: signature::gathered(attachments, small),
        readers: Readers::Everybody,
    }
}

struct Contents {
    index: Index,
    small: BTreeMap<Digest, Vec<u8>>,
    /// On disk, each under the digest that it was found to have.
    large: BTreeMap<Digest, Staged>,
}

impl Contents {
    /// Only what this archive holds: nothing is taken from what happens to be in the cache.
    fn bytes(&self, digest: &Digest) -> Option<Vec<u8>> {
        let small = self.small.get(digest).cloned();
        small.or_else(|| self.large.get(digest)?.read())
    }
}

fn read(store: &Store, from: impl Read, max: u64) -> Result<Contents, ArchiveError> {
    let mut index = None;
    let mut small = BTreeMap::new();
    let mut large = BTreeMap::new();
    let mut budget = MAX_ALL_SMALL;
    let mut room = store.max();
    let mut seen = BTreeSet::new();
    let mut tar = tar::Archive::new(from);
    // Raw: the library would read names and facts of any length into memory.
    for (count, entry) in tar.entries()?.raw(true).enumerate() {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let told = shortened(&path);
        if count >= MAX_FILES {
            return Err(ArchiveError::TooMany);
        }
        let clean = path.strip_prefix("./").unwrap_or(&path);
        let kind = entry.header().entry_type();
        if kind.is_pax_local_extensions() || kind.is_pax_global_extensions() {
            facts(&mut entry, told)?;
            continue;
        }
        if kind.is_gnu_longname() || kind.is_gnu_longlink() {
            return Err(ArchiveError::Extension("a long name".to_owned()));
        }
        let is_known = ["", ".", "blobs/", "blobs/sha256/"].contains(&clean);
        if kind.is_dir() && is_known && entry.size() == 0 {
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
        // What says that it is too large is not begun.
        let length = entry.size();
        if length > limit {
            return Err(ArchiveError::TooLarge { path: told, limit });
        }
        room = room
            .checked_sub(length)
            .ok_or(ArchiveError::LargerThanCache(store.max()))?;
        let is_small = length <= MAX_SMALL;
        if is_small {
            budget = budget.checked_sub(length).ok_or(ArchiveError::TooLarge {
                path: told,
                limit: MAX_ALL_SMALL,
            })?;
        }
        let bytes = whole(&mut entry, length)?;
        match digest {
            Some(expected) => {
                let got = Digest::of(&bytes);
                if got != expected {
                    return Err(ArchiveError::DigestMismatch { expected, got });
                }
                if is_small {
                    small.insert(got, bytes);
                } else {
                    large.insert(got, store.stage(&bytes)?);
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

/// All that an entry says it has.
fn whole(entry: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(length).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// Reads past what is said of the next entry, such as its times. What would change what that entry is is refused.
fn facts(entry: &mut tar::Entry<'_, impl Read>, told: String) -> Result<(), ArchiveError> {
    let length = entry.size();
    if length > MAX_FACTS {
        return Err(ArchiveError::TooLarge {
            path: told,
            limit: MAX_FACTS,
        });
    }
    let bytes = whole(entry, length)?;
    for fact in tar::PaxExtensions::new(&bytes) {
        let name = String::from_utf8_lossy(fact?.key_bytes()).into_owned();
        if ["path", "linkpath", "size"].contains(&name.as_str()) || name.starts_with("GNU.sparse") {
            return Err(ArchiveError::Extension(format!(
                "a fact `{}` of its own",
                shortened(&name)
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
