//! Public keys: read from PEM, asked whether they signed something.

use std::fmt;

use ed25519_dalek::{Signature, VerifyingKey};
use ring::signature::{self as algorithm, UnparsedPublicKey, VerificationAlgorithm};
use sha2::{Digest as _, Sha512};

use crate::registry::reference::Digest;

/// The largest file of a key, in bytes.
pub const MAX_KEY_FILE: u64 = 64 << 10;

// What stands before the key itself in a SubjectPublicKeyInfo. DER writes each in one way only.
const P256: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const P384: &[u8] = b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00";
const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
/// The algorithm of RSA keys, which stands behind a length.
const RSA: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
/// A smaller RSA key than this many bytes has less than 2048 bits.
const MIN_RSA: usize = 266;

/// Why a file holds no usable key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No PEM.
    #[error("it is no PEM file")]
    Pem(#[source] pem::PemError),
    /// PEM of something else.
    #[error("it holds a `{0}`, where a key is expected")]
    Label(String),
    /// No key of a known algorithm.
    #[error("it holds no key of ECDSA P-256 or P-384, Ed25519, or RSA with at least 2048 bits")]
    Algorithm,
    /// The encryption of a private key is not cosign's.
    #[error("its encryption is not the one that cosign writes")]
    Encryption,
    /// The password is wrong, or the file is damaged.
    #[error("the password does not open it")]
    Password,
    /// The key does not sign.
    #[error("it does not sign")]
    Signing,
}

/// How a key's signatures are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    P256,
    P384,
    Ed25519,
    Rsa,
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: Kind,
    /// The key without what stands before it.
    key: Vec<u8>,
    fingerprint: Digest,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:?} {}", self.kind, self.fingerprint)
    }
}

impl PublicKey {
    /// Reads a `PUBLIC KEY` in PEM, as `cosign generate-key-pair` and `openssl` write it.
    ///
    /// # Errors
    /// When it is no key of a known algorithm.
    pub fn read(text: &[u8]) -> Result<Self, KeyError> {
        let pem = pem::parse(text).map_err(KeyError::Pem)?;
        if pem.tag() != "PUBLIC KEY" {
            return Err(KeyError::Label(pem.tag().to_owned()));
        }
        Self::from_der(pem.contents())
    }

    /// Reads a SubjectPublicKeyInfo.
    fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let (kind, key) = if let Some(key) = der.strip_prefix(P256).filter(|key| key.len() == 65) {
            (Kind::P256, key)
        } else if let Some(key) = der.strip_prefix(P384).filter(|key| key.len() == 97) {
            (Kind::P384, key)
        } else if let Some(key) = der.strip_prefix(ED25519).filter(|key| key.len() == 32) {
            (Kind::Ed25519, key)
        } else {
            (Kind::Rsa, rsa(der).ok_or(KeyError::Algorithm)?)
        };
        Ok(Self {
            kind,
            key: key.to_vec(),
            fingerprint: Digest::of(der),
        })
    }

    /// Puts together what a private key knows of its public half.
    pub(crate) fn of(kind: Kind, key: &[u8]) -> Self {
        let der = match kind {
            Kind::P256 => [P256, key].concat(),
            Kind::P384 => [P384, key].concat(),
            Kind::Ed25519 => [ED25519, key].concat(),
            Kind::Rsa => {
                let bits = wrapped(0x03, &[&[0], key].concat());
                wrapped(0x30, &[RSA, &bits].concat())
            }
        };
        Self {
            kind,
            key: key.to_vec(),
            fingerprint: Digest::of(&der),
        }
    }

    /// The digest of the key as written in DER: two files with the same key have the same.
    #[must_use]
    pub fn fingerprint(&self) -> &Digest {
        &self.fingerprint
    }

    /// What bundles call the key: the base64 of its digest.
    pub(crate) fn hint(&self) -> String {
        use base64::{Engine as _, engine::general_purpose::STANDARD};

        STANDARD.encode(hex::decode(self.fingerprint.hex()).unwrap_or_default())
    }

    /// Whether this key made `signature` over `message`.
    #[must_use]
    pub fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithms: &[&'static dyn VerificationAlgorithm] = match self.kind {
            // Older cosign hashes with SHA-256 whatever the curve.
            Kind::P256 => &[&algorithm::ECDSA_P256_SHA256_ASN1],
            Kind::P384 => &[&algorithm::ECDSA_P384_SHA384_ASN1, &algorithm::ECDSA_P384_SHA256_ASN1],
            Kind::Rsa => &[
                &algorithm::RSA_PKCS1_2048_8192_SHA256,
                &algorithm::RSA_PSS_2048_8192_SHA256,
            ],
            Kind::Ed25519 => return self.signed_ed25519(message, signature).unwrap_or(false),
        };
        algorithms.iter().any(|algorithm| {
            UnparsedPublicKey::new(*algorithm, &self.key)
                .verify(message, signature)
                .is_ok()
        })
    }

    /// cosign signs with Ed25519 itself, or over a hash (Ed25519ph), depending on its version and options.
    fn signed_ed25519(&self, message: &[u8], signature: &[u8]) -> Option<bool> {
        let key = VerifyingKey::from_bytes(self.key.as_slice().try_into().ok()?).ok()?;
        let signature = Signature::from_slice(signature).ok()?;
        let plain = key.verify_strict(message, &signature).is_ok();
        let hashed = || {
            let hash = Sha512::new_with_prefix(message);
            key.verify_prehashed_strict(hash, None, &signature).is_ok()
        };
        Some(plain || hashed())
    }
}

/// The key itself in the SubjectPublicKeyInfo of an RSA key.
fn rsa(der: &[u8]) -> Option<&[u8]> {
    let inner = unwrapped(0x30, der)?.strip_prefix(RSA)?;
    let key = unwrapped(0x03, inner)?.strip_prefix(&[0])?;
    (key.len() >= MIN_RSA).then_some(key)
}

/// The contents of a DER value that fills `bytes`, if its tag is `tag`.
fn unwrapped(tag: u8, bytes: &[u8]) -> Option<&[u8]> {
    let (found, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (
            usize::from(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?)),
            rest.get(2..)?,
        ),
        _ => return None,
    };
    (*found == tag && rest.len() == length).then_some(rest)
}

/// A DER value of less than 64 KiB.
fn wrapped(tag: u8, contents: &[u8]) -> Vec<u8> {
    let [.., high, low] = contents.len().to_be_bytes();
    let mut whole = match (high, low) {
        (0, 0..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        (_, _) => vec![tag, 0x82, high, low],
    };
    whole.extend(contents);
    whole
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    impl PublicKey {
        /// As a `PUBLIC KEY` in PEM.
        pub(crate) fn pem(&self) -> String {
            let der = match self.kind {
                Kind::P256 => [P256, &self.key].concat(),
                Kind::P384 => [P384, &self.key].concat(),
                Kind::Ed25519 => [ED25519, &self.key].concat(),
                Kind::Rsa => wrapped(
                    0x30,
                    &[RSA, &wrapped(0x03, &[&[0], self.key.as_slice()].concat())].concat(),
                ),
            };
            pem::encode(&pem::Pem::new("PUBLIC KEY", der))
        }
    }

    /// From `openssl genpkey`: the public halves of keys of each kind.
    pub(crate) const KEYS: [&str; 4] = [
        include_str!("fixtures/p256.pub"),
        include_str!("fixtures/p384.pub"),
        include_str!("fixtures/ed25519.pub"),
        include_str!("fixtures/rsa.pub"),
    ];

    #[test]
    fn keys_of_each_kind_are_read_and_written() {
        let kinds = [Kind::P256, Kind::P384, Kind::Ed25519, Kind::Rsa];
        for (text, kind) in KEYS.iter().zip(kinds) {
            let key = PublicKey::read(text.as_bytes()).unwrap();
            assert_eq!(key.kind, kind);
            let again = PublicKey::read(key.pem().as_bytes()).unwrap();
            assert_eq!(again, key);
            assert_eq!(PublicKey::of(kind, &key.key), key);
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let read = |text: &str| PublicKey::read(text.as_bytes()).unwrap_err();
        assert!(matches!(read("no key"), KeyError::Pem(_)));
        assert!(matches!(
            read("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            KeyError::Label(_)
        ));
        assert!(matches!(
            read("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
            KeyError::Algorithm
        ));
        assert!(matches!(
            read(include_str!("fixtures/rsa1024.pub")),
            KeyError::Algorithm
        ));
    }
}
