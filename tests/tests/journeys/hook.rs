//! A webhook that the API server calls: over TLS, on loopback, and the test can take it down.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
};

use axum::{Json, Router, routing::post};
use base64::Engine as _;
use serde_json::{Value, json};
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// A webhook server. It ends with the value.
pub(crate) struct Hook {
    address: SocketAddr,
    authority: String,
    config: Arc<ServerConfig>,
    router: Router,
    /// A runtime of its own: with it every connection ends, also those that are kept open.
    running: Mutex<Option<tokio::runtime::Runtime>>,
}

impl Hook {
    /// Starts a server of these routes on a free port.
    pub(crate) fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (authority, config) = certificates();
        let hook = Self {
            address: listener.local_addr().unwrap(),
            authority: base64::engine::general_purpose::STANDARD.encode(authority),
            config: Arc::new(config),
            router,
            running: Mutex::default(),
        };
        hook.serve(listener);
        hook
    }

    /// Takes it down.
    pub(crate) fn stop(&self) {
        if let Some(runtime) = self.running.lock().unwrap().take() {
            runtime.shutdown_background();
        }
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&self) {
        self.serve(TcpListener::bind(self.address).unwrap());
    }

    /// The `clientConfig` that calls it.
    pub(crate) fn client_config(&self) -> Value {
        json!({"url": format!("https://{}/", self.address), "caBundle": self.authority})
    }

    fn serve(&self, listener: TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (acceptor, router) = (Arc::clone(&self.config).into(), self.router.clone());
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(Tls { listener, acceptor }, router).await
        });
        *self.running.lock().unwrap() = Some(runtime);
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The routes of an admission webhook that refuses everything with this message.
pub(crate) fn refusing(message: &'static str) -> Router {
    let review = move |Json(review): Json<Value>| async move {
        let status = json!({"code": 403, "message": message});
        Json(json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "response": {"uid": review["request"]["uid"], "allowed": false, "status": status},
        }))
    };
    Router::new().route("/", post(review))
}

/// The routes of a conversion webhook: versions differ in nothing but their name.
pub(crate) fn converting() -> Router {
    let review = |Json(mut review): Json<Value>| async move {
        let request = review["request"].take();
        let wanted = &request["desiredAPIVersion"];
        let mut objects = request["objects"].as_array().cloned().unwrap_or_default();
        for object in &mut objects {
            object["apiVersion"] = wanted.clone();
        }
        Json(json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
            "response": {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": objects},
        }))
    };
    Router::new().route("/", post(review))
}

/// An authority and what a server of this machine shows that it trusts.
fn certificates() -> (String, ServerConfig) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(params, key);
    let leaf_key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der())),
        )
        .unwrap();
    (authority.pem(), config)
}

struct Tls {
    listener: tokio::net::TcpListener,
    acceptor: tokio_rustls::TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = axum::serve::Listener::accept(&mut self.listener).await;
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
