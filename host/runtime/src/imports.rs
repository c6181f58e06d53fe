//! The imports `log`, `fleet`, `cluster` and `http`: checked by [`crate::grants`], answered by
//! [`HostCalls`](crate::hosts::HostCalls), bounded in time and size.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use berth_engine::{canonical, contract::Reference};
use serde_json::Value;

use crate::{
    bindings::imported::{cluster, fleet, http, log, types},
    convert::{from_guest, to_guest},
    grants::{self, FleetQuestion, HttpWish, Search},
    hosts::{ClusterRefusal, DEFAULT_HTTP_TIMEOUT, FleetRefusal, HttpRefusal},
    journal::Level,
    state::{State, Violation},
};

/// The largest body of an HTTP answer, in bytes; `limits.output` may be less.
const MAX_BODY: usize = 1 << 20;

/// The longest list of objects.
const MAX_OBJECTS: usize = 500;

impl State {
    /// Waits for the host, within what is left of its time.
    async fn ask<F: Future>(&mut self, question: F) -> wasmtime::Result<F::Output> {
        let since = Instant::now();
        let answer = self
            .meter
            .outside(tokio::time::timeout(self.access.time_left, question))
            .await;
        self.access.time_left = self.access.time_left.saturating_sub(since.elapsed());
        answer.map_err(|_elapsed| Violation::HostTime.into())
    }

    async fn ask_fleet(&mut self, question: FleetQuestion) -> wasmtime::Result<Result<String, fleet::Error>> {
        let question = match grants::fleet(&self.access.grants, &self.access.known, question) {
            Ok(question) => question,
            Err(denied) => return Ok(Err(fleet::Error::Denied(denied.to_string()))),
        };
        let host = self.access.host.clone();
        let answer = self.ask(host.fleet(&question)).await?;
        Ok(match answer {
            Ok(value) => self.fitting(&value).map_err(fleet::Error::Unavailable),
            Err(FleetRefusal::NotFound(problem)) => Err(fleet::Error::NotFound(self.fitting_or_told(&problem))),
            Err(FleetRefusal::Unavailable(why)) => Err(fleet::Error::Unavailable(why)),
            Err(FleetRefusal::Rejected { status, body }) => Err(fleet::Error::Rejected(fleet::Rejection {
                status,
                body: self.fitting_or_told(&body),
            })),
        })
    }

    /// The text of an answer, if it is not larger than what may cross the boundary.
    fn fitting(&self, value: &Value) -> Result<String, String> {
        let text = canonical::text(value);
        if text.len() <= self.output {
            Ok(text)
        } else {
            Err(self.too_large(text.len()))
        }
    }

    /// The text of what an API says beside its refusal; where it is too large, a text that says so in its place.
    fn fitting_or_told(&self, value: &Value) -> String {
        self.fitting(value)
            .unwrap_or_else(|why| canonical::text(&Value::String(why)))
    }

    fn too_large(&self, size: usize) -> String {
        format!(
            "the answer has {size} bytes, more than the {} of `limits.output`",
            self.output
        )
    }
}

impl types::Host for State {}

impl log::Host for State {
    async fn emit(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self.journal.write(level, &message);
        Ok(())
    }
}

impl fleet::Host for State {
    async fn get(&mut self, path: String) -> wasmtime::Result<Result<String, fleet::Error>> {
        self.ask_fleet(FleetQuestion {
            method: "GET".to_owned(),
            path,
            headers: Vec::new(),
            body: None,
        })
        .await
    }

    async fn query(&mut self, lookup: fleet::Lookup) -> wasmtime::Result<Result<String, fleet::Error>> {
        let body = match lookup.body.as_deref().map(serde_json::from_str).transpose() {
            Ok(body) => body,
            Err(error) => {
                let body = canonical::text(&Value::String(format!("the body is not JSON: {error}")));
                return Ok(Err(fleet::Error::Rejected(fleet::Rejection { status: 400, body })));
            }
        };
        let headers = from_guest::pairs(lookup.headers);
        self.ask_fleet(FleetQuestion {
            method: lookup.method,
            path: lookup.path,
            headers,
            body,
        })
        .await
    }
}

impl cluster::Host for State {
    async fn get(&mut self, target: types::Reference) -> wasmtime::Result<Result<String, cluster::Error>> {
        let access = &self.access;
        let target: Reference = from_guest::reference(target);
        let target = match grants::get(&access.grants, &access.known, &access.namespace, target) {
            Ok(target) => target,
            Err(denied) => return Ok(Err(cluster::Error::Denied(denied.to_string()))),
        };
        let host = access.host.clone();
        let answer = self.ask(host.cluster_get(&target)).await?;
        Ok(match answer {
            Ok(value) => self.fitting(&value).map_err(cluster::Error::Rejected),
            Err(refusal) => Err(cluster_error(refusal)),
        })
    }

    async fn find(&mut self, search: cluster::Search) -> wasmtime::Result<Result<Vec<String>, cluster::Error>> {
        let access = &self.access;
        let search = Search {
            api_version: search.api_version,
            kind: search.kind,
            namespace: search.namespace,
            labels: from_guest::pairs(search.labels),
        };
        let search = match grants::find(&access.grants, &access.namespace, search) {
            Ok(search) => search,
            Err(denied) => return Ok(Err(cluster::Error::Denied(denied.to_string()))),
        };
        let host = access.host.clone();
        let answer = self.ask(host.cluster_find(&search)).await?;
        Ok(match answer {
            Ok(mut objects) => {
                objects.truncate(MAX_OBJECTS);
                let texts: Vec<_> = objects.iter().map(canonical::text).collect();
                let size = texts.iter().map(String::len).sum::<usize>();
                if size <= self.output {
                    Ok(texts)
                } else {
                    Err(cluster::Error::Rejected(self.too_large(size)))
                }
            }
            Err(refusal) => Err(cluster_error(refusal)),
        })
    }
}

fn cluster_error(refusal: ClusterRefusal) -> cluster::Error {
    match refusal {
        ClusterRefusal::Denied(role) => cluster::Error::Denied(role),
        ClusterRefusal::NotFound => cluster::Error::NotFound,
        ClusterRefusal::Unavailable(why) => cluster::Error::Unavailable(why),
        ClusterRefusal::Rejected(why) => cluster::Error::Rejected(why),
    }
}

impl http::Host for State {
    async fn send(&mut self, request: http::Request) -> wasmtime::Result<Result<http::Response, http::Error>> {
        let wanted = request
            .timeout_ms
            .map_or(DEFAULT_HTTP_TIMEOUT, |ms| Duration::from_millis(ms.into()));
        let wish = HttpWish {
            method: request.method,
            url: request.url,
            headers: from_guest::pairs(request.headers),
            body: request.body,
            timeout: wanted.min(self.access.time_left),
            max_body: MAX_BODY.min(self.output),
        };
        let question = match grants::http(&self.access.grants, wish) {
            Ok(question) => question,
            Err(denied) => return Ok(Err(http::Error::Denied(denied.to_string()))),
        };
        let host = self.access.host.clone();
        let answer = if wanted < self.access.time_left {
            match self.ask(tokio::time::timeout(wanted, host.http(&question))).await? {
                Ok(answer) => answer,
                Err(_elapsed) => Err(HttpRefusal::Unavailable(format!("no answer within {wanted:?}"))),
            }
        } else {
            self.ask(host.http(&question)).await?
        };
        Ok(match answer {
            Ok(answer) if answer.body.len() > question.max_body => Err(http::Error::TooLarge),
            Ok(answer) => Ok(http::Response {
                status: answer.status,
                headers: answer
                    .headers
                    .iter()
                    .map(|(name, value)| to_guest::pair(name, value))
                    .collect(),
                body: answer.body,
            }),
            Err(HttpRefusal::Unavailable(why)) => Err(http::Error::Unavailable(why)),
            Err(HttpRefusal::TooLarge) => Err(http::Error::TooLarge),
        })
    }
}
