//! Where the API is and how it is called.

use std::{path::PathBuf, time::Duration};

use url::Url;

/// Where the API is and how it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The address without the path of the API, such as `https://hyperfleet-api:8000`.
    pub url: Url,
    /// A file with a bearer token. It is read for every request, so that a rotated token
    /// takes effect at once. None: no credentials are sent.
    pub token_file: Option<PathBuf>,
    /// A file with the certificates, in PEM, of the only authorities that are trusted.
    /// None: those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// How long one call may take with all its retries.
    pub timeout: Duration,
    /// How long one attempt may take.
    pub attempt_timeout: Duration,
}

impl Settings {
    /// Settings for this address: no credentials, the system's authorities, 10 s for a call
    /// and 3 s for an attempt.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self {
            url,
            token_file: None,
            ca_file: None,
            timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(3),
        }
    }
}

/// Why no client can be made from the settings.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The address cannot be used.
    #[error("the HyperFleet API's url `{url}` {problem}")]
    Url {
        /// The address, without credentials.
        url: String,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// A time limit is zero.
    #[error("the HyperFleet API's `{setting}` must be longer than zero")]
    Limit {
        /// Which one.
        setting: &'static str,
    },
    /// The file with authorities cannot be read.
    #[error("cannot read the certificates of the HyperFleet API's authorities from `{}`", .path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The file with authorities holds no certificate, or a damaged one.
    #[error("`{}` holds no usable certificate of an authority; it must be PEM", .path.display())]
    CaContent {
        /// The file.
        path: PathBuf,
        /// Why, if the parser said so.
        #[source]
        cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// TLS cannot be set up: the system's certificates cannot be used.
    #[error("cannot set up TLS for the HyperFleet API")]
    Tls {
        /// Why.
        #[source]
        cause: rustls::Error,
    },
}
