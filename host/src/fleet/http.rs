//! Carries requests over HTTP.

use std::{error::Error as _, time::Duration};

use async_trait::async_trait;
use reqwest::{
    Certificate, Method,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};

use super::{
    address::Base,
    settings::{BuildError, Settings},
    transport::{Request, Response, Transport, TransportError},
};

/// No answer of the API is larger: a page has at most 100 rows.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);

/// The API's server.
pub(super) struct Http {
    client: reqwest::Client,
    base: Base,
}

impl Http {
    pub(super) fn new(settings: &Settings, base: Base) -> Result<Self, BuildError> {
        // The library needs a process-wide choice of cryptography. Whoever chose before is right.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("berth/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            // A proxy would see the token.
            .no_proxy()
            .connect_timeout(CONNECT.min(settings.attempt_timeout));
        if let Some(path) = &settings.ca_file {
            let pem = std::fs::read(path).map_err(|cause| BuildError::CaFile {
                path: path.clone(),
                cause,
            })?;
            let authorities = Certificate::from_pem_bundle(&pem).map_err(|cause| BuildError::CaContent {
                path: path.clone(),
                cause: Some(cause),
            })?;
            if authorities.is_empty() {
                return Err(BuildError::CaContent {
                    path: path.clone(),
                    cause: None,
                });
            }
            builder = builder.tls_certs_only(authorities);
        } else if settings.url.scheme() == "http" {
            // Without TLS, the absence of certificates on the system is no error.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|cause| match &settings.ca_file {
            // Certificates are decoded only here.
            Some(path) => BuildError::CaContent {
                path: path.clone(),
                cause: Some(cause),
            },
            None => BuildError::Http { cause },
        })?;
        Ok(Self { client, base })
    }
}

#[async_trait]
impl Transport for Http {
    async fn exchange(&self, request: Request) -> Result<Response, TransportError> {
        let limit = request.timeout;
        let request = self.build(request)?;
        let mut response = self
            .client
            .execute(request)
            .await
            .map_err(|error| failed(error, limit))?;
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(error, limit))? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(TransportError::TooLarge(LARGEST_ANSWER));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status, headers, body })
    }
}

impl Http {
    fn build(&self, request: Request) -> Result<reqwest::Request, TransportError> {
        let invalid = |problem: String| TransportError::Invalid(problem);
        let url = self
            .base
            .join(&request.target)
            .map_err(|error| invalid(error.to_string()))?;
        let method =
            Method::from_bytes(request.method.as_bytes()).map_err(|_| invalid("the method is not one".to_owned()))?;
        let mut headers = HeaderMap::new();
        if request.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in &request.headers {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| invalid("a header's name is not one".to_owned()))?;
            let value = HeaderValue::from_str(value)
                .map_err(|_| invalid(format!("the header `{name}` has no usable value")))?;
            headers.insert(name, value);
        }
        if let Some(token) = &request.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| invalid("the token has characters that no header has".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut builder = self
            .client
            .request(method, url)
            .headers(headers)
            .timeout(request.timeout);
        if let Some(body) = request.body {
            builder = builder.body(body);
        }
        builder.build().map_err(|error| invalid(causes(error.without_url())))
    }
}

fn failed(error: reqwest::Error, limit: Duration) -> TransportError {
    if error.is_connect() {
        TransportError::Connect(causes(error.without_url()))
    } else if error.is_timeout() {
        TransportError::Timeout(limit)
    } else if error.is_builder() {
        TransportError::Invalid(causes(error.without_url()))
    } else {
        TransportError::Broken(causes(error.without_url()))
    }
}

/// The causes of an error, without the library's own first words where there are others.
fn causes(error: reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Wrappers repeat what they wrap, or only say which of their steps failed.
        if !text.starts_with("client error (") && !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    if texts.is_empty() {
        error.to_string()
    } else {
        texts.join(": ")
    }
}
