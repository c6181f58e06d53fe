//! Names of things in registries, as values that cannot be malformed.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// The longest reference that is read, in bytes.
const MAX_REFERENCE: usize = 512;
/// The longest path of a repository, as registries agree.
const MAX_PATH: usize = 255;
/// The longest tag.
const MAX_TAG: usize = 128;

/// Why a text names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It is empty, or longer than any registry takes.
    #[error("a reference has 1 to {MAX_REFERENCE} characters")]
    Length,
    /// The registry is missing. There is no default registry.
    #[error("`{0}` names no registry: write it in full, for example `registry.example.com/{0}`")]
    NoRegistry(String),
    /// The registry is no host name or address with an optional port.
    #[error("`{0}` is no registry: a host name or address, with an optional port, is")]
    Registry(String),
    /// The path has characters that registries refuse.
    #[error("`{0}` is no repository: lower-case words, separated by `/`, are")]
    Path(String),
    /// The tag has characters that registries refuse.
    #[error("`{0}` is no tag: up to {MAX_TAG} letters, digits, `_`, `.` and `-` are")]
    Tag(String),
    /// The digest is not `sha256:` and 64 lower-case hexadecimal digits.
    #[error("`{0}` is no digest: `sha256:` and 64 lower-case hexadecimal digits are")]
    Digest(String),
}

/// The SHA-256 digest of some bytes, `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(Sha256::digest(bytes))))
    }

    /// The text with its algorithm, `sha256:…`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 hexadecimal digits alone.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// The tag under which things that refer to this digest are found where a registry
    /// cannot list them: `sha256-<hex>`.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("sha256-{}", self.hex())
    }
}

impl FromStr for Digest {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let digits = text.strip_prefix("sha256:").unwrap_or_default();
        let well = digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        well.then(|| Self(text.to_owned()))
            .ok_or_else(|| ReferenceError::Digest(shortened(text)))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A repository of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository {
    /// Host name or address, with the port if one was given: `registry.example.com:5000`.
    pub registry: String,
    /// The path without a leading `/`: `partners/landing-zone`.
    pub path: String,
}

impl FromStr for Repository {
    type Err = ReferenceError;

    /// Reads `registry/path`, with an optional leading `oci://`.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let text = text.strip_prefix("oci://").unwrap_or(text);
        if text.is_empty() || text.len() > MAX_REFERENCE {
            return Err(ReferenceError::Length);
        }
        let (registry, path) = text
            .split_once('/')
            .ok_or_else(|| ReferenceError::NoRegistry(shortened(text)))?;
        // The rule of the container tools: what has neither a dot nor a port is a path on
        // their default registry, and there is no default here.
        if registry != "localhost" && !registry.contains(['.', ':']) {
            return Err(ReferenceError::NoRegistry(shortened(text)));
        }
        if !is_registry(registry) {
            return Err(ReferenceError::Registry(shortened(registry)));
        }
        if path.len() > MAX_PATH || !path.split('/').all(is_component) {
            return Err(ReferenceError::Path(shortened(path)));
        }
        Ok(Self {
            registry: registry.to_ascii_lowercase(),
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}/{}", self.registry, self.path)
    }
}

/// What a plugin is asked for by: a repository, and a tag, a digest or both.
///
/// With neither, the tag is `latest`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// The repository.
    pub repository: Repository,
    /// The tag, if one was written.
    pub tag: Option<String>,
    /// The digest, if one was written.
    pub digest: Option<Digest>,
}

impl Reference {
    /// What to ask the registry for: the digest if there is one, else the tag, else `latest`.
    #[must_use]
    pub fn at(&self) -> At {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => At::Digest(digest.clone()),
            (None, Some(tag)) => At::Tag(tag.clone()),
            (None, None) => At::Tag("latest".to_owned()),
        }
    }

    /// The same repository at this digest, without a tag.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self {
            repository: self.repository.clone(),
            tag: None,
            digest: Some(digest),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// Reads `registry/path[:tag][@sha256:…]`, with an optional leading `oci://`.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let text = text.strip_prefix("oci://").unwrap_or(text);
        if text.is_empty() || text.len() > MAX_REFERENCE {
            return Err(ReferenceError::Length);
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon before the last `/` belongs to the registry's port.
        let (name, tag) = match name.rsplit_once(':') {
            Some((before, tag)) if !tag.contains('/') && before.contains('/') => (before, Some(tag)),
            Some(_) | None => (name, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag(shortened(tag)));
        }
        Ok(Self {
            repository: name.parse()?,
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(to)?;
        if let Some(tag) = &self.tag {
            write!(to, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(to, "@{digest}")?;
        }
        Ok(())
    }
}

/// By what a manifest is named in its repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum At {
    /// By a tag, which may move.
    Tag(String),
    /// By its digest.
    Digest(Digest),
}

impl fmt::Display for At {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => to.write_str(tag),
            Self::Digest(digest) => digest.fmt(to),
        }
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, after)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("localhost", after),
            Some(_) | None => return false,
        },
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let port = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok());
    port && host.split('.').all(label)
}

/// Words of lower-case letters and digits, separated by one `.`, one or two `_`, or any number of `-`.
fn is_component(text: &str) -> bool {
    let word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(word) || !bytes.last().is_some_and(word) {
        return false;
    }
    bytes
        .split(word)
        .all(|between| matches!(between, b"" | b"." | b"_" | b"__") || between.iter().all(|byte| *byte == b'-'))
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= MAX_TAG
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

/// Not more of what somebody wrote than a message can hold, and no control characters.
pub(crate) fn shortened(text: &str) -> String {
    text.chars()
        .take(120)
        .map(|character| if character.is_control() { '?' } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_reference_is_written_as_it_was_read() {
        for text in [
            "registry.example.com/lz",
            "registry.example.com/partners/landing-zone:1.4.0",
            "localhost/lz:v1",
            "localhost:5000/a/b__c/d.e-f--g",
            "127.0.0.1:5000/lz:latest",
            "[::1]:5000/lz:1",
            &format!("registry.example.com:443/lz@{DIGEST}"),
            &format!("registry.example.com/lz:1@{DIGEST}"),
        ] {
            let read: Reference = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
            assert_eq!(format!("oci://{text}").parse::<Reference>().unwrap(), read);
        }
    }

    #[test]
    fn a_reference_names_its_registry() {
        for text in ["lz", "lz:1", "partners/lz", "library/lz:1"] {
            assert!(
                matches!(text.parse::<Reference>(), Err(ReferenceError::NoRegistry(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn what_no_registry_takes_is_refused() {
        for (text, expected) in [
            ("", "1 to 512"),
            ("registry.example.com/", "is no repository"),
            ("registry.example.com/Lz", "is no repository"),
            ("registry.example.com/a//b", "is no repository"),
            ("registry.example.com/../b", "is no repository"),
            ("registry.example.com/a___b", "is no repository"),
            ("registry.example.com/a..b", "is no repository"),
            ("registry.example.com/-a", "is no repository"),
            ("user@registry.example.com/a", "is no digest"),
            ("user:secret@registry.example.com/a", "is no digest"),
            ("registry.example.com:99999/a", "is no registry"),
            ("registry..example.com/a", "is no registry"),
            ("-x.example.com/a", "is no registry"),
            ("[::g]/a", "is no registry"),
            ("registry.example.com/a:", "is no tag"),
            ("registry.example.com/a:-x", "is no tag"),
            ("registry.example.com/a:x y", "is no tag"),
            ("registry.example.com/a@sha256:00", "is no digest"),
            ("registry.example.com/a@sha512:00", "is no digest"),
            ("registry.example.com/a?b", "is no repository"),
        ] {
            let told = text.parse::<Reference>().unwrap_err().to_string();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }

    #[test]
    fn digests_are_lower_case_and_complete() {
        assert_eq!(Digest::of(b"").as_str(), DIGEST);
        assert!(DIGEST.to_uppercase().parse::<Digest>().is_err());
        assert!(format!("{DIGEST}0").parse::<Digest>().is_err());
        assert_eq!(Digest::of(b"").tag(), format!("sha256-{}", Digest::of(b"").hex()));
    }

    #[test]
    fn the_digest_wins_over_the_tag() {
        let read: Reference = format!("registry.example.com/lz:1@{DIGEST}").parse().unwrap();
        assert_eq!(read.at(), At::Digest(DIGEST.parse().unwrap()));
        let read: Reference = "registry.example.com/lz".parse().unwrap();
        assert_eq!(read.at(), At::Tag("latest".to_owned()));
    }
}
