//! Carries requests over HTTP.

use std::{
    error::Error,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use ::http::{
    HeaderName, HeaderValue, Method, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use anyhow::Chain;
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::{net::TcpStream, time::error::Elapsed};
use tower::{BoxError, Service};

use super::{
    address::Base,
    settings::{BuildError, Settings},
    transport::{Request, Response, Transport, TransportError},
};

/// No answer of the API is larger: a page has at most 100 rows.
const LARGEST_ANSWER: usize = 8 * 1024 * 1024;
/// How long a connection may take to be made, with its TLS.
const CONNECT: Duration = Duration::from_secs(2);
/// How many connections wait for the next call at most: as many as reconciles run at once, unless the settings say
/// otherwise. Of fewer, some are closed and made again in every burst.
const IDLE: usize = 64;
/// A connection whose other end is gone without a word is given up after this and thrice [`PROBE`].
const QUIET: Duration = Duration::from_secs(15);
const PROBE: Duration = Duration::from_secs(15);
/// The same of one with something on its way, where the system can.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Makes connections, each within a time. Copied for every request, also where none is made.
#[derive(Clone)]
struct Connector {
    https: HttpsConnector<HttpConnector>,
    patience: Duration,
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connected = tokio::time::timeout(self.patience, self.https.call(to));
        Box::pin(async move { connected.await? })
    }
}

/// The API's server.
///
/// The client follows no redirect and asks no proxy, so that nobody else sees the token.
pub(super) struct Http {
    client: Client<Connector, Full<Bytes>>,
    base: Base,
    patience: Duration,
}

impl Http {
    pub(super) fn new(settings: &Settings, base: Base) -> Result<Self, BuildError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(QUIET));
        tcp.set_keepalive_interval(Some(PROBE));
        tcp.set_keepalive_retries(Some(3));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(trusting(settings)?)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let patience = CONNECT.min(settings.attempt_timeout);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE)
            .build(Connector { https, patience });
        Ok(Self { client, base, patience })
    }

    async fn answered(&self, request: ::http::Request<Full<Bytes>>) -> Result<Response, TransportError> {
        let response = self.client.request(request).await.map_err(|error| {
            if error.is_connect() {
                TransportError::Connect(if is_late(&error) {
                    format!("no connection within {:?}", self.patience)
                } else {
                    causes(&error)
                })
            } else {
                TransportError::Broken(causes(&error))
            }
        })?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                TransportError::TooLarge(LARGEST_ANSWER)
            } else {
                TransportError::Broken(causes(error.as_ref()))
            }
        })?;
        Ok(Response {
            status: head.status.as_u16(),
            headers: Box::new(head.headers),
            body: body.to_bytes(),
        })
    }

    fn build(&self, request: Request) -> Result<::http::Request<Full<Bytes>>, TransportError> {
        let invalid = |problem: String| TransportError::Invalid(problem);
        let method =
            Method::from_bytes(request.method.as_bytes()).map_err(|_| invalid("the method is not one".to_owned()))?;
        let uri = self
            .base
            .join(&request.target)
            .map_err(|error| invalid(error.to_string()))?;
        let body = request.body.map(Bytes::from);
        let has_body = body.is_some();
        let mut built = ::http::Request::new(Full::new(body.unwrap_or_default()));
        *built.method_mut() = method;
        *built.uri_mut() = uri;
        let headers = built.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("berth/", env!("CARGO_PKG_VERSION"))),
        );
        if has_body {
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
        Ok(built)
    }
}

#[async_trait]
impl Transport for Http {
    async fn exchange(&self, request: Request) -> Result<Response, TransportError> {
        let limit = request.timeout;
        let answered = self.answered(self.build(request)?);
        tokio::time::timeout(limit, answered)
            .await
            .unwrap_or(Err(TransportError::Timeout(limit)))
    }
}

/// TLS that trusts whom the settings name.
fn trusting(settings: &Settings) -> Result<ClientConfig, BuildError> {
    let tls = |cause| BuildError::Tls { cause };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(tls)?;
    let builder = match &settings.ca_file {
        Some(path) => builder.with_root_certificates(authorities(path)?),
        // Without TLS, the absence of certificates on the system is no error.
        None if settings.url.scheme() == "http" => builder.with_root_certificates(RootCertStore::empty()),
        None => builder.with_platform_verifier().map_err(tls)?,
    };
    Ok(builder.with_no_client_auth())
}

/// The certificates of a file, one at least.
fn authorities(path: &std::path::Path) -> Result<RootCertStore, BuildError> {
    let pem = std::fs::read(path).map_err(|cause| BuildError::CaFile {
        path: path.to_owned(),
        cause,
    })?;
    let unusable = |cause: Option<Box<dyn Error + Send + Sync>>| BuildError::CaContent {
        path: path.to_owned(),
        cause,
    };
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|cause| unusable(Some(Box::new(cause))))?;
        authorities
            .add(certificate)
            .map_err(|cause| unusable(Some(Box::new(cause))))?;
    }
    if authorities.is_empty() {
        return Err(unusable(None));
    }
    Ok(authorities)
}

/// Whether a connection took too long to be made.
fn is_late(error: &(dyn Error + 'static)) -> bool {
    Chain::new(error).any(<dyn Error>::is::<Elapsed>)
}

/// What an error and its causes say, once each.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for error in Chain::new(error) {
        let text = error.to_string();
        // Wrappers repeat what they wrap, or only say which of their steps failed.
        if !text.starts_with("client error (") && !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
    }
    if texts.is_empty() {
        error.to_string()
    } else {
        texts.join(": ")
    }
}
