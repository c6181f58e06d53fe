//! A small Sigstore instance: an authority for certificates, a log of certificates, a transparency log and an authority
//! for time stamps. It signs whatever it is told to, at any time, so that tests can show what a verifier makes of it.
//!
//! Nothing here is from a real instance, and no key leaves the process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clock;
mod der;

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber,
    SigningKey as _,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use self::clock::Clock;

/// When every signer's certificate begins to be valid, in seconds since 1970: 2025-06-01.
pub const BEGIN: i64 = 1_748_736_000;
/// How long it is valid, in seconds.
pub const VALID: i64 = 600;

/// The name of the transparency log.
const ORIGIN: &str = "log.test";
/// The extension of Fulcio that names the issuer.
const ISSUER: &[u64] = &[1, 3, 6, 1, 4, 1, 57_264, 1, 8];
/// The extension with the answers of certificate logs.
const SCTS: &[u64] = &[1, 3, 6, 1, 4, 1, 11_129, 2, 4, 2];
/// What an in-toto statement calls itself.
const STATEMENT: &str = "application/vnd.in-toto+json";

/// Who signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// An email address, or else a URI.
    pub subject: String,
    /// Who vouches for the subject.
    pub issuer: String,
}

impl Signer {
    /// A signer by name.
    #[must_use]
    pub fn new(subject: &str, issuer: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            issuer: issuer.to_owned(),
        }
    }
}

/// The two kinds of transparency log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// Rekor 1, which says itself when it saw the entry.
    V1,
    /// Rekor 2, beside which an authority for time stamps says when it saw the signature.
    V2,
}

/// What the log of certificates said of the signer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sct {
    /// That it has it.
    Given,
    /// Nothing.
    Missing,
    /// Something about another certificate.
    Forged,
}

/// How something is signed.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// When, in seconds since 1970. The certificate is issued whatever the time.
    pub at: i64,
    /// The transparency log.
    pub log: Log,
    /// The log of certificates.
    pub sct: Sct,
}

impl Default for How {
    fn default() -> Self {
        Self {
            at: BEGIN + 60,
            log: Log::V1,
            sct: Sct::Given,
        }
    }
}

/// An instance. Clones share their keys.
#[derive(Clone)]
pub struct Instance {
    authority: Arc<CertifiedIssuer<'static, KeyPair>>,
    certificate_log: Arc<KeyPair>,
    log: Arc<KeyPair>,
    clock: Arc<Clock>,
}

impl Default for Instance {
    fn default() -> Self {
        Self::new()
    }
}

impl Instance {
    /// A new instance with keys of its own.
    #[must_use]
    pub fn new() -> Self {
        Self {
            authority: Arc::new(authority("root")),
            certificate_log: Arc::new(KeyPair::generate().unwrap()),
            log: Arc::new(KeyPair::generate().unwrap()),
            clock: Arc::new(Clock::new()),
        }
    }

    /// The same instance, but for an authority of the same name with another key.
    #[must_use]
    pub fn with_another_authority(&self) -> Self {
        Self {
            authority: Arc::new(authority("root")),
            ..self.clone()
        }
    }

    /// The same instance, but for the log of certificates.
    #[must_use]
    pub fn with_another_certificate_log(&self) -> Self {
        Self {
            certificate_log: Arc::new(KeyPair::generate().unwrap()),
            ..self.clone()
        }
    }

    /// The same instance, but for the transparency log.
    #[must_use]
    pub fn with_another_log(&self) -> Self {
        Self {
            log: Arc::new(KeyPair::generate().unwrap()),
            ..self.clone()
        }
    }

    /// The same instance, but for the authority for time stamps.
    #[must_use]
    pub fn with_another_clock(&self) -> Self {
        Self {
            clock: Arc::new(Clock::new()),
            ..self.clone()
        }
    }

    /// What verifiers trust: the `trusted_root.json`.
    #[must_use]
    pub fn trusted_root(&self) -> Value {
        let always = json!({"start": "2020-01-01T00:00:00Z"});
        let log = |key: &KeyPair, url: &str| {
            json!({
                "baseUrl": url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(key.subject_public_key_info()),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": always,
                },
                "logId": {"keyId": STANDARD.encode(log_id(key))},
            })
        };
        let chain = |certificates: &[&[u8]]| {
            let certificates = certificates.iter().map(|der| json!({"rawBytes": STANDARD.encode(der)}));
            json!({"certificates": certificates.collect::<Value>()})
        };
        let subject = json!({"organization": "test", "commonName": "root"});
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(&self.log, "https://log.test")],
            "certificateAuthorities": [{
                "subject": subject,
                "uri": "https://authority.test",
                "certChain": chain(&[self.authority.der()]),
                "validFor": always,
            }],
            "ctlogs": [log(&self.certificate_log, "https://certificates.test")],
            "timestampAuthorities": [{
                "subject": subject,
                "uri": "https://time.test",
                "certChain": chain(&self.clock.chain()),
                "validFor": always,
            }],
        })
    }

    /// A bundle that says that `signer` signed the artifact whose sha256 is `digest`, in hex, as cosign says it.
    #[must_use]
    pub fn sign(&self, signer: &Signer, digest: &str, how: &How) -> Value {
        self.sign_statement(
            signer,
            &json!({
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [{"digest": {"sha256": digest}}],
                "predicateType": "https://sigstore.dev/cosign/sign/v1",
                "predicate": {},
            }),
            how,
        )
    }

    /// A bundle with any statement.
    #[must_use]
    pub fn sign_statement(&self, signer: &Signer, statement: &Value, how: &How) -> Value {
        let key = KeyPair::generate().unwrap();
        let certificate = self.certificate(signer, &key, how.sct);
        let payload = statement.to_string();
        let signed = format!("DSSEv1 {} {STATEMENT} {} {payload}", STATEMENT.len(), payload.len());
        let signature = key.sign(signed.as_bytes()).unwrap();
        let envelope = json!({
            "payload": STANDARD.encode(&payload),
            "payloadType": STATEMENT,
            "signatures": [{"sig": STANDARD.encode(&signature)}],
        });
        let body = match how.log {
            Log::V1 => dsse_entry(&envelope, &payload, &signature, &certificate),
            Log::V2 => hashedrekord_entry(signed.as_bytes(), &signature, &certificate),
        };
        let stamps = match how.log {
            Log::V1 => json!([]),
            Log::V2 => json!([{"signedTimestamp": STANDARD.encode(self.clock.stamp(&signature, how.at))}]),
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": {"rawBytes": STANDARD.encode(certificate.der())},
                "tlogEntries": [self.entry(&body, how)],
                "timestampVerificationData": {"rfc3161Timestamps": stamps},
            },
            "dsseEnvelope": envelope,
        })
    }

    /// The signer's certificate, as Fulcio makes it.
    fn certificate(&self, signer: &Signer, key: &KeyPair, sct: Sct) -> Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.serial_number = Some(SerialNumber::from_slice(&[0x11, 0x22, 0x33]));
        params.not_before = rcgen::date_time_ymd(2025, 6, 1);
        params.not_after = params.not_before + Duration::from_secs(VALID.unsigned_abs());
        let subject = signer.subject.as_str().try_into().unwrap();
        params.subject_alt_names = vec![if signer.subject.contains("://") {
            SanType::URI(subject)
        } else {
            SanType::Rfc822Name(subject)
        }];
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        let issuer = der::value(der::TEXT, &[signer.issuer.as_bytes()]);
        params.custom_extensions = vec![CustomExtension::from_oid_content(ISSUER, issuer)];
        let without = params.signed_by(key, &self.authority).unwrap();
        if sct == Sct::Missing {
            return without;
        }
        // The log signs the certificate as it is without the log's answer.
        let mut logged = der::first(without.der()).to_vec();
        if sct == Sct::Forged {
            logged.reverse();
        }
        let scts = der::value(der::OCTETS, &[&self.scts(&logged)]);
        params
            .custom_extensions
            .push(CustomExtension::from_oid_content(SCTS, scts));
        params.signed_by(key, &self.authority).unwrap()
    }

    /// The answer of the log of certificates (RFC 6962), as a list of one.
    fn scts(&self, certificate: &[u8]) -> Vec<u8> {
        const NO_EXTENSIONS: &[u8] = &[0, 0];
        let time = (BEGIN.unsigned_abs() * 1000).to_be_bytes();
        let issuer = hash(&self.authority.key().subject_public_key_info());
        let [.., high, middle, low] = certificate.len().to_be_bytes();
        let (version, signs_certificate, is_precertificate) = ([0], [0], [0, 1]);
        let signed = [
            version.as_slice(),
            &signs_certificate,
            &time,
            &is_precertificate,
            &issuer,
            &[high, middle, low],
            certificate,
            NO_EXTENSIONS,
        ];
        let signature = self.certificate_log.sign(&signed.concat()).unwrap();
        let ecdsa_with_sha256 = [4, 3];
        let sct = [
            version.as_slice(),
            &log_id(&self.certificate_log),
            &time,
            NO_EXTENSIONS,
            &ecdsa_with_sha256,
            &short(&signature),
        ];
        short(&short(&sct.concat()))
    }

    /// The second entry of the transparency log, with all proofs.
    fn entry(&self, body: &str, how: &How) -> Value {
        let id = log_id(&self.log);
        let leaf = |entry: &[u8]| hash(&[&[0], entry].concat());
        let before = leaf(b"an earlier entry");
        let root = hash(&[[1].as_slice(), &before, &leaf(body.as_bytes())].concat());
        // Rekor 1 has the tree's number there, and by that cosign tells the two.
        let tree = match how.log {
            Log::V1 => " - 1193050959916656506",
            Log::V2 => "",
        };
        let head = format!("{ORIGIN}{tree}\n2\n{}\n", STANDARD.encode(root));
        let signed_head = [&id[..4], &self.log.sign(head.as_bytes()).unwrap()].concat();
        let body = STANDARD.encode(body);
        let (kind, version) = match how.log {
            Log::V1 => ("dsse", "0.0.1"),
            Log::V2 => ("hashedrekord", "0.0.2"),
        };
        let mut entry = json!({
            "logIndex": "1",
            "logId": {"keyId": STANDARD.encode(id)},
            "kindVersion": {"kind": kind, "version": version},
            "inclusionProof": {
                "logIndex": "1",
                "treeSize": "2",
                "rootHash": STANDARD.encode(root),
                "hashes": [STANDARD.encode(before)],
                "checkpoint": {"envelope": format!("{head}\n\u{2014} {ORIGIN} {}\n", STANDARD.encode(signed_head))},
            },
            "canonicalizedBody": body,
        });
        if how.log == Log::V1 {
            let promise = format!(
                r#"{{"body":"{body}","integratedTime":{},"logID":"{}","logIndex":1}}"#,
                how.at,
                hex::encode(id)
            );
            let promise = self.log.sign(promise.as_bytes()).unwrap();
            entry["integratedTime"] = json!(how.at.to_string());
            entry["inclusionPromise"] = json!({"signedEntryTimestamp": STANDARD.encode(promise)});
        }
        entry
    }
}

/// What Rekor 1 keeps of an envelope. Keys are in the order of JCS.
fn dsse_entry(envelope: &Value, payload: &str, signature: &[u8], certificate: &Certificate) -> String {
    let sha256 = |text: &str| {
        format!(
            r#"{{"algorithm":"sha256","value":"{}"}}"#,
            hex::encode(hash(text.as_bytes()))
        )
    };
    format!(
        r#"{{"apiVersion":"0.0.1","kind":"dsse","spec":{{"envelopeHash":{},"payloadHash":{},"signatures":[{{"signature":"{}","verifier":"{}"}}]}}}}"#,
        sha256(&envelope.to_string()),
        sha256(payload),
        STANDARD.encode(signature),
        STANDARD.encode(certificate.pem()),
    )
}

/// What Rekor 2 keeps of a signature.
fn hashedrekord_entry(signed: &[u8], signature: &[u8], certificate: &Certificate) -> String {
    format!(
        r#"{{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{{"hashedRekordV002":{{"data":{{"algorithm":"SHA2_256","digest":"{}"}},"signature":{{"content":"{}","verifier":{{"keyDetails":"PKIX_ECDSA_P256_SHA_256","x509Certificate":{{"rawBytes":"{}"}}}}}}}}}}}}"#,
        STANDARD.encode(hash(signed)),
        STANDARD.encode(signature),
        STANDARD.encode(certificate.der()),
    )
}

/// An authority that may issue certificates.
fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    lasting(&mut params, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A name, and 2020 to 2040.
fn lasting(params: &mut CertificateParams, name: &str) {
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
}

/// What logs are called: the digest of their key.
fn log_id(key: &KeyPair) -> [u8; 32] {
    hash(&key.subject_public_key_info())
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Bytes behind their length in two bytes.
fn short(bytes: &[u8]) -> Vec<u8> {
    let mut whole = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    whole.extend(bytes);
    whole
}
