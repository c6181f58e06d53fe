//! The client of the Kubernetes API: kube's own, over connections that are not kept for long.

use std::time::Duration;

use http::Uri;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kube::client::{Body, ConfigExt as _};
use tower::{BoxError, ServiceBuilder, timeout::Timeout, util::BoxCloneSyncService};

/// How many connections wait for the next call at most: a burst opens one for each call, each takes 50 KB here and
/// more in the API server.
const IDLE: usize = 8;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);

/// A client for this configuration.
///
/// # Errors
/// When what it says of certificates, credentials or headers cannot be used.
pub(super) fn client(mut config: kube::Config) -> Result<kube::Client, kube::Error> {
    // It would try for minutes and tell nobody; see `wire`.
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    // What kube says of proxies is its own.
    if config.proxy_url.is_some() {
        return kube::Client::try_from(config);
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let tls = config.rustls_https_connector_with_connector(tcp)?;
    let http = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(IDLE)
        .build::<_, Body>(BoxCloneSyncService::<Uri, _, BoxError>::new(Timeout::new(tls, CONNECT)));
    let namespace = config.default_namespace.clone();
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(kube::Client::new(service, namespace))
}
