//! One request and one answer, without any meaning.

use std::time::Duration;

use ::http::HeaderMap;
use async_trait::async_trait;
use bytes::Bytes;

/// A request to the API.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// The path and, after a `?`, the query.
    pub target: String,
    /// Headers besides credentials, lengths and the body's default type.
    pub headers: Vec<(String, String)>,
    /// The bearer token.
    pub token: Option<String>,
    /// The body, JSON unless a header says otherwise.
    pub body: Option<Vec<u8>>,
    /// How long to wait for the whole answer.
    pub timeout: Duration,
}

impl std::fmt::Debug for Request {
    /// Leaves out the token, the headers and the body: any of them may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The headers, which would be most of an answer's size in place.
    pub headers: Box<HeaderMap>,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// The first header of this name, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The request was never sent: no connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection broke; the request may have been executed.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// No answer in time; the request may have been executed.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The answer is larger than is accepted.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The request cannot be sent at all.
    #[error("the request is not valid: {0}")]
    Invalid(String),
}

/// Carries requests to the API: over HTTP, or to a simulation.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Makes one attempt.
    async fn exchange(&self, request: Request) -> Result<Response, TransportError>;
}
