//! What was verified once, kept on disk: it serves without a registry.
//!
//! Files are named by what is in them and read with suspicion: whatever does not match its name or its sum is removed
//! and counts as absent. Files appear whole, by renaming; so several processes may share a folder. What was used
//! longest ago goes first when the folder grows too large.
//!
//! All functions here block.

use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    layout::Layout,
    reference::{Digest, Reference},
    remote::MANIFEST,
    signature::{Attachment, Place},
};

/// The folder of this version of the layout, below the cache's folder.
const VERSION: &str = "plugins-v1";
/// What a process that was killed leaves half-written is removed after this many seconds.
const STALE: u64 = 3600;

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be made.
    #[error("cannot make the cache folder `{folder}`")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write `{file}` in the cache")]
    Write {
        /// The file.
        file: PathBuf,
        /// What failed.
        #[source]
        source: io::Error,
    },
}

/// What is kept of one plugin beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The manifest, byte by byte.
    pub manifest: Vec<u8>,
    /// The config, if the layout has one.
    pub config: Option<Vec<u8>>,
    /// What lay beside it.
    pub attachments: Vec<Attachment>,
    /// Who may have it.
    pub readers: Readers,
}

/// Who may have a plugin of the cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Readers {
    /// Everybody: it came with the host's own credentials, or in an archive.
    #[default]
    Everybody,
    /// Only holders of credentials with which it was fetched.
    Holders(BTreeSet<String>),
}

impl Readers {
    /// Only this holder; without one, everybody.
    #[must_use]
    pub fn only(holder: Option<&str>) -> Self {
        holder.map_or(Self::Everybody, |holder| Self::Holders([holder.to_owned()].into()))
    }

    /// Whether `holder`, or without one the host for everybody, is among them.
    #[must_use]
    pub fn include(&self, holder: Option<&str>) -> bool {
        match self {
            Self::Everybody => true,
            Self::Holders(holders) => holder.is_some_and(|holder| holders.contains(holder)),
        }
    }

    /// All that are among these or those.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Holders(mut these), Self::Holders(those)) => {
                these.extend(those);
                Self::Holders(these)
            }
            (Self::Everybody, _) | (_, Self::Everybody) => Self::Everybody,
        }
    }
}

/// What a tag pointed to when that took over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The reference, without a digest.
    pub reference: String,
    /// The manifest.
    pub digest: Digest,
}

#[derive(Serialize, Deserialize)]
struct WrittenEntry {
    manifest: String,
    config: Option<String>,
    attachments: Vec<WrittenAttachment>,
    /// None: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holders: Option<BTreeSet<String>>,
}

#[derive(Serialize, Deserialize)]
struct WrittenAttachment {
    place: Place,
    manifest: String,
    blobs: Vec<String>,
}

/// Bytes on disk that are nobody's yet. They go with this.
#[derive(Debug)]
pub struct Staged {
    file: PathBuf,
}

impl Staged {
    /// The bytes; none if they cannot be read.
    #[must_use]
    pub fn read(&self) -> Option<Vec<u8>> {
        read(&self.file)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Where it was kept, nothing is there any more.
        let _ = fs::remove_file(&self.file);
    }
}

/// A folder of verified plugins.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    max: u64,
}

impl Store {
    /// Opens the store in `folder`, of at most `max` bytes.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: &Path, max: u64) -> Result<Self, StoreError> {
        let folder = folder.join(VERSION);
        for part in ["entries", "blobs", "tags", "new"] {
            let part = folder.join(part);
            create_private(&part).map_err(|source| StoreError::Folder { folder: part, source })?;
        }
        Ok(Self { folder, max })
    }

    /// The entry of a manifest; none if there is none, or a damaged one, which is removed.
    #[must_use]
    pub fn entry(&self, digest: &Digest) -> Option<Entry> {
        let file = self.entry_file(digest);
        let entry = read(&file)?;
        let decoded = unsum(&entry)
            .and_then(|json| serde_json::from_slice(json).ok())
            .and_then(decode);
        // The sum is against accidents; that the manifest is the one asked for is checked by its digest.
        match decoded.filter(|entry| Digest::of(&entry.manifest) == *digest) {
            Some(entry) => {
                touch(&file);
                Some(entry)
            }
            None => damaged(&file),
        }
    }

    /// The bytes with this digest; none if they are not there, or damaged: then they are removed.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        let file = self.blob_file(digest);
        let bytes = read(&file)?;
        if Digest::of(&bytes) != *digest {
            return damaged(&file);
        }
        touch(&file);
        Some(bytes)
    }

    /// Notes that a plugin is in use: what is used goes last when the folder grows too large.
    pub fn touch(&self, digest: &Digest) {
        let Some(entry) = self.entry(digest) else { return };
        if let Ok(layout) = Layout::read(MANIFEST, &entry.manifest, u64::MAX) {
            touch(&self.blob_file(&layout.layer.digest));
        }
    }

    /// Whether there is a file for this digest; it may be damaged.
    #[must_use]
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_file(digest).is_file()
    }

    /// How large the folder may grow, in bytes.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// How many bytes an entry takes here.
    #[must_use]
    pub fn weight(entry: &Entry) -> u64 {
        written(entry).len() as u64
    }

    /// Writes bytes where nobody looks for them, until they are [kept](Store::keep) or dropped.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn stage(&self, bytes: &[u8]) -> Result<Staged, StoreError> {
        let file = self.folder.join("new").join(Uuid::new_v4().to_string());
        let staged = Staged { file };
        let written = File::create_new(&staged.file).and_then(|mut open| {
            open.write_all(bytes)?;
            open.sync_all()
        });
        match written {
            Ok(()) => Ok(staged),
            Err(source) => Err(StoreError::Write {
                file: staged.file.clone(),
                source,
            }),
        }
    }

    /// Keeps what was staged, under the digest that its bytes were found to have.
    ///
    /// # Errors
    /// When the file cannot be moved.
    pub fn keep(&self, digest: &Digest, staged: Staged) -> Result<(), StoreError> {
        let file = self.blob_file(digest);
        fs::rename(&staged.file, &file).map_err(|source| StoreError::Write { file, source })
    }

    /// Whether a plugin is here: its entry and its layer.
    #[must_use]
    pub fn has(&self, manifest: &Digest, layer: &Digest) -> bool {
        self.entry_file(manifest).is_file() && self.has_blob(layer)
    }

    /// Keeps a plugin: the layer first, so that an entry never stands alone. Whoever might have it before still may.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn put(&self, entry: &Entry, layer: &[u8]) -> Result<(), StoreError> {
        self.put_blob(&Digest::of(layer), layer)?;
        self.put_entry(entry)?;
        self.shrink();
        Ok(())
    }

    /// Keeps what belongs to a layer that is kept already. Whoever might have it before still may.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put_entry(&self, entry: &Entry) -> Result<(), StoreError> {
        let digest = Digest::of(&entry.manifest);
        let readers = match self.entry(&digest) {
            Some(before) => before.readers.or(entry.readers.clone()),
            None => entry.readers.clone(),
        };
        let entry = Entry {
            readers,
            ..entry.clone()
        };
        self.write(&self.entry_file(&digest), &written(&entry))
    }

    /// Keeps bytes under their digest, which the caller has computed.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        self.write(&self.blob_file(digest), bytes)
    }

    /// Remembers what a reference with a tag stands for.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn remember(&self, reference: &Reference, digest: &Digest) -> Result<(), StoreError> {
        let seen = Seen {
            reference: tagged(reference),
            digest: digest.clone(),
        };
        let text = serde_json::to_vec(&seen).unwrap_or_default();
        self.write(&self.tag_file(reference), &sum(&text))
    }

    /// What a reference stood for when that was remembered last: its own digest if it has one.
    #[must_use]
    pub fn last(&self, reference: &Reference) -> Option<Digest> {
        if let Some(digest) = &reference.digest {
            return Some(digest.clone());
        }
        let file = self.tag_file(reference);
        let text = read(&file)?;
        let seen: Option<Seen> = unsum(&text).and_then(|json| serde_json::from_slice(json).ok());
        match seen.filter(|seen| seen.reference == tagged(reference)) {
            Some(seen) => Some(seen.digest),
            None => damaged(&file),
        }
    }

    /// Removes what was used longest ago until the folder is within its bound. One process at a time does so.
    pub fn shrink(&self) {
        let Ok(lock) = File::create(self.folder.join("lock")) else {
            return;
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return,
        }
        let mut files = Vec::new();
        for part in ["entries", "blobs"] {
            files.extend(listed(&self.folder.join(part)));
        }
        let mut total: u64 = files.iter().map(|file| file.size).sum();
        files.sort_by_key(|file| file.used);
        for file in files {
            if total <= self.max {
                break;
            }
            if fs::remove_file(&file.path).is_ok() {
                tracing::debug!(file = %file.path.display(), "removed from the plugin cache, which is full");
                total = total.saturating_sub(file.size);
            }
        }
        // What stands for nothing is of no use.
        for file in listed(&self.folder.join("tags")) {
            let seen = read(&file.path).and_then(|text| serde_json::from_slice::<Seen>(unsum(&text)?).ok());
            if seen.is_none_or(|seen| !self.entry_file(&seen.digest).is_file()) {
                let _ = fs::remove_file(&file.path);
            }
        }
        let now = SystemTime::now();
        for file in listed(&self.folder.join("new")) {
            let age = now.duration_since(file.used).unwrap_or_default();
            if age.as_secs() > STALE {
                let _ = fs::remove_file(&file.path);
            }
        }
    }

    fn entry_file(&self, digest: &Digest) -> PathBuf {
        self.folder.join("entries").join(digest.hex())
    }

    fn blob_file(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs").join(digest.hex())
    }

    /// Named by a digest: a reference may hold what a file's name may not.
    fn tag_file(&self, reference: &Reference) -> PathBuf {
        let name = Digest::of(tagged(reference).as_bytes());
        self.folder.join("tags").join(name.hex())
    }

    /// Writes a file whole: beside, flushed, then renamed.
    fn write(&self, file: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let new = self.folder.join("new").join(Uuid::new_v4().to_string());
        let written = (|| {
            let mut open = File::create_new(&new)?;
            open.write_all(bytes)?;
            open.sync_all()?;
            fs::rename(&new, file)
        })();
        written.map_err(|source| {
            let _ = fs::remove_file(&new);
            StoreError::Write {
                file: file.to_owned(),
                source,
            }
        })
    }
}

fn tagged(reference: &Reference) -> String {
    let tag = reference.tag.as_deref().unwrap_or("latest");
    format!("{}:{tag}", reference.repository)
}

fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn read(file: &Path) -> Option<Vec<u8>> {
    match fs::read(file) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "cannot read a file of the plugin cache");
            None
        }
    }
}

/// Removes a file that is not what it should be.
fn damaged<T>(file: &Path) -> Option<T> {
    tracing::warn!(file = %file.display(), "a file of the plugin cache is damaged; it is removed, and made again");
    let _ = fs::remove_file(file);
    None
}

/// Notes that a file was used. A cache on a read-only volume cannot, and need not.
fn touch(file: &Path) {
    if let Ok(file) = File::options().append(true).open(file) {
        let _ = file.set_modified(SystemTime::now());
    }
}

struct Listed {
    path: PathBuf,
    size: u64,
    used: SystemTime,
}

fn listed(folder: &Path) -> Vec<Listed> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let about = entry.metadata().ok()?;
            Some(Listed {
                path: entry.path(),
                size: about.len(),
                used: about.modified().ok()?,
            })
        })
        .collect()
}

fn sum(text: &[u8]) -> Vec<u8> {
    let mut whole = format!("{}\n", Digest::of(text)).into_bytes();
    whole.extend(text);
    whole
}

fn unsum(whole: &[u8]) -> Option<&[u8]> {
    let end = whole.iter().position(|byte| *byte == b'\n')?;
    let text = &whole[end + 1..];
    (whole[..end] == *Digest::of(text).as_str().as_bytes()).then_some(text)
}

fn written(entry: &Entry) -> Vec<u8> {
    sum(&serde_json::to_vec(&encode(entry)).unwrap_or_default())
}

fn encode(entry: &Entry) -> WrittenEntry {
    WrittenEntry {
        manifest: STANDARD.encode(&entry.manifest),
        config: entry.config.as_ref().map(|config| STANDARD.encode(config)),
        attachments: entry
            .attachments
            .iter()
            .map(|attachment| WrittenAttachment {
                place: attachment.place,
                manifest: STANDARD.encode(&attachment.manifest),
                blobs: attachment.blobs.iter().map(|blob| STANDARD.encode(blob)).collect(),
            })
            .collect(),
        holders: match &entry.readers {
            Readers::Everybody => None,
            Readers::Holders(holders) => Some(holders.clone()),
        },
    }
}

fn decode(written: WrittenEntry) -> Option<Entry> {
    let decode = |text: &String| STANDARD.decode(text).ok();
    Some(Entry {
        manifest: decode(&written.manifest)?,
        config: written
            .config
            .as_ref()
            .map(decode)
            .map_or(Some(None), |config| config.map(Some))?,
        attachments: written
            .attachments
            .iter()
            .map(|attachment| {
                Some(Attachment {
                    place: attachment.place,
                    manifest: decode(&attachment.manifest)?,
                    blobs: attachment.blobs.iter().map(decode).collect::<Option<_>>()?,
                })
            })
            .collect::<Option<_>>()?,
        readers: written.holders.map_or(Readers::Everybody, Readers::Holders),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(manifest: &str) -> Entry {
        Entry {
            manifest: manifest.as_bytes().to_vec(),
            config: Some(b"{}".to_vec()),
            attachments: vec![Attachment {
                place: Place::Tag,
                manifest: b"m".to_vec(),
                blobs: vec![b"b".to_vec()],
            }],
            readers: Readers::Everybody,
        }
    }

    fn open(max: u64) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), max).unwrap();
        (folder, store)
    }

    #[test]
    fn what_was_put_is_found_again_by_another_process() {
        let (folder, store) = open(1 << 20);
        store.put(&entry("manifest"), b"layer").unwrap();
        let other = Store::open(folder.path(), 1 << 20).unwrap();
        assert_eq!(other.entry(&Digest::of(b"manifest")), Some(entry("manifest")));
        assert_eq!(other.blob(&Digest::of(b"layer")), Some(b"layer".to_vec()));
        assert_eq!(other.entry(&Digest::of(b"another")), None);
    }

    #[test]
    fn who_may_have_a_plugin_is_kept_and_only_grows() {
        let (_folder, store) = open(1 << 20);
        let only = |holder| Entry {
            readers: Readers::only(holder),
            ..entry("manifest")
        };
        let readers = || store.entry(&Digest::of(b"manifest")).unwrap().readers;
        store.put(&only(Some("one")), b"layer").unwrap();
        assert_eq!(readers(), Readers::only(Some("one")));
        assert!(!readers().include(None) && !readers().include(Some("two")));
        store.put(&only(Some("two")), b"layer").unwrap();
        assert!(readers().include(Some("one")) && readers().include(Some("two")) && !readers().include(None));
        store.put(&only(None), b"layer").unwrap();
        store.put(&only(Some("one")), b"layer").unwrap();
        assert_eq!(readers(), Readers::Everybody);
    }

    #[test]
    fn truncated_flipped_and_swapped_files_are_noticed_and_removed() {
        type Damage = fn(Vec<u8>) -> Vec<u8>;
        let damages: [(&str, Damage); 4] = [
            ("truncated", |bytes| bytes[..bytes.len() - 1].to_vec()),
            ("flipped", |mut bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                bytes
            }),
            ("emptied", |_| Vec::new()),
            ("garbage", |_| b"\xff\xfe".to_vec()),
        ];
        for (name, damage) in damages {
            let (_folder, store) = open(1 << 20);
            let reference: Reference = "registry.example.com/lz:1".parse().unwrap();
            store.put(&entry("manifest"), b"layer").unwrap();
            store.remember(&reference, &Digest::of(b"manifest")).unwrap();
            for part in ["entries", "blobs", "tags"] {
                let file = listed(&store.folder.join(part)).remove(0).path;
                fs::write(&file, damage(fs::read(&file).unwrap())).unwrap();
            }
            assert_eq!(store.entry(&Digest::of(b"manifest")), None, "{name}");
            assert_eq!(store.blob(&Digest::of(b"layer")), None, "{name}");
            assert_eq!(store.last(&reference), None, "{name}");
            for part in ["entries", "blobs", "tags"] {
                assert!(listed(&store.folder.join(part)).is_empty(), "{name}: {part}");
            }
        }
    }

    #[test]
    fn an_entry_under_the_name_of_another_is_noticed() {
        let (_folder, store) = open(1 << 20);
        store.put(&entry("one"), b"1").unwrap();
        store.put(&entry("two"), b"2").unwrap();
        let file = |text: &str| store.folder.join("entries").join(Digest::of(text.as_bytes()).hex());
        fs::copy(file("one"), file("two")).unwrap();
        assert_eq!(store.entry(&Digest::of(b"two")), None);
        assert!(store.entry(&Digest::of(b"one")).is_some());
    }

    #[test]
    fn a_tag_is_remembered_and_a_digest_needs_no_memory() {
        let (_folder, store) = open(1 << 20);
        let reference: Reference = "registry.example.com/lz:1".parse().unwrap();
        assert_eq!(store.last(&reference), None);
        store.remember(&reference, &Digest::of(b"old")).unwrap();
        store.remember(&reference, &Digest::of(b"new")).unwrap();
        assert_eq!(store.last(&reference), Some(Digest::of(b"new")));
        let pinned = reference.pinned(Digest::of(b"old"));
        assert_eq!(store.last(&pinned), Some(Digest::of(b"old")));
        assert_eq!(store.last(&"registry.example.com/lz:2".parse().unwrap()), None);
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let (_folder, store) = open(5000);
        let names = ["one", "two", "three"];
        for (age, name) in names.iter().enumerate() {
            store.put(&entry(name), name.repeat(300).as_bytes()).unwrap();
            let used = SystemTime::now() - Duration::from_secs(1000 - 100 * age as u64);
            for file in [
                store.folder.join("entries").join(Digest::of(name.as_bytes()).hex()),
                store.blob_file(&Digest::of(name.repeat(300).as_bytes())),
            ] {
                File::options()
                    .append(true)
                    .open(file)
                    .unwrap()
                    .set_modified(used)
                    .unwrap();
            }
        }
        // Used again, so the second is the one that goes.
        assert!(store.entry(&Digest::of(b"one")).is_some());
        assert!(store.blob(&Digest::of("one".repeat(300).as_bytes())).is_some());
        store.put(&entry("four"), "four".repeat(500).as_bytes()).unwrap();
        let kept = |name: &str, times| store.has_blob(&Digest::of(name.repeat(times).as_bytes()));
        assert_eq!(
            [kept("one", 300), kept("two", 300), kept("four", 500)],
            [true, false, true]
        );
    }

    #[test]
    fn a_tag_of_what_was_removed_is_removed_too() {
        let (_folder, store) = open(3000);
        let tags = || listed(&store.folder.join("tags")).len();
        for (age, tag) in ["old", "new"].iter().enumerate() {
            let reference: Reference = format!("registry.example.com/lz:{tag}").parse().unwrap();
            store.put(&entry(tag), tag.repeat(300).as_bytes()).unwrap();
            store.remember(&reference, &Digest::of(tag.as_bytes())).unwrap();
            let used = SystemTime::now() - Duration::from_secs(1000 - 100 * age as u64);
            for file in [
                store.entry_file(&Digest::of(tag.as_bytes())),
                store.blob_file(&Digest::of(tag.repeat(300).as_bytes())),
            ] {
                File::options()
                    .append(true)
                    .open(file)
                    .unwrap()
                    .set_modified(used)
                    .unwrap();
            }
        }
        assert_eq!(tags(), 2);
        store.put(&entry("newest"), "newest".repeat(200).as_bytes()).unwrap();
        assert!(!store.has_blob(&Digest::of("old".repeat(300).as_bytes())));
        assert_eq!(tags(), 1);
        let kept: Reference = "registry.example.com/lz:new".parse().unwrap();
        assert_eq!(store.last(&kept), Some(Digest::of(b"new")));
    }

    #[test]
    fn writers_and_readers_at_once_never_see_half_a_file() {
        let (_folder, store) = open(1 << 30);
        let layer = vec![7; 1 << 20];
        let digest = Digest::of(&layer);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        store.put(&entry("manifest"), &layer).unwrap();
                        assert_eq!(store.blob(&digest).map(|bytes| bytes.len()), Some(layer.len()));
                        assert!(store.entry(&Digest::of(b"manifest")).is_some());
                    }
                });
            }
        });
        assert!(listed(&store.folder.join("new")).is_empty());
    }
}
