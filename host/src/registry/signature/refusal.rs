//! Why signatures are not enough.

use std::fmt;

use crate::registry::reference::Digest;

/// Why an artifact's signatures are not enough.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing that looks like a signature was found.
    #[error("{0} is not signed")]
    NoSignature(Digest),
    /// There are signatures, none by a trusted key.
    #[error("{digest} is signed, but by none of the trusted keys ({keys})")]
    WrongKey {
        /// The artifact.
        digest: Digest,
        /// The names of the trusted keys.
        keys: String,
    },
    /// There are signatures by keys, and no key is trusted.
    #[error("{0} is signed by a key, and only identities are trusted here")]
    Key(Digest),
    /// A trusted signer signed, but something else.
    #[error("what lies beside {digest} is a signature of {other}")]
    OtherDigest {
        /// The artifact.
        digest: Digest,
        /// What was signed.
        other: String,
    },
    /// Signatures in a format that is not known.
    #[error("the signature of {digest} has an unknown format: {message}")]
    UnknownBundle {
        /// The artifact.
        digest: Digest,
        /// What is not known.
        message: String,
    },
    /// Signed without a key (by a certificate), and no identity is trusted.
    #[error("{0} is signed by a certificate (keyless), and only keys are trusted here")]
    Keyless(Digest),
    /// Signed with a good certificate of somebody else.
    #[error("{digest} is signed by {identity}, who is none of the trusted identities ({trusted})")]
    WrongIdentity {
        /// The artifact.
        digest: Digest,
        /// Whom the certificate names.
        identity: String,
        /// The trusted identities.
        trusted: String,
    },
    /// Signed when the certificate was not valid.
    #[error("{digest} is signed with a certificate that was not valid at that time: {message}")]
    CertificateExpired {
        /// The artifact.
        digest: Digest,
        /// When it was valid, and when it was used.
        message: String,
    },
    /// Signed with a certificate that no trusted authority vouches for, or that is in no trusted log of certificates.
    #[error("{digest} is signed with a certificate that is not trusted: {message}")]
    CertificateUntrusted {
        /// The artifact.
        digest: Digest,
        /// What is wrong.
        message: String,
    },
    /// Nothing that is trusted proves that the signature was logged.
    #[error("the signature of {digest} is not proven by a trusted transparency log: {message}")]
    TransparencyLogInvalid {
        /// The artifact.
        digest: Digest,
        /// What is wrong.
        message: String,
    },
    /// Nothing that is trusted proves when it was signed.
    #[error("nothing that is trusted proves when {digest} was signed: {message}")]
    SigningTimeUnproven {
        /// The artifact.
        digest: Digest,
        /// What is wrong.
        message: String,
    },
    /// The certificate's key did not make the signature.
    #[error("the signature of {digest} is not by the key of its certificate: {message}")]
    SignatureInvalid {
        /// The artifact.
        digest: Digest,
        /// What is wrong.
        message: String,
    },
    /// Signatures that are damaged.
    #[error("the signature of {digest} is malformed: {message}")]
    Malformed {
        /// The artifact.
        digest: Digest,
        /// What is wrong.
        message: String,
    },
    /// Fewer trusted signers signed than needed.
    #[error("{digest} is signed by {have} of the {needed} trusted signers that must sign; {missing} did not")]
    TooFew {
        /// The artifact.
        digest: Digest,
        /// How many signed.
        have: usize,
        /// How many must.
        needed: usize,
        /// The names of those that did not.
        missing: String,
    },
    /// The policy has no signer, or needs more than it has.
    #[error("the policy needs {needed} signers and has {have}: nothing can fulfil it")]
    Unfulfillable {
        /// How many must sign.
        needed: usize,
        /// How many there are.
        have: usize,
    },
}

impl Refusal {
    /// Stable name of the cause.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoSignature(_) => "NoSignature",
            Self::WrongKey { .. } => "WrongKey",
            Self::Key(_) => "KeySignature",
            Self::OtherDigest { .. } => "OtherDigest",
            Self::UnknownBundle { .. } => "UnknownBundle",
            Self::Keyless(_) => "KeylessSignature",
            Self::WrongIdentity { .. } => "WrongIdentity",
            Self::CertificateExpired { .. } => "CertificateExpired",
            Self::CertificateUntrusted { .. } => "CertificateUntrusted",
            Self::TransparencyLogInvalid { .. } => "TransparencyLogInvalid",
            Self::SigningTimeUnproven { .. } => "SigningTimeUnproven",
            Self::SignatureInvalid { .. } => "SignatureInvalid",
            Self::Malformed { .. } => "MalformedSignature",
            Self::TooFew { .. } => "TooFewSignatures",
            Self::Unfulfillable { .. } => "UnfulfillablePolicy",
        }
    }

    /// What to do about it, on the command line or in the settings.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Keyless(_) | Self::WrongIdentity { .. } => {
                "trust the signer: `registries.identities` and `registries.trustedRoot`, or --certificate-identity, --certificate-oidc-issuer and --trusted-root"
            }
            Self::CertificateUntrusted { .. }
            | Self::TransparencyLogInvalid { .. }
            | Self::SigningTimeUnproven { .. } => {
                "if the signer is who it should be, `registries.trustedRoot` or --trusted-root is not that of its Sigstore instance as it is today"
            }
            Self::CertificateExpired { .. } | Self::SignatureInvalid { .. } => "let its signer sign it again",
            Self::Unfulfillable { .. } => "trust more signers, or demand fewer of them in `policy`",
            Self::NoSignature(_)
            | Self::WrongKey { .. }
            | Self::Key(_)
            | Self::OtherDigest { .. }
            | Self::UnknownBundle { .. }
            | Self::Malformed { .. }
            | Self::TooFew { .. } => {
                "sign it with `berth plugin sign`, or trust the signer's public key: `registries.keys`, or --key"
            }
        }
    }
}

/// Names of signers, or of none.
pub(super) struct Names(pub(super) Vec<String>);

impl fmt::Display for Names {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(to, "{separator}`{name}`")?;
        }
        Ok(())
    }
}
