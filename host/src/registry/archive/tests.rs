use super::*;
use crate::registry::{
    component::tests::{custom, sample},
    layout::pack,
    signature::{Needed, PrivateKey, TrustedKey, new_key},
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
