//! Reads from the HyperFleet API. Paths and methods must be granted.

use std::fmt;

use super::host;
use crate::{Failure, Json};

/// A look-up that is not a plain GET: some APIs search by POST. It must change nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// `GET` or `POST`.
    pub method: String,
    /// A path of the HyperFleet API, with its query.
    pub path: String,
    /// Headers; the host adds its own credentials.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Json>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// No grant covers this; which one would.
    Denied(String),
    /// 404, with the problem document.
    NotFound(Json),
    /// No connection, or no answer in time.
    Unavailable(String),
    /// Any other status.
    Rejected {
        /// The HTTP status: 4xx other than 404, or 5xx after retries.
        status: u16,
        /// The problem document, or `null`.
        body: Json,
    },
}

/// GETs a path of the API, such as `/api/hyperfleet/v1/clusters/<id>`.
///
/// # Errors
/// See [`Error`].
pub fn get(path: &str) -> Result<Json, Error> {
    host::fleet_get(path)
}

/// Asks by any read-only method.
///
/// # Errors
/// See [`Error`].
pub fn query(lookup: &Lookup) -> Result<Json, Error> {
    host::fleet_query(lookup)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(grant) => write!(f, "the HyperFleet API may not be asked: {grant}"),
            Self::NotFound(_) => f.write_str("the HyperFleet API has no such resource"),
            Self::Unavailable(why) => write!(f, "the HyperFleet API does not answer: {why}"),
            Self::Rejected { status, .. } => write!(f, "the HyperFleet API answered {status}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let reason = match error {
            Error::Denied(_) => "FleetReadDenied",
            Error::NotFound(_) => "FleetResourceNotFound",
            Error::Unavailable(_) => "FleetApiUnavailable",
            Error::Rejected { .. } => "FleetApiRejected",
        };
        Self::new(reason, error.to_string())
    }
}
