//! Signatures by certificates, as cosign and we judge them.

use std::{fs, process::Command};

use berth::registry::{At, Digest, Identity, Needed, Policy, TrustedIdentities, TrustedRoot, remote::MANIFEST};
use berth_test_sigstore::{BEGIN, How, Instance, Log, Sct, Signer, VALID};
use berth_tests::program;
use serde_json::{Value, json};

use super::world::{Cosign, World};
use crate::{plugin, reason};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

fn release() -> Signer {
    Signer::new(
        "https://forge.example.com/partners/lz/release.yaml@refs/tags/v1",
        "https://token.example.com",
    )
}

/// The reference plugin as an artifact of its own.
fn plugin_called(name: &str) -> Vec<u8> {
    let mut bytes = plugin();
    let section = format!("\x01m{name}");
    bytes.extend([0, u8::try_from(section.len()).unwrap()]);
    bytes.extend(section.as_bytes());
    bytes
}

impl World {
    /// Puts a bundle beside an artifact, as cosign does.
    async fn attach(&self, digest: &Digest, bundle: &Value) {
        let (remote, repository) = (self.remote(), self.repository());
        let signed = remote
            .manifest(&repository, &At::Digest(digest.clone()), 1 << 20)
            .await
            .unwrap();
        let bundle = bundle.to_string();
        let layer = remote.push_blob(&repository, bundle.as_bytes()).await.unwrap();
        let config = remote.push_blob(&repository, b"{}").await.unwrap();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": BUNDLE,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
            "layers": [{"mediaType": BUNDLE, "digest": layer, "size": bundle.len()}],
            "subject": {"mediaType": signed.media_type, "digest": digest, "size": signed.bytes.len()},
            "annotations": {
                "dev.sigstore.bundle.content": "dsse-envelope",
                "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
            },
        })
        .to_string();
        let at = At::Digest(Digest::of(manifest.as_bytes()));
        remote
            .push_manifest(&repository, &at, MANIFEST, manifest.as_bytes())
            .await
            .unwrap();
    }

    /// What cosign says of a certificate of `release`.
    fn cosign_verifies_certificate(&self, digest: &Digest) -> Cosign {
        let signer = release();
        self.cosign(&["verify", "--trusted-root", "trusted_root.json", "--allow-http-registry"])
            .args(["--certificate-identity", &signer.subject])
            .args(["--certificate-oidc-issuer", &signer.issuer])
            .args([self.image(digest)])
    }
}

#[tokio::test]
async fn cosign_and_we_judge_certificates_alike() {
    let world = World::start().await;
    let instance = Instance::new();
    let root = instance.trusted_root().to_string();
    fs::write(world.file("trusted_root.json"), &root).unwrap();
    let host = world.host_under(Policy::Signers {
        keys: Vec::new(),
        identities: Some(TrustedIdentities {
            root: TrustedRoot::read(root.as_bytes()).unwrap(),
            identities: vec![Identity {
                issuer: release().issuer,
                subject: release().subject,
            }],
        }),
        needed: Needed::Any,
    });
    let good = format!("signed by {} of {}", release().subject, release().issuer);
    let usual = How::default();
    let other = Signer::new("mallory@example.com", "https://token.example.com");
    let late = How {
        at: BEGIN + VALID + 1,
        ..usual
    };
    let (v2, unlogged, forged) = (
        How { log: Log::V2, ..usual },
        How {
            sct: Sct::Missing,
            ..usual
        },
        How {
            sct: Sct::Forged,
            ..usual
        },
    );
    let cases = [
        (good.as_str(), instance.clone(), release(), usual),
        (&good, instance.clone(), release(), v2),
        ("WrongIdentity", instance.clone(), other, usual),
        ("CertificateExpired", instance.clone(), release(), late),
        ("CertificateUntrusted", instance.clone(), release(), unlogged),
        ("CertificateUntrusted", instance.clone(), release(), forged),
        (
            "CertificateUntrusted",
            instance.with_another_authority(),
            release(),
            usual,
        ),
        ("TransparencyLogInvalid", instance.with_another_log(), release(), usual),
        ("SigningTimeUnproven", instance.with_another_clock(), release(), v2),
    ];
    for (number, (expected, signing, signer, how)) in cases.iter().enumerate() {
        let digest = world.push(&plugin_called(&number.to_string())).await;
        assert_eq!(reason(&host, &world.tagged()).await, "NoSignature", "case {number}");
        world.attach(&digest, &signing.sign(signer, digest.hex(), how)).await;
        assert_eq!(reason(&host, &world.tagged()).await, *expected, "case {number}");
        let judged = world.cosign_verifies_certificate(&digest);
        if *expected == good {
            judged.succeeds();
        } else {
            judged.fails();
        }
    }
}

#[tokio::test]
async fn the_program_verifies_certificates() {
    let world = World::start().await;
    let instance = Instance::new();
    let root = world.file("trusted_root.json");
    fs::write(&root, instance.trusted_root().to_string()).unwrap();
    let digest = world.push(&plugin()).await;
    let bundle = instance.sign(&release(), digest.hex(), &How::default());
    world.attach(&digest, &bundle).await;

    let verify = |subject: &str| {
        let mut command = Command::new(program::berth().unwrap());
        command
            .env_clear()
            .current_dir(world.folder.path())
            .args(["plugin", "verify", &world.tagged().to_string()])
            .args(["--insecure", &world.repository().registry])
            .args(["--certificate-identity", subject])
            .args(["--certificate-oidc-issuer", &release().issuer, "--trusted-root"])
            .arg(&root);
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), told)
    };
    let (verified, told) = verify(&release().subject);
    assert!(verified, "{told}");
    assert!(
        told.contains(&format!("{digest}  signed by {} of", release().subject)),
        "{told}"
    );
    let (verified, told) = verify("mallory@example.com");
    assert!(!verified, "{told}");
    assert!(told.contains("none of the trusted identities"), "{told}");
    assert!(told.contains("hint: trust the signer"), "{told}");
}
