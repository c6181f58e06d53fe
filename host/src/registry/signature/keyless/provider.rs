//! What sigstore's crates compute with: ring, as everything else here. It verifies and never signs.

use ring::{
    digest,
    signature::{self as algorithm, UnparsedPublicKey, VerificationAlgorithm},
};
use sigstore_verify::{
    crypto::{CryptoProvider, Error, HashContext, Result, SigningScheme, install_default_provider},
    types::HashAlgorithm,
};

/// Sees that there is a provider for all of the process. Without one, sigstore's crates panic.
pub(super) fn install() {
    // Who comes second finds the first one's, which is this one too: nobody else in the process installs any.
    let _ = install_default_provider(&Ring);
}

#[derive(Debug)]
struct Ring;

impl CryptoProvider for Ring {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>> {
        let algorithm = match algorithm {
            HashAlgorithm::Sha2256 => &digest::SHA256,
            HashAlgorithm::Sha2384 => &digest::SHA384,
            HashAlgorithm::Sha2512 => &digest::SHA512,
            other => return Err(Error::UnsupportedAlgorithm(other.to_string())),
        };
        Ok(Box::new(Hash(digest::Context::new(algorithm))))
    }

    fn verify_raw(&self, scheme: SigningScheme, key: &[u8], message: &[u8], signature: &[u8]) -> Result<()> {
        UnparsedPublicKey::new(verification(scheme)?, key)
            .verify(message, signature)
            .map_err(|_| Error::Verification(format!("the {} signature does not verify", scheme.name())))
    }

    /// ring wants the message. Statements, log entries and certificates are at hand; only signatures over an artifact's
    /// own bytes would need this, and those are told apart before they come here.
    fn verify_prehashed(&self, scheme: SigningScheme, _: &[u8], _: &[u8], _: &[u8]) -> Result<()> {
        Err(Error::UnsupportedAlgorithm(format!("{} over a digest", scheme.name())))
    }
}

struct Hash(digest::Context);

impl HashContext for Hash {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

fn verification(scheme: SigningScheme) -> Result<&'static dyn VerificationAlgorithm> {
    Ok(match scheme {
        SigningScheme::EcdsaP256Sha256 => &algorithm::ECDSA_P256_SHA256_ASN1,
        SigningScheme::EcdsaP256Sha384 => &algorithm::ECDSA_P256_SHA384_ASN1,
        SigningScheme::EcdsaP384Sha256 => &algorithm::ECDSA_P384_SHA256_ASN1,
        SigningScheme::EcdsaP384Sha384 => &algorithm::ECDSA_P384_SHA384_ASN1,
        SigningScheme::Ed25519 => &algorithm::ED25519,
        SigningScheme::RsaPkcs1Sha256 => &algorithm::RSA_PKCS1_2048_8192_SHA256,
        SigningScheme::RsaPkcs1Sha384 => &algorithm::RSA_PKCS1_2048_8192_SHA384,
        SigningScheme::RsaPkcs1Sha512 => &algorithm::RSA_PKCS1_2048_8192_SHA512,
        SigningScheme::RsaPssSha256 => &algorithm::RSA_PSS_2048_8192_SHA256,
        SigningScheme::RsaPssSha384 => &algorithm::RSA_PSS_2048_8192_SHA384,
        SigningScheme::RsaPssSha512 => &algorithm::RSA_PSS_2048_8192_SHA512,
        other => return Err(Error::UnsupportedAlgorithm(other.name().to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, SigningKey as _};

    use super::*;

    #[test]
    fn what_was_signed_verifies_and_nothing_else_does() {
        let schemes = [
            (&rcgen::PKCS_ECDSA_P256_SHA256, SigningScheme::EcdsaP256Sha256),
            (&rcgen::PKCS_ECDSA_P384_SHA384, SigningScheme::EcdsaP384Sha384),
            (&rcgen::PKCS_ED25519, SigningScheme::Ed25519),
        ];
        for (algorithm, scheme) in schemes {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let signature = key.sign(b"a message").unwrap();
            let verified = |scheme, message: &[u8]| Ring.verify_raw(scheme, key.public_key_raw(), message, &signature);
            assert!(verified(scheme, b"a message").is_ok(), "{scheme:?}");
            assert!(verified(scheme, b"a massage").is_err(), "{scheme:?}");
            for (_, other) in schemes.iter().filter(|(_, other)| *other != scheme) {
                assert!(verified(*other, b"a message").is_err(), "{scheme:?} as {other:?}");
            }
        }
    }

    #[test]
    fn rsa_signatures_of_openssl_verify() {
        let pem = pem::parse(include_bytes!("../fixtures/rsa.pub")).unwrap();
        // What stands before the key in a SubjectPublicKeyInfo of 2048 bits.
        let key = &pem.contents()[24..];
        for (scheme, signature) in [
            (
                SigningScheme::RsaPkcs1Sha256,
                include_bytes!("../fixtures/rsa.sig").as_slice(),
            ),
            (SigningScheme::RsaPssSha256, include_bytes!("../fixtures/rsa-pss.sig")),
        ] {
            assert!(
                Ring.verify_raw(scheme, key, b"a message", signature).is_ok(),
                "{scheme:?}"
            );
            assert!(
                Ring.verify_raw(scheme, key, b"a massage", signature).is_err(),
                "{scheme:?}"
            );
        }
    }

    #[test]
    fn hashes_are_those_of_the_standard() {
        for (algorithm, beginning) in [
            (HashAlgorithm::Sha2256, "ba7816bf"),
            (HashAlgorithm::Sha2384, "cb00753f"),
            (HashAlgorithm::Sha2512, "ddaf35a1"),
        ] {
            let mut hash = Ring.hash(algorithm).unwrap();
            hash.update(b"a");
            hash.update(b"bc");
            assert!(hex::encode(hash.finalize()).starts_with(beginning), "{algorithm}");
        }
    }

    #[test]
    fn it_can_be_installed_by_many_at_once() {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    install();
                    assert!(sigstore_verify::crypto::try_default_provider().is_some());
                });
            }
        });
    }
}
