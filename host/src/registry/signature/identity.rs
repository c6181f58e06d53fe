//! Who signs without a key: an identity, and the Sigstore instance that vouches for it.

use std::{error::Error as StdError, fmt};

use super::keyless::TrustedRoot;

/// The largest file of a trusted root, in bytes.
pub const MAX_ROOT_FILE: u64 = 1 << 20;

/// Who was given a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who vouched for the subject to the authority, such as `https://token.actions.githubusercontent.com`.
    pub issuer: String,
    /// An email address or a URI, as it is in the certificate.
    pub subject: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} of {}", self.subject, self.issuer)
    }
}

/// Identities that are trusted, as far as one Sigstore instance vouches for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedIdentities {
    /// The instance.
    pub root: TrustedRoot,
    /// The identities; one that is given twice counts once.
    pub identities: Vec<Identity>,
}

/// Why a file is no trusted root.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// This build cannot verify signatures by certificates.
    #[error("this build of berth has no keyless verification: build with `--features keyless`")]
    Unsupported,
    /// It is something else.
    #[error("it is no trusted root of a Sigstore instance")]
    Malformed(#[source] Box<dyn StdError + Send + Sync>),
    /// It calls itself something else.
    #[error("it calls itself `{0}`, where a trusted root of a Sigstore instance is expected")]
    OtherType(String),
    /// One of its keys or certificates is none.
    #[error("one of its keys or certificates cannot be used")]
    Unusable(#[source] Box<dyn StdError + Send + Sync>),
    /// Without this, nothing could be verified by it.
    #[error("it names no {0}")]
    Incomplete(&'static str),
}
