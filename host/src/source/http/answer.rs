//! What a sender is told.

use std::{error::Error as _, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::source::Refusal;

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    Retry {
        after: Duration,
        detail: &'static str,
    },
    /// It cannot be read.
    Refused {
        reason: &'static str,
        detail: String,
    },
    /// It was read, and can never be reported on.
    SetAside {
        reason: &'static str,
        detail: String,
    },
}

impl Fate {
    pub(super) fn of_refusal(refusal: &Refusal) -> Self {
        let mut detail = refusal.to_string();
        if let Some(source) = refusal.source() {
            detail.push_str(&format!(": {source}"));
        }
        Self::Refused {
            reason: refusal.reason(),
            detail,
        }
    }
}

/// Why a request as a whole cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("no bearer token was presented")]
    TokenMissing,
    #[error("the bearer token is not the expected one")]
    TokenWrong,
    #[error("the expected token cannot be read by this host")]
    TokenUnavailable,
    #[error(
        "the content type `{0}` is not that of a CloudEvent: send `application/cloudevents+json`, \
         `application/cloudevents-batch+json`, or `ce-` headers"
    )]
    ContentType(String),
    #[error("the header `{0}` is not readable as text")]
    HeaderInvalid(String),
    #[error("the body has more than {0} bytes")]
    BodyTooLarge(usize),
    #[error("the body took too long to arrive")]
    BodyTooSlow,
    #[error("the body could not be received")]
    BodyBroken,
    #[error("the batch is not a JSON array of events")]
    BatchInvalid,
    #[error("the batch has {events} events, more than {limit}")]
    BatchTooLarge { events: usize, limit: usize },
}

impl Fault {
    /// A body that could not be read: too large, or broken off.
    pub(super) fn of_body(error: &axum::Error, limit: usize) -> Self {
        let too_large = error
            .source()
            .is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
        if too_large {
            Self::BodyTooLarge(limit)
        } else {
            Self::BodyBroken
        }
    }

    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::TokenMissing => "TokenMissing",
            Self::TokenWrong => "TokenWrong",
            Self::TokenUnavailable => "TokenUnavailable",
            Self::ContentType(_) => "ContentTypeUnsupported",
            Self::HeaderInvalid(_) => "HeaderInvalid",
            Self::BodyTooLarge(_) => "BodyTooLarge",
            Self::BodyTooSlow => "BodyTooSlow",
            Self::BodyBroken => "BodyBroken",
            Self::BatchInvalid => "BatchInvalid",
            Self::BatchTooLarge { .. } => "BatchTooLarge",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::TokenMissing | Self::TokenWrong => StatusCode::UNAUTHORIZED,
            Self::TokenUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge(_) | Self::BatchTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::HeaderInvalid(_) | Self::BodyBroken | Self::BatchInvalid => StatusCode::BAD_REQUEST,
        }
    }
}

/// The answer to a request that was not taken.
pub(super) fn of_fault(fault: &Fault) -> Response {
    let status = fault.status();
    let mut response = problem(status, fault.reason(), &fault.to_string(), None);
    if status == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        retry_after(&mut response, Duration::from_secs(10));
    }
    response
}

/// The answer to a request whose events were taken, one or several.
pub(super) fn of_fates(fates: &[Fate]) -> Response {
    let longest = fates.iter().filter_map(|fate| match fate {
        Fate::Retry { after, .. } => Some(*after),
        Fate::Done | Fate::Refused { .. } | Fate::SetAside { .. } => None,
    });
    let refused = fates.iter().find_map(|fate| match fate {
        Fate::Refused { reason, detail } => Some((StatusCode::BAD_REQUEST, *reason, detail.as_str())),
        Fate::SetAside { reason, detail } => Some((StatusCode::UNPROCESSABLE_ENTITY, *reason, detail.as_str())),
        Fate::Done | Fate::Retry { .. } => None,
    });
    let events = (fates.len() > 1).then(|| fates.iter().enumerate().filter_map(event).collect());
    // Whoever sends all of them again meets what is settled already: that is harmless.
    match (longest.max(), refused) {
        (Some(after), _) => {
            let detail = match fates {
                [Fate::Retry { detail, .. }] => detail,
                _ => "some events of the batch are not settled",
            };
            let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "NotSettled", detail, events);
            retry_after(&mut response, after);
            response
        }
        (None, Some((status, reason, detail))) => match events {
            Some(_) => problem(
                StatusCode::BAD_REQUEST,
                "BatchRefused",
                "some events of the batch are refused",
                events,
            ),
            None => problem(status, reason, detail, None),
        },
        (None, None) => StatusCode::NO_CONTENT.into_response(),
    }
}

/// What a batch's answer says of an event that is not done.
fn event((index, fate): (usize, &Fate)) -> Option<Value> {
    match fate {
        Fate::Done => None,
        Fate::Retry { after, detail } => Some(
            json!({"index": index, "reason": "NotSettled", "detail": detail, "retryAfterSeconds": seconds(*after)}),
        ),
        Fate::Refused { reason, detail } | Fate::SetAside { reason, detail } => {
            Some(json!({"index": index, "reason": reason, "detail": detail}))
        }
    }
}

fn problem(status: StatusCode, reason: &str, detail: &str, events: Option<Vec<Value>>) -> Response {
    let mut body = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or_default(),
        "status": status.as_u16(),
        "reason": reason,
        "detail": detail,
    });
    if let Some(events) = events {
        body["events"] = Value::Array(events);
    }
    (
        status,
        [(header::CONTENT_TYPE, "application/problem+json")],
        body.to_string(),
    )
        .into_response()
}

fn retry_after(response: &mut Response, after: Duration) {
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(seconds(after)));
}

/// Rounded up: `Retry-After: 0` would make a sender hammer.
fn seconds(after: Duration) -> u64 {
    (after.as_secs() + u64::from(after.subsec_nanos() > 0)).max(1)
}
