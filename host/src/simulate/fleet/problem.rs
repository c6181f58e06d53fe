//! Answers as the API writes them.

use bytes::Bytes;
use http::{
    HeaderValue,
    header::{CONTENT_TYPE, DATE},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::fleet::Response;

/// What can go wrong, with the API's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A value is not acceptable.
    Invalid,
    /// The body cannot be parsed.
    Malformed,
    /// No credentials.
    Unauthenticated,
    /// Credentials that are not accepted.
    BadCredentials,
    /// There is no such address.
    NoSuchRoute,
    /// There is no such resource.
    NoSuchResource,
    /// The method is not for this address.
    NotAllowed,
    /// The name is taken.
    Exists,
    /// The resource's state forbids it.
    WrongState,
    /// It needs its owner's address.
    NeedsOwner,
}

impl Trouble {
    fn parts(self) -> (u16, &'static str, &'static str, &'static str) {
        match self {
            Self::Invalid => (400, "HYPERFLEET-VAL-000", "validation-error", "Validation Failed"),
            Self::Malformed => (400, "HYPERFLEET-VAL-006", "malformed-request", "Malformed Request"),
            Self::Unauthenticated => (
                401,
                "HYPERFLEET-AUT-001",
                "authentication-required",
                "Authentication Required",
            ),
            Self::BadCredentials => (401, "HYPERFLEET-AUT-002", "invalid-credentials", "Invalid Credentials"),
            Self::NoSuchRoute => (404, "HYPERFLEET-NTF-000", "not-found", "Not Found"),
            Self::NoSuchResource => (404, "HYPERFLEET-NTF-001", "resource-not-found", "Resource Not Found"),
            Self::NotAllowed => (405, "", "method-not-allowed", "Method Not Allowed"),
            Self::Exists => (409, "HYPERFLEET-CNF-001", "resource-exists", "Resource Already Exists"),
            Self::WrongState => (409, "HYPERFLEET-CNF-003", "invalid-state", "Invalid State"),
            Self::NeedsOwner => (422, "HYPERFLEET-VAL-000", "validation-error", "Validation Failed"),
        }
    }

    /// With the words for people.
    pub(super) fn because(self, detail: impl Into<String>) -> Problem {
        Problem {
            trouble: self,
            detail: detail.into(),
        }
    }
}

/// Why the API does not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    trouble: Trouble,
    detail: String,
}

impl Problem {
    /// As the API answers it.
    pub(super) fn response(&self, now: Timestamp, path: &str) -> Response {
        let (status, code, slug, title) = self.trouble.parts();
        problem(now, status, code, slug, title, &self.detail, path)
    }
}

/// The answer with which a gateway or the API says that it cannot answer.
pub(super) fn failure(now: Timestamp, status: u16, path: &str) -> Response {
    let (code, slug) = match status {
        403 => ("HYPERFLEET-AUZ-001", "forbidden"),
        429 => ("HYPERFLEET-LMT-001", "rate-limited"),
        503 => ("HYPERFLEET-SVC-001", "service-unavailable"),
        504 => ("HYPERFLEET-SVC-002", "service-timeout"),
        _ => ("HYPERFLEET-INT-001", "internal-error"),
    };
    problem(
        now,
        status,
        code,
        slug,
        "Simulated Failure",
        "the simulation was told to fail",
        path,
    )
}

fn problem(now: Timestamp, status: u16, code: &str, slug: &str, title: &str, detail: &str, instance: &str) -> Response {
    let body = json!({
        "type": format!("https://api.hyperfleet.io/errors/{slug}"),
        "title": title,
        "status": status,
        "detail": detail,
        "instance": instance,
        "code": code,
        "timestamp": now.to_string(),
    });
    respond(now, status, "application/problem+json", &body)
}

/// A success with a body.
pub(super) fn success(now: Timestamp, status: u16, body: &Value) -> Response {
    respond(now, status, "application/json", body)
}

/// A success without one.
pub(super) fn nothing(now: Timestamp) -> Response {
    Response {
        status: 204,
        headers: Box::new([(DATE, date(now))].into_iter().collect()),
        body: Bytes::new(),
    }
}

fn respond(now: Timestamp, status: u16, content_type: &'static str, body: &Value) -> Response {
    let content_type = HeaderValue::from_static(content_type);
    Response {
        status,
        headers: Box::new([(CONTENT_TYPE, content_type), (DATE, date(now))].into_iter().collect()),
        body: body.to_string().into(),
    }
}

fn date(now: Timestamp) -> HeaderValue {
    let text = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    // Days, months and digits are text that every header can have.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
