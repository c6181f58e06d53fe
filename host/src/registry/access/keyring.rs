//! Credentials in files: docker's `config.json`, and a Kubernetes pull secret.
//!
//! Read by ourselves and not with the crate `docker_credential`, because that one knows no
//! entries for a part of a registry (pull secrets have them), waits for a helper without a
//! time limit, and repeats a helper's output in its errors.
//!
//! # Guarantees
//! - No error repeats anything that stands in the file, or that a helper wrote.
//! - The entry that names most of the repository wins; no entry means anonymous, and a broken
//!   entry is an error, never anonymous.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::secret::{Credentials, Secret};
use crate::registry::remote::Repository;

/// What docker calls its own registry, in its files.
const DOCKER: &str = "https://index.docker.io/v1/";

/// Why a file with credentials cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// It is not JSON, or not of this shape.
    #[error("it is no docker config.json and no pull secret (line {line}, column {column})")]
    Shape {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// An entry's `auth` is not base64 of `user:password`.
    #[error("the entry for `{0}` has an `auth` that is not base64 of `user:password`")]
    Auth(String),
    /// A helper's name would name a file elsewhere.
    #[error("`{0}` is no name of a credential helper")]
    HelperName(String),
}

/// Where the credentials for a repository are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Here.
    Here(Credentials),
    /// A helper has them.
    Helper {
        /// What follows `docker-credential-` in its program's name.
        name: String,
        /// What it is asked for.
        server: String,
    },
}

/// One file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Keyring {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<Secret>,
    username: Option<Secret>,
    password: Option<Secret>,
    identitytoken: Option<Secret>,
    registrytoken: Option<Secret>,
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Secret::new)
    }
}

impl Keyring {
    /// Reads docker's `config.json` or `.dockerconfigjson`, and the older `.dockercfg` without `auths`.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, KeyringError> {
        // The parser's own words may repeat a value.
        let shape = |error: serde_json::Error| KeyringError::Shape {
            line: error.line(),
            column: error.column(),
        };
        let keys: BTreeMap<String, serde::de::IgnoredAny> = serde_json::from_slice(text).map_err(shape)?;
        let newer = keys.is_empty()
            || ["auths", "credHelpers", "credsStore"]
                .iter()
                .any(|key| keys.contains_key(*key));
        if newer || !keys.keys().any(|key| key.contains(['.', ':', '/'])) {
            return serde_json::from_slice(text).map_err(shape);
        }
        Ok(Self {
            auths: serde_json::from_slice(text).map_err(shape)?,
            ..Self::default()
        })
    }

    /// Where the credentials for this repository are; none if the file does not know it.
    pub(crate) fn find(&self, repository: &Repository) -> Result<Option<Found>, KeyringError> {
        let helper = |name: &str, server: &str| {
            let well = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            if name.is_empty() || !name.bytes().all(well) {
                return Err(KeyringError::HelperName(super::shown(name)));
            }
            Ok(Some(Found::Helper {
                name: name.to_owned(),
                server: server.to_owned(),
            }))
        };
        let server = if is_docker(&repository.registry) {
            DOCKER
        } else {
            &repository.registry
        };
        let named = self
            .cred_helpers
            .iter()
            .filter_map(|(key, name)| Some((reach(key, repository)?, name)))
            .max_by_key(|(reach, _)| *reach);
        if let Some((_, name)) = named {
            return helper(name, server);
        }
        let mut best: Option<(usize, &str, Credentials)> = None;
        for (key, entry) in &self.auths {
            let Some(reach) = reach(key, repository) else { continue };
            if best.as_ref().is_some_and(|(known, _, _)| *known >= reach) {
                continue;
            }
            if let Some(credentials) = entry.credentials(key)? {
                best = Some((reach, key, credentials));
            }
        }
        match (best, &self.creds_store) {
            (Some((_, _, credentials)), _) => Ok(Some(Found::Here(credentials))),
            (None, Some(store)) if !store.is_empty() => helper(store, server),
            (None, Some(_) | None) => Ok(None),
        }
    }
}

impl Entry {
    /// None for the empty entries that docker leaves where a helper has the credentials.
    fn credentials(&self, key: &str) -> Result<Option<Credentials>, KeyringError> {
        let said = |secret: &Option<Secret>| secret.clone().filter(|secret| !secret.reveal().is_empty());
        if let Some(token) = said(&self.identitytoken) {
            return Ok(Some(Credentials::Identity(token)));
        }
        if let Some(token) = said(&self.registrytoken) {
            return Ok(Some(Credentials::Bearer(token)));
        }
        if let Some(auth) = said(&self.auth) {
            let broken = || KeyringError::Auth(super::shown(key));
            let text = STANDARD.decode(auth.reveal().trim()).map_err(|_| broken())?;
            let text = String::from_utf8(text).map_err(|_| broken())?;
            let (user, password) = text.split_once(':').ok_or_else(broken)?;
            return Ok(Some(Credentials::Basic {
                user: Secret::new(user),
                password: Secret::new(password.trim_end_matches('\0')),
            }));
        }
        match (said(&self.username), said(&self.password)) {
            (Some(user), Some(password)) => Ok(Some(Credentials::Basic { user, password })),
            (Some(_), None) | (None, Some(_)) => Err(KeyringError::Auth(super::shown(key))),
            (None, None) => Ok(None),
        }
    }
}

fn is_docker(registry: &str) -> bool {
    matches!(registry, "docker.io" | "index.docker.io" | "registry-1.docker.io")
}

/// How much of the repository an entry's key names, in bytes; none if it names another.
///
/// A key is `host[:port][/path]`, with or without a scheme; in its host, `*` stands for one label.
fn reach(key: &str, repository: &Repository) -> Option<usize> {
    let bare = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key)
        .trim_end_matches('/');
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    if is_docker(host) && is_docker(&repository.registry) {
        return Some(host.len());
    }
    let labels = |text: &str| {
        text.to_ascii_lowercase()
            .split('.')
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (wanted, given) = (labels(&repository.registry), labels(host));
    let same = wanted.len() == given.len()
        && wanted
            .iter()
            .zip(&given)
            .all(|(wanted, given)| given == "*" || wanted == given);
    // Older files have the version of the protocol behind the host.
    let path = if matches!(path, "v1" | "v2") { "" } else { path };
    let within = path.is_empty()
        || repository
            .path
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    // A name beats a pattern of the same length.
    (same && within).then(|| 2 * (host.len() + path.len()) - host.matches('*').count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, repository: &str) -> Result<Option<Found>, KeyringError> {
        Keyring::parse(file.as_bytes())?.find(&repository.parse().unwrap())
    }

    fn basic(user: &str, password: &str) -> Found {
        Found::Here(Credentials::Basic {
            user: Secret::new(user),
            password: Secret::new(password),
        })
    }

    #[test]
    fn the_entry_that_names_most_of_the_repository_wins() {
        let file = serde_json::json!({"auths": {
            "registry.example.com": {"username": "all", "password": "1"},
            "https://registry.example.com/partners": {"auth": STANDARD.encode("partners:2:3")},
            "registry.example.com/part": {"username": "part", "password": "4"},
            "*.example.com": {"username": "pattern", "password": "5"},
        }})
        .to_string();
        for (repository, expected) in [
            ("registry.example.com/partners/lz", Some(basic("partners", "2:3"))),
            ("registry.example.com/other", Some(basic("all", "1"))),
            ("mirror.example.com/lz", Some(basic("pattern", "5"))),
            ("a.mirror.example.com/lz", None),
            ("registry.example.com:5000/lz", None),
            ("evil-registry.example.com.evil.org/lz", None),
        ] {
            assert_eq!(found(&file, repository).unwrap(), expected, "{repository}");
        }
    }

    #[test]
    fn an_identity_token_and_a_registry_token_are_told_apart() {
        let file =
            r#"{"auths": {"a.io": {"auth": "", "identitytoken": "refresh"}, "b.io": {"registrytoken": "bearer"}}}"#;
        assert_eq!(
            found(file, "a.io/x").unwrap(),
            Some(Found::Here(Credentials::Identity(Secret::new("refresh"))))
        );
        assert_eq!(
            found(file, "b.io/x").unwrap(),
            Some(Found::Here(Credentials::Bearer(Secret::new("bearer"))))
        );
    }

    #[test]
    fn a_helper_of_the_registry_comes_before_entries_and_the_store_after_them() {
        let file = r#"{"auths": {"a.io": {"username": "u", "password": "p"}, "b.io": {"username": "u", "password": "p"},
            "c.io": {}}, "credHelpers": {"a.io": "ecr-login"}, "credsStore": "pass"}"#;
        let helper = |name: &str, server: &str| {
            Some(Found::Helper {
                name: name.to_owned(),
                server: server.to_owned(),
            })
        };
        assert_eq!(found(file, "a.io/x").unwrap(), helper("ecr-login", "a.io"));
        assert_eq!(found(file, "b.io/x").unwrap(), Some(basic("u", "p")));
        assert_eq!(found(file, "c.io/x").unwrap(), helper("pass", "c.io"));
        assert_eq!(found(file, "docker.io/x").unwrap(), helper("pass", DOCKER));
    }

    #[test]
    fn the_helper_that_names_most_of_the_registry_is_asked() {
        let file =
            r#"{"credHelpers": {"*.example.com": "any", "registry.example.com": "own", "a.example.com": "other"}}"#;
        let name = |repository: &str| match found(file, repository).unwrap() {
            Some(Found::Helper { name, .. }) => name,
            Some(Found::Here(_)) | None => String::new(),
        };
        assert_eq!(name("registry.example.com/lz"), "own");
        assert_eq!(name("b.example.com/lz"), "any");
        assert_eq!(name("a.example.com/lz"), "other");
    }

    #[test]
    fn the_older_pull_secret_is_read_too() {
        let file = r#"{"https://registry.example.com/v1/": {"username": "u", "password": "p"}}"#;
        assert_eq!(found(file, "registry.example.com/lz").unwrap(), Some(basic("u", "p")));
    }

    #[test]
    fn a_broken_file_is_an_error_that_repeats_nothing_of_it() {
        for file in [
            "hunter2",
            r#"{"auths": {"a.io": "hunter2"}}"#,
            r#"{"auths": {"a.io": {"auth": "hunter2"}}}"#,
            r#"{"auths": {"a.io": {"password": "hunter2"}}}"#,
            r#"{"auths": {"a.io": {"identitytoken": ["hunter2"]}}}"#,
        ] {
            let error = found(file, "a.io/x").unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{file}: {error}");
        }
        assert!(matches!(
            found(r#"{"credsStore": "../../bin/sh"}"#, "a.io/x"),
            Err(KeyringError::HelperName(_))
        ));
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let file = r#"{"auths": {"a.io": {"username": "u", "password": "hunter2", "auth": "hunter2"}}}"#;
        let keyring = Keyring::parse(file.as_bytes()).unwrap();
        assert!(!format!("{keyring:?}").contains("hunter2"));
        assert!(!format!("{:?}", basic("u", "hunter2")).contains("hunter2"));
    }
}
