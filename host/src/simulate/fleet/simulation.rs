//! The state that its users share, with a clock, credentials and faults.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::header::RETRY_AFTER;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    problem::{self, Trouble},
    sentinel::Cadence,
    state::FleetState,
};
use crate::fleet::{Clock, Response};

/// What goes wrong with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status and nothing is done.
    Status {
        /// The status.
        status: u16,
        /// What `Retry-After` says.
        retry_after: Option<Duration>,
    },
    /// The connection is dropped before anything is done.
    Dropped,
    /// The connection is dropped after everything was done.
    AnswerLost,
    /// The answer comes so much later.
    Slow(Duration),
    /// A report is acknowledged with the row that is stored already, and not stored. Waits
    /// for a report that would replace a row.
    Swallowed,
}

/// What a caller gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An answer, after a while.
    Answered { after: Duration, response: Response },
    /// A broken connection.
    Dropped,
}

/// One request as it arrives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) authorization: Option<&'a str>,
    pub(super) body: &'a [u8],
}

/// An API that several users share: a server, a client in memory, and whoever arranges.
pub struct Simulation {
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
}

struct Inner {
    state: FleetState,
    down: bool,
    faults: VecDeque<Fault>,
    token: Option<String>,
    requests: Vec<String>,
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let inner = self.lock();
        f.debug_struct("Simulation")
            .field("state", &inner.state)
            .field("down", &inner.down)
            .finish_non_exhaustive()
    }
}

impl Simulation {
    /// Shares this state, by this clock.
    #[must_use]
    pub fn new(state: FleetState, clock: Arc<dyn Clock>) -> Arc<Self> {
        let inner = Inner {
            state,
            down: false,
            faults: VecDeque::new(),
            token: None,
            requests: Vec::new(),
        };
        Arc::new(Self {
            clock,
            inner: Mutex::new(inner),
        })
    }

    /// Looks at the state or changes it, at the clock's time.
    pub fn with<T>(&self, act: impl FnOnce(&mut FleetState, Timestamp) -> T) -> T {
        let now = self.clock.now();
        act(&mut self.lock().state, now)
    }

    /// The events of a poll of Sentinel now.
    pub fn sentinel(&self, cadence: Cadence) -> Vec<Value> {
        self.with(|state, now| state.sentinel_at(now, cadence))
    }

    /// Drops all connections from now on, or stops doing so.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// Lets the next `times` requests, after those with earlier faults, fail so.
    pub fn inject(&self, fault: &Fault, times: usize) {
        self.lock().faults.extend(std::iter::repeat_n(fault.clone(), times));
    }

    /// Accepts only this bearer token from now on; none: anybody is let in.
    pub fn require_token(&self, token: Option<&str>) {
        self.lock().token = token.map(str::to_owned);
    }

    /// Takes the list of requests that arrived since the last call: method and path with query.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().requests)
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(super) fn answer(&self, arrived: Arrived<'_>) -> Outcome {
        let Arrived {
            method,
            path,
            query,
            authorization,
            body,
        } = arrived;
        let now = self.clock.now();
        let mut inner = self.lock();
        let target = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        inner.requests.push(format!("{method} {target}"));
        if inner.down {
            return Outcome::Dropped;
        }
        let kept = || inner.state.stored_row(path, body, now).filter(|_| method == "PUT");
        let swallowed = if inner.faults.front() == Some(&Fault::Swallowed) {
            kept()
        } else {
            None
        };
        let fault = match inner.faults.front() {
            Some(Fault::Swallowed) if swallowed.is_none() => None,
            Some(_) => inner.faults.pop_front(),
            None => None,
        };
        let mut after = Duration::ZERO;
        let mut lost = false;
        match fault {
            None => {}
            Some(Fault::Status { status, retry_after }) => {
                let mut response = problem::failure(now, status, path);
                if let Some(wait) = retry_after {
                    response.headers.insert(RETRY_AFTER, wait.as_secs().into());
                }
                return Outcome::Answered { after, response };
            }
            Some(Fault::Dropped) => return Outcome::Dropped,
            Some(Fault::AnswerLost) => lost = true,
            Some(Fault::Slow(delay)) => after = delay,
            Some(Fault::Swallowed) => {
                let response = problem::success(now, 201, &swallowed.unwrap_or_default());
                return Outcome::Answered { after, response };
            }
        }
        let refused = match (&inner.token, authorization) {
            (None, _) => None,
            (Some(_), None) => Some(Trouble::Unauthenticated.because("no credentials")),
            (Some(token), Some(given)) if given.strip_prefix("Bearer ") == Some(token) => None,
            (Some(_), Some(_)) => Some(Trouble::BadCredentials.because("the token is not accepted")),
        };
        let response = match refused {
            Some(problem) => problem.response(now, path),
            None => inner.state.handle(now, method, path, query, body),
        };
        if lost {
            Outcome::Dropped
        } else {
            Outcome::Answered { after, response }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
