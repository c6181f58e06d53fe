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

mod registry {
    mod keyless;
    mod wkg;
    #[allow(dead_code, reason = "other tests use the rest")]
    pub(crate) mod world;
}

use std::fs;

use berth::registry::{At, Digest, Needed, Origin, Policy, Reference, Registry, archive, remote::MANIFEST};
use registry::world::World;
use running::Guard;

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
    world.new_rsa_key("rsa");
    world.new_key("other");
    for key in ["p256", "p384", "ed25519", "rsa"] {
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
    world.cosign_verifies(&digest, "p384").succeeds();
    let host = world.host(&["p384"], Needed::Any);
    assert_eq!(reason(&host, &world.tagged()).await, "signed by p384");
}

#[tokio::test]
async fn cosign_verifies_what_we_sign_as_a_bundle() {
    let world = World::start().await;
    for key in ["p256", "second", "other"] {
        world.new_key(key);
    }
    for (name, algorithm) in [
        ("p384", &rcgen::PKCS_ECDSA_P384_SHA384),
        ("ed25519", &rcgen::PKCS_ED25519),
    ] {
        world.import_key(name, &rcgen::KeyPair::generate_for(algorithm).unwrap().serialize_pem());
    }
    world.new_rsa_key("rsa");
    let digest = world.push(&plugin()).await;
    world.cosign_signs_as_bundle(&digest, "second");
    for key in ["p256", "p384", "rsa", "ed25519"] {
        let signature = world.we_sign_as_bundle(&digest, key).await;
        assert_eq!(
            world.we_sign_as_bundle(&digest, key).await,
            signature,
            "{key}: once is enough"
        );
        world.cosign_verifies_as_it_likes(&digest, key).succeeds();
    }
    world.cosign_verifies_as_it_likes(&digest, "other").fails();
    let host = world.host(&["p256", "p384", "rsa", "ed25519", "second"], Needed::All);
    let told = reason(&host, &world.tagged()).await;
    assert_eq!(told, "signed by p256, p384, rsa, ed25519, second");

    // Under the tag alone, cosign finds it too.
    let mut other = plugin();
    other.extend(b"\0\x02\x01x");
    let digest = world.push(&other).await;
    world.we_sign(&digest, "rsa").await;
    world.cosign_verifies(&digest, "rsa").succeeds();
    world.cosign_verifies_as_it_likes(&digest, "rsa").succeeds();
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

/// What a newer cosign might write: the manifest of a bundle whose version nobody here knows, with `digest` as its subject.
async fn sign_as_nobody_knows(world: &World, digest: &Digest) {
    let (remote, repository) = (world.remote(), world.repository());
    let kind = "application/vnd.dev.sigstore.bundle.v0.9+json";
    let blob = |bytes: &'static [u8]| {
        let (remote, repository) = (&remote, &repository);
        async move {
            let digest = remote.push_blob(repository, bytes).await.unwrap();
            serde_json::json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
        }
    };
    let at = At::Digest(digest.clone());
    let size = remote.manifest(&repository, &at, 1 << 20).await.unwrap().bytes.len();
    let mut config = blob(b"{}").await;
    config["mediaType"] = "application/vnd.oci.empty.v1+json".into();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": config,
        "layers": [blob(br#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.9+json"}"#).await],
        "subject": {"mediaType": MANIFEST, "digest": digest, "size": size},
    })
    .to_string();
    let at = At::Digest(Digest::of(manifest.as_bytes()));
    let pushed = remote.push_manifest(&repository, &at, MANIFEST, manifest.as_bytes());
    pushed.await.unwrap();
}

#[tokio::test]
async fn every_refusal_has_its_own_reason_on_a_real_registry_with_a_password() {
    let world = World::start_with(Guard::Password).await;
    for key in ["ours", "theirs"] {
        world.new_plain_key(key);
    }
    let host = world.host(&["ours"], Needed::Any);
    let variant = |marker: u8| [plugin(), vec![0, 3, 1, b'm', marker]].concat();
    let (remote, repository) = (world.remote(), world.repository());
    let mut told = Vec::new();

    world.push(&variant(b'0')).await;
    told.push(("nobody signed", reason(&host, &world.tagged()).await));
    let digest = world.push(&variant(b'1')).await;
    world.we_sign(&digest, "theirs").await;
    told.push(("somebody else signed", reason(&host, &world.tagged()).await));

    let signed = world.push(&variant(b'2')).await;
    world.we_sign(&signed, "ours").await;
    let other = world.push(&variant(b'3')).await;
    let tag = |digest: &Digest| At::Tag(format!("{}.sig", digest.tag()));
    let moved = remote.manifest(&repository, &tag(&signed), 1 << 20).await.unwrap();
    let at = tag(&other);
    let pushed = remote.push_manifest(&repository, &at, &moved.media_type, &moved.bytes);
    pushed.await.unwrap();
    told.push(("the signature is of another", reason(&host, &world.tagged()).await));

    let pinned: Reference = format!("{repository}:1@{signed}").parse().unwrap();
    told.push(("the tag moved", reason(&host, &pinned).await));

    let digest = world.push(&variant(b'4')).await;
    sign_as_nobody_knows(&world, &digest).await;
    told.push(("the bundle is unknown", reason(&host, &world.tagged()).await));

    // Somebody with access to the registry's disk changes one bit of the component.
    let digest = world.push(&variant(b'5')).await;
    world.we_sign_as_bundle(&digest, "ours").await;
    let hex = Digest::of(&variant(b'5')).hex().to_owned();
    let blobs = world.running.folder().join("data/docker/registry/v2/blobs/sha256");
    let file = blobs.join(&hex[..2]).join(&hex).join("data");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    told.push(("the layer was tampered with", reason(&host, &world.tagged()).await));
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    told.push(("all is well", reason(&host, &world.tagged()).await));

    let expected = [
        ("nobody signed", "NoSignature"),
        ("somebody else signed", "WrongKey"),
        ("the signature is of another", "OtherDigest"),
        ("the tag moved", "MovedTag"),
        ("the bundle is unknown", "UnknownBundle"),
        ("the layer was tampered with", "DigestMismatch"),
        ("all is well", "signed by ours"),
    ];
    assert_eq!(told, expected.map(|(case, reason)| (case, reason.to_owned())));
}

#[tokio::test]
async fn a_warm_cache_and_an_archive_serve_without_a_registry() {
    let world = World::start().await;
    world.new_key("release");
    let digest = world.push(&plugin()).await;
    world.cosign_signs_as_bundle(&digest, "release");
    let host = world.host(&["release"], Needed::Any);
    let fetched = host.fetch(&world.tagged()).await.unwrap();
    host.took_over(&world.tagged(), &fetched.plugin.manifest).await;
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
