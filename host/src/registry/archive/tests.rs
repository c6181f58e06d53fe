use super::*;
use crate::registry::{
    component::tests::{custom, sample},
    layout::pack,
    signature::{Attachment, Needed, PrivateKey, TrustedKey, new_key},
};

const MAX: u64 = 16 << 20;

fn reference() -> Reference {
    "registry.example.com/partners/lz:1".parse().unwrap()
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), 1 << 30).unwrap();
    (folder, store)
}

fn keep(store: &Store, bytes: &[u8], reference: &Reference, attachments: Vec<Attachment>) -> Digest {
    let packed = pack(bytes).unwrap();
    let entry = Entry {
        manifest: packed.manifest,
        config: Some(packed.config),
        attachments,
        readers: Readers::Everybody,
    };
    store.put(&entry, bytes).unwrap();
    store.remember(reference, &packed.digest).unwrap();
    packed.digest
}

fn large() -> Vec<u8> {
    let mut bytes = sample("large");
    for number in 0..40 {
        custom(&mut bytes, "padding", &vec![number; 64 << 10]);
    }
    bytes
}

fn saved(store: &Store, references: &[Reference]) -> Vec<u8> {
    let mut bytes = Vec::new();
    save(store, references, &mut bytes).unwrap();
    bytes
}

async fn signed(key: &PrivateKey) -> (tempfile::TempDir, Store) {
    let (folder, store) = store();
    let digest = pack(&sample("one")).unwrap().digest;
    let remote = crate::registry::memory::Memory::default();
    let repository = &reference().repository;
    signature::sign(&remote, repository, &digest, key).await.unwrap();
    let found = signature::find(&remote, repository, &digest).await.attachments;
    assert_eq!(found.len(), 1);
    keep(&store, &sample("one"), &reference(), found);
    (folder, store)
}

fn trust(key: &PrivateKey) -> Policy {
    Policy::Signers {
        keys: vec![TrustedKey {
            name: "release".to_owned(),
            key: key.public().clone(),
        }],
        identities: None,
        needed: Needed::Any,
    }
}

#[tokio::test]
async fn plugins_and_their_signatures_move_to_another_site() {
    let key = new_key();
    let (_from, from) = signed(&key).await;
    let second: Reference = "registry.example.com/partners/large:2".parse().unwrap();
    let (large, policy) = (large(), trust(&key));
    keep(&from, &large, &second, Vec::new());
    let archive = saved(&from, &[reference()]);
    let (_to, to) = store();
    let loaded = load(&to, archive.as_slice(), &policy, MAX).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].reference, reference());
    assert_eq!(loaded[0].signed_by, ["release"]);
    assert_eq!(to.last(&reference()), Some(loaded[0].manifest.clone()));
    assert_eq!(to.entry(&loaded[0].manifest), from.entry(&loaded[0].manifest));
    assert_eq!(to.blob(&Digest::of(&sample("one"))), Some(sample("one")));

    // A set, with one that nobody signed: refused under this policy, taken without one.
    let both = saved(&from, &[reference(), second.clone()]);
    assert_eq!(both, saved(&from, &[reference(), second.clone()]));
    let refused = load(&to, both.as_slice(), &policy, MAX).unwrap_err();
    assert_eq!(refused.reason(), "NoSignature");
    assert_eq!(to.last(&second), None);
    assert_eq!(load(&to, both.as_slice(), &Policy::Off, MAX).unwrap().len(), 2);
    assert_eq!(to.blob(&Digest::of(&large)), Some(large));
}

#[test]
fn what_is_not_in_the_cache_is_not_saved() {
    let (_folder, store) = store();
    let refused = save(&store, &[reference()], Vec::new()).unwrap_err();
    assert_eq!(refused.reason(), "NotKept");
}

/// An archive of these entries as they are.
fn tar_of(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, kind, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        // Past the checks of the library, as somebody hostile would.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn hostile_archives_are_refused_and_write_nowhere_else() {
    use tar::EntryType::{Directory, Regular, Symlink};
    let blob = format!("blobs/sha256/{}", Digest::of(b"{}").hex());
    let digest = Digest::of(b"missing");
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{MANIFEST}","digest":"{digest}","size":1,"annotations":{{"{NAME}":"registry.example.com/lz:1"}}}}]}}"#
    );
    let large = vec![0; (MAX_SMALL + 1) as usize];
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (
            "MalformedArchive",
            b"no tar at all, but long enough to be taken for a header? ".repeat(20),
        ),
        ("ArchiveIncomplete", tar_of(&[])),
        ("ArchivePath", tar_of(&[("../../etc/cron.d/x", Regular, b"x")])),
        ("ArchivePath", tar_of(&[("/etc/passwd", Regular, b"x")])),
        ("ArchivePath", tar_of(&[("blobs/sha256/../../x", Regular, b"x")])),
        ("ArchivePath", tar_of(&[("blobs/sha512/00", Regular, b"x")])),
        ("ArchiveLink", tar_of(&[(&blob, Symlink, b"")])),
        ("ArchiveLink", tar_of(&[("elsewhere/", Directory, b"")])),
        (
            "ArchiveTwice",
            tar_of(&[(&blob, Regular, b"{}"), (&blob, Regular, b"{}")]),
        ),
        ("DigestMismatch", tar_of(&[(&blob, Regular, b"[]")])),
        ("TooLarge", tar_of(&[("index.json", Regular, &large)])),
        ("ArchiveIncomplete", tar_of(&[("index.json", Regular, b"no JSON")])),
        (
            "ArchiveIncomplete",
            tar_of(&[("index.json", Regular, index.as_bytes())]),
        ),
    ];
    for (number, (expected, archive)) in cases.iter().enumerate() {
        let (_folder, store) = store();
        let refused = load(&store, archive.as_slice(), &Policy::Off, MAX).unwrap_err();
        assert_eq!(refused.reason(), *expected, "case {number}: {refused}");
    }
}

#[test]
fn a_component_larger_than_allowed_is_refused_while_it_is_read() {
    let (_folder, from) = store();
    keep(&from, &large(), &reference(), Vec::new());
    let archive = saved(&from, &[reference()]);
    let (_folder, to) = store();
    let refused = load(&to, archive.as_slice(), &Policy::Off, MAX_SMALL).unwrap_err();
    assert_eq!(refused.reason(), "TooLarge");
}

#[test]
fn a_changed_archive_is_refused() {
    let (_folder, from) = store();
    keep(&from, &sample("one"), &reference(), Vec::new());
    let mut archive = saved(&from, &[reference()]);
    let at = archive
        .windows(13)
        .position(|bytes| bytes == b"landing-zone\0" || bytes.ends_with(b"landing-zone"))
        .unwrap();
    archive[at + 3] ^= 1;
    let (_folder, to) = store();
    let refused = load(&to, archive.as_slice(), &Policy::Off, MAX).unwrap_err();
    assert_eq!(refused.reason(), "DigestMismatch");
}

/// The header of an entry that says it has so many bytes.
fn header(path: &str, kind: tar::EntryType, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// Counts what is read of it, and never ends.
struct Endless {
    begin: io::Cursor<Vec<u8>>,
    read: u64,
}

impl Read for Endless {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = match self.begin.read(to)? {
            0 => io::repeat(b'A').read(to)?,
            count => count,
        };
        self.read += count as u64;
        Ok(count)
    }
}

#[test]
fn what_an_archive_says_of_sizes_costs_neither_memory_nor_time() {
    use tar::EntryType;
    let blob = format!("blobs/sha256/{}", Digest::of(b"{}").hex());
    let (long, link) = (EntryType::GNULongName, EntryType::GNULongLink);
    let (local, global) = (EntryType::XHeader, EntryType::XGlobalHeader);
    let huge = 1 << 40;
    for (expected, path, kind, size) in [
        ("ArchiveExtension", "././@LongLink", long, huge),
        ("ArchiveExtension", "././@LongLink", link, huge),
        ("TooLarge", "PaxHeaders/x", local, huge),
        ("TooLarge", "PaxHeaders/x", global, MAX_FACTS + 1),
        ("TooLarge", blob.as_str(), EntryType::Regular, huge),
        ("TooLarge", blob.as_str(), EntryType::Regular, MAX + 1),
        ("TooLarge", "index.json", EntryType::Regular, MAX_SMALL + 1),
        ("ArchiveLink", "blobs/", EntryType::Directory, huge),
        ("ArchiveLink", blob.as_str(), EntryType::GNUSparse, huge),
        ("ArchiveLink", blob.as_str(), EntryType::Continuous, huge),
        ("DigestMismatch", blob.as_str(), EntryType::Regular, MAX_SMALL + 1),
    ] {
        let (_folder, store) = store();
        let mut from = Endless {
            begin: io::Cursor::new(header(path, kind, size)),
            read: 0,
        };
        let refused = load(&store, &mut from, &Policy::Off, MAX).unwrap_err();
        assert_eq!(refused.reason(), expected, "{path}: {refused}");
        assert!(from.read <= MAX_SMALL + (64 << 10), "{path}: {} bytes", from.read);
    }
}

#[test]
fn an_archive_that_ends_early_or_has_entries_without_end_is_refused() {
    use tar::EntryType::{Directory, Regular};
    let (_folder, store) = store();
    let blob = format!("blobs/sha256/{}", Digest::of(b"{}").hex());
    let short = header(&blob, Regular, 2);
    let refused = load(&store, short.as_slice(), &Policy::Off, MAX).unwrap_err();
    assert_eq!(refused.reason(), "MalformedArchive");
    let many = header("blobs/", Directory, 0).repeat(MAX_FILES + 1);
    let refused = load(&store, many.as_slice(), &Policy::Off, MAX).unwrap_err();
    assert_eq!(refused.reason(), "ArchiveTooMany");
}

#[test]
fn facts_that_other_tools_write_are_read_past_and_those_that_change_an_entry_are_refused() {
    let (_folder, from) = store();
    keep(&from, &sample("one"), &reference(), Vec::new());
    let archive = saved(&from, &[reference()]);
    let fact = |text: &str| {
        let record = format!("{} {text}\n", text.len() + 4);
        assert_eq!(record.len(), text.len() + 4, "lengths of two digits");
        let mut all = header("PaxHeaders/x", tar::EntryType::XHeader, record.len() as u64);
        all.extend(record.as_bytes());
        all.resize(1024, 0);
        all.extend(&archive);
        all
    };
    let (_folder, to) = store();
    let with_time = fact("mtime=1700000000.5");
    assert_eq!(load(&to, with_time.as_slice(), &Policy::Off, MAX).unwrap().len(), 1);
    for changing in [
        "path=/etc/passwd",
        "size=1000000",
        "linkpath=/etc/x",
        "GNU.sparse.major=1",
    ] {
        let (_folder, to) = store();
        let refused = load(&to, fact(changing).as_slice(), &Policy::Off, MAX).unwrap_err();
        assert_eq!(refused.reason(), "ArchiveExtension", "{changing}");
    }
}

/// How many files there are in each part of a store.
fn files(folder: &tempfile::TempDir) -> [usize; 4] {
    ["entries", "blobs", "tags", "new"].map(|part| {
        let part = folder.path().join("plugins-v1").join(part);
        std::fs::read_dir(part).unwrap().count()
    })
}

#[test]
fn a_set_larger_than_the_cache_is_refused_and_takes_nothing_of_it_away() {
    let (_folder, from) = store();
    let second: Reference = "registry.example.com/partners/large:2".parse().unwrap();
    keep(&from, &sample("one"), &reference(), Vec::new());
    keep(&from, &large(), &second, Vec::new());
    let archive = saved(&from, &[reference(), second.clone()]);

    let folder = tempfile::tempdir().unwrap();
    let to = Store::open(folder.path(), 1 << 20).unwrap();
    let before: Reference = "registry.example.com/before:1".parse().unwrap();
    let kept = keep(&to, &sample("before"), &before, Vec::new());
    let refused = load(&to, archive.as_slice(), &Policy::Off, MAX).unwrap_err();
    assert_eq!(refused.reason(), "LargerThanCache");
    assert!(refused.to_string().contains("1048576 bytes"), "{refused}");
    assert_eq!((files(&folder), to.last(&before)), ([1, 1, 1, 0], Some(kept)));

    // One that fits takes the place of what was used longer ago.
    let folder = tempfile::tempdir().unwrap();
    let to = Store::open(folder.path(), 3 << 20).unwrap();
    keep(&to, &large(), &second, Vec::new());
    let (mut other, third) = (large(), "registry.example.com/partners/large:3".parse().unwrap());
    custom(&mut other, "other", b"bytes");
    keep(&from, &other, &third, Vec::new());
    let loaded = load(
        &to,
        saved(&from, std::slice::from_ref(&third)).as_slice(),
        &Policy::Off,
        MAX,
    )
    .unwrap();
    assert_eq!(to.last(&third).as_ref(), Some(&loaded[0].manifest));
    assert!(to.blob(&Digest::of(&other)).is_some() && to.blob(&Digest::of(&large())).is_none());
}

#[tokio::test]
async fn nothing_of_a_set_is_kept_before_all_of_it_passed() {
    let key = new_key();
    let (_from, from) = signed(&key).await;
    let second: Reference = "registry.example.com/partners/large:2".parse().unwrap();
    keep(&from, &large(), &second, Vec::new());
    for set in [[reference(), second.clone()], [second.clone(), reference()]] {
        let archive = saved(&from, &set);
        let folder = tempfile::tempdir().unwrap();
        let to = Store::open(folder.path(), 1 << 30).unwrap();
        let refused = load(&to, archive.as_slice(), &trust(&key), MAX).unwrap_err();
        assert_eq!(refused.reason(), "NoSignature");
        assert_eq!(files(&folder), [0; 4]);
        assert_eq!((to.last(&reference()), to.last(&second)), (None, None));
    }
}

#[test]
fn what_lies_beside_a_plugin_is_bounded_however_often_an_archive_names_it() {
    use tar::EntryType::Regular;
    let packed = pack(&sample("one")).unwrap();
    let layer = vec![b'x'; 200 << 10];
    let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
    let subject = describe(MANIFEST, &packed.manifest);
    let mut blobs = vec![packed.manifest, packed.config, sample("one"), layer.clone()];
    let mut manifests = vec![named(&blobs[0], reference().to_string())];
    for number in 0..200 {
        let manifest = serde_json::json!({
            "schemaVersion": 2, "number": number, "config": describe("c", b"{}"), "subject": subject,
            "layers": vec![describe(bundle, &layer); 500],
        });
        let manifest = manifest.to_string().into_bytes();
        manifests.extend(vec![describe(MANIFEST, &manifest); 3]);
        blobs.push(manifest);
    }
    let index = Index {
        schema_version: 2,
        media_type: None,
        manifests,
    };
    let index = serde_json::to_vec(&index).unwrap();
    let mut paths: Vec<(String, Vec<u8>)> = blobs.into_iter().map(|blob| (path(&Digest::of(&blob)), blob)).collect();
    paths.push(("index.json".to_owned(), index));
    let entries: Vec<_> = paths
        .iter()
        .map(|(path, blob)| (path.as_str(), Regular, blob.as_slice()))
        .collect();
    let archive = tar_of(&entries);

    let (_folder, to) = store();
    let loaded = load(&to, archive.as_slice(), &Policy::Off, MAX).unwrap();
    assert_eq!(loaded.len(), 1);
    let entry = to.entry(&loaded[0].manifest).unwrap();
    assert_eq!(entry.attachments.len(), 33);
    // The same layer is there once in each.
    assert!(
        entry
            .attachments
            .iter()
            .all(|one| one.blobs == std::slice::from_ref(&layer))
    );
}
