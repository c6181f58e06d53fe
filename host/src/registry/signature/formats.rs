//! What an attachment claims: the two formats in which cosign signs.

use std::collections::BTreeMap;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use serde::Deserialize;

use super::Attachment;
use crate::registry::{
    layout::Written,
    reference::{Digest, shortened},
};

/// The layer type of SimpleSigning.
pub(super) const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation with the signature of a SimpleSigning payload.
pub(super) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The annotation with the certificate of whoever signed a SimpleSigning payload without a key.
pub(super) const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
/// What a SimpleSigning payload calls itself.
pub(super) const SIMPLE_KIND: &str = "cosign container image signature";
/// How the layer type of any version of bundles begins.
pub(super) const ANY_BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
/// The layer type of the bundle that is read.
pub(super) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What an in-toto statement calls itself.
pub(super) const STATEMENT: &str = "application/vnd.in-toto+json";
/// The statement that an image is signed. Other statements (provenance, lists of parts) are none.
pub(super) const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";
/// The annotation of a manifest with a bundle: which statement the bundle makes.
pub(super) const PREDICATE: &str = "dev.sigstore.bundle.predicateType";
/// What cosign 2 calls a manifest with signatures that refers to an artifact.
pub(super) const SIGNATURES: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// At most so many signatures of one attachment are read.
pub(super) const MAX_CLAIMS: usize = 50;

/// What a layer claims.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Somebody signed something.
    Signed(Signed),
    /// Signed by a certificate.
    Certified(Certified),
    /// A format that is not known.
    Unknown(String),
    /// A known format, damaged.
    Malformed(String),
}

/// That `signature` over `message` means that the artifacts with these digests are signed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signed {
    /// What was signed, byte by byte.
    pub(super) message: Vec<u8>,
    /// The signature.
    pub(super) signature: Vec<u8>,
    /// `sha256:…` of each artifact, as the message says.
    pub(super) subjects: Vec<String>,
    /// Whether a certificate lies beside it, which is not looked at.
    pub(super) has_certificate: bool,
}

/// That who has the certificate in a bundle signed a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Certified {
    /// The bundle, byte by byte.
    pub(super) bundle: Vec<u8>,
    /// The statement in it.
    pub(super) statement: Vec<u8>,
    /// `sha256:…` of each artifact, as the statement says.
    pub(super) subjects: Vec<String>,
}

/// The claims of an attachment; none if it is no signature.
pub(super) fn claims(attachment: &Attachment) -> Vec<Claim> {
    let Ok(manifest) = serde_json::from_slice::<Written>(&attachment.manifest) else {
        return vec![Claim::Malformed("its manifest cannot be read".to_owned())];
    };
    let layers = manifest.layers.iter().filter(|layer| is_signature(&layer.media_type));
    layers
        .take(MAX_CLAIMS)
        .map(|layer| {
            // By digest, so that nothing else than what the manifest names is read.
            let blob = attachment.blobs.iter().find(|blob| Digest::of(blob) == layer.digest);
            let Some(blob) = blob else {
                return Claim::Malformed("its layer is missing, or another one".to_owned());
            };
            if layer.media_type == SIMPLE {
                simple(blob, &layer.annotations)
            } else if layer.media_type == BUNDLE {
                bundle(blob)
            } else {
                Claim::Unknown(shortened(&layer.media_type))
            }
        })
        .filter(|claim| *claim != FOREIGN)
        .collect()
}

/// Whether a layer of this type is a signature, in whatever version.
pub(super) fn is_signature(media_type: &str) -> bool {
    media_type == SIMPLE || media_type.starts_with(ANY_BUNDLE)
}

/// A statement that is no signature of an image.
const FOREIGN: Claim = Claim::Unknown(String::new());

fn simple(payload: &[u8], annotations: &BTreeMap<String, String>) -> Claim {
    #[derive(Deserialize)]
    struct Payload {
        critical: Critical,
    }
    #[derive(Deserialize)]
    struct Critical {
        image: Image,
        #[serde(rename = "type")]
        kind: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Image {
        docker_manifest_digest: String,
    }
    let Some(signature) = annotations.get(SIGNATURE).and_then(|text| decode(text)) else {
        return Claim::Malformed("the annotation with the signature is missing or no base64".to_owned());
    };
    match serde_json::from_slice::<Payload>(payload) {
        Ok(read) if read.critical.kind == SIMPLE_KIND => Claim::Signed(Signed {
            message: payload.to_vec(),
            signature,
            subjects: vec![shortened(&read.critical.image.docker_manifest_digest)],
            has_certificate: annotations.contains_key(CERTIFICATE),
        }),
        Ok(read) => Claim::Unknown(format!("a payload of type `{}`", shortened(&read.critical.kind))),
        Err(error) => Claim::Malformed(format!("its payload cannot be read: {error}")),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: Option<String>,
    verification_material: Option<Material>,
    dsse_envelope: Option<Envelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    certificate: Option<serde::de::IgnoredAny>,
    x509_certificate_chain: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

fn bundle(blob: &[u8]) -> Claim {
    let bundle: Bundle = match serde_json::from_slice(blob) {
        Ok(bundle) => bundle,
        Err(error) => return Claim::Malformed(format!("the bundle cannot be read: {error}")),
    };
    match bundle.media_type.as_deref() {
        Some(BUNDLE) => {}
        other => {
            let told = shortened(other.unwrap_or("none"));
            return Claim::Unknown(format!("a bundle of type `{told}`"));
        }
    }
    let keyless = bundle
        .verification_material
        .is_some_and(|material| material.certificate.is_some() || material.x509_certificate_chain.is_some());
    let Some(envelope) = bundle.dsse_envelope else {
        return Claim::Unknown("a bundle without an envelope".to_owned());
    };
    let [signature] = envelope.signatures.as_slice() else {
        return Claim::Malformed(format!("the envelope has {} signatures", envelope.signatures.len()));
    };
    let (Some(payload), Some(signature)) = (decode(&envelope.payload), decode(&signature.sig)) else {
        return Claim::Malformed("payload or signature are no base64".to_owned());
    };
    if envelope.payload_type != STATEMENT {
        return Claim::Unknown(format!("a payload of type `{}`", shortened(&envelope.payload_type)));
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Statement {
        predicate_type: String,
        #[serde(default)]
        subject: Vec<Subject>,
    }
    #[derive(Deserialize)]
    struct Subject {
        digest: BTreeMap<String, String>,
    }
    let statement: Statement = match serde_json::from_slice(&payload) {
        Ok(statement) => statement,
        Err(error) => return Claim::Malformed(format!("the statement cannot be read: {error}")),
    };
    if statement.predicate_type != SIGNED {
        return FOREIGN;
    }
    let digests = statement
        .subject
        .iter()
        .filter_map(|subject| subject.digest.get("sha256"));
    let subjects = digests.map(|digest| format!("sha256:{}", shortened(digest))).collect();
    if keyless {
        return Claim::Certified(Certified {
            bundle: blob.to_vec(),
            statement: payload,
            subjects,
        });
    }
    Claim::Signed(Signed {
        message: pae(&envelope.payload_type, &payload),
        signature,
        subjects,
        has_certificate: false,
    })
}

/// What a DSSE signature is over: type and body, each behind its length, so that neither can pass for the other.
pub(super) fn pae(kind: &str, body: &[u8]) -> Vec<u8> {
    let mut whole = format!("DSSEv1 {} {kind} {} ", kind.len(), body.len()).into_bytes();
    whole.extend(body);
    whole
}

fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}
