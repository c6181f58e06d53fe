use base64::{Engine as _, engine::general_purpose::STANDARD};
use berth_test_sigstore::{BEGIN, How, Instance, Log, Sct, Signer, VALID};
use serde_json::{Value, json};

use super::{
    super::{
        Attachment, Needed, Place, Policy, PrivateKey, TrustedIdentities, TrustedKey, formats::BUNDLE, new_key,
        tests::signature, verify,
    },
    *,
};
use crate::registry::layout::describe;

const ISSUER: &str = "https://token.example.com";
const SUBJECT: &str = "https://forge.example.com/partners/lz/release.yaml@refs/tags/v1";

fn digest() -> Digest {
    Digest::of(b"an artifact")
}

fn release() -> Signer {
    Signer::new(SUBJECT, ISSUER)
}

fn root(instance: &Instance) -> TrustedRoot {
    TrustedRoot::read(instance.trusted_root().to_string().as_bytes()).unwrap()
}

fn policy(instance: &Instance, signers: &[&Signer], keys: &[&PrivateKey], needed: Needed) -> Policy {
    let keys = keys.iter().enumerate().map(|(index, key)| TrustedKey {
        name: format!("key-{index}"),
        key: key.public().clone(),
    });
    let identities = signers.iter().map(|signer| Identity {
        issuer: signer.issuer.clone(),
        subject: signer.subject.clone(),
    });
    Policy::Signers {
        keys: keys.collect(),
        identities: Some(TrustedIdentities {
            root: root(instance),
            identities: identities.collect(),
        }),
        needed,
    }
}

fn attached(bundle: &Value) -> Attachment {
    let layer = bundle.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "config": describe("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [describe(BUNDLE, &layer)],
    });
    Attachment {
        place: Place::Referrer,
        manifest: manifest.to_string().into_bytes(),
        blobs: vec![layer],
    }
}

/// Why a bundle is refused by who trusts `release` of this instance.
fn refusal(instance: &Instance, bundle: &Value) -> Refusal {
    let policy = policy(instance, &[&release()], &[], Needed::Any);
    verify(&policy, &digest(), &[attached(bundle)]).unwrap_err()
}

/// A bundle of `release` that was changed after it was signed.
fn changed(instance: &Instance, pointer: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut bundle = instance.sign(&release(), digest().hex(), &How::default());
    change(bundle.pointer_mut(pointer).unwrap());
    bundle
}

/// Base64 with one bit of its last byte changed.
fn flipped(text: &Value) -> Value {
    let mut bytes = STANDARD.decode(text.as_str().unwrap()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    json!(STANDARD.encode(bytes))
}

const ENTRY: &str = "/verificationMaterial/tlogEntries/0";

#[test]
fn an_identity_signs_with_both_kinds_of_log() {
    let instance = Instance::new();
    for log in [Log::V1, Log::V2] {
        for signer in [release(), Signer::new("release@example.com", ISSUER)] {
            let bundle = instance.sign(&signer, digest().hex(), &How { log, ..How::default() });
            let policy = policy(&instance, &[&signer], &[], Needed::Any);
            let signed_by = verify(&policy, &digest(), &[attached(&bundle)]);
            assert_eq!(
                signed_by,
                Ok(vec![format!("{} of {ISSUER}", signer.subject)]),
                "{log:?}"
            );
        }
    }
}

#[test]
fn each_flaw_has_its_own_reason() {
    let ours = Instance::new();
    let sign = |instance: &Instance, how: How| instance.sign(&release(), digest().hex(), &how);
    let by = |subject: &str, issuer: &str| ours.sign(&Signer::new(subject, issuer), digest().hex(), &How::default());
    let at = |at: i64, log: Log| How {
        at,
        log,
        ..How::default()
    };
    let other = Digest::of(b"another artifact");
    let other_signature = sign(&ours, How::default());
    let cases = [
        ("WrongIdentity", "`https://forge", by("mallory@example.com", ISSUER)),
        (
            "WrongIdentity",
            "other.example.com",
            by(SUBJECT, "https://other.example.com"),
        ),
        // Exactly, from the first to the last letter.
        ("WrongIdentity", "v10 of", by(&format!("{SUBJECT}0"), ISSUER)),
        (
            "OtherDigest",
            other.hex(),
            ours.sign(&release(), other.hex(), &How::default()),
        ),
        (
            "CertificateExpired",
            "2025-06-01T00:10:00Z, and used at",
            sign(&ours, at(BEGIN + VALID + 1, Log::V1)),
        ),
        (
            "CertificateExpired",
            "used at",
            sign(&ours, at(BEGIN + VALID + 1, Log::V2)),
        ),
        ("CertificateExpired", "used at", sign(&ours, at(BEGIN - 1, Log::V1))),
        (
            "CertificateUntrusted",
            "chain",
            sign(&ours.with_another_authority(), How::default()),
        ),
        (
            "CertificateUntrusted",
            "certificate timestamp",
            sign(&ours.with_another_certificate_log(), How::default()),
        ),
        (
            "CertificateUntrusted",
            "certificate timestamp",
            sign(
                &ours,
                How {
                    sct: Sct::Forged,
                    ..How::default()
                },
            ),
        ),
        (
            "CertificateUntrusted",
            "certificate timestamp",
            sign(
                &ours,
                How {
                    sct: Sct::Missing,
                    ..How::default()
                },
            ),
        ),
        (
            "TransparencyLogInvalid",
            "log ID",
            sign(&ours.with_another_log(), How::default()),
        ),
        (
            "TransparencyLogInvalid",
            "",
            changed(&ours, "/verificationMaterial/tlogEntries", |entries| {
                *entries = json!([])
            }),
        ),
        (
            "TransparencyLogInvalid",
            "inclusion proof",
            changed(&ours, ENTRY, |entry| {
                drop(entry.as_object_mut().unwrap().remove("inclusionProof"))
            }),
        ),
        (
            "TransparencyLogInvalid",
            "SET",
            changed(
                &ours,
                &format!("{ENTRY}/inclusionPromise/signedEntryTimestamp"),
                |promise| {
                    *promise = flipped(promise);
                },
            ),
        ),
        // The time is what the log signed, not what the bundle says.
        (
            "TransparencyLogInvalid",
            "SET",
            changed(&ours, &format!("{ENTRY}/integratedTime"), |time| {
                *time = json!((BEGIN + 1).to_string())
            }),
        ),
        (
            "TransparencyLogInvalid",
            "checkpoint",
            changed(
                &ours,
                &format!("{ENTRY}/inclusionProof/checkpoint/envelope"),
                |checkpoint| {
                    *checkpoint = json!(checkpoint.as_str().unwrap().replacen("log.test", "log.fest", 1));
                },
            ),
        ),
        (
            "TransparencyLogInvalid",
            "proof",
            changed(&ours, &format!("{ENTRY}/inclusionProof/hashes/0"), |hash| {
                *hash = flipped(hash)
            }),
        ),
        // A good entry, of another signature.
        (
            "TransparencyLogInvalid",
            "match",
            changed(&ours, ENTRY, |entry| {
                *entry = other_signature.pointer(ENTRY).unwrap().clone()
            }),
        ),
        (
            "SigningTimeUnproven",
            "",
            changed(&ours, ENTRY, |entry| {
                drop(entry.as_object_mut().unwrap().remove("inclusionPromise"))
            }),
        ),
        (
            "SigningTimeUnproven",
            "",
            sign(&ours.with_another_clock(), at(BEGIN + 60, Log::V2)),
        ),
        (
            "SignatureInvalid",
            "",
            changed(&ours, "/dsseEnvelope/signatures/0/sig", |signature| {
                *signature = flipped(signature)
            }),
        ),
        (
            "MalformedSignature",
            "",
            changed(&ours, "/verificationMaterial/certificate/rawBytes", |certificate| {
                *certificate = json!("AAAA")
            }),
        ),
    ];
    for (number, (reason, part, bundle)) in cases.iter().enumerate() {
        let refusal = refusal(&ours, bundle);
        assert_eq!(refusal.reason(), *reason, "case {number}: {refusal}");
        assert!(refusal.to_string().contains(part), "case {number}: {refusal}");
    }
}

#[test]
fn a_statement_that_was_changed_after_signing_is_refused() {
    let instance = Instance::new();
    let mut bundle = instance.sign(&release(), Digest::of(b"another artifact").hex(), &How::default());
    let good = instance.sign(&release(), digest().hex(), &How::default());
    bundle["dsseEnvelope"]["payload"] = good["dsseEnvelope"]["payload"].clone();
    assert_eq!(refusal(&instance, &bundle).reason(), "SignatureInvalid");
}

#[test]
fn an_expired_certificate_of_a_time_when_it_was_valid_is_good() {
    // All certificates of the instance expired long ago.
    let instance = Instance::new();
    let policy = policy(&instance, &[&release()], &[], Needed::Any);
    for at in [BEGIN, BEGIN + VALID] {
        let bundle = instance.sign(&release(), digest().hex(), &How { at, ..How::default() });
        assert!(verify(&policy, &digest(), &[attached(&bundle)]).is_ok(), "{at}");
    }
}

#[test]
fn keys_and_identities_count_alike() {
    let instance = Instance::new();
    let key = new_key();
    let (release, second) = (release(), Signer::new("second@example.com", ISSUER));
    let certified = |signer: &Signer| attached(&instance.sign(signer, digest().hex(), &How::default()));
    let by_key = signature(&key, &digest());
    let names = |signer: &Signer| format!("{} of {}", signer.subject, signer.issuer);
    let minimum = |least: usize| Needed::Minimum(std::num::NonZeroUsize::new(least).unwrap());
    let told = |needed: Needed, found: &[Attachment]| {
        let policy = policy(&instance, &[&release, &release, &second], &[&key], needed);
        verify(&policy, &digest(), found).map_err(|refusal| refusal.to_string())
    };

    assert_eq!(
        told(Needed::Any, std::slice::from_ref(&by_key)),
        Ok(vec!["key-0".to_owned()])
    );
    assert_eq!(told(Needed::Any, &[certified(&second)]), Ok(vec![names(&second)]));
    // The same identity with two certificates is one signer.
    let missing = told(minimum(2), &[certified(&release), certified(&release)]).unwrap_err();
    assert!(missing.contains("1 of the 2"), "{missing}");
    assert!(missing.contains("`key-0`, `second@example.com of"), "{missing}");
    let both = [certified(&release), by_key.clone()];
    assert_eq!(told(minimum(2), &both), Ok(vec!["key-0".to_owned(), names(&release)]));
    let missing = told(Needed::All, &both).unwrap_err();
    assert!(
        missing.contains("2 of the 3") && missing.contains("second@example.com"),
        "{missing}"
    );
    let all = [certified(&release), by_key, certified(&second)];
    assert_eq!(
        told(Needed::All, &all),
        Ok(vec!["key-0".to_owned(), names(&release), names(&second)])
    );
    assert!(
        told(minimum(4), &all)
            .unwrap_err()
            .contains("needs 4 signers and has 3")
    );
}

#[test]
fn whoever_is_not_trusted_is_told_apart() {
    let instance = Instance::new();
    let (key, other) = (new_key(), new_key());
    let by_key = [signature(&other, &digest())];
    let certified = [attached(&instance.sign(&release(), digest().hex(), &How::default()))];
    let reason = |policy: &Policy, found: &[Attachment]| verify(policy, &digest(), found).unwrap_err().reason();

    let identities = policy(&instance, &[&release()], &[], Needed::Any);
    assert_eq!(reason(&identities, &by_key), "KeySignature");
    assert_eq!(reason(&identities, &[]), "NoSignature");
    let both = policy(&instance, &[&release()], &[&key], Needed::Any);
    assert_eq!(reason(&both, &by_key), "WrongKey");
    let keys = Policy::Signers {
        keys: vec![TrustedKey {
            name: "release".to_owned(),
            key: key.public().clone(),
        }],
        identities: None,
        needed: Needed::Any,
    };
    assert_eq!(reason(&keys, &certified), "KeylessSignature");
}

#[test]
fn one_good_signature_among_forged_ones_suffices() {
    let instance = Instance::new();
    let policy = policy(&instance, &[&release()], &[], Needed::Any);
    let sign = |instance: &Instance| attached(&instance.sign(&release(), digest().hex(), &How::default()));
    let found = [
        sign(&instance.with_another_log()),
        sign(&instance.with_another_authority()),
        sign(&instance),
    ];
    assert!(verify(&policy, &digest(), &found).is_ok());
}

#[test]
fn a_certificate_beside_a_payload_is_told_apart() {
    let instance = Instance::new();
    let mut found = signature(&new_key(), &digest());
    let mut manifest: Value = serde_json::from_slice(&found.manifest).unwrap();
    manifest["layers"][0]["annotations"]["dev.sigstore.cosign/certificate"] = json!("-----BEGIN CERTIFICATE-----");
    found.manifest = manifest.to_string().into_bytes();
    let policy = policy(&instance, &[&release()], &[], Needed::Any);
    let refusal = verify(&policy, &digest(), &[found]).unwrap_err();
    assert_eq!(refusal.reason(), "UnknownBundle");
    assert!(refusal.to_string().contains("cosign 2"), "{refusal}");
}

#[test]
fn a_trusted_root_is_whole_or_refused() {
    let good = Instance::new().trusted_root();
    let read = |root: &Value| TrustedRoot::read(root.to_string().as_bytes());
    assert_eq!(read(&good).unwrap(), read(&good).unwrap());
    assert_ne!(read(&good).unwrap(), root(&Instance::new()));

    let without = |part: &str| {
        let mut root = good.clone();
        root[part] = json!([]);
        read(&root).unwrap_err().to_string()
    };
    assert_eq!(
        without("certificateAuthorities"),
        "it names no authority for certificates"
    );
    assert_eq!(without("ctlogs"), "it names no log of certificates");
    assert_eq!(without("tlogs"), "it names no transparency log");
    let mut other = good.clone();
    other["mediaType"] = json!("application/json");
    assert!(matches!(read(&other), Err(RootError::OtherType(_))));
    let mut damaged = good.clone();
    damaged["tlogs"][0]["publicKey"]["rawBytes"] = json!("AAAA");
    assert!(matches!(read(&damaged), Err(RootError::Unusable(_))));
    assert!(matches!(TrustedRoot::read(b"{}"), Err(RootError::Malformed(_))));
    assert!(matches!(TrustedRoot::read(b"\xff"), Err(RootError::Malformed(_))));
}
