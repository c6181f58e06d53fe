//! Plugins in a real registry, signed and verified by us and by cosign, in turn.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "registry_access/registry.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod running;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use berth::registry::{
    At, Connect as _, Digest, Needed, Origin, Policy, PrivateKey, PublicKey, Reference, Registry, Repository, Settings,
    TrustedKey,
    access::{self, Access},
    archive, push,
    remote::Remote,
    signature::sign,
};
use running::{Guard, Running};
use tempfile::TempDir;

/// The folder of cosign below the tools' folder, by `cargo xtask tools`.
const COSIGN: &str = "cosign-v3.1.3/cosign";
/// What opens the keys here.
const PASSWORD: &str = "open sesame";

/// A registry, cosign, and a host.
struct World {
    running: Running,
    access: Access,
    folder: TempDir,
}

impl World {
    async fn start() -> Self {
        let running = Running::start(&Guard::Nothing).await;
        let access = Access::new(access::Settings {
            insecure: running.insecure(),
            ..access::Settings::default()
        });
        let folder = tempfile::tempdir().unwrap();
        let world = Self {
            running,
            access,
            folder,
        };
        world
            .cosign(&["signing-config", "create", "--out", "offline.json"])
            .args([
                "--no-default-fulcio",
                "--no-default-oidc",
                "--no-default-rekor",
                "--no-default-tsa",
            ])
            .succeeds();
        world
    }

    fn repository(&self) -> Repository {
        self.running.name("partners/lz").parse().unwrap()
    }

    fn tagged(&self) -> Reference {
        format!("{}:1", self.repository()).parse().unwrap()
    }

    fn remote(&self) -> Arc<dyn Remote> {
        self.access.remote(&self.repository().registry).unwrap()
    }

    /// A host that trusts these keys, with a cache of its own.
    fn host(&self, keys: &[&str], needed: Needed) -> Registry {
        let keys = keys.iter().map(|name| TrustedKey {
            name: (*name).to_owned(),
            key: PublicKey::read(&fs::read(self.file(&format!("{name}.pub"))).unwrap()).unwrap(),
        });
        self.host_under(Policy::Keys {
            keys: keys.collect(),
            needed,
        })
    }

    fn host_under(&self, policy: Policy) -> Registry {
        let cache = tempfile::tempdir_in(self.folder.path()).unwrap().keep();
        let settings = Settings {
            policy,
            allow: vec![format!("{}/*", self.repository().registry).parse().unwrap()],
            ..Settings::new(cache)
        };
        Registry::new(settings, Arc::new(self.access.clone())).unwrap()
    }

    /// Pushes a component under the tag `1`; answers with the manifest's digest.
    async fn push(&self, bytes: &[u8]) -> Digest {
        let packed = push(self.remote().as_ref(), &self.repository(), Some("1"), bytes, &|_, _| {}).await;
        packed.unwrap().digest
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn image(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.repository())
    }

    fn cosign(&self, arguments: &[&str]) -> Cosign {
        let mut command = Command::new(cosign());
        command
            .args(arguments)
            .current_dir(self.folder.path())
            // Its own home: nothing of the machine's user is read or written.
            .env_clear()
            .env("HOME", self.folder.path())
            .env("COSIGN_PASSWORD", PASSWORD)
            .env("COSIGN_YES", "true")
            .stdin(Stdio::null());
        Cosign(command)
    }

    /// Has cosign make a key pair.
    fn new_key(&self, name: &str) {
        self.cosign(&["generate-key-pair", "--output-key-prefix", name])
            .succeeds();
    }

    /// Has cosign seal a key of another kind.
    fn import_key(&self, name: &str, pem: &str) {
        fs::write(self.file("plain.pem"), pem).unwrap();
        self.cosign(&["import-key-pair", "--key", "plain.pem", "--output-key-prefix", name])
            .succeeds();
    }

    /// In the format of cosign 3: a bundle that refers to the artifact.
    fn cosign_signs_as_bundle(&self, digest: &Digest, key: &str) {
        self.cosign(&[
            "sign",
            "--key",
            &format!("{key}.key"),
            "--signing-config",
            "offline.json",
        ])
        .args(["--allow-http-registry", &self.image(digest)])
        .succeeds();
    }

    /// In the format of cosign 2: SimpleSigning under a tag.
    fn cosign_signs_under_tag(&self, digest: &Digest, key: &str) {
        self.cosign(&["sign", "--key", &format!("{key}.key"), "--use-signing-config=false"])
            .args([
                "--new-bundle-format=false",
                "--tlog-upload=false",
                "--allow-http-registry",
            ])
            .args([&self.image(digest)])
            .succeeds();
    }

    async fn we_sign(&self, digest: &Digest, key: &str) {
        let text = fs::read(self.file(&format!("{key}.key"))).unwrap();
        let key = tokio::task::spawn_blocking(move || PrivateKey::read(&text, PASSWORD.as_bytes()))
            .await
            .unwrap()
            .unwrap();
        sign(self.remote().as_ref(), &self.repository(), digest, &key)
            .await
            .unwrap();
    }

    fn cosign_verifies(&self, digest: &Digest, key: &str) -> Cosign {
        let mut command = self.cosign(&["verify", "--key", &format!("{key}.pub"), "--insecure-ignore-tlog=true"]);
        command.0.args([
            "--new-bundle-format=false",
            "--allow-http-registry",
            &self.image(digest),
        ]);
        command
    }
}

/// A run of cosign.
struct Cosign(Command);

impl Cosign {
    fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Self {
        self.0.args(arguments);
        self
    }

    fn succeeds(mut self) {
        let output = self.0.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?}: {told}", self.0);
    }

    fn fails(mut self) -> String {
        let output = self.0.output().unwrap();
        assert!(!output.status.success(), "{:?} succeeded", self.0);
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn cosign() -> PathBuf {
    let folder = std::env::var_os("BERTH_TOOLS").map_or_else(
        || Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/berth/tools"),
        PathBuf::from,
    );
    let binary = folder.join(COSIGN);
    assert!(
        binary.is_file(),
        "{} is missing: run `cargo xtask tools`",
        binary.display()
    );
    binary
}

/// The reference plugin.
fn plugin() -> Vec<u8> {
    fs::read(berth_tests::stage::component("landing-zone")).unwrap()
}

async fn reason(host: &Registry, reference: &Reference) -> String {
    match host.fetch(reference).await {
        Ok(fetched) => format!("signed by {}", fetched.plugin.signed_by.join(", ")),
        Err(error) => error.reason().to_owned(),
    }
}

#[tokio::test]
async fn what_is_pushed_twice_is_one_artifact_and_comes_back_byte_by_byte() {
    let world = World::start().await;
    let digest = world.push(&plugin()).await;
    assert_eq!(world.push(&plugin()).await, digest);
    let host = world.host_under(Policy::Off);
    let fetched = host.fetch(&world.tagged()).await.unwrap();
    assert_eq!(fetched.plugin.bytes, plugin());
    assert_eq!(fetched.plugin.manifest, digest);
    let again = host.fetch(&world.tagged().pinned(digest)).await.unwrap();
    assert!(matches!(again.origin, Origin::Confirmed));
}

#[tokio::test]
async fn both_formats_of_cosign_are_verified_for_every_kind_of_key() {
    let world = World::start().await;
    world.new_key("p256");
    for (name, algorithm) in [
        ("p384", &rcgen::PKCS_ECDSA_P384_SHA384),
        ("ed25519", &rcgen::PKCS_ED25519),
    ] {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        world.import_key(name, &key.serialize_pem());
    }
    world.new_key("other");
    for key in ["p256", "p384", "ed25519"] {
        for bundle in [true, false] {
            let mut bytes = plugin();
            // An artifact of its own for each: a custom section with the key's name.
            let marker = format!("\x01m{key}{bundle}");
            bytes.extend([0, u8::try_from(marker.len()).unwrap()]);
            bytes.extend(marker.as_bytes());
            let digest = world.push(&bytes).await;
            let trusting = world.host(&[key], Needed::Any);
            assert_eq!(reason(&trusting, &world.tagged()).await, "NoSignature");
            if bundle {
                world.cosign_signs_as_bundle(&digest, key);
            } else {
                world.cosign_signs_under_tag(&digest, key);
            }
            let told = reason(&trusting, &world.tagged()).await;
            assert_eq!(told, format!("signed by {key}"), "as a bundle: {bundle}");
            let other = world.host(&["other"], Needed::Any);
            assert_eq!(
                reason(&other, &world.tagged()).await,
                "WrongKey",
                "{key} as a bundle: {bundle}"
            );
        }
    }
}

#[tokio::test]
async fn cosign_verifies_what_we_sign() {
    let world = World::start().await;
    world.new_key("ours");
    world.new_key("second");
    world.new_key("other");
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    world.import_key("p384", &p384.serialize_pem());
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    world.import_key("ed25519", &ed25519.serialize_pem());
    let digest = world.push(&plugin()).await;
    world.we_sign(&digest, "ours").await;
    world.cosign_verifies(&digest, "ours").succeeds();
    let told = world.cosign_verifies(&digest, "other").fails();
    assert!(told.contains("invalid signature"), "{told}");

    // Beside each other, whoever signs first.
    world.cosign_signs_under_tag(&digest, "second");
    world.we_sign(&digest, "ed25519").await;
    for key in ["ours", "second", "ed25519"] {
        world.cosign_verifies(&digest, key).succeeds();
    }
    let host = world.host(&["ours", "second", "ed25519"], Needed::All);
    assert_eq!(reason(&host, &world.tagged()).await, "signed by ours, second, ed25519");
    let host = world.host(&["ours", "other"], Needed::All);
    assert_eq!(reason(&host, &world.tagged()).await, "TooFewSignatures");
    world.we_sign(&digest, "p384").await;
    let host = world.host(&["p384"], Needed::Any);
    assert_eq!(reason(&host, &world.tagged()).await, "signed by p384");
}

#[tokio::test]
async fn a_signature_that_was_moved_to_another_artifact_is_refused() {
    let world = World::start().await;
    world.new_key("release");
    let mut other = plugin();
    other.extend(b"\0\x02\x01x");
    let (signed, unsigned) = (world.push(&plugin()).await, world.push(&other).await);
    world.we_sign(&signed, "release").await;
    let (remote, repository) = (world.remote(), world.repository());
    let tag = |digest: &Digest| At::Tag(format!("{}.sig", digest.tag()));
    let signatures = remote.manifest(&repository, &tag(&signed), 1 << 20).await.unwrap();
    remote
        .push_manifest(&repository, &tag(&unsigned), &signatures.media_type, &signatures.bytes)
        .await
        .unwrap();
    let host = world.host(&["release"], Needed::Any);
    assert_eq!(reason(&host, &world.tagged()).await, "OtherDigest");
}

#[tokio::test]
async fn a_moved_tag_and_a_tampered_layer_are_refused() {
    let world = World::start().await;
    let digest = world.push(&plugin()).await;
    let pinned: Reference = format!("{}:1@{digest}", world.repository()).parse().unwrap();
    let mut newer = plugin();
    newer.extend(b"\0\x02\x01x");
    world.push(&newer).await;
    let host = world.host_under(Policy::Off);
    assert_eq!(reason(&host, &pinned).await, "MovedTag");

    // Somebody with access to the registry's disk changes one bit of the component.
    let hex = Digest::of(&plugin()).hex().to_owned();
    let blobs = world.running.folder().join("data/docker/registry/v2/blobs/sha256");
    let file = blobs.join(&hex[..2]).join(&hex).join("data");
    let mut bytes = fs::read(&file).unwrap();
    assert_eq!(bytes, plugin());
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    let reference = world.tagged().pinned(digest);
    assert_eq!(reason(&host, &reference).await, "DigestMismatch");
    assert!(host.cached(&reference, &Policy::Off).await.unwrap().is_none());
}

#[tokio::test]
async fn a_warm_cache_and_an_archive_serve_without_a_registry() {
    let world = World::start().await;
    world.new_key("release");
    let digest = world.push(&plugin()).await;
    world.cosign_signs_as_bundle(&digest, "release");
    let host = world.host(&["release"], Needed::Any);
    host.fetch(&world.tagged()).await.unwrap();
    let mut saved = Vec::new();
    archive::save(host.store(), &[world.tagged()], &mut saved).unwrap();
    let reference = world.tagged();
    let elsewhere = world.host(&["release"], Needed::Any);
    let World {
        running,
        folder: _folder,
        ..
    } = world;
    drop(running);

    let policy = host.settings().policy.clone();
    let warm = host.fetch_or_cached(&reference, &policy).await.unwrap();
    assert!(matches!(warm.origin, Origin::Outage(_)));
    assert_eq!(warm.plugin.bytes, plugin());
    assert_eq!(warm.plugin.signed_by, ["release"]);

    assert!(elsewhere.cached(&reference, &policy).await.unwrap().is_none());
    let loaded = archive::load(elsewhere.store(), saved.as_slice(), &policy, 256 << 20).unwrap();
    assert_eq!(loaded[0].signed_by, ["release"]);
    let moved = elsewhere.cached(&reference, &policy).await.unwrap().unwrap();
    assert_eq!(moved.plugin.bytes, plugin());
}
