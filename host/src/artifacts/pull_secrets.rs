//! Pull secrets that adapter documents name: read from the cluster, as the adapter's service account.
//!
//! The host's own rights are never used: a document would else make the host show a Secret to a registry that the
//! adapter could not read itself. Nothing of a Secret is in an error.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use berth_engine::{
    contract::{Query, Selector},
    effect::{ClusterCause, ClusterFault},
};
use serde_json::Value;

use crate::{
    registry::access::{CredentialSource, Secret},
    world::{ArtifactFault, Cluster, Recipient},
};

/// Types of pull secrets, and the key that each has its text under.
const TYPES: [(&str, &str); 2] = [
    ("kubernetes.io/dockerconfigjson", ".dockerconfigjson"),
    ("kubernetes.io/dockercfg", ".dockercfg"),
];

/// Why a pull secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PullSecretError {
    /// There is none of this name.
    #[error("there is no Secret `{0}`")]
    Missing(String),
    /// The adapter may not read it.
    #[error("the adapter may not read the Secret `{name}`: {message}")]
    Forbidden {
        /// Which, with its namespace.
        name: String,
        /// Who may not, in the API server's words.
        message: String,
    },
    /// It is a Secret for something else.
    #[error("the Secret `{name}` is of type `{found}`; pull secrets are of type `{}` or `{}`", TYPES[0].0, TYPES[1].0)]
    Type {
        /// Which, with its namespace.
        name: String,
        /// As written.
        found: String,
    },
    /// It lacks what its type promises.
    #[error("the Secret `{name}` has no text under `{key}`")]
    Empty {
        /// Which, with its namespace.
        name: String,
        /// The key of its type.
        key: &'static str,
    },
    /// It cannot be asked for at present.
    #[error("the Secret `{name}` cannot be read: {message}")]
    Unavailable {
        /// Which, with its namespace.
        name: String,
        /// What the API server says, or why it does not.
        message: String,
    },
}

impl PullSecretError {
    /// Whether Kubernetes could not be asked, so that what is known from before may serve.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Missing(_) | Self::Forbidden { .. } | Self::Type { .. } | Self::Empty { .. } => false,
        }
    }
}

impl From<PullSecretError> for ArtifactFault {
    fn from(error: PullSecretError) -> Self {
        let (reason, retryable) = match &error {
            // A Secret, or the right to read it, is often made after the adapter.
            PullSecretError::Missing(_) => ("PullSecretMissing", true),
            PullSecretError::Forbidden { .. } => ("PullSecretForbidden", true),
            PullSecretError::Type { .. } => ("PullSecretType", false),
            PullSecretError::Empty { .. } => ("PullSecretEmpty", false),
            PullSecretError::Unavailable { .. } => ("PullSecretUnavailable", true),
        };
        Self {
            reason: reason.to_owned(),
            message: error.to_string(),
            retryable,
            retry_after: None,
        }
    }
}

/// What the cache calls a recipient with pull secrets: whoever may use the same Secrets as the same account is the same.
pub(super) fn holder(recipient: &Recipient) -> String {
    let mut secrets = recipient.pull_secrets.clone();
    secrets.sort_unstable();
    secrets.dedup();
    let account = &recipient.identity.service_account;
    format!("{}/{account} with {}", recipient.identity.namespace, secrets.join(","))
}

/// Reads all pull secrets of a recipient, in their order.
///
/// # Errors
/// For the first that cannot be used.
pub(super) async fn read(
    cluster: Option<&dyn Cluster>,
    recipient: &Recipient,
) -> Result<Vec<CredentialSource>, PullSecretError> {
    let mut credentials = Vec::with_capacity(recipient.pull_secrets.len());
    for name in &recipient.pull_secrets {
        credentials.push(one(cluster, recipient, name).await?);
    }
    Ok(credentials)
}

async fn one(
    cluster: Option<&dyn Cluster>,
    recipient: &Recipient,
    secret: &str,
) -> Result<CredentialSource, PullSecretError> {
    let identity = &recipient.identity;
    let name = format!("{}/{secret}", identity.namespace);
    let Some(cluster) = cluster else {
        let message = "this host is connected to no cluster".to_owned();
        return Err(PullSecretError::Unavailable { name, message });
    };
    let query = Query {
        name: secret.to_owned(),
        api_version: "v1".to_owned(),
        kind: "Secret".to_owned(),
        namespace: Some(identity.namespace.clone()),
        selector: Selector::Name(secret.to_owned()),
    };
    match cluster.find(identity, &query).await {
        Ok(found) => match found.into_iter().next() {
            Some(document) => source(name, &document),
            None => Err(PullSecretError::Missing(name)),
        },
        Err(ClusterFault { cause, message, .. }) => Err(match cause {
            ClusterCause::Forbidden => PullSecretError::Forbidden { name, message },
            ClusterCause::NamespaceMissing { .. } => PullSecretError::Missing(name),
            ClusterCause::Unreachable
            | ClusterCause::Quota
            | ClusterCause::LimitRange
            | ClusterCause::Admission
            | ClusterCause::WebhookUnavailable
            | ClusterCause::ConversionUnavailable
            | ClusterCause::FieldConflict { .. }
            | ClusterCause::Stale
            | ClusterCause::Immutable
            | ClusterCause::Invalid
            | ClusterCause::NamespaceTerminating { .. }
            | ClusterCause::UnknownKind
            | ClusterCause::Throttled
            | ClusterCause::TooLarge
            | ClusterCause::Other => PullSecretError::Unavailable { name, message },
        }),
    }
}

/// What a Secret holds.
fn source(name: String, document: &Value) -> Result<CredentialSource, PullSecretError> {
    let kind = document["type"].as_str().unwrap_or("Opaque");
    let Some((_, key)) = TYPES.iter().find(|(known, _)| *known == kind) else {
        let found = kind.to_owned();
        return Err(PullSecretError::Type { name, found });
    };
    let text = document["data"][key]
        .as_str()
        .and_then(|data| String::from_utf8(STANDARD.decode(data).ok()?).ok())
        .filter(|text| !text.trim().is_empty());
    match text {
        Some(text) => Ok(CredentialSource::Document {
            name: format!("Secret {name}"),
            text: Secret::new(text),
        }),
        None => Err(PullSecretError::Empty { name, key }),
    }
}

#[cfg(test)]
mod tests;
