//! Who signed an artifact, and whether that is enough.
//!
//! Reads both formats of cosign: SimpleSigning, in a manifest under the tag `sha256-<hex>.sig`, and bundles, in
//! manifests that refer to the artifact. Verifies with public keys, or with certificates of a Sigstore instance (the
//! feature `keyless`), and never asks the network: what was found beside an artifact is passed in. Deny by default:
//! what is not understood counts for nothing.

mod attach;
mod formats;
mod identity;
mod key;
#[cfg_attr(not(feature = "keyless"), path = "keyless/absent.rs")]
mod keyless;
mod private;
mod refusal;

use std::{collections::BTreeSet, num::NonZeroUsize};

use serde::{Deserialize, Serialize};

pub(in crate::registry) use attach::gathered;
pub use attach::{Attachment, Found, Place, SignError, find, sign, sign_as_bundle};
pub use identity::{Identity, MAX_ROOT_FILE, RootError, TrustedIdentities};
pub use key::{KeyError, MAX_KEY_FILE, PublicKey};
pub use keyless::TrustedRoot;
pub use private::PrivateKey;
pub use refusal::Refusal;

use self::{
    formats::{Claim, Signed, claims},
    refusal::Names,
};
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

/// How many of the signers must have signed.
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
    /// Signatures of these signers: keys and identities count alike.
    Signers {
        /// The keys; the same key under two names counts once.
        keys: Vec<TrustedKey>,
        /// The identities.
        identities: Option<TrustedIdentities>,
        /// How many of both.
        needed: Needed,
    },
}

impl Policy {
    /// Whether signatures are verified at all.
    #[must_use]
    pub fn is_enforced(&self) -> bool {
        match self {
            Self::Off => false,
            Self::Signers { .. } => true,
        }
    }
}

/// Decides whether what was found beside `digest` fulfils `policy`; answers with the names of those who signed.
///
/// # Errors
/// When it does not; the cause that says most of several.
pub fn verify(policy: &Policy, digest: &Digest, found: &[Attachment]) -> Result<Vec<String>, Refusal> {
    let Policy::Signers {
        keys,
        identities,
        needed,
    } = policy
    else {
        return Ok(Vec::new());
    };
    let signers = Signers::new(keys, identities.as_ref());
    let have = signers.count();
    let needed = match needed {
        Needed::Any => 1,
        Needed::All => have.max(1),
        Needed::Minimum(minimum) => minimum.get(),
    };
    if needed > have {
        return Err(Refusal::Unfulfillable { needed, have });
    }
    let mut evidence = Evidence::default();
    for claim in found.iter().flat_map(claims) {
        signers.weigh(digest, claim, &mut evidence);
    }
    let named = |wanted: bool| {
        let names = (0..have).filter(|signer| evidence.signed.contains(signer) == wanted);
        names.map(|signer| signers.name(signer)).collect::<Vec<_>>()
    };
    if evidence.signed.len() >= needed {
        return Ok(named(true));
    }
    if !evidence.signed.is_empty() {
        return Err(Refusal::TooFew {
            digest: digest.clone(),
            have: evidence.signed.len(),
            needed,
            missing: Names(named(false)).to_string(),
        });
    }
    let Evidence {
        other,
        flawed,
        stranger,
        strange,
        ..
    } = evidence;
    let refusal = other.or(flawed).or(stranger).or(strange);
    Err(refusal.unwrap_or_else(|| Refusal::NoSignature(digest.clone())))
}

/// Who is trusted, each once: keys first, then identities.
struct Signers<'a> {
    keys: Vec<&'a TrustedKey>,
    identities: Vec<&'a Identity>,
    root: Option<&'a TrustedRoot>,
}

/// What the claims beside an artifact come to. Of each kind of refusal, the first is told.
#[derive(Default)]
struct Evidence {
    /// Those who signed, by their places.
    signed: BTreeSet<usize>,
    /// Somebody who is trusted signed something else.
    other: Option<Refusal>,
    /// A certificate or its proofs are not what they should be.
    flawed: Option<Refusal>,
    /// Somebody signed who is not trusted.
    stranger: Option<Refusal>,
    /// It cannot be told who signed.
    strange: Option<Refusal>,
}

impl<'a> Signers<'a> {
    fn new(keys: &'a [TrustedKey], identities: Option<&'a TrustedIdentities>) -> Self {
        let mut seen = BTreeSet::new();
        let mut named: Vec<&Identity> = Vec::new();
        for identity in identities.iter().flat_map(|trusted| &trusted.identities) {
            if !named.contains(&identity) {
                named.push(identity);
            }
        }
        Self {
            keys: keys.iter().filter(|key| seen.insert(key.key.fingerprint())).collect(),
            identities: named,
            root: identities.map(|trusted| &trusted.root),
        }
    }

    fn count(&self) -> usize {
        self.keys.len() + self.identities.len()
    }

    fn name(&self, signer: usize) -> String {
        match signer.checked_sub(self.keys.len()) {
            None => self.keys[signer].name.clone(),
            Some(identity) => self.identities[identity].to_string(),
        }
    }

    fn weigh(&self, digest: &Digest, claim: Claim, evidence: &mut Evidence) {
        match claim {
            Claim::Signed(claim) => self.weigh_signature(digest, &claim, evidence),
            Claim::Certified(claim) => match self.root {
                None => {
                    evidence.strange.get_or_insert(Refusal::Keyless(digest.clone()));
                }
                Some(root) => match root.signer(digest, &claim, &self.identities) {
                    Ok(identity) => {
                        evidence.signed.insert(self.keys.len() + identity);
                    }
                    Err(refusal) => {
                        let place = match &refusal {
                            Refusal::OtherDigest { .. } => &mut evidence.other,
                            Refusal::WrongIdentity { .. } => &mut evidence.stranger,
                            Refusal::UnknownBundle { .. } | Refusal::Malformed { .. } => &mut evidence.strange,
                            _ => &mut evidence.flawed,
                        };
                        place.get_or_insert(refusal);
                    }
                },
            },
            Claim::Unknown(message) => {
                evidence.strange.get_or_insert(Refusal::UnknownBundle {
                    digest: digest.clone(),
                    message,
                });
            }
            Claim::Malformed(message) => {
                evidence.strange.get_or_insert(Refusal::Malformed {
                    digest: digest.clone(),
                    message,
                });
            }
        }
    }

    fn weigh_signature(&self, digest: &Digest, claim: &Signed, evidence: &mut Evidence) {
        let is_by = |key: &&TrustedKey| key.key.signed(&claim.message, &claim.signature);
        let places = self.keys.iter().enumerate().filter(|(_, key)| is_by(key));
        let by: Vec<usize> = places.map(|(place, _)| place).collect();
        if by.is_empty() {
            self.note_stranger(digest, claim, evidence);
        } else if claim.subjects.iter().any(|subject| subject == digest.as_str()) {
            evidence.signed.extend(by);
        } else {
            evidence.other.get_or_insert_with(|| Refusal::OtherDigest {
                digest: digest.clone(),
                other: claim.subjects.join(", "),
            });
        }
    }

    /// Notes a signature that no trusted key made.
    fn note_stranger(&self, digest: &Digest, claim: &Signed, evidence: &mut Evidence) {
        let digest = digest.clone();
        if claim.has_certificate && self.root.is_some() {
            let message =
                "a certificate beside a payload, as cosign 2 writes it, where a bundle is expected".to_owned();
            evidence
                .strange
                .get_or_insert(Refusal::UnknownBundle { digest, message });
        } else if self.keys.is_empty() {
            evidence.stranger.get_or_insert(Refusal::Key(digest));
        } else {
            let names = self.keys.iter().map(|key| key.name.clone());
            let keys = Names(names.collect()).to_string();
            evidence.stranger.get_or_insert(Refusal::WrongKey { digest, keys });
        }
    }
}

#[cfg(test)]
mod tests;
