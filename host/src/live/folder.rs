//! Looks at files, and tells whether their contents changed.
//!
//! Files are read and hashed about once a second rather than watched by the kernel's
//! notifications: that works on every mount alike. A ConfigMap is mounted as symbolic links of
//! which one is exchanged, on network mounts nobody notifies, and editors replace files in
//! many ways; contents are contents.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest as _, Sha256};

use crate::config::document::Loading;

/// A hash of all that was seen.
pub(super) type Fingerprint = [u8; 32];

/// How long a change must have been there before it is believed: somebody may be writing.
const SETTLES: Duration = Duration::from_millis(150);
/// How often is looked again at a file that does not come to rest.
const LOOKS: usize = 20;

/// The hash of the folder's documents: which there are, and what they contain. What cannot be
/// read has a hash as well.
pub(super) fn folder(folder: &Path) -> Fingerprint {
    let mut hash = Sha256::new();
    let mut names: Vec<PathBuf> = match fs::read_dir(folder) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(error) => {
            hash.update(error.to_string());
            Vec::new()
        }
    };
    names.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
    });
    names.sort();
    for path in names {
        add(&mut hash, &path);
    }
    hash.finalize().into()
}

/// The hash of one file.
pub(super) fn file(path: &Path) -> Fingerprint {
    let mut hash = Sha256::new();
    add(&mut hash, path);
    hash.finalize().into()
}

fn add(hash: &mut Sha256, path: &Path) {
    hash.update(path.as_os_str().as_encoded_bytes());
    match fs::read(path) {
        Ok(bytes) => {
            hash.update([1]);
            hash.update(bytes.len().to_le_bytes());
            hash.update(bytes);
        }
        Err(error) => {
            hash.update([0]);
            hash.update(error.to_string());
        }
    }
}

/// Whether what `look` sees differs from `before`. If so, waits until two looks in a row see
/// the same, and answers with that.
pub(super) async fn changed(
    before: Option<&Fingerprint>,
    look: impl Fn() -> Fingerprint + Clone + Send + 'static,
) -> Option<Fingerprint> {
    let mut seen = apart(look.clone()).await?;
    if before == Some(&seen) {
        return None;
    }
    for _ in 0..LOOKS {
        tokio::time::sleep(SETTLES).await;
        let again = apart(look.clone()).await?;
        if again == seen {
            break;
        }
        seen = again;
    }
    (before != Some(&seen)).then_some(seen)
}

/// Runs what may wait for a disk or a network where it keeps nobody waiting. None: it panicked.
pub(super) async fn apart<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(act).await.ok()
}

/// What tells that a large file may have changed, without reading it: any write changes one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The stamp of the file that a path leads to.
pub(super) fn stamp(path: &Path) -> std::io::Result<Stamp> {
    let found = fs::metadata(path)?;
    Ok(Stamp {
        device: found.dev(),
        inode: found.ino(),
        size: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

/// Adapters that are wanted, although their document cannot be used: a problem names them, or
/// their file has a problem that names nobody, so that nobody can say whether they are still
/// meant. `known` are the adapters that are live, with their files.
pub(super) fn unreadable(loading: &Loading, known: &BTreeMap<String, PathBuf>) -> BTreeSet<String> {
    let named = loading.problems.iter().filter_map(|problem| problem.adapter.clone());
    let anonymous: BTreeSet<&Path> = loading
        .problems
        .iter()
        .filter(|problem| problem.adapter.is_none())
        .map(|problem| problem.file.as_path())
        .collect();
    let perhaps = known
        .iter()
        // A folder that cannot be read is told as a problem of the folder.
        .filter(|(_, file)| {
            anonymous
                .iter()
                .any(|bad| file.as_path() == *bad || file.parent() == Some(bad))
        })
        .map(|(name, _)| name.clone());
    let mut found: BTreeSet<String> = named.chain(perhaps).collect();
    for loaded in &loading.adapters {
        found.remove(&loaded.adapter.name);
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::os::unix::fs::symlink;

    use super::*;
    use crate::config::{document, host::HostLimits};

    const DOCUMENT: &str = "
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {name: NAME}
spec:
  subjects: [Cluster]
  namespace: work
  preconditions:
    - {name: large, expression: 'subject.spec.size > 10', message: too small}
";

    fn document(name: &str) -> String {
        DOCUMENT.replace("NAME", name)
    }

    #[test]
    fn contents_count_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let empty = folder(dir.path());
        write("a.yaml", "one");
        let one = folder(dir.path());
        write("a.yaml", "one");
        write("notes.txt", "x");
        assert_eq!(folder(dir.path()), one);
        write("a.yaml", "two");
        let two = folder(dir.path());
        fs::rename(dir.path().join("a.yaml"), dir.path().join("b.yaml")).unwrap();
        let renamed = folder(dir.path());
        fs::remove_file(dir.path().join("b.yaml")).unwrap();
        assert_eq!(folder(dir.path()), empty);
        let all: BTreeSet<_> = [empty, one, two, renamed].into();
        assert_eq!(all.len(), 4);
        assert_ne!(folder(&dir.path().join("none")), empty);
    }

    #[test]
    fn a_configmap_that_is_exchanged_by_its_link_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let version = |name: &str, text: &str| {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("a.yaml"), text).unwrap();
        };
        version("..1", "one");
        version("..2", "two");
        symlink("..1", dir.path().join("..data")).unwrap();
        symlink("..data/a.yaml", dir.path().join("a.yaml")).unwrap();
        let before = folder(dir.path());
        let stamped = stamp(&dir.path().join("a.yaml")).unwrap();
        symlink("..2", dir.path().join("..tmp")).unwrap();
        fs::rename(dir.path().join("..tmp"), dir.path().join("..data")).unwrap();
        assert_ne!(folder(dir.path()), before);
        assert_ne!(stamp(&dir.path().join("a.yaml")).unwrap(), stamped);
    }

    #[test]
    fn an_adapter_whose_file_is_broken_is_still_wanted_and_one_whose_file_is_gone_is_not() {
        let caps = HostLimits::default_caps();
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let known: BTreeMap<String, PathBuf> = [
            ("garbled".to_owned(), path("garbled.yaml")),
            ("typo".to_owned(), path("typo.yaml")),
            ("gone".to_owned(), path("gone.yaml")),
            ("twice".to_owned(), path("first.yaml")),
            ("good".to_owned(), path("good.yaml")),
        ]
        .into();
        fs::write(path("garbled.yaml"), "a: [").unwrap();
        fs::write(path("typo.yaml"), document("typo").replace("subjects", "subjekts")).unwrap();
        fs::write(path("first.yaml"), document("twice")).unwrap();
        fs::write(path("second.yaml"), document("twice")).unwrap();
        fs::write(path("good.yaml"), document("good")).unwrap();
        let loading = document::load_folder(dir.path(), &caps);
        let still: Vec<String> = unreadable(&loading, &known).into_iter().collect();
        assert_eq!(still, ["garbled", "twice", "typo"]);

        let nothing = document::load_folder(&path("none"), &caps);
        assert!(unreadable(&nothing, &known).is_empty(), "they are not of that folder");
        drop(fs::remove_dir_all(dir.path()));
        let unmounted = document::load_folder(dir.path(), &caps);
        assert_eq!(unreadable(&unmounted, &known).len(), known.len());
    }
}
