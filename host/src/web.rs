//! Calls to servers other than the two APIs, for plugins that are granted them.
//!
//! Never follows a redirect, never sends a credential of its own, never reads more than it
//! was asked to.

use std::sync::Once;

use async_trait::async_trait;
use berth_runtime::hosts::{HttpAnswer, HttpQuestion, HttpRefusal};

use crate::world::Web;

/// A client for other servers.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
}

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
#[error("no client for other servers can be made")]
pub struct BuildError(#[source] reqwest::Error);

static PROVIDER: Once = Once::new();

impl Client {
    /// A client with the system's certificates.
    ///
    /// # Errors
    /// When the system's certificates cannot be used.
    pub fn new() -> Result<Self, BuildError> {
        PROVIDER.call_once(|| {
            // Another provider may be there already, which is as good.
            drop(rustls::crypto::ring::default_provider().install_default());
        });
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(BuildError)?;
        Ok(Self { http })
    }
}

#[async_trait]
impl Web for Client {
    async fn send(&self, question: &HttpQuestion) -> Result<HttpAnswer, HttpRefusal> {
        let unavailable = |error: reqwest::Error| HttpRefusal::Unavailable(chain(&error.without_url()));
        let method = reqwest::Method::from_bytes(question.method.as_bytes())
            .map_err(|_| HttpRefusal::Unavailable(format!("`{}` is not a method", question.method)))?;
        let mut request = self
            .http
            .request(method, question.url.clone())
            .timeout(question.timeout);
        for (name, value) in &question.headers {
            request = request.header(name, value);
        }
        if let Some(body) = &question.body {
            request = request.body(body.clone());
        }
        let mut response = request.send().await.map_err(unavailable)?;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
            .collect();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
            if body.len() + chunk.len() > question.max_body {
                return Err(HttpRefusal::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpAnswer { status, headers, body })
    }
}

/// An error with all its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail by panicking")]

    use std::time::Duration;

    use axum::{Router, response::Redirect, routing::get};

    use super::*;

    async fn ask(path: &str, max_body: usize) -> Result<HttpAnswer, HttpRefusal> {
        let router = Router::new()
            .route("/text", get(|| async { "0123456789" }))
            .route("/away", get(|| async { Redirect::temporary("/text") }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{path}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let question = HttpQuestion {
            method: "GET".into(),
            url,
            headers: Vec::new(),
            body: None,
            timeout: Duration::from_secs(60),
            max_body,
        };
        let answer = Client::new().unwrap().send(&question).await;
        server.abort();
        answer
    }

    #[tokio::test]
    async fn a_body_up_to_the_limit_is_read() {
        assert_eq!(ask("/text", 10).await.unwrap().body, b"0123456789");
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused() {
        assert_eq!(ask("/text", 9).await, Err(HttpRefusal::TooLarge));
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_is_not_followed() {
        assert_eq!(ask("/away", 10).await.unwrap().status, 307);
    }
}
