//! Reads Kubernetes objects with the rights of the adapter's service account. Kinds and
//! namespaces must be granted.

use std::{collections::BTreeMap, fmt};

use super::host;
use crate::{Failure, Json, Reference};

/// Which objects to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// Group and version.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace; none for all, or for a cluster-scoped kind.
    pub namespace: Option<String>,
    /// Labels that must be equal; none for all objects.
    pub labels: BTreeMap<String, String>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// No grant, or no role, covers this; which one would.
    Denied(String),
    /// There is no such object, or no such kind.
    NotFound,
    /// The API server does not answer.
    Unavailable(String),
    /// It refused the question.
    Rejected(String),
}

/// Gets one object.
///
/// # Errors
/// See [`Error`].
pub fn get(target: &Reference) -> Result<Json, Error> {
    host::cluster_get(target)
}

/// Lists objects, ordered by namespace and name; at most 500.
///
/// # Errors
/// See [`Error`].
pub fn find(search: &Search) -> Result<Vec<Json>, Error> {
    host::cluster_find(search)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(grant) => write!(f, "Kubernetes may not be asked: {grant}"),
            Self::NotFound => f.write_str("Kubernetes has no such object"),
            Self::Unavailable(why) => write!(f, "Kubernetes does not answer: {why}"),
            Self::Rejected(why) => write!(f, "Kubernetes refused the question: {why}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let reason = match error {
            Error::Denied(_) => "ClusterReadDenied",
            Error::NotFound => "ObjectNotFound",
            Error::Unavailable(_) => "ClusterUnavailable",
            Error::Rejected(_) => "ClusterReadRejected",
        };
        Self::new(reason, error.to_string())
    }
}
