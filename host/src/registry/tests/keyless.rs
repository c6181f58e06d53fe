//! Signatures by certificates through the whole chain: found beside an artifact, kept, and verified anew.

use berth_test_sigstore::{How, Instance, Signer};
use serde_json::json;

use super::*;
use crate::registry::{TrustedIdentities, layout::describe};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

fn trusting(instance: &Instance, signer: &Signer) -> Policy {
    Policy::Signers {
        keys: Vec::new(),
        identities: Some(TrustedIdentities {
            root: TrustedRoot::read(instance.trusted_root().to_string().as_bytes()).unwrap(),
            identities: vec![Identity {
                issuer: signer.issuer.clone(),
                subject: signer.subject.clone(),
            }],
        }),
        needed: Needed::Any,
    }
}

/// Puts a bundle beside the artifact, as cosign does.
fn attach(world: &World, digest: &Digest, bundle: &serde_json::Value) {
    let bundle = bundle.to_string().into_bytes();
    world.remote.put_blob(&bundle);
    world.remote.put_blob(b"{}");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": BUNDLE,
        "config": describe("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [describe(BUNDLE, &bundle)],
    })
    .to_string()
    .into_bytes();
    let name = Digest::of(&manifest).to_string();
    world.remote.put(&name, MANIFEST, &manifest);
    let mut referrers = world.remote.referrers.lock().unwrap();
    referrers
        .entry(digest.clone())
        .or_default()
        .push(describe(MANIFEST, &manifest));
}

#[tokio::test]
async fn what_is_cached_is_verified_under_the_identities_of_now() {
    let instance = Instance::new();
    let signer = Signer::new("release@example.com", "https://issuer.example.com");
    let ours = trusting(&instance, &signer);
    let world = World::new(ours.clone());
    let digest = world.push("one").await;
    assert_eq!(world.refused().await, "NoSignature");
    attach(&world, &digest, &instance.sign(&signer, digest.hex(), &How::default()));
    let fetched = world.registry.fetch(&reference()).await.unwrap();
    assert_eq!(
        fetched.plugin.signed_by,
        ["release@example.com of https://issuer.example.com"]
    );
    world.registry.took_over(&reference(), &digest).await;

    // Without the registry, by what was kept.
    world.remote.is_down();
    let known = world.registry.known(&reference(), &ours).unwrap().unwrap();
    assert_eq!(known.signed_by, fetched.plugin.signed_by);
    let cached = world.registry.cached(&reference(), &ours).await.unwrap().unwrap();
    assert_eq!(cached.plugin, fetched.plugin);
    let other_signer = Signer::new("other@example.com", "https://issuer.example.com");
    let policies = [
        ("WrongIdentity", trusting(&instance, &other_signer)),
        ("TransparencyLogInvalid", trusting(&Instance::new(), &signer)),
        (
            "CertificateUntrusted",
            trusting(&instance.with_another_authority(), &signer),
        ),
        ("KeylessSignature", trust(&[&new_key()], Needed::Any)),
    ];
    for (reason, policy) in policies {
        assert_ne!(policy, ours);
        let refused = world.registry.known(&reference(), &policy).unwrap_err();
        assert_eq!(refused.reason(), reason);
        let refused = world.registry.cached(&reference(), &policy).await.unwrap_err();
        assert_eq!(refused.reason(), reason);
    }
}
