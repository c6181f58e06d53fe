//! One request and its answer, bounded in bytes and time.

use std::{error::Error as _, time::Duration};

use reqwest::{
    RequestBuilder, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, RETRY_AFTER},
};
use serde::Deserialize;

use super::{Place, retry};
use crate::registry::{
    access::{Secrets, shown},
    check::Check,
    remote::{Cause, Fault},
};

/// How much of an unwelcome answer is read.
const LARGEST_PROBLEM: u64 = 16 << 10;

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What a manifest is called is told where it is not known.
    pub(super) fn forget_type_that_repeats(&mut self, secrets: &Secrets) {
        if self
            .header(CONTENT_TYPE.as_str())
            .is_some_and(|kind| secrets.are_in(kind))
        {
            self.headers.remove(CONTENT_TYPE);
        }
    }
}

/// Sends a request and reads the answer: at most `max` bytes of a welcome one, and the first bytes of another. The answer
/// must begin within `limit`, which has the time in it that the request takes on its way, and no piece of it may take
/// longer than `idle`.
pub(super) async fn read(
    request: RequestBuilder,
    place: &Place,
    max: u64,
    what: &str,
    limit: Duration,
    idle: Duration,
) -> Result<Answer, Fault> {
    let mut response = match tokio::time::timeout(limit, request.send()).await {
        Ok(response) => response.map_err(|error| broken(error, place, limit))?,
        Err(_) => {
            return Err(Fault::TimedOut {
                registry: place.registry.clone(),
                limit,
            });
        }
    };
    let status = response.status();
    let headers = response.headers().clone();
    let too_large = |announced| Fault::TooLarge {
        what: what.to_owned(),
        announced,
        limit: max,
    };
    let promised = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let welcome = status.is_success();
    if Check::AnswerAnnounced.finds(welcome && promised.is_some_and(|length| length > max)) {
        return Err(too_large(promised));
    }
    // None was asked for. What is small on its way may be large once it is decoded, and has another digest.
    let encoding = headers.get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes());
    let encoded = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case(b"identity"));
    if let Some(encoding) = encoded
        && Check::AnswerPlain.finds(welcome)
    {
        let encoding = shown(&String::from_utf8_lossy(encoding));
        return Err(Fault::Malformed {
            message: format!("{what} is encoded as `{encoding}`, which was not asked for"),
        });
    }
    let mut body = Vec::new();
    loop {
        let chunk = tokio::time::timeout(idle, response.chunk()).await;
        let Ok(chunk) = chunk else {
            if !welcome {
                break;
            }
            return Err(Fault::TimedOut {
                registry: place.registry.clone(),
                limit: idle,
            });
        };
        let chunk = match chunk {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            // What an unwelcome answer says is a courtesy.
            Err(_) if !welcome => break,
            Err(error) if error.is_timeout() => return Err(broken(error, place, limit)),
            Err(error) => {
                let got = body.len() as u64;
                return Err(match promised {
                    Some(expected) if Check::AnswerWhole.finds(got < expected) => Fault::Truncated {
                        what: what.to_owned(),
                        expected,
                        got,
                    },
                    Some(_) | None => broken(error, place, limit),
                });
            }
        };
        let most = if welcome { max } else { LARGEST_PROBLEM };
        if Check::AnswerBytes.finds((body.len() + chunk.len()) as u64 > most) {
            if welcome {
                return Err(too_large(None));
            }
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body })
}

/// Why there is no answer. The address is left out: it may have been redirected to, and hold a signature.
fn broken(error: reqwest::Error, place: &Place, limit: Duration) -> Fault {
    let registry = place.registry.clone();
    let error = error.without_url();
    if error.is_timeout() {
        return Fault::TimedOut { registry, limit };
    }
    let mut cause = error.source();
    let mut tls = false;
    while let Some(inner) = cause {
        tls |= is_tls(inner);
        cause = inner.source();
    }
    let source = Cause::from(error);
    if tls {
        Fault::Tls { registry, source }
    } else {
        Fault::Unreachable { registry, source }
    }
}

/// Errors of TLS come inside of errors of input and output, sometimes twice.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let inner = error
        .downcast_ref::<std::io::Error>()
        .and_then(|error| error.get_ref())
        .map(|inner| inner as &(dyn std::error::Error + 'static));
    error.is::<rustls::Error>() || inner.is_some_and(is_tls)
}

#[derive(Deserialize)]
struct Problems {
    errors: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Whose answer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The registry's, or its token server's.
    Own,
    /// Somebody's whom it redirected to. What that one says is nobody's business here.
    Others,
}

/// What an unwelcome answer means. A registry may repeat what it was sent, so `secrets` are looked for in it.
pub(super) fn fault(answer: &Answer, place: &Place, what: &str, secrets: &Secrets, whose: Whose) -> Fault {
    let registry = place.registry.clone();
    let message = || match whose {
        Whose::Own => message(&answer.body, secrets),
        Whose::Others => "it comes from where the registry redirects to, and is left out".to_owned(),
    };
    let wish = || {
        let text = answer.header(RETRY_AFTER.as_str())?;
        retry::retry_after(text, jiff::Timestamp::now())
    };
    match answer.status.as_u16() {
        401 => Fault::Unauthorized { registry },
        403 => Fault::Forbidden {
            registry,
            message: message(),
        },
        404 => Fault::NotFound { what: what.to_owned() },
        429 => Fault::RateLimited {
            registry,
            retry_after: wish(),
        },
        status @ (408 | 500..) => match wish().filter(|_| status == 503) {
            Some(retry_after) => Fault::Busy {
                registry,
                status,
                retry_after,
            },
            None => Fault::Failed { registry, status },
        },
        status => Fault::Refused {
            registry,
            status,
            message: message(),
        },
    }
}

fn message(body: &[u8], secrets: &Secrets) -> String {
    let text = match serde_json::from_slice::<Problems>(body) {
        Ok(Problems { errors }) => match errors.into_iter().next() {
            Some(Problem { code, message }) if message.is_empty() => code,
            Some(Problem { message, .. }) => message,
            None => String::new(),
        },
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    match text.trim() {
        text if secrets.are_in(text) => "its message repeats a credential and is left out".to_owned(),
        "" => "it says nothing more".to_owned(),
        text => shown(text),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn told_by(whose: Whose, status: u16, body: &str) -> String {
        let place = Place::new("a.io", &BTreeSet::new(), Vec::new()).unwrap();
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::from_iter([(RETRY_AFTER, "9".parse().unwrap())]),
            body: body.into(),
        };
        let mut secrets = Secrets::default();
        secrets.add("hunter2");
        fault(&answer, &place, "manifest `1`", &secrets, whose).to_string()
    }

    fn told(status: u16, body: &str) -> String {
        told_by(Whose::Own, status, body)
    }

    #[test]
    fn an_unwelcome_answer_tells_what_the_registry_says() {
        let denied = r#"{"errors": [{"code": "DENIED", "message": "quota\u001b exceeded"}]}"#;
        assert_eq!(told(403, denied), "the registry `a.io` forbids it: quota  exceeded");
        assert_eq!(
            told(405, r#"{"errors": [{"code": "UNSUPPORTED"}]}"#),
            "the registry `a.io` refused with status 405: UNSUPPORTED"
        );
        assert_eq!(told(404, denied), "the registry has no manifest `1`");
        assert_eq!(
            told_by(Whose::Others, 403, denied),
            "the registry `a.io` forbids it: it comes from where the registry redirects to, and is left out"
        );
        assert_eq!(told(502, ""), "the registry `a.io` failed with status 502");
        assert_eq!(
            told(503, ""),
            "the registry `a.io` failed with status 503; it may be asked again in 9 s"
        );
        assert_eq!(
            told(429, ""),
            "the registry `a.io` limits our rate; it may be asked again in 9 s"
        );
    }

    #[test]
    fn a_registry_that_repeats_credentials_is_not_quoted() {
        for body in [
            "you sent hunter2",
            "you sent aHVudGVyMg==",
            r#"{"errors": [{"message": "Authorization: Basic aHVudGVyMg=="}]}"#,
        ] {
            let told = told(400, body);
            assert!(told.ends_with("repeats a credential and is left out"), "{told}");
        }
    }
}
