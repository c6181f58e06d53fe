//! Calls other HTTP servers. Hosts and methods must be granted; redirects are not followed.

use std::fmt;

use super::host;
use crate::Failure;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// An absolute URL.
    pub url: String,
    /// Headers; `Host` and hop-by-hop headers are the host's.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Vec<u8>>,
    /// Milliseconds to wait for the answer; bounded by what is left of the call's time.
    pub timeout_ms: Option<u32>,
}

impl Request {
    /// A GET without headers.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            method: "GET".to_owned(),
            url: url.into(),
            headers: Vec::new(),
            body: None,
            timeout_ms: None,
        }
    }
}

/// An answer of any status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Headers; a name may repeat.
    pub headers: Vec<(String, String)>,
    /// The body, at most 1 MiB.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// No grant covers this; which one would.
    Denied(String),
    /// No connection, or no answer in time.
    Unavailable(String),
    /// The body is larger than allowed.
    TooLarge,
}

/// Sends a request.
///
/// # Errors
/// See [`Error`]; a status of 400 or more is an answer.
pub fn send(request: &Request) -> Result<Response, Error> {
    host::http_send(request)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(grant) => write!(f, "the server may not be called: {grant}"),
            Self::Unavailable(why) => write!(f, "the server does not answer: {why}"),
            Self::TooLarge => f.write_str("the server's answer is too large"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let reason = match error {
            Error::Denied(_) => "HttpCallDenied",
            Error::Unavailable(_) => "HttpServerUnavailable",
            Error::TooLarge => "HttpAnswerTooLarge",
        };
        Self::new(reason, error.to_string())
    }
}
