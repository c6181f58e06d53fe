use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    formats::{BUNDLE, SIGNATURE, SIMPLE, SIMPLE_KIND, pae},
    *,
};
use crate::registry::layout::describe;

fn digest() -> Digest {
    Digest::of(b"an artifact")
}

fn policy(key: &PrivateKey) -> Policy {
    Policy::Signers {
        keys: vec![TrustedKey {
            name: "release".to_owned(),
            key: key.public().clone(),
        }],
        identities: None,
        needed: Needed::Any,
    }
}

fn attachment(media_type: &str, layer: &[u8], annotation: Option<&str>) -> Attachment {
    let mut descriptor = describe(media_type, layer);
    if let Some(annotation) = annotation {
        descriptor
            .annotations
            .insert(SIGNATURE.to_owned(), annotation.to_owned());
    }
    let manifest = json!({
        "schemaVersion": 2,
        "config": describe("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [descriptor],
    });
    Attachment {
        place: Place::Referrer,
        manifest: manifest.to_string().into_bytes(),
        blobs: vec![layer.to_vec()],
    }
}

/// A signature as cosign 2 makes it.
#[cfg(feature = "keyless")]
pub(super) fn signature(key: &PrivateKey, digest: &Digest) -> Attachment {
    simple(key, digest, SIMPLE_KIND)
}

fn simple(key: &PrivateKey, digest: &Digest, kind: &str) -> Attachment {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": "registry.example.com/lz"},
            "image": {"docker-manifest-digest": digest},
            "type": kind,
        },
        "optional": null,
    })
    .to_string();
    let signature = STANDARD.encode(key.sign(payload.as_bytes()).unwrap());
    attachment(SIMPLE, payload.as_bytes(), Some(&signature))
}

/// A bundle as cosign makes it; `change` may spoil it after it was signed.
fn bundle(key: &PrivateKey, digest: &Digest, predicate: &str, change: impl FnOnce(&mut Value)) -> Attachment {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": digest.hex()}}],
        "predicateType": predicate,
        "predicate": {},
    })
    .to_string();
    let kind = "application/vnd.in-toto+json";
    let signature = key.sign(&pae(kind, statement.as_bytes())).unwrap();
    let mut bundle = json!({
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": "x"}},
        "dsseEnvelope": {
            "payload": STANDARD.encode(&statement),
            "payloadType": kind,
            "signatures": [{"sig": STANDARD.encode(signature)}],
        },
    });
    change(&mut bundle);
    attachment(BUNDLE, bundle.to_string().as_bytes(), None)
}

const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

fn reason(key: &PrivateKey, found: &[Attachment]) -> &'static str {
    match verify(&policy(key), &digest(), found) {
        Ok(signed_by) => {
            assert_eq!(signed_by, ["release"]);
            "signed"
        }
        Err(refusal) => refusal.reason(),
    }
}

#[test]
fn both_formats_are_verified() {
    let key = new_key();
    assert_eq!(reason(&key, &[simple(&key, &digest(), SIMPLE_KIND)]), "signed");
    assert_eq!(reason(&key, &[bundle(&key, &digest(), SIGN, |_| {})]), "signed");
}

#[test]
fn each_refusal_has_its_own_reason() {
    let key = new_key();
    let other = Digest::of(b"another artifact");
    let spoiled = |pointer: &'static str, value: Value| {
        bundle(&key, &digest(), SIGN, move |bundle| {
            *bundle.pointer_mut(pointer).unwrap() = value;
        })
    };
    let cases = [
        ("NoSignature", vec![]),
        ("NoSignature", vec![attachment("application/spdx+json", b"{}", None)]),
        // A statement of something else is no signature, whoever made it.
        (
            "NoSignature",
            vec![bundle(&key, &digest(), "https://slsa.dev/provenance/v1", |_| {})],
        ),
        ("WrongKey", vec![simple(&new_key(), &digest(), SIMPLE_KIND)]),
        ("WrongKey", vec![bundle(&new_key(), &digest(), SIGN, |_| {})]),
        ("OtherDigest", vec![simple(&key, &other, SIMPLE_KIND)]),
        ("OtherDigest", vec![bundle(&key, &other, SIGN, |_| {})]),
        // Signed, but as something else than an image.
        (
            "UnknownBundle",
            vec![simple(&key, &digest(), "atomic container signature")],
        ),
        (
            "UnknownBundle",
            vec![attachment("application/vnd.dev.sigstore.bundle.v0.9+json", b"{}", None)],
        ),
        (
            "UnknownBundle",
            vec![spoiled(
                "/mediaType",
                json!("application/vnd.dev.sigstore.bundle+json;version=0.1"),
            )],
        ),
        ("UnknownBundle", vec![spoiled("/dsseEnvelope", Value::Null)]),
        (
            "UnknownBundle",
            vec![spoiled("/dsseEnvelope/payloadType", json!("text/plain"))],
        ),
        (
            "KeylessSignature",
            vec![spoiled(
                "/verificationMaterial",
                json!({"certificate": {"rawBytes": ""}}),
            )],
        ),
        ("MalformedSignature", vec![attachment(BUNDLE, b"no JSON", None)]),
        ("MalformedSignature", vec![attachment(SIMPLE, b"{}", None)]),
        ("MalformedSignature", vec![attachment(SIMPLE, b"{}", Some("AAAA"))]),
        (
            "MalformedSignature",
            vec![spoiled("/dsseEnvelope/signatures", json!([]))],
        ),
        (
            "MalformedSignature",
            vec![spoiled("/dsseEnvelope/signatures/0/sig", json!("?"))],
        ),
        (
            "WrongKey",
            vec![spoiled("/dsseEnvelope/signatures/0/sig", json!("AAAA"))],
        ),
    ];
    for (number, (expected, found)) in cases.iter().enumerate() {
        assert_eq!(reason(&key, found), *expected, "case {number}");
    }
}

#[test]
fn a_payload_that_was_changed_after_signing_is_refused() {
    let key = new_key();
    let mut found = simple(&key, &Digest::of(b"another artifact"), SIMPLE_KIND);
    let changed = String::from_utf8(found.blobs[0].clone())
        .unwrap()
        .replace(Digest::of(b"another artifact").as_str(), digest().as_str());
    // Neither with the layer's digest left as it was nor with a new one.
    let mut renamed = found.clone();
    renamed.manifest = String::from_utf8(renamed.manifest)
        .unwrap()
        .replace(
            Digest::of(&renamed.blobs[0]).as_str(),
            Digest::of(changed.as_bytes()).as_str(),
        )
        .into_bytes();
    found.blobs[0] = changed.clone().into_bytes();
    renamed.blobs[0] = changed.into_bytes();
    assert_eq!(reason(&key, &[found]), "MalformedSignature");
    assert_eq!(reason(&key, &[renamed]), "WrongKey");
}

#[test]
fn one_good_signature_among_bad_ones_suffices() {
    let key = new_key();
    let found = [
        attachment(BUNDLE, b"no JSON", None),
        simple(&new_key(), &digest(), SIMPLE_KIND),
        bundle(&key, &Digest::of(b"another artifact"), SIGN, |_| {}),
        bundle(&key, &digest(), SIGN, |_| {}),
    ];
    assert_eq!(reason(&key, &found), "signed");
}

#[test]
fn the_length_of_each_part_is_signed_with_it() {
    assert_eq!(
        pae("http://example.com/HelloWorld", b"hello world"),
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    );
    assert_ne!(pae("a", b"b c"), pae("a b", b"c"));
}
