//! Asks a running host by its administration endpoint.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use reqwest::Method;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use super::Failure;

/// How long most answers may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Which host is asked.
#[derive(Debug, Clone, Args)]
pub(super) struct AdminArgs {
    /// The host's administration endpoint.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    admin: Url,
}

/// What a host answered.
pub(super) enum Told<T> {
    /// What was asked for.
    Answer(T),
    /// It does not know that: its own words.
    Unknown(String),
}

impl<T> Told<T> {
    /// The answer; a failure where the host does not know.
    pub(super) fn known(self) -> Result<T, Failure> {
        match self {
            Self::Answer(answer) => Ok(answer),
            Self::Unknown(detail) => Err(Failure::from(
                anyhow!("{detail}").context("the host refused with 404 Not Found"),
            )),
        }
    }
}

impl AdminArgs {
    /// GETs a path.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Told<T>, Failure> {
        let told = self.ask(&Method::GET, path, None, TIMEOUT)?;
        decoded(told)
    }

    /// POSTs to a path and waits for at most `timeout`.
    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, timeout: Duration) -> Result<Told<T>, Failure> {
        decoded(self.ask(&Method::POST, path, None, timeout)?)
    }

    /// POSTs a body where the answer has none.
    pub(super) fn send(&self, path: &str, body: &impl Serialize) -> Result<Told<()>, Failure> {
        let body = serde_json::to_value(body).context("cannot write the request")?;
        match self.ask(&Method::POST, path, Some(&body), TIMEOUT)? {
            Told::Answer(_) => Ok(Told::Answer(())),
            Told::Unknown(detail) => Ok(Told::Unknown(detail)),
        }
    }

    fn ask(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        timeout: Duration,
    ) -> Result<Told<String>, Failure> {
        // A provider that is installed already is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start")?;
        runtime.block_on(async {
            let url = self
                .admin
                .join(path)
                .context("the administration endpoint's URL cannot have a path")?;
            let client = reqwest::Client::builder()
                .timeout(timeout)
                .build()
                .context("cannot start")?;
            let mut request = client.request(method.clone(), url.clone());
            if let Some(body) = body {
                request = request.json(body);
            }
            let response = request.send().await.map_err(|error| {
                let error = anyhow::Error::new(error.without_url()).context(format!("no answer from {url}"));
                Failure::from(error).with_hint("name the running host's `admin.listen` address with --admin")
            })?;
            let status = response.status();
            let text = response.text().await.map_err(|error| {
                anyhow::Error::new(error.without_url()).context(format!("no whole answer from {url}"))
            })?;
            if status.is_success() {
                return Ok(Told::Answer(text));
            }
            let problem: Value = serde_json::from_str(&text).unwrap_or_default();
            let detail = problem["detail"].as_str().unwrap_or("it gave no reason").to_owned();
            if status.as_u16() == 404 && problem["reason"].is_string() {
                return Ok(Told::Unknown(detail));
            }
            Err(Failure::from(
                anyhow!("{detail}").context(format!("the host refused with {status}")),
            ))
        })
    }
}

fn decoded<T: DeserializeOwned>(told: Told<String>) -> Result<Told<T>, Failure> {
    match told {
        Told::Answer(text) => {
            let answer = serde_json::from_str(&text).context("the answer is not that of a berth of this version")?;
            Ok(Told::Answer(answer))
        }
        Told::Unknown(detail) => Ok(Told::Unknown(detail)),
    }
}

/// A table with aligned columns, without blanks at the ends of lines.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        })
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
