//! Who signed an artifact, and whether that is enough.
//!
//! Reads both formats of cosign: SimpleSigning, in a manifest under the tag `sha256-<hex>.sig`, and bundles, in
//! manifests that refer to the artifact. Verifies with public keys only, and never asks the network: what was found
//! beside an artifact is passed in. Deny by default: what is not understood counts for nothing.

mod attach;
mod formats;
mod key;
mod private;

use std::{collections::BTreeSet, fmt, num::NonZeroUsize};

use serde::{Deserialize, Serialize};

pub use attach::{Attachment, Found, Place, SignError, find, sign, sign_as_bundle};
pub use key::{KeyError, MAX_KEY_FILE, PublicKey};
pub use private::PrivateKey;

use self::formats::{Claim, claims};
use super::reference::Digest;

#[cfg(test)]
pub(crate) use private::tests::new_key;

/// A public key and what people call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// What it is called in states and errors, such as its file's name.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// How many of the keys must have signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Needed {
    /// At least one.
    Any,
    /// Every one.
    All,
    /// At least so many different ones.
    Minimum(NonZeroUsize),
}

/// Which signatures an artifact needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Policy {
    /// None. Whoever can push can run a plugin here.
    #[default]
    Off,
    /// Signatures of these keys.
    Keys {
        /// The keys; the same key under two names counts once.
        keys: Vec<TrustedKey>,
        /// How many of them.
        needed: Needed,
    },
}

impl Policy {
    /// Whether signatures are verified at all.
    #[must_use]
    pub fn is_enforced(&self) -> bool {
        match self {
            Self::Off => false,
            Self::Keys { .. } => true,
        }
    }
}

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
    /// A trusted key signed, but something else.
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
    /// Signed without a key (by a certificate), which is not supported.
    #[error("{0} is signed by a certificate (keyless), and only keys are trusted here")]
    Keyless(Digest),
    /// Signatures that are damaged.
    #[error("the signature of {digest} is malformed: {message}")]
    Malformed {
        /// The artifact.
        digest: Digest,
        /// What is wrong.
        message: String,
    },
    /// Fewer trusted keys signed than needed.
    #[error("{digest} is signed by {have} of the {needed} trusted keys that must sign; {missing} did not")]
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
    /// The policy has no key, or needs more than it has.
    #[error("the policy needs {needed} keys and has {have}: nothing can fulfil it")]
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
            Self::OtherDigest { .. } => "OtherDigest",
            Self::UnknownBundle { .. } => "UnknownBundle",
            Self::Keyless(_) => "KeylessSignature",
            Self::Malformed { .. } => "MalformedSignature",
            Self::TooFew { .. } => "TooFewSignatures",
            Self::Unfulfillable { .. } => "UnfulfillablePolicy",
        }
    }
}

/// Names of keys, or of none.
struct Names<'a>(Vec<&'a str>);

impl fmt::Display for Names<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(to, "{separator}`{name}`")?;
        }
        Ok(())
    }
}

/// Decides whether what was found beside `digest` fulfils `policy`; answers with the names of the keys that signed.
///
/// # Errors
/// When it does not; the cause that says most of several.
pub fn verify(policy: &Policy, digest: &Digest, found: &[Attachment]) -> Result<Vec<String>, Refusal> {
    let Policy::Keys { keys, needed } = policy else {
        return Ok(Vec::new());
    };
    let mut seen = BTreeSet::new();
    let keys: Vec<&TrustedKey> = keys.iter().filter(|key| seen.insert(key.key.fingerprint())).collect();
    let needed = match needed {
        Needed::Any => 1,
        Needed::All => keys.len().max(1),
        Needed::Minimum(minimum) => minimum.get(),
    };
    if needed > keys.len() {
        return Err(Refusal::Unfulfillable {
            needed,
            have: keys.len(),
        });
    }
    let mut signed = BTreeSet::new();
    let mut other = None;
    let mut strange = None;
    let mut unknown_signer = false;
    for claim in found.iter().flat_map(claims) {
        let claim = match claim {
            Claim::Signed(claim) => claim,
            Claim::Keyless => {
                strange.get_or_insert(Refusal::Keyless(digest.clone()));
                continue;
            }
            Claim::Unknown(message) => {
                strange.get_or_insert(Refusal::UnknownBundle {
                    digest: digest.clone(),
                    message,
                });
                continue;
            }
            Claim::Malformed(message) => {
                strange.get_or_insert(Refusal::Malformed {
                    digest: digest.clone(),
                    message,
                });
                continue;
            }
        };
        let signers = keys
            .iter()
            .enumerate()
            .filter(|(_, key)| key.key.signed(&claim.message, &claim.signature))
            .map(|(index, _)| index);
        let mut any = false;
        for signer in signers {
            any = true;
            if claim.subjects.iter().any(|subject| subject == digest.as_str()) {
                signed.insert(signer);
            } else {
                other.get_or_insert_with(|| claim.subjects.join(", "));
            }
        }
        unknown_signer |= !any;
    }
    let names = |wanted: bool| {
        let named = keys
            .iter()
            .enumerate()
            .filter(|(index, _)| signed.contains(index) == wanted);
        Names(named.map(|(_, key)| key.name.as_str()).collect())
    };
    if signed.len() >= needed {
        return Ok(names(true).0.into_iter().map(str::to_owned).collect());
    }
    let digest = digest.clone();
    Err(if !signed.is_empty() {
        Refusal::TooFew {
            digest,
            have: signed.len(),
            needed,
            missing: names(false).to_string(),
        }
    } else if let Some(other) = other {
        Refusal::OtherDigest { digest, other }
    } else if unknown_signer {
        Refusal::WrongKey {
            digest,
            keys: names(false).to_string(),
        }
    } else if let Some(strange) = strange {
        strange
    } else {
        Refusal::NoSignature(digest)
    })
}

#[cfg(test)]
mod tests;
