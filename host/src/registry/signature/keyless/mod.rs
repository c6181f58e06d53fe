//! Signatures by certificates: an authority names the signer, and logs prove when it did.
//!
//! Everything is in the bundle and in the trusted root, so nothing asks the network. sigstore's crates check the
//! certificate and its chain, what the log of certificates said of it, the entry of the transparency log with its
//! proof, its checkpoint and its promise, time stamps, the signature, and that all of these are about one another.

mod provider;

use std::{fmt, sync::Arc};

use sigstore_verify::{
    CertificateError, Error, VerificationPolicy, VerificationResult, Verifier,
    bundle::Error as Structure,
    crypto::{CertificateInfo, parse_certificate_info},
    trust_root,
    types::{Bundle, Sha256Hash, SignatureContent},
};

use super::{Digest, Identity, Names, Refusal, RootError, formats::Certified};
use crate::registry::reference::shortened;

/// How the types of trusted roots begin, whatever their version.
const ROOT: &str = "application/vnd.dev.sigstore.trustedroot";

/// What is trusted of a Sigstore instance: its authorities and logs. Cheap to clone; equal if the files are.
#[derive(Clone)]
pub struct TrustedRoot {
    verifier: Arc<Verifier>,
    digest: Digest,
}

impl fmt::Debug for TrustedRoot {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "the trusted root {}", self.digest)
    }
}

impl PartialEq for TrustedRoot {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for TrustedRoot {}

impl TrustedRoot {
    /// Reads a `trusted_root.json`, as `cosign trusted-root create` or the instance's own repository write it.
    ///
    /// # Errors
    /// When it is something else, damaged, or lacks what every signature needs.
    pub fn read(text: &[u8]) -> Result<Self, RootError> {
        provider::install();
        let malformed = |error: Box<dyn std::error::Error + Send + Sync>| RootError::Malformed(error);
        let json = std::str::from_utf8(text).map_err(|error| malformed(error.into()))?;
        let root = trust_root::TrustedRoot::from_json(json).map_err(|error| malformed(error.into()))?;
        if !root.media_type.starts_with(ROOT) {
            return Err(RootError::OtherType(shortened(&root.media_type)));
        }
        for (is_empty, what) in [
            (root.certificate_authorities.is_empty(), "authority for certificates"),
            (root.ctlogs.is_empty(), "log of certificates"),
            (root.tlogs.is_empty(), "transparency log"),
        ] {
            if is_empty {
                return Err(RootError::Incomplete(what));
            }
        }
        let verifier = Verifier::new(&root).map_err(|error| RootError::Unusable(error.into()))?;
        Ok(Self {
            verifier: Arc::new(verifier),
            digest: Digest::of(text),
        })
    }

    /// Which of the identities signed `digest`, by its place.
    ///
    /// # Errors
    /// When none did: why.
    pub(super) fn signer(
        &self,
        digest: &Digest,
        claim: &Certified,
        identities: &[&Identity],
    ) -> Result<usize, Refusal> {
        let signed = Signed::read(claim).map_err(|message| Refusal::Malformed {
            digest: digest.clone(),
            message,
        })?;
        let claimed = signed.identity();
        let place = identities
            .iter()
            .position(|identity| Some(*identity) == claimed.as_ref());
        let policy = match place {
            Some(place) => VerificationPolicy::new(&identities[place].subject, &identities[place].issuer),
            // To tell a stranger from a forgery.
            None => VerificationPolicy::any_identity(),
        };
        let verified = hash(digest.as_str()).map(|artifact| self.verifier.verify(artifact, &signed.bundle, &policy));
        let is_of_another = !claim.subjects.iter().any(|subject| subject == digest.as_str());
        match (verified, place) {
            (Some(Ok(result)), Some(place)) if is_complete(&result) && !is_of_another => Ok(place),
            (Some(Err(Error::ArtifactMismatch(_))), Some(_)) if is_of_another => Err(Refusal::OtherDigest {
                digest: digest.clone(),
                other: claim.subjects.join(", "),
            }),
            (Some(Err(Error::ArtifactMismatch(_))), None) if is_of_another => {
                Err(stranger(digest, claimed, identities))
            }
            (Some(Ok(_)), None) => Err(stranger(digest, claimed, identities)),
            (Some(Err(error)), _) => Err(self.refusal(digest, claim, &signed, error)),
            (Some(Ok(_)) | None, _) => Err(Refusal::Malformed {
                digest: digest.clone(),
                message: "not all of it can be verified".to_owned(),
            }),
        }
    }

    fn refusal(&self, digest: &Digest, claim: &Certified, signed: &Signed, error: Error) -> Refusal {
        let digest = digest.clone();
        let message = plain(&error.to_string());
        match error {
            // The chain is checked before the certificate's own time, and fails for it.
            Error::Certificate(CertificateError::ChainInvalid(_)) => match self.time_outside(claim, signed) {
                Some(message) => Refusal::CertificateExpired { digest, message },
                None => Refusal::CertificateUntrusted { digest, message },
            },
            Error::Certificate(CertificateError::Expired { .. } | CertificateError::NotYetValid { .. }) => {
                Refusal::CertificateExpired { digest, message }
            }
            Error::Certificate(_) => Refusal::CertificateUntrusted { digest, message },
            Error::Timestamp(_) => Refusal::SigningTimeUnproven { digest, message },
            // A signature of another artifact was told apart before: it is the log's entry that is about something else.
            Error::ArtifactMismatch(_)
            | Error::TransparencyLog(_)
            | Error::Bundle(
                Structure::MissingInclusionProof(_)
                | Structure::MissingInclusionPromise(_)
                | Structure::MissingSigningTimeEvidence
                | Structure::MissingCheckpoint
                | Structure::LogIndexOutOfRange { .. }
                | Structure::CheckpointRootMismatch,
            ) => Refusal::TransparencyLogInvalid { digest, message },
            Error::SignatureInvalid(_) => Refusal::SignatureInvalid { digest, message },
            Error::UnsupportedBundle(_) | Error::Bundle(_) => Refusal::UnknownBundle { digest, message },
            _ => Refusal::Malformed { digest, message },
        }
    }

    /// That the certificate was not valid when it was used, by the times that are proven; none if it was, or if none
    /// is proven.
    fn time_outside(&self, claim: &Certified, signed: &Signed) -> Option<String> {
        let artifact = claim.subjects.iter().find_map(|subject| hash(subject))?;
        // Nothing is trusted for it: it is refused either way.
        let policy = VerificationPolicy::any_identity()
            .skip_certificate_chain()
            .skip_tlog_unsafe();
        let result = self.verifier.verify(artifact, &signed.bundle, &policy).ok()?;
        let (from, until) = (signed.certificate.not_before, signed.certificate.not_after);
        let used = result
            .verified_timestamps()
            .iter()
            .find(|time| **time < from || **time > until)?;
        Some(format!("it was valid from {from} until {until}, and used at {used}"))
    }
}

/// A claim as sigstore's crates read it.
struct Signed {
    bundle: Bundle,
    certificate: CertificateInfo,
}

impl Signed {
    fn read(claim: &Certified) -> Result<Self, String> {
        let read = |error: &dyn std::error::Error| plain(&error.to_string());
        let json = std::str::from_utf8(&claim.bundle).map_err(|error| read(&error))?;
        let bundle = Bundle::from_json(json).map_err(|error| read(&error))?;
        // What was read before must be what is verified now.
        match &bundle.content {
            SignatureContent::DsseEnvelope(envelope) if envelope.payload.as_bytes() == claim.statement => {}
            _ => return Err("its statement can be read in two ways".to_owned()),
        }
        let certificate = bundle.signing_certificate().ok_or("it has no certificate")?;
        let certificate = parse_certificate_info(certificate).map_err(|error| read(&error))?;
        Ok(Self { bundle, certificate })
    }

    /// Whom the certificate names, whoever made it.
    fn identity(&self) -> Option<Identity> {
        Some(Identity {
            issuer: self.certificate.issuer.clone()?,
            subject: self.certificate.identity.as_ref()?.as_str().to_owned(),
        })
    }
}

/// Whether nothing was left out.
fn is_complete(result: &VerificationResult) -> bool {
    result.certificate_verified()
        && result.sct_verified()
        && result.tlog_verified()
        && result.identity_policy_checked()
        && !result.verified_timestamps().is_empty()
}

fn stranger(digest: &Digest, claimed: Option<Identity>, trusted: &[&Identity]) -> Refusal {
    Refusal::WrongIdentity {
        digest: digest.clone(),
        identity: claimed.map_or_else(|| "nobody".to_owned(), |claimed| plain(&claimed.to_string())),
        trusted: Names(trusted.iter().map(ToString::to_string).collect()).to_string(),
    }
}

/// The hash in `sha256:<hex>`.
fn hash(digest: &str) -> Option<Sha256Hash> {
    Sha256Hash::from_hex(digest.strip_prefix("sha256:")?).ok()
}

/// What somebody wrote, in one line of bounded length.
fn plain(text: &str) -> String {
    let characters = text.chars().take(400);
    characters
        .map(|character| if character.is_control() { '?' } else { character })
        .collect()
}

#[cfg(test)]
mod tests;
