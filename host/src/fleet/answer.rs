//! What an answer of the API means.

use std::{borrow::Cow, time::Duration};

use berth_engine::{
    contract::{AdapterStatus, Condition, Truth},
    effect::FleetFault,
    report::Report,
    subject::Generation,
};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::{retry::transient, transport::Response};

/// The code of a 404 that speaks of a resource; any other 404 speaks of the URL.
const NO_SUCH_RESOURCE: &str = "HYPERFLEET-NTF-001";
/// How much of the API's words is passed on.
const LONGEST_DETAIL: usize = 500;

/// A request and its answer, as far as a message needs them.
#[derive(Clone, Copy)]
pub(super) struct Exchanged<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) base: &'a str,
    pub(super) token: Option<&'a str>,
    pub(super) response: &'a Response,
    pub(super) retry_after: Option<Duration>,
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    pub(super) total: Option<u64>,
    pub(super) items: Vec<AdapterStatus>,
}

/// What RFC 9457 calls a problem, as far as we need it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    title: String,
    detail: String,
}

impl<'a> Exchanged<'a> {
    /// What a status other than 2xx means.
    pub(super) fn fault(self) -> FleetFault {
        let status = self.response.status;
        let problem: Problem = serde_json::from_slice(&self.response.body).unwrap_or_default();
        if status == 404 && problem.code == NO_SUCH_RESOURCE {
            return FleetFault::Gone;
        }
        let message = self.message(&problem);
        if transient(status) {
            return FleetFault::Unreachable {
                message,
                retry_after: self.retry_after,
            };
        }
        match status {
            300..=399 => {
                let location = self.clean(self.response.header("location").unwrap_or("nowhere"));
                FleetFault::Misconfigured {
                    message: format!("{message}: a redirect to {location:?}, which is not followed; check `url`"),
                }
            }
            401 => FleetFault::Misconfigured {
                message: format!("{message}; check the token file and its audience"),
            },
            403 => FleetFault::Misconfigured {
                message: format!("{message}; check the rights of this identity"),
            },
            404 => FleetFault::Misconfigured {
                message: format!("{message}; check `url` and the resource's path"),
            },
            _ => FleetFault::Rejected { status, message },
        }
    }

    /// The body of a success, or that it cannot be read: then something else than the API answers.
    pub(super) fn body<T>(self, read: impl FnOnce(&'a [u8]) -> serde_json::Result<T>) -> Result<T, FleetFault> {
        read(&self.response.body).map_err(|error| FleetFault::Misconfigured {
            message: format!(
                "{}, but not as the HyperFleet API does ({}); check `url`",
                self.message(&Problem::default()),
                self.clean(&error.to_string()),
            ),
        })
    }

    /// What was asked and answered.
    fn message(self, problem: &Problem) -> String {
        let Self {
            method,
            target,
            base,
            response,
            ..
        } = self;
        let words = match (problem.code.as_str(), problem.detail.as_str(), problem.title.as_str()) {
            ("", "", "") => String::new(),
            ("", "", title) => format!(": {title}"),
            ("", detail, _) => format!(": {detail}"),
            (code, "", title) => format!(": {code} {title}"),
            (code, detail, _) => format!(": {code} {detail}"),
        };
        format!(
            "{method} {target} at {base} answered {}{}",
            response.status,
            self.clean(&words)
        )
    }

    /// A server's words without our token, should it send it back, and not too many.
    fn clean(self, words: &str) -> String {
        let words = match self.token {
            Some(token) => words.replace(token, "[token]"),
            None => words.to_owned(),
        };
        match words.char_indices().nth(LONGEST_DETAIL) {
            Some((end, _)) => format!("{}…", &words[..end]),
            None => words,
        }
    }
}

/// Which row a 201 returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Echo {
    /// The one that was sent, or no row at all.
    Ours,
    /// Another: the API kept the row that it had.
    Other,
}

/// A row as the API answers a report with it, as far as it is compared. Most texts are those of the answer itself.
#[derive(Debug, Deserialize)]
pub(super) struct Row<'a> {
    #[serde(borrow)]
    pub(super) adapter: Cow<'a, str>,
    observed_generation: Generation,
    #[serde(borrow, default)]
    conditions: Vec<RowCondition<'a>>,
    #[serde(borrow, default)]
    pub(super) last_report_time: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
struct RowCondition<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    status: Truth,
    #[serde(borrow, default)]
    reason: Cow<'a, str>,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
}

impl PartialEq<Condition> for RowCondition<'_> {
    fn eq(&self, other: &Condition) -> bool {
        self.kind == other.kind
            && self.status == other.status
            && self.reason == other.reason
            && self.message == other.message
    }
}

/// Compares the row that the API returned with what was sent. Some answer without a row.
///
/// At equal times the API keeps the stored row, so the time alone proves nothing. Data is
/// left out: the API may write numbers differently.
pub(super) fn echo(row: Option<&Row<'_>>, report: &Report, sent: Timestamp) -> Echo {
    let Some(row) = row else {
        return Echo::Ours;
    };
    let time = row.last_report_time.parse::<Timestamp>();
    // A store with a coarser resolution than ours is no reason to doubt.
    let is_other_time = time.is_ok_and(|time| time.duration_since(sent).abs() >= SignedDuration::from_millis(1));
    let same = !is_other_time
        && row.observed_generation == report.observed_generation
        && row.conditions.len() == report.conditions.len()
        // Of each kind there is one.
        && row.conditions.iter().all(|one| report.conditions.iter().any(|other| one == other));
    if same { Echo::Ours } else { Echo::Other }
}

/// A body as JSON where it is that, else as text.
pub(super) fn body(response: &Response) -> Value {
    if response.body.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(&response.body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&response.body).into_owned()))
}
