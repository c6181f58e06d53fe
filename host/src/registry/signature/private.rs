//! Private keys: read from PEM, sealed as cosign seals them.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto_secretbox::{KeyInit as _, Nonce, XSalsa20Poly1305, aead::Aead as _};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use serde::Deserialize;

use super::key::{KeyError, Kind, PublicKey};

/// The largest cost that a file may ask for: 2^18 blocks of 1 KiB are 256 MiB.
const MAX_LOG_N: u32 = 18;

/// A private key.
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "the private half of {:?}", self.public)
    }
}

impl PrivateKey {
    /// Reads a private key in PEM: what `cosign generate-key-pair` and `import-key-pair` write, which `password` opens,
    /// or a `PRIVATE KEY` (PKCS #8) without a password.
    ///
    /// Opening takes a noticeable time and memory on purpose: call it where blocking is allowed.
    ///
    /// # Errors
    /// When the password is wrong, or it is no key of a known algorithm. No error tells anything of key or password.
    pub fn read(text: &[u8], password: &[u8]) -> Result<Self, KeyError> {
        let pem = pem::parse(text).map_err(KeyError::Pem)?;
        match pem.tag() {
            "PRIVATE KEY" => Self::from_pkcs8(pem.contents()),
            "ENCRYPTED SIGSTORE PRIVATE KEY" | "ENCRYPTED COSIGN PRIVATE KEY" => {
                Self::from_pkcs8(&open(pem.contents(), password)?)
            }
            other => Err(KeyError::Label(other.to_owned())),
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let ecdsa = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, der, &random);
        let (pair, public) = if let Ok(pair) = ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING) {
            let public = PublicKey::of(Kind::P256, pair.public_key().as_ref());
            (Pair::Ecdsa(pair), public)
        } else if let Ok(pair) = ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING) {
            let public = PublicKey::of(Kind::P384, pair.public_key().as_ref());
            (Pair::Ecdsa(pair), public)
        } else if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            let public = PublicKey::of(Kind::Ed25519, pair.public_key().as_ref());
            (Pair::Ed25519(pair), public)
        } else {
            let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| KeyError::Algorithm)?;
            let public = PublicKey::of(Kind::Rsa, pair.public_key().as_ref());
            (Pair::Rsa(pair), public)
        };
        Ok(Self { pair, public })
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `message` as cosign does: ECDSA in ASN.1 with the hash of the curve, RSA as PKCS #1 with SHA-256.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => {
                let signature = pair.sign(&random, message).map_err(|_| KeyError::Signing)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(|_| KeyError::Signing)?;
                Ok(signature)
            }
        }
    }
}

/// What cosign writes instead of a plain key.
#[derive(Deserialize)]
struct Sealed {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Deserialize)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

fn open(sealed: &[u8], password: &[u8]) -> Result<Vec<u8>, KeyError> {
    let sealed: Sealed = serde_json::from_slice(sealed).map_err(|_| KeyError::Encryption)?;
    let Params { n, r, p } = sealed.kdf.params;
    let known = sealed.kdf.name == "scrypt"
        && sealed.cipher.name == "nacl/secretbox"
        && n.is_power_of_two()
        && (1..=MAX_LOG_N).contains(&n.trailing_zeros())
        && (1..=8).contains(&r)
        && (1..=4).contains(&p);
    if !known {
        return Err(KeyError::Encryption);
    }
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| KeyError::Encryption);
    let log_n = u8::try_from(n.trailing_zeros()).map_err(|_| KeyError::Encryption)?;
    let params = scrypt::Params::new(log_n, r, p, 32).map_err(|_| KeyError::Encryption)?;
    let mut key = [0; 32];
    scrypt::scrypt(password, &decode(&sealed.kdf.salt)?, &params, &mut key).map_err(|_| KeyError::Encryption)?;
    let nonce: [u8; 24] = decode(&sealed.cipher.nonce)?
        .try_into()
        .map_err(|_| KeyError::Encryption)?;
    XSalsa20Poly1305::new(&key.into())
        .decrypt(&Nonce::from(nonce), decode(&sealed.ciphertext)?.as_slice())
        .map_err(|_| KeyError::Password)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A new key of P-256.
    pub(crate) fn new_key() -> PrivateKey {
        PrivateKey::from_pkcs8(&p256()).unwrap()
    }

    fn p256() -> Vec<u8> {
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
            .unwrap()
            .as_ref()
            .to_vec()
    }

    /// As cosign seals a key, at a low cost.
    fn seal(key: &[u8], password: &[u8]) -> String {
        let salt = [7; 32];
        let nonce = [9; 24];
        let mut derived = [0; 32];
        scrypt::scrypt(
            password,
            &salt,
            &scrypt::Params::new(4, 8, 1, 32).unwrap(),
            &mut derived,
        )
        .unwrap();
        let ciphertext = XSalsa20Poly1305::new(&derived.into())
            .encrypt(&Nonce::from(nonce), key)
            .unwrap();
        let sealed = serde_json::json!({
            "kdf": {"name": "scrypt", "params": {"N": 16, "r": 8, "p": 1}, "salt": STANDARD.encode(salt)},
            "cipher": {"name": "nacl/secretbox", "nonce": STANDARD.encode(nonce)},
            "ciphertext": STANDARD.encode(ciphertext),
        });
        pem::encode(&pem::Pem::new("ENCRYPTED SIGSTORE PRIVATE KEY", sealed.to_string()))
    }

    #[test]
    fn each_kind_signs_what_its_public_half_verifies() {
        let random = SystemRandom::new();
        let p384 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, &random).unwrap();
        let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        for der in [p256(), p384.as_ref().to_vec(), ed25519.as_ref().to_vec()] {
            let key = PrivateKey::from_pkcs8(&der).unwrap();
            let signature = key.sign(b"a message").unwrap();
            let public = PublicKey::read(key.public().pem().as_bytes()).unwrap();
            assert!(public.signed(b"a message", &signature), "{public:?}");
            assert!(!public.signed(b"another message", &signature), "{public:?}");
            assert!(!new_key().public().signed(b"a message", &signature), "{public:?}");
        }
    }

    #[test]
    fn rsa_signatures_of_openssl_are_verified() {
        let key = PublicKey::read(include_bytes!("fixtures/rsa.pub")).unwrap();
        for signature in [
            include_bytes!("fixtures/rsa.sig").as_slice(),
            include_bytes!("fixtures/rsa-pss.sig"),
        ] {
            assert!(key.signed(b"a message", signature));
            assert!(!key.signed(b"a massage", signature));
        }
    }

    #[test]
    fn a_sealed_key_opens_with_its_password_only() {
        let der = p256();
        let text = seal(&der, b"open sesame");
        let key = PrivateKey::read(text.as_bytes(), b"open sesame").unwrap();
        assert_eq!(key.public(), PrivateKey::from_pkcs8(&der).unwrap().public());
        let error = PrivateKey::read(text.as_bytes(), b"open says me").unwrap_err();
        assert!(matches!(error, KeyError::Password), "{error}");
    }

    #[test]
    fn costs_that_would_exhaust_the_machine_are_refused() {
        for params in [
            r#"{"N": 1099511627776, "r": 8, "p": 1}"#,
            r#"{"N": 65536, "r": 4000000000, "p": 1}"#,
            r#"{"N": 65535, "r": 8, "p": 1}"#,
            r#"{"N": 0, "r": 8, "p": 1}"#,
        ] {
            let sealed = format!(
                r#"{{"kdf": {{"name": "scrypt", "params": {params}, "salt": ""}}, "cipher": {{"name": "nacl/secretbox", "nonce": ""}}, "ciphertext": ""}}"#
            );
            let text = pem::encode(&pem::Pem::new("ENCRYPTED SIGSTORE PRIVATE KEY", sealed));
            let error = PrivateKey::read(text.as_bytes(), b"").unwrap_err();
            assert!(matches!(error, KeyError::Encryption), "{params}: {error}");
        }
    }

    #[test]
    fn a_key_tells_nothing_of_itself() {
        let key = new_key();
        assert!(format!("{key:?}").starts_with("the private half of P256 sha256:"));
    }
}
