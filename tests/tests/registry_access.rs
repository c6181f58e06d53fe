//! Access to a real registry: passwords, private authorities, client certificates, mirrors, helpers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "registry_access/registry.rs"]
mod registry;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::Engine as _;
use berth::registry::{
    At, Digest, Reference, Repository,
    access::{Access, CredentialSource, PerRegistry, Proxy, Settings},
    remote::{Fault, INDEX, MANIFEST, Remote},
};
use registry::{Guard, Running, WRONG};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Pushes a manifest with a config and a layer; answers with the manifest's digest.
async fn push(remote: &Arc<dyn Remote>, repository: &Repository, tag: &str) -> Result<Digest, Fault> {
    let config = remote.push_blob(repository, b"{}").await?;
    let layer = remote.push_blob(repository, b"layer").await?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": config, "size": 2},
        "layers": [{"mediaType": "application/wasm", "digest": layer, "size": 5}],
    })
    .to_string();
    let tag = At::Tag(tag.to_owned());
    remote
        .push_manifest(repository, &tag, MANIFEST, manifest.as_bytes())
        .await
}

/// Pushes, then reads everything back.
async fn there_and_back(running: &Running, settings: Settings) -> Result<(), Fault> {
    let repository: Repository = running.name("partners/lz").parse().unwrap();
    let remote = Access::new(settings).open(&repository.registry)?;
    let digest = push(&remote, &repository, "1").await?;

    let reference: Reference = format!("{repository}:1").parse().unwrap();
    assert_eq!(remote.resolve(&reference).await?, digest);
    let manifest = remote
        .manifest(&repository, &At::Digest(digest.clone()), 1 << 20)
        .await?;
    assert_eq!((manifest.digest, manifest.media_type.as_str()), (digest, MANIFEST));
    assert_eq!(remote.blob(&repository, &Digest::of(b"layer"), 5).await?, b"layer");
    // The same again changes nothing.
    push(&remote, &repository, "1").await?;
    Ok(())
}

fn settings(running: &Running) -> Settings {
    Settings {
        insecure: running.insecure(),
        credentials: vec![CredentialSource::File(running.docker_config())],
        ..Settings::default()
    }
}

#[tokio::test]
async fn a_password_from_dockers_file_opens_a_registry() {
    let running = Running::start(&Guard::Password).await;
    there_and_back(&running, settings(&running)).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_or_none_is_told_and_a_wrong_one_is_never_shown() {
    let running = Running::start(&Guard::Password).await;
    let none = Settings {
        credentials: Vec::new(),
        ..settings(&running)
    };
    assert_eq!(
        there_and_back(&running, none).await.unwrap_err().reason(),
        "Unauthorized"
    );

    let file = running.folder().join("wrong.json");
    let auths = json!({"auths": {(running.address()): {"username": "robot", "password": WRONG}}});
    fs::write(&file, auths.to_string()).unwrap();
    let wrong = Settings {
        credentials: vec![CredentialSource::File(file)],
        ..settings(&running)
    };
    let access = format!("{wrong:?}");
    let fault = there_and_back(&running, wrong).await.unwrap_err();
    assert_eq!(fault.reason(), "Unauthorized");
    assert!(!format!("{fault} {fault:?} {access}").contains(WRONG));
}

#[tokio::test]
async fn a_registry_with_a_private_authority_needs_that_authority() {
    let running = Running::start(&Guard::Tls).await;
    let strict = settings(&running);
    let fault = there_and_back(&running, strict.clone()).await.unwrap_err();
    assert_eq!(fault.reason(), "Tls", "{fault:?}");

    let added = Settings {
        ca_file: running.authority(),
        ..strict.clone()
    };
    there_and_back(&running, added).await.unwrap();

    let own = PerRegistry {
        ca_file: running.authority(),
        ..PerRegistry::default()
    };
    let only = Settings {
        registries: BTreeMap::from([(running.address(), own)]),
        ..strict
    };
    there_and_back(&running, only).await.unwrap();
}

#[tokio::test]
async fn a_registry_that_wants_a_client_certificate_gets_it() {
    let running = Running::start(&Guard::MutualTls).await;
    let without = Settings {
        ca_file: running.authority(),
        ..settings(&running)
    };
    let fault = there_and_back(&running, without.clone()).await.unwrap_err();
    assert!(["Tls", "Unreachable"].contains(&fault.reason()), "{fault:?}");

    let (certificate, key) = running.client_files();
    let own = PerRegistry {
        client_certificate: Some(certificate),
        client_key: Some(key),
        ..PerRegistry::default()
    };
    let with = Settings {
        registries: BTreeMap::from([(running.address(), own)]),
        ..without
    };
    there_and_back(&running, with).await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_rotates_is_read_again() {
    let running = Running::start(&Guard::Tls).await;
    let file = running.folder().join("rotating.pem");
    fs::write(&file, running.other_authority()).unwrap();
    let access = Access::new(Settings {
        ca_file: Some(file.clone()),
        ..settings(&running)
    });
    let reference: Reference = running.name("lz:1").parse().unwrap();

    let remote = access.open(&running.address()).unwrap();
    assert_eq!(remote.resolve(&reference).await.unwrap_err().reason(), "Tls");
    fs::copy(running.authority().unwrap(), &file).unwrap();
    let remote = access.open(&running.address()).unwrap();
    assert_eq!(remote.resolve(&reference).await.unwrap_err().reason(), "NotFound");
}

#[tokio::test]
async fn a_mirror_serves_what_it_has_with_its_own_credentials() {
    let mirror = Running::start(&Guard::Password).await;
    let copy: Repository = mirror.name("copies/partners/lz").parse().unwrap();
    let filling = Access::new(settings(&mirror)).open(&copy.registry).unwrap();
    let digest = push(&filling, &copy, "1").await.unwrap();

    // Nobody is at the origin.
    let origin = "127.0.0.1:1";
    let mut through = settings(&mirror);
    through.mirrors = BTreeMap::from([(origin.to_owned(), vec![mirror.name("copies")])]);
    through.retries.base = Duration::from_millis(1);
    let remote = Access::new(through).open(origin).unwrap();
    let reference: Reference = format!("{origin}/partners/lz:1").parse().unwrap();

    assert_eq!(remote.resolve(&reference).await.unwrap(), digest);
    let bytes = remote
        .blob(&reference.repository, &Digest::of(b"layer"), 5)
        .await
        .unwrap();
    assert_eq!(bytes, b"layer");
    let missing: Reference = format!("{origin}/partners/other:1").parse().unwrap();
    assert_eq!(remote.resolve(&missing).await.unwrap_err().reason(), "Unreachable");
}

#[tokio::test]
async fn what_refers_to_a_manifest_is_listed_by_whoever_pushes_it() {
    let running = Running::start(&Guard::Nothing).await;
    let repository: Repository = running.name("lz").parse().unwrap();
    let remote = Access::new(settings(&running)).open(&repository.registry).unwrap();
    let subject = push(&remote, &repository, "1").await.unwrap();
    let empty = remote.push_blob(&repository, b"{}").await.unwrap();

    let mut expected = BTreeSet::new();
    for note in ["a", "b", "b"] {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
            "layers": [{"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2}],
            "subject": {"mediaType": MANIFEST, "digest": subject, "size": 1},
            "annotations": {"note": note},
        })
        .to_string();
        let at = At::Digest(Digest::of(manifest.as_bytes()));
        let digest = remote
            .push_manifest(&repository, &at, MANIFEST, manifest.as_bytes())
            .await;
        expected.insert(digest.unwrap());
    }

    let found = remote.referrers(&repository, &subject).await.unwrap();
    let digests: BTreeSet<_> = found.iter().map(|found| found.digest.clone()).collect();
    assert_eq!(digests, expected);
    assert_eq!(found.len(), 2);
    assert!(
        found
            .iter()
            .all(|found| { found.artifact_type.as_deref() == Some("application/vnd.dev.sigstore.bundle.v0.3+json") })
    );
    let list = remote
        .manifest(&repository, &At::Tag(subject.tag()), 1 << 20)
        .await
        .unwrap();
    assert_eq!(list.media_type, INDEX);
}

/// A proxy that knows only `CONNECT`; tells what it was asked for, with the credentials.
async fn tunnel() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match client.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                let head = String::from_utf8(head).unwrap();
                let line = head.lines().next().unwrap().to_owned();
                let credentials = head
                    .lines()
                    .find(|line| line.to_ascii_lowercase().starts_with("proxy-authorization: "))
                    .map(|line| line.split_once(": ").unwrap().1.to_owned());
                let target = line.split(' ').nth(1).unwrap().to_owned();
                seen.lock()
                    .unwrap()
                    .push(format!("{line} {}", credentials.unwrap_or_default()));
                let mut registry = TcpStream::connect(&target).await.unwrap();
                client
                    .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    .await
                    .unwrap();
                drop(tokio::io::copy_bidirectional(&mut client, &mut registry).await);
            });
        }
    });
    (address, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_tunnels_to_a_registry_and_sees_nothing_of_what_is_said() {
    let running = Running::start(&Guard::Tls).await;
    let (proxy, asked) = tunnel().await;
    let credentials_file = running.folder().join("proxy");
    fs::write(&credentials_file, "robot:hunter3\n").unwrap();
    let own = PerRegistry {
        ca_file: running.authority(),
        ..PerRegistry::default()
    };
    let through = Settings {
        registries: BTreeMap::from([(running.address(), own)]),
        proxy: Some(Proxy {
            url: format!("http://{proxy}").parse().unwrap(),
            except: Vec::new(),
            credentials_file: Some(credentials_file),
        }),
        ..settings(&running)
    };
    there_and_back(&running, through).await.unwrap();
    let asked = asked.lock().unwrap();
    let credentials = base64::engine::general_purpose::STANDARD.encode("robot:hunter3");
    let line = format!("CONNECT {} HTTP/1.1 Basic {credentials}", running.address());
    assert!(!asked.is_empty() && asked.iter().all(|one| *one == line), "{asked:?}");
}
