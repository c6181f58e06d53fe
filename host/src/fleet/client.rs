//! The client: what each call sends, and what it makes of the answer.

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use berth_engine::{
    contract::{AdapterStatus, Condition, HttpAction},
    document::Document,
    effect::{FleetFault, Reported},
    report::{Metadata, Report},
    subject::Generation,
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    address::{self, Base},
    answer::{self, Echo, Page},
    clock::{Clock, SystemClock},
    exchange::{Call, Line},
    http::Http,
    retry::Repeat,
    settings::{BuildError, Settings},
    stamp::{Stamp, Stamps},
    token::TokenFile,
    transport::Transport,
};
use crate::world::Fleet;

/// Rows per page; the API's largest.
const PAGE: usize = 100;
/// No resource has so many pages of rows, one for each adapter.
const PAGES: usize = 100;
/// How often a report is sent again that the API acknowledged without storing it.
const RESENDS: u32 = 3;
/// Headers that only the client itself sets, besides those that begin with [`IDENTITY`].
const OURS: [&str; 8] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "host",
    "proxy-authorization",
    "transfer-encoding",
    "upgrade",
];

/// Headers that begin so say on whose behalf a call is made.
const IDENTITY: &str = "x-hyperfleet-";

/// A client of the HyperFleet API.
pub struct Client {
    line: Line,
    stamps: Stamps,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.line.base.text())
            .field("token", &self.line.token)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client over HTTP, by the machine's clock.
    ///
    /// # Errors
    /// When the address or the authorities' file cannot be used. The token file is first
    /// read by a call, because it may be mounted later.
    pub fn new(settings: &Settings) -> Result<Self, BuildError> {
        Self::with_clock(settings, Arc::new(SystemClock::new()))
    }

    /// A client over HTTP, by this clock. Attempts are limited in real time all the same.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn with_clock(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, BuildError> {
        let http = Http::new(settings, Base::new(&settings.url)?)?;
        if settings.token_file.is_some() && settings.url.scheme() == "http" {
            tracing::warn!(url = %settings.url, "the bearer token of the HyperFleet API is sent without encryption");
        }
        Self::over(settings, Arc::new(http), clock)
    }

    /// A client over any transport, by this clock.
    ///
    /// # Errors
    /// When the address or a limit cannot be used.
    pub fn over(settings: &Settings, transport: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Result<Self, BuildError> {
        for (setting, limit) in [
            ("timeout", settings.timeout),
            ("attempt_timeout", settings.attempt_timeout),
        ] {
            if limit.is_zero() {
                return Err(BuildError::Limit { setting });
            }
        }
        let line = Line {
            transport,
            clock,
            base: Base::new(&settings.url)?,
            token: settings.token_file.as_deref().map(TokenFile::new),
            timeout: settings.timeout,
            attempt_timeout: settings.attempt_timeout,
        };
        Ok(Self {
            line,
            stamps: Stamps::default(),
        })
    }

    /// GETs JSON, and reads it.
    async fn read<T>(
        &self,
        target: &str,
        deadline: Duration,
        read: impl FnOnce(&[u8]) -> serde_json::Result<T>,
    ) -> Result<T, FleetFault> {
        let call = Call {
            method: "GET",
            target,
            headers: &[],
            repeat: Repeat::Freely,
        };
        let answer = self.line.exchange(&self.stamps, &call, &mut || None, deadline).await?;
        let exchanged = self.line.exchanged(&call, &answer);
        if answer.success() {
            exchanged.body(read)
        } else {
            Err(exchanged.fault())
        }
    }
}

#[async_trait]
impl Fleet for Client {
    async fn get(&self, path: &str) -> Result<Document, FleetFault> {
        let target = address::target(path)?;
        let result = self.read(target, self.line.deadline(), Document::received).await;
        if result == Err(FleetFault::Gone) {
            self.stamps.forget(target);
        }
        result
    }

    async fn statuses(&self, path: &str) -> Result<Vec<AdapterStatus>, FleetFault> {
        let path = address::resource(path)?;
        let deadline = self.line.deadline();
        let mut rows: Vec<AdapterStatus> = Vec::new();
        let mut received = 0_u64;
        for number in 1..=PAGES {
            let target = format!("{path}/statuses?page={number}&size={PAGE}");
            let read = |body: &[u8]| serde_json::from_slice::<Page>(body);
            let page = self.read(&target, deadline, read).await?;
            let length = page.items.len();
            received += u64::try_from(length).unwrap_or(u64::MAX);
            for row in page.items {
                self.stamps
                    .seen(path, &row.adapter, &row.last_report_time, self.line.clock.now());
                // A row that moved to a later page while we read is there twice: the later one is newer.
                match rows.iter_mut().find(|known| known.adapter == row.adapter) {
                    Some(known) => *known = row,
                    None => rows.push(row),
                }
            }
            let complete = page.total.map_or(length < PAGE, |total| received >= total);
            if complete || length == 0 {
                return Ok(rows);
            }
        }
        Err(FleetFault::Misconfigured {
            message: format!(
                "GET {path}/statuses at {}: more than {PAGES} pages; check `url`",
                self.line.base.text()
            ),
        })
    }

    async fn report(&self, path: &str, report: &Report) -> Result<Reported, FleetFault> {
        let path = address::resource(path)?;
        let data = data(report)?;
        let target = format!("{path}/statuses");
        let call = Call {
            method: "PUT",
            target: &target,
            headers: &[],
            repeat: Repeat::Freely,
        };
        let deadline = self.line.deadline();
        let mut corrected = false;
        let mut resends = 0;
        loop {
            let mut stamp: Option<Stamp> = None;
            let mut body = || {
                // A later attempt gets a later time: an earlier one may have been executed.
                let next = self.stamps.next(path, &report.adapter, report.as_of, report.replaces);
                stamp = Some(next);
                serde_json::to_vec(&Body {
                    adapter: &report.adapter,
                    observed_generation: report.observed_generation,
                    conditions: &report.conditions,
                    data: &data,
                    metadata: Some(&report.metadata).filter(|metadata| **metadata != Metadata::default()),
                    observed_time: next.text(),
                })
                .ok()
            };
            let answer = self.line.exchange(&self.stamps, &call, &mut body, deadline).await?;
            let Some(stamp) = stamp else {
                return Err(self.line.unreachable(&call, "nothing was sent"));
            };
            let exchanged = self.line.exchanged(&call, &answer);
            match answer.response.status {
                204 => return Ok(Reported::Discarded),
                200..=299 => {
                    // What answers everything with a page of its own stores nothing.
                    let row: Option<answer::Row<'_>> = if answer.response.body.trim_ascii().is_empty() {
                        None
                    } else {
                        Some(exchanged.body(serde_json::from_slice)?)
                    };
                    match answer::echo(row.as_ref(), report, stamp.time) {
                        Echo::Ours => return Ok(Reported::Stored),
                        Echo::Other if resends < RESENDS => {
                            resends += 1;
                            if let Some(row) = row {
                                self.stamps
                                    .seen(path, &row.adapter, &row.last_report_time, self.line.clock.now());
                            }
                        }
                        Echo::Other => {
                            return Err(self.line.unreachable(
                                &call,
                                &format!("acknowledged {} times, but another row was kept", resends + 1),
                            ));
                        }
                    }
                }
                400..=499 => {
                    self.stamps.refused(path, &report.adapter, stamp);
                    // The refusal itself may have told the API's time for the first time.
                    if answer.response.status == 400 && !corrected && self.stamps.outdated(stamp) {
                        corrected = true;
                        continue;
                    }
                    let fault = exchanged.fault();
                    if fault == FleetFault::Gone {
                        self.stamps.forget(path);
                    }
                    return Err(fault);
                }
                _ => return Err(exchanged.fault()),
            }
        }
    }

    async fn send(&self, action: &HttpAction) -> Result<(u16, Value), FleetFault> {
        let target = self.line.base.relative(&action.url)?;
        let refuse = |problem: String| {
            Err(FleetFault::Rejected {
                status: 400,
                message: format!("not sent: the call `{}` {problem}", action.name),
            })
        };
        if !matches!(action.method.as_str(), "GET" | "POST" | "PUT" | "PATCH" | "DELETE") {
            return refuse(format!(
                "has the method {:?}; use GET, POST, PUT, PATCH or DELETE",
                action.method
            ));
        }
        if let Some((name, _)) = action.headers.iter().find(|(name, _)| is_ours(name)) {
            return refuse(format!("sets the header {name:?}, which only the host sets"));
        }
        let call = Call {
            method: &action.method,
            target,
            headers: &action.headers,
            repeat: Repeat::of(&action.method),
        };
        let mut body = || action.body.as_ref().map(|body| body.as_bytes().to_vec());
        let answer = self
            .line
            .exchange(&self.stamps, &call, &mut body, self.line.deadline())
            .await?;
        Ok((answer.response.status, answer::body(&answer.response)))
    }
}

fn is_ours(header: &str) -> bool {
    let header = header.to_ascii_lowercase();
    header.starts_with(IDENTITY) || OURS.contains(&header.as_str())
}

/// A report as the API takes it.
#[derive(Serialize)]
struct Body<'r> {
    adapter: &'r str,
    observed_generation: Generation,
    conditions: &'r [Condition],
    data: &'r Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'r Metadata>,
    observed_time: String,
}

/// The data of a report, if the API takes it.
fn data(report: &Report) -> Result<Cow<'_, Map<String, Value>>, FleetFault> {
    match &report.data {
        Value::Object(data) => Ok(Cow::Borrowed(data)),
        Value::Null => Ok(Cow::Owned(Map::new())),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(FleetFault::Rejected {
            status: 400,
            message: "not sent: the report has `data` that is not an object".to_owned(),
        }),
    }
}
